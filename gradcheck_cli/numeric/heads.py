"""Every element of an array of a chain end to end, where the beginning of what lies behind it has structure.

An array's head is the part of the chain that begins with its link and keeps its slices apart: one evaluation of it
moves many elements at once, and the links behind see what each of them alone has moved, as rows of a stack.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from gradcheck_cli.differences.method import Method, Samples
from gradcheck_cli.layer import Array, as_outputs
from gradcheck_cli.numeric.copies import Copies
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective, flatten
from gradcheck_cli.numeric.resuming import Part, Resuming, link_of
from gradcheck_cli.numeric.sampling import CHUNK_BYTES, STACK_BYTES, snapped
from gradcheck_cli.numeric.shared import Groups, Shared, evaluate
from gradcheck_cli.numeric.structure import AxisMap, detect, shots
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class Head:
    """A part of a chain with structured axes, as a function of one array; `middle` is what it hands on at the point."""

    part: Objective
    stop: int
    maps: tuple[AxisMap, ...]
    middle: Array

    def members(self, name: str) -> Iterator[tuple[Array, Array]]:
        """The groups of elements that move together, (groups, members), and what each member reaches: flat masks."""
        colours = itertools.product(*(one.colours for one in self.maps))
        for (groups, _), chosen in zip(Groups(self.part, name, self.maps), colours, strict=True):
            reached = np.ones((*map(len, chosen), *self.middle.shape), bool)
            for k, (one, slices) in enumerate(zip(self.maps, chosen, strict=True)):
                reach, place = one.reach[0], one.places[0]
                if reach is not None and place is not None:
                    shape = [1] * reached.ndim
                    shape[k], shape[len(chosen) + place] = len(slices), reach.shape[1]
                    reached &= reach[slices].reshape(shape)
            yield groups, reached.reshape(groups.shape[1], -1)


def head_of(chain: Objective, name: str, length: Array) -> Head | None:
    """The longest part that begins with an array's link, has one output, and lets elements share evaluations."""
    if not isinstance(chain, Resuming) or not chain.stacks:
        return None
    best, x = None, chain.arrays[name]
    for stop in range(link_of(name) + 1, len(chain.handed) - 1):
        y = chain.handed[stop]
        if isinstance(y, tuple) or x.size * y.size > CHUNK_BYTES:
            break
        part = Objective(Part(chain, name, stop), {name: x}, [y], "vjp", chain.ledger)
        part.stacks = True
        maps = detect(part, name, length, flatten((y,)))
        if not maps or 2 * shots(x.shape, maps) > x.size or any(one.places[0] is None for one in maps):
            break
        best = Head(part, stop, maps, y)
    return best


def sweep(
    chain: Objective, head: Head, name: str, steps: Array, method: Method, noise: Noise, centre: Array
) -> Iterator[Shared]:
    """Evaluate a method's points for every element of an array; it ends early where the stacks fail."""
    x, offsets = chain.arrays[name].reshape(-1), np.array(method.offsets).real
    middle, copies = flatten((head.middle,)), Copies.of(head.part, name, len(offsets))
    for groups, reached in head.members(name):
        size = max(1, CHUNK_BYTES // (16 * len(offsets) * (middle.size + reached.sum() + len(reached) * centre.size)))
        size = size if copies is None else min(size, copies.count)
        for start in range(0, len(groups), size):
            rows = groups[start : start + size]
            base = snapped(x[rows], noise.unit)
            places = snapped(base + offsets[:, None, None] * steps[rows].astype(x.dtype), noise.unit)
            together, unmoved = evaluate(head.part, name, rows, places, middle, copies)
            found = _alone(chain, head, together, unmoved, reached)
            if found is None:
                return
            values, still = found
            made, weights = (places - base).reshape(len(offsets), -1, 1), chain.weights
            samples = Samples(made, values, still, weights, chain.contract, noise.total, noise.relative, noise.unit)
            moved = chain.gather(np.abs(weights * still) * (values != still).any(axis=0))
            missing = np.asarray(~np.isfinite(values).all(axis=(0, 2)))
            yield Shared(rows.reshape(-1), method.combine(samples), moved, missing)


def _alone(chain: Objective, head: Head, together: Array, middle: Array, reached: Array) -> tuple[Array, Array] | None:
    """What the links behind the head make of each member of each group alone, and of none: (points, n, outputs).

    Stacks are of one size, each led by the unmoved point, for rounding depends on the shape.
    """
    width = int(reached.sum(axis=1).max(initial=0))
    columns = np.argsort(~reached, axis=1, kind="stable")[:, :width]  # what each member reaches, filled up with others
    inside = np.take_along_axis(reached, columns, axis=1)
    moved = np.where(inside, together[..., columns], middle[columns]).reshape(-1, width)
    where = np.broadcast_to(columns, (*together.shape[:-1], *columns.shape)).reshape(-1, width)
    rows = max(2, min(1 + len(moved), STACK_BYTES // (8 * (middle.size + chain.outputs))))
    values, unmoved = np.empty((len(moved), chain.outputs)), None
    for start in range(0, len(moved), rows - 1):
        stop = min(start + rows - 1, len(moved))
        stack = np.repeat(middle[None], rows, axis=0)
        stack[np.arange(1, stop - start + 1)[:, None], where[start:stop]] = moved[start:stop]
        found = _behind(chain, head, stack, stop - start)
        if found is None or (unmoved is not None and not np.array_equal(unmoved, found[0])):
            return None
        unmoved, values[start:stop] = found[0], found[1 : stop - start + 1]
    return None if unmoved is None else (values.reshape(len(together), -1, chain.outputs), unmoved)


def _behind(chain: Objective, head: Head, stack: Array, evaluations: int) -> Array | None:
    """One call of the links behind the head for a stack of what it hands on; rows by outputs, or None if it fails."""
    assert isinstance(chain, Resuming)
    chain.ledger.evaluations[chain.ledger.phase] += evaluations
    y = stack.reshape(len(stack), *head.middle.shape).astype(head.middle.dtype, copy=False)
    try:
        parts = as_outputs(chain.part(head.stop, None, y, {}, "forward_stacked"))
    except Exception:  # noqa: BLE001 - an optional shortcut: without it each element is moved by itself
        return None
    return np.concatenate([part.reshape(len(stack), -1) for part in parts], axis=1)

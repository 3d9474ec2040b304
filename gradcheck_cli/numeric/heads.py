"""Every element of an array of a chain end to end, where the beginning of what lies behind it has structure.

An array's head is the part of the chain that begins with its link and keeps its slices apart: one evaluation of it
moves many elements at once, and the links behind see what each of them alone has moved, as rows of a stack.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

import numpy as np

from gradcheck_cli.differences.method import Method, Samples
from gradcheck_cli.layer import Array, Outputs, as_outputs
from gradcheck_cli.numeric import sampling
from gradcheck_cli.numeric.copies import Copies
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective, flatten, lent
from gradcheck_cli.numeric.resuming import Part, Resuming, link_of
from gradcheck_cli.numeric.sampling import Chunk, snapped
from gradcheck_cli.numeric.shared import Groups
from gradcheck_cli.numeric.structure import AxisMap, detect, shots
from gradcheck_cli.values import dataclass

STACK_BYTES = 2**22  # of one stack: several links make something of its size; what each call costs is shared by many
ENOUGH = 32  # elements from which on it pays to move them together


@dataclass(frozen=True)
class Head:
    """A part of a chain with structured axes, as a function of one array; `middle` is what it hands on at the point."""

    part: Part
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
                if place is not None:
                    reach = np.eye(self.middle.shape[place], dtype=bool) if reach is None else reach
                    shape = [1] * reached.ndim
                    shape[k], shape[len(chosen) + place] = len(slices), reach.shape[1]
                    reached &= reach[slices].reshape(shape)
            yield groups, reached.reshape(groups.shape[1], -1)


def head_of(chain: Objective, name: str, length: Array) -> Head | None:
    """The longest part that begins with an array's link, has one output, and lets elements share evaluations."""
    if not isinstance(chain, Resuming) or not chain.stacks:
        return None
    x = chain.arrays[name]
    for stop in reversed(range(link_of(name) + 1, len(chain.handed) - 1)):
        y = chain.handed[stop]
        if isinstance(y, tuple) or x.size * y.size > chain.room:
            continue
        part = Part(chain, name, stop)
        maps = detect(part, name, length, flatten((y,)), Copies.of(part, name, 1))
        if maps and 2 * shots(x.shape, maps) <= x.size and all(one.places[0] is not None for one in maps):
            return Head(part, stop, maps, y)
    return None


def chunks(
    objective: Objective,
    head: Head | None,
    name: str,
    indices: Array,
    steps: Array,
    method: Method,
    noise: Noise,
    centre: Array,
) -> Iterator[Chunk]:
    """Evaluate a method's points for some elements of an array: moved together in its head if it has one, else alone.

    `steps` has all entries of the array.
    """
    left = np.zeros(steps.size, bool)
    left[indices] = True
    if head is not None and len(indices) > ENOUGH:
        for chunk in _shared(objective, head, name, left.copy(), steps, method, noise):
            left[chunk.indices] = False
            yield chunk
    rest = np.flatnonzero(left)
    yield from sampling.chunks(objective, name, rest, steps[rest], method, noise, centre)


def _shared(
    chain: Objective, head: Head, name: str, wanted: Array, steps: Array, method: Method, noise: Noise
) -> Iterator[Chunk]:
    """The same with the elements moved together; it ends early if stacks fail."""
    x, offsets = chain.arrays[name].reshape(-1), np.array(method.offsets).real
    for groups, reached in head.members(name):
        width = head.middle.size + x.size + reached.sum() + len(reached) * chain.outputs
        size = max(1, chain.room // (16 * len(offsets) * width))
        groups = groups[wanted[groups].any(axis=1)]
        for start in range(0, len(groups), size):
            rows = groups[start : start + size]
            picked = np.nonzero(wanted[rows])
            base = snapped(x[rows], noise.unit)
            places = snapped(base + offsets[:, None, None] * steps[rows].astype(x.dtype), noise.unit)
            together = _together(head, name, rows, places)
            found = None if together is None else _alone(chain, head, *together, reached, picked)
            if found is None:
                return
            values, still = found
            made = (places - base)[:, picked[0], picked[1], None]
            missing = np.asarray(~np.isfinite(values).all(axis=(0, 2)))
            args = chain.weights, chain.contract, noise.total, noise.relative, noise.unit
            yield Chunk(rows[picked], Samples(made, values, still, *args), missing)


def _together(head: Head, name: str, rows: Array, places: Array) -> tuple[Array, Array] | None:
    """What the head hands on with the members of each group moved, (points, groups, width), and with none."""
    moved, where = places.reshape(-1, rows.shape[1]), np.tile(rows, (len(places), 1))
    found = _in_stacks(head.part, head.part.arrays[name], where, moved, lambda made: head.part.stacked(name, made))
    return None if found is None else (found[0].reshape(len(places), len(rows), -1), found[1])


def _alone(
    chain: Objective, head: Head, together: Array, middle: Array, reached: Array, picked: Sequence[Array]
) -> tuple[Array, Array] | None:
    """What the links behind the head make of some members of groups alone, and of none: (points, n, outputs)."""
    points, (group, member) = len(together), picked
    counts = reached.sum(axis=1)
    width = int(counts.max(initial=0))
    alike = bool((counts == width).all())
    if alike:
        columns = np.nonzero(reached)[1].reshape(-1, width)
    else:
        columns = np.argsort(~reached, axis=1, kind="stable")[:, :width]  # what each reaches, filled up with others
    where = columns[member]
    moved = together.reshape(points, -1).take(where + (group * middle.size)[:, None], axis=1)
    if not alike:
        moved = np.where(np.take_along_axis(reached, columns, axis=1)[member], moved, middle[where])
    middle = middle.astype(head.middle.dtype, copy=False).reshape(head.middle.shape)
    args = np.tile(where, (points, 1)), moved.reshape(-1, width), partial(_behind, chain, head.stop)
    found = _in_stacks(chain, middle, *args)
    return None if found is None else (found[0].reshape(points, -1, chain.outputs), found[1])


def _behind(chain: Objective, stop: int, stack: Array) -> Outputs:
    """What the links behind a head make of a stack of what it hands on."""
    assert isinstance(chain, Resuming)
    return chain.part(stop, None, stack, {}, "forward_stacked")


def _in_stacks(
    objective: Objective, base: Array, where: Array, moved: Array, call: Callable[[Array], Outputs]
) -> tuple[Array, Array] | None:
    """Outputs with entries `where[k]` of an array moved, and of the unmoved point; None if a call fails or moves it.

    Stacks are of one size, for rounding depends on the shape, and led by the unmoved point. Their memory is used again:
    entries are put back. It is locked, so that a layer which writes to its arrays fails.
    """
    total = len(where)
    memory = min(STACK_BYTES, objective.room)
    count = max(2, min(1 + total, memory // (8 * (base.size + objective.outputs))))
    free: list[Array] = []

    def outputs(start: int, stop: int, mine: Objective) -> Array | None:
        mine.ledger.evaluations[mine.ledger.phase] += stop - start
        stack = free.pop() if free else np.repeat(base[None], count, axis=0)
        flat, rows = stack.reshape(-1), where[start:stop]
        at = rows + (np.arange(1, len(rows) + 1) * base.size)[:, None]
        flat[at] = moved[start:stop]
        try:
            parts = as_outputs(call(lent(stack)))
        except Exception:  # noqa: BLE001 - an optional shortcut: without it each element is moved by itself
            return None
        found = np.concatenate([part.reshape(count, -1) for part in parts], axis=1)
        flat[at] = base.reshape(-1)[rows]
        free.append(stack)
        return found

    values, unmoved = np.empty((total, objective.outputs)), None
    ends = [(start, min(start + count - 1, total)) for start in range(0, total, count - 1)]
    with closing(objective.in_turn([partial(outputs, *end) for end in ends])) as results:
        for (start, stop), found in zip(ends, results, strict=True):
            if found is None or (unmoved is not None and not np.array_equal(unmoved, found[0])):
                return None
            unmoved, values[start:stop] = found[0], found[1 : stop - start + 1]
    return None if unmoved is None else (values, unmoved)

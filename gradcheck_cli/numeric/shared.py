"""Evaluations that many elements share: those whose reach is disjoint move together, each reads its own outputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from gradcheck_cli.differences.method import Estimate, Method, Samples
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import STACK_BYTES, in_turn, snapped
from gradcheck_cli.numeric.structure import AxisMap


@dataclass(frozen=True)
class Shared:
    """What shared evaluations say of some entries: estimates (n, 1), Σ|g y| of the outputs each owns, gaps."""

    rows: Array
    found: Estimate
    moved: Array
    missing: Array


class Groups:
    """The elements of one array in groups, by the colours of its structured axes and the index along the others."""

    def __init__(self, objective: Objective, name: str, maps: tuple[AxisMap, ...]) -> None:
        self.objective, self.name, self.maps = objective, name, maps
        shape = objective.arrays[name].shape
        flat = np.arange(objective.arrays[name].size).reshape(shape)
        front = np.moveaxis(flat, [one.axis for one in maps], range(len(maps)))
        self.table = front.reshape(*(shape[one.axis] for one in maps), -1)

    def __iter__(self) -> Iterator[tuple[Array, Callable[[Array], Array]]]:
        """For each tuple of colours: the flat indices (groups, members), and the contraction to the members."""
        for colours in itertools.product(*(one.colours for one in self.maps)):
            members = self.table[np.ix_(*colours, np.arange(self.table.shape[-1]))]
            yield np.moveaxis(members, -1, 0).reshape(self.table.shape[-1], -1), self._gather(colours)

    def _gather(self, colours: tuple[Array, ...]) -> Callable[[Array], Array]:
        maps, shapes = self.maps, self.objective.shapes
        counts = [len(colour) for colour in colours]

        def gather(terms: Array) -> Array:
            total, start = np.zeros((len(terms), *counts)), 0
            for k, shape in enumerate(shapes):
                part = terms[:, start : start + int(np.prod(shape))].reshape(len(terms), *shape)
                start += int(np.prod(shape))
                places = [one.places[k] for one in maps]
                if any(place is None for place in places):
                    continue  # this output does not move with the array
                kept = [place for place in places if place is not None]
                part = part.sum(axis=tuple(1 + b for b in range(len(shape)) if b not in kept))
                part = part.transpose(0, *(1 + sorted(kept).index(b) for b in kept))
                for axis, (one, colour) in enumerate(zip(maps, colours, strict=True), start=1):
                    part = _collect(part, axis, one.reach[k], colour)
                total = total + part
            return np.asarray(total.reshape(len(terms), -1))

        return gather


def _collect(part: Array, axis: int, reach: Array | None, colour: Array) -> Array:
    """Sum what each slice of a colour reaches along one axis."""
    if reach is None or (len(colour) == len(reach) == reach.shape[1] and reach.trace() == reach.sum()):
        return part  # each slice has its own index
    return np.moveaxis(np.tensordot(part, reach[colour].astype(part.dtype), axes=(axis, 1)), -1, axis)


def sweep(
    objective: Objective,
    name: str,
    maps: tuple[AxisMap, ...],
    steps: Array,
    method: Method,
    noise: Noise,
    centre: Array,
) -> Iterator[Shared]:
    """Evaluate a method's points for every element of an array, as many elements at a time as the structure allows."""
    x, offsets = objective.arrays[name].reshape(-1), np.array(method.offsets).real
    size = max(1, min(STACK_BYTES // (8 * (x.size + objective.outputs)), 256))
    weights = objective.weights
    for groups, gather in Groups(objective, name, maps):
        own = gather(np.abs(weights * centre)[None, :])
        for start in range(0, len(groups), size):
            rows = groups[start : start + size]
            base = snapped(x[rows], noise.unit)
            places = snapped(base + offsets[:, None, None] * steps[rows].astype(x.dtype), noise.unit)
            values, middle = evaluate(objective, name, rows, places, centre)
            samples = Samples(places - base, values, middle, weights, gather, noise.total, noise.relative, noise.unit)
            missing = np.repeat(~np.isfinite(values).all(axis=(0, 2)), rows.shape[1])
            found = method.combine(samples)
            flat = Estimate(*(np.broadcast_to(part, rows.shape).reshape(-1, 1) for part in vars(found).values()))
            yield Shared(rows.reshape(-1), flat, np.broadcast_to(own, rows.shape).reshape(-1, 1), missing)


def evaluate(objective: Objective, name: str, rows: Array, places: Array, centre: Array) -> tuple[Array, Array]:
    """Outputs (points, groups, outputs) with the members of each group moved, and those at the unmoved point."""
    array, (count, _) = objective.arrays[name], rows.shape
    values = np.empty((len(places), count, objective.outputs), centre.dtype)
    middle = centre

    def stack(place: Array) -> Array:
        made = np.repeat(array.reshape(1, -1), count + 1, axis=0)
        made[np.arange(1, count + 1)[:, None], rows] = place
        return made.reshape(count + 1, *array.shape)

    stacks = [(count, partial(stack, place)) for place in places]
    together = list(in_turn(objective, name, stacks)) if objective.stacks else [None] * len(places)
    for p, found in enumerate(together):
        if found is not None and (p == 0 or np.array_equal(found[0], middle)):
            middle, values[p] = found[0], found[1:]
            continue
        middle = centre
        for k, moved in enumerate(stack(places[p])[1:]):
            one = objective.moved({name: moved})
            values[p, k] = np.nan if one is None else one
    return values, middle


def confirmed(objective: Objective, noise: Noise, name: str, steps: Array, value: Array, uncertainty: Array) -> bool:
    """Whether random directional differences of the whole array agree with the sum of its elements; 4 evaluations."""
    array, rng = objective.arrays[name], np.random.default_rng(3)
    sizes = np.minimum(steps, 8 * np.median(steps))  # one long step would hide what the others say
    direction = sizes * rng.choice([-1.0, 1.0], steps.shape) * rng.uniform(0.5, 1.5, steps.shape)
    slopes = []
    for scale in (1.0, 0.5):
        plus = array + (scale * direction).reshape(array.shape).astype(array.dtype)
        minus = array - (scale * direction).reshape(array.shape).astype(array.dtype)
        high, low = objective.moved({name: plus}), objective.moved({name: minus})
        if high is None or low is None:
            return True  # the direction leaves the domain: there is nothing to compare
        terms = objective.weights * (high - low) / (2 * scale)
        slopes.append((float(terms.sum()), float(np.abs(terms).sum())))
    (coarse, _), (fine, size) = slopes
    predicted = float(value @ direction)
    spread = float(np.sqrt(((uncertainty * direction) ** 2).sum()))
    allowed = 2 * abs(fine - coarse) + 12 * float(noise.total[0]) + 3 * spread + 1e-9 * size
    return not abs((4 * fine - coarse) / 3 - predicted) > allowed

"""Evaluations that many elements share: those whose reach is disjoint move together, each reads its own outputs."""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import TypeAlias

import numpy as np

from gradcheck_cli.differences.method import Estimate, Method, Samples
from gradcheck_cli.layer import Array, Shape
from gradcheck_cli.numeric.copies import Copies
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import snapped
from gradcheck_cli.numeric.scales import median, scattered
from gradcheck_cli.numeric.structure import AxisMap
from gradcheck_cli.values import dataclass

Gather: TypeAlias = Callable[[Array, Array], Array]

KEPT = 2**16  # elements of an array up to which its groups are kept
GROUPS = 16  # that are evaluated one by one before they are contracted


@dataclass(frozen=True)
class Shared:
    """What shared evaluations say of some entries: estimates (n, 1), Σ|g y| of the outputs each owns, gaps.

    Rows are all from the first one on, if they are a slice.
    """

    rows: Array | slice
    found: Estimate
    moved: Array
    missing: Array

    def only(self, rows: Array | slice) -> Shared:
        """Some of the entries, by their places in these tables."""
        found = Estimate(*(part[rows] for part in vars(self.found).values()))
        mine = rows if isinstance(self.rows, slice) else self.rows[rows]
        return Shared(mine, found, self.moved[rows], self.missing[rows])


@dataclass(frozen=True)
class Owned:
    """Of the outputs that each element of an array moves, contracted: their noise, Σ|g σ|, and Σ|g y|."""

    noise: Array
    faint: Array
    size: Array


@dataclass(frozen=True)
class Contraction:
    """How the terms of one output become those of the members of a group, axis by axis of the structure.

    `formula` sums over the axes of the output that no axis of the array follows; `reach` has what each member reaches
    along the others, None where each has its own index.
    """

    part: slice
    shape: Shape
    formula: str
    reach: tuple[Array | None, ...]

    def __call__(self, terms: Array, weights: Array) -> Array:
        """(n, outputs) to (n, members)."""
        sums = np.einsum(
            self.formula, terms[:, self.part].reshape(-1, *self.shape), weights[self.part].reshape(self.shape)
        )
        for axis, reach in enumerate(self.reach, start=1):
            if reach is not None:
                sums = (sums.swapaxes(axis, -1) @ reach.T).swapaxes(axis, -1)
        return np.asarray(sums.reshape(len(terms), -1))


class Groups:
    """The elements of one array in groups, by the colours of its structured axes and the index along the others.

    What takes little memory is kept for those who ask again.
    """

    def __init__(self, objective: Objective, name: str, maps: tuple[AxisMap, ...]) -> None:
        self.objective, self.maps = objective, maps
        shape = objective.arrays[name].shape
        flat = np.arange(objective.arrays[name].size).reshape(shape)
        front = np.moveaxis(flat, [one.axis for one in maps], range(len(maps)))
        self.table = front.reshape(*(shape[one.axis] for one in maps), -1)
        self.kept: list[tuple[Array, Gather]] = []

    def __iter__(self) -> Iterator[tuple[Array, Gather]]:
        """The groups, each set with its contraction."""
        if self.table.size > KEPT:
            return self._made()
        self.kept = self.kept or list(self._made())
        return iter(self.kept)

    def sums(self, terms: Array) -> Array:
        """Sums of terms (n, outputs) over the outputs that each element moves, (n, elements)."""
        found, ones = np.empty((len(terms), self.table.size)), np.ones(self.objective.outputs)
        for groups, gather in self:
            found[:, groups] = gather(terms, ones)[:, None]
        return found

    def owned(self, noise: Noise, centre: Array) -> Owned:
        """What the outputs that each element moves have of the noise and of the values of all."""
        largest = float(noise.weighted.max(initial=0.0)) or 1.0
        squares = (noise.weighted / largest) ** 2
        terms = np.stack([squares, noise.weighted, np.abs(self.objective.weights * centre)])
        parts, faint, size = self.sums(terms)
        whole = float(squares.sum()) or 1.0
        return Owned(noise.total[0] * np.sqrt(parts / whole), faint, size)

    def _made(self) -> Iterator[tuple[Array, Gather]]:
        """For each tuple of colours: the flat indices (groups, members), and the contraction to the members."""
        groups = np.arange(self.table.shape[-1])
        for colours in itertools.product(*(one.colours for one in self.maps)):
            members = self.table[np.ix_(*colours, groups)]
            yield np.ascontiguousarray(members.reshape(-1, groups.size).T), self._gather(colours)

    def _gather(self, colours: tuple[Array, ...]) -> Gather:
        parts = list(self._contractions(colours))
        if len(parts) == 1:
            return parts[0]

        def gather(terms: Array, weights: Array) -> Array:
            return np.asarray(sum(part(terms, weights) for part in parts))

        return gather

    def _contractions(self, colours: tuple[Array, ...]) -> Iterator[Contraction]:
        for k, (part, shape) in enumerate(zip(self.objective.parts, self.objective.shapes, strict=True)):
            kept = [one.places[k] for one in self.maps]
            if any(place is None for place in kept):
                continue  # this output does not move with the array
            axes = string.ascii_letters[1 : 1 + len(shape)]
            formula = f"a{axes},{axes}->a{''.join(axes[place] for place in kept if place is not None)}"
            tables = zip((one.reach[k] for one in self.maps), colours, strict=True)
            reach = tuple(None if table is None else table[colour].astype(np.float64) for table, colour in tables)
            yield Contraction(part, shape, formula, reach)


def sweep(
    objective: Objective,
    name: str,
    together: Groups,
    steps: Array,
    method: Method,
    noise: Noise,
    owned: Owned,
    centre: Array,
    copies: Copies | None,
) -> Shared:
    """Evaluate a method's points for every element of an array, as many elements at a time as the structure allows."""
    x = objective.arrays[name].reshape(-1)
    columns = {field.name: np.empty((x.size, 1)) for field in fields(Estimate)}
    missing = np.zeros(x.size, bool)
    size = copies.count if copies is not None else GROUPS
    free = [copies]

    def differences(rows: Array, gather: Gather, mine: Objective) -> tuple[Estimate, Array]:
        room = free.pop() if free else Copies.of(mine, name, len(method.offsets))
        where = (mine, name, rows, steps[rows], method, noise, owned.noise[rows], centre)
        samples = _sampled(*where, room and room.handed(mine), gather)
        found = method.combine(samples)
        gaps = np.zeros((len(rows), 1), bool)
        if not np.isfinite(found.value).all():
            gaps[:, 0] = ~np.isfinite(samples.values).all(axis=(0, 2))
        free.append(room)  # from here on another thread may write to the values
        return found, gaps

    jobs: list[tuple[Array, Gather]] = []
    for groups, gather in together:
        jobs += [(groups[start : start + size], gather) for start in range(0, len(groups), size)]
    turns = objective.in_turn([partial(differences, *job) for job in jobs])
    for (rows, _), (found, gaps) in zip(jobs, turns, strict=True):
        for column, part in vars(found).items():
            columns[column][rows, 0] = part
        missing[rows] = gaps
    return Shared(slice(0, x.size), Estimate(**columns), owned.size[:, None], missing)


def _sampled(
    objective: Objective,
    name: str,
    rows: Array,
    steps: Array,
    method: Method,
    noise: Noise,
    own: Array,
    centre: Array,
    copies: Copies | None,
    gather: Callable[[Array, Array], Array],
) -> Samples:
    """The outputs at a method's points for some groups; each member has a step, and the noise of its own outputs."""
    x = objective.arrays[name].reshape(-1)
    base, offsets = snapped(x[rows], noise.unit), np.array(method.offsets).real[:, None, None]
    places = snapped(base + offsets * steps.astype(x.dtype), noise.unit)
    values, middle = evaluate(objective, name, rows, places, centre, copies)
    return Samples(places - base, values, middle, objective.weights, gather, own, noise.relative, noise.unit)


def glance(
    objective: Objective,
    name: str,
    together: Groups,
    steps: Sequence[Array],
    method: Method,
    noise: Noise,
    owned: Owned,
    centre: Array,
    copies: Copies | None,
    index: int,
) -> tuple[Array, Estimate]:
    """Of the elements that share evaluations with one of them: their flat indices, and estimates (steps, members)."""
    own = ((groups[(groups == index).any(axis=1)], gather) for groups, gather in together)
    members, gather = next((found[0], gather) for found, gather in own if len(found))
    rows, moves = np.stack([members] * len(steps)), np.stack([one[members] for one in steps])
    samples = _sampled(objective, name, rows, moves, method, noise, owned.noise[rows], centre, copies, gather)
    return members, method.combine(samples)


def evaluate(
    objective: Objective, name: str, rows: Array, places: Array, centre: Array, copies: Copies | None
) -> tuple[Array, Array]:
    """Outputs (points, groups, outputs) with the members of each group moved, and those at the unmoved point."""
    stacked = copies.evaluate(rows, places) if copies is not None else None
    if stacked is not None:
        return stacked
    moved = objective.arrays[name].copy()
    flat = moved.reshape(-1)
    values = np.empty((len(places), len(rows), objective.outputs), centre.dtype)
    for k, row in enumerate(rows):
        kept = flat[row]
        for p, place in enumerate(places[:, k]):
            flat[row] = place
            one = objective.moved({name: moved})
            values[p, k] = np.nan if one is None else one
        flat[row] = kept
    return values, centre


def confirmed(objective: Objective, noise: Noise, name: str, steps: Array, value: Array, uncertainty: Array) -> bool:
    """Whether random directional differences of the whole array agree with the sum of its elements; 2 or 4 calls."""
    array = objective.arrays[name]
    sizes = np.minimum(steps, 8 * median(steps))  # one long step would hide what the others say
    direction = sizes * scattered(3, steps.shape)
    predicted = float(value @ direction)
    spread = float(np.sqrt(((uncertainty * direction) ** 2).sum()))
    slopes = []
    for scale in (1.0, 0.5):
        plus = array + (scale * direction).reshape(array.shape).astype(array.dtype)
        minus = array - (scale * direction).reshape(array.shape).astype(array.dtype)
        high, low = objective.moved({name: plus}), objective.moved({name: minus})
        if high is None or low is None:
            return True  # the direction leaves the domain: there is nothing to compare
        terms = objective.weights * (high - low) / (2 * scale)
        slopes.append(float(terms.sum()))
        allowed = 12 * float(noise.total[0]) + 3 * spread + 1e-9 * float(np.abs(terms).sum())
        if abs(slopes[0] - predicted) <= allowed:
            return True  # with nothing granted for the length of the step
    coarse, fine = slopes
    return not abs((4 * fine - coarse) / 3 - predicted) > allowed + 2 * abs(fine - coarse)

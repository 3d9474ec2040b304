"""Which axes of an array move only their own part of the outputs: found by experiment, never declared.

An axis is separable when a slice of the array moves the slice of the output with the same index and nothing else, bit
for bit (the batch axis, the output features of a weight). It is local when a slice moves a few slices of an output axis
(the receptive field of a convolution). Elements whose reach is disjoint may share an evaluation.

Source: Curtis, Powell, Reid, On the estimation of sparse Jacobian matrices, IMA J. Appl. Math. 13 (1974).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck_cli.layer import Array, Shape
from gradcheck_cli.numeric.copies import Copies
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.scales import scattered
from gradcheck_cli.values import dataclass

LOCAL = 3  # a slice that moves at most a third of an output axis may be local to it
FEW = 16  # entries of a slice that may all happen to move the same way
SLICES = 64  # the longest axis whose slices are tried one by one


@dataclass(frozen=True)
class AxisMap:
    """A structured axis of an array.

    For each output, `places` has the output axis that follows it, None where the output does not move, and `reach`
    (slices, length of that axis) what each slice moves there, None where that is its own index. `colours` are sets of
    slices whose reach is disjoint.
    """

    axis: int
    places: tuple[int | None, ...]
    reach: tuple[Array | None, ...]
    colours: tuple[Array, ...]


class Detector:
    """Moves parts of one array by large random amounts, and sees which outputs keep every bit."""

    def __init__(
        self, objective: Objective, name: str, length: Array, centre: Array, copies: Copies | None = None
    ) -> None:
        self.objective, self.name, self.centre, self.copies = objective, name, centre, copies
        self.x = objective.arrays[name]
        self.shift = scattered(1, self.x.shape)
        self.length = length.reshape(self.x.shape)
        self._look(1)

    def _look(self, side: int) -> None:
        """Choose the side to which everything moves: what is tied with another entry is awake on one of them only."""
        self.now, self.side = side, side * self.shift
        self.far = (self.x + self.side * self.length).astype(self.x.dtype)

    def moved(self, masks: Array) -> list[Array] | None:
        """For each output, which of its entries (masks first) change when masked ones move; None outside the domain."""
        changed = None
        if self.copies is not None and len(masks) > 1:
            changed = self.copies.moved(masks, self.far)
            self.copies = None if changed is None else self.copies
        if changed is None:
            rows = [self._single(mask) for mask in masks]
            if any(row is None for row in rows):
                return None
            changed = np.array(rows)
        outputs = zip(self.objective.parts, self.objective.shapes, strict=True)
        return [changed[:, part].reshape(-1, *shape) for part, shape in outputs]

    def _single(self, mask: Array) -> Array | None:
        """One call, a little way where the other place is outside the domain; None where both are."""
        for place in (lambda: self.far, lambda: (self.x * (1 + 0.25 * self.side)).astype(self.x.dtype)):
            values = self.objective.moved({self.name: np.where(mask, place(), self.x)})
            if values is not None:
                return np.asarray(values != self.centre)
        return None

    @property
    def together(self) -> int:
        """How many masks are tried at a time."""
        return len(self.copies.stack) - 2 if self.copies is not None else 1

    def slices(self, axis: int, chosen: Array) -> Array:
        """Masks of whole slices along an axis, one for each row of `chosen`."""
        return chosen.reshape(len(chosen), *(-1 if k == axis else 1 for k in range(self.x.ndim)))

    def tried(self, axis: int, chosen: Array) -> Iterator[tuple[Array, list[Array] | None]]:
        """Move one set of slices after the other, or as many at a time as a stack holds.

        Entries move to random sides. Slices of few, which may all move the same way, are also moved the other way.
        """
        for side in (1, -1) if self.x.size < FEW * self.x.shape[axis] else (1,):
            start = 0
            if side != self.now:
                self._look(side)
            while start < len(chosen):
                part = chosen[start : start + self.together]
                start += len(part)
                yield part, self.moved(self.slices(axis, part))

    def middles(self, axes: Sequence[int]) -> list[list[Array] | None]:
        """What the middle slice of each axis moves."""
        masks = [self.slices(axis, _middle(self.x.shape[axis])[None])[0] for axis in axes]
        if 1 < len(axes) <= self.together:
            seen = self.moved(np.array([np.broadcast_to(mask, self.x.shape) for mask in masks]))
            if seen is not None:
                return [[part[k] for part in seen] for k in range(len(axes))]
        alone = (self.moved(mask[None]) for mask in masks)
        return [None if seen is None else [part[0] for part in seen] for seen in alone]

    def axis_map(self, axis: int, seen: list[Array] | None, taken: set[tuple[int, int]]) -> AxisMap | None:
        """The structure of one axis, from what its middle slice moved."""
        count = self.x.shape[axis]
        if seen is None or not any(part.any() for part in seen):
            return None
        places = [self._follows(part, count, {b for o, b in taken if o == k}) for k, part in enumerate(seen)]
        if any(place is None and part.any() for place, part in zip(places, seen, strict=True)):
            return None
        alone = _middle(count)
        if all(b is None or np.array_equal(along(part, b), alone) for b, part in zip(places, seen, strict=True)):
            return self._separable(axis, places)
        return self._local(axis, places, seen) if count <= SLICES else None

    def _follows(self, changed: Array, count: int, taken: set[int]) -> int | None:
        """The output axis along which the least of an output moved, if that is little."""
        shares = {b: along(changed, b).mean() for b in range(changed.ndim) if b not in taken and changed.shape[b] > 1}
        best = min(shares, key=lambda b: (shares[b], changed.shape[b] != count), default=None)
        if best is None or not changed.any():
            return None
        limit = 1 / LOCAL if changed.shape[best] >= 2 * LOCAL else 1 / 2
        return best if shares[best] <= limit else None

    def _separable(self, axis: int, places: list[int | None]) -> AxisMap | None:
        """Move the slices whose index has one bit set, and the others; every pair of slices is told apart."""
        count = self.x.shape[axis]
        index = np.arange(count)
        bits = [(index >> bit) & 1 == value for bit in range((count - 1).bit_length()) for value in (0, 1)]
        for chosen, seen in self.tried(axis, np.array(bits)):
            if seen is None:
                return None
            for k, part in enumerate(seen):
                if places[k] is None and part.any():
                    first = int(np.argmax(part.reshape(len(part), -1).any(axis=1)))
                    places[k] = self._late(part[first], chosen[first])
                if part.any() and _strays(part, places[k], chosen):
                    return None
        return AxisMap(axis, tuple(places), (None,) * len(places), (index,))

    @staticmethod
    def _late(changed: Array, chosen: Array) -> int | None:
        """The axis of an output that was asleep when the middle slice moved."""
        for b in range(changed.ndim):
            if changed.shape[b] == chosen.size and not along(changed, b)[~chosen].any():
                return b
        return None

    def _local(self, axis: int, places: list[int | None], middle: list[Array]) -> AxisMap | None:
        """Slices whose reach is short and, as a rule, as wide as that of the middle one; else they move one by one."""
        count, known = self.x.shape[axis], list(zip(places, middle, strict=True))
        spans = [0 if b is None else int(np.ptp(np.flatnonzero(along(part, b)))) + 1 for b, part in known]
        sizes = [0 if b is None else part.shape[b] for b, part in known]
        period = max(-(-(span + 2) * count // size) for span, size in zip(spans, sizes, strict=True) if size)
        reach = self._reach(axis, places, period) if period < count else None
        if reach is None or any(_wider(table, span + 1) for table, span in zip(reach, spans, strict=True)):
            reach = self._reach(axis, places, count)
        if reach is None:
            return None
        colours = colour([table for table in reach if table is not None])
        return AxisMap(axis, tuple(places), reach, colours) if 2 * len(colours) <= count else None

    def _reach(self, axis: int, places: list[int | None], period: int) -> tuple[Array | None, ...] | None:
        """Move every so many-th slice, each taken to reach what is next to it, then random halves.

        None where anything moves outside the reach found.
        """
        count, shapes = self.x.shape[axis], self.objective.shapes
        reach = [None if b is None else np.zeros((count, shapes[k][b]), bool) for k, b in enumerate(places)]
        sets = np.arange(count) % period == np.arange(period)[:, None]
        halves = np.random.default_rng(2).random((4, count)) < 0.5
        for chosen, seen in self.tried(axis, np.concatenate([sets, halves])):
            if seen is None:
                return None
            for place, table, part in zip(places, reach, seen, strict=True):
                if place is not None and table is not None:
                    _claim(table, chosen, along(part, 0, place + 1), period)
                if part.any() and (table is None or _strays(part, place, chosen @ table)):
                    return None
        return tuple(reach)


def _middle(count: int) -> Array:
    """The middle one of so many slices."""
    return np.asarray(np.arange(count) == count // 2)


def _claim(reach: Array, sets: Array, moved: Array, period: int) -> None:
    """Give what each set of slices moved to the next of them, where these are far enough apart to tell."""
    count, size = reach.shape
    for chosen, changed in zip(sets, moved, strict=True):
        members, places = np.flatnonzero(chosen), np.flatnonzero(changed)
        if members.size and np.diff(members).min(initial=count) >= period:
            away = np.abs((places[:, None] + 0.5) / size - (members + 0.5) / count)
            reach[members[away.argmin(axis=1)], places] = True


def _wider(reach: Array | None, most: int) -> bool:
    """Whether a slice reaches over more indices than so many."""
    return reach is not None and any(np.ptp(np.flatnonzero(row)) >= most for row in reach if row.any())


def _strays(changed: Array, place: int | None, allowed: Array) -> bool:
    """Whether anything moved outside the indices allowed along an axis of the output; the sets moved come first."""
    return place is None or bool((along(changed, 0, place + 1) & ~allowed).any())


def along(changed: Array, *axes: int) -> Array:
    """Which indices of some axes, kept in their order, hold anything that changed."""
    return np.asarray(changed.any(axis=tuple(k for k in range(changed.ndim) if k not in axes)))


def colour(reach: list[Array]) -> tuple[Array, ...]:
    """Sets of slices with disjoint reach on every output, each slice put into the first set that takes it."""
    sets: list[list[int]] = []
    for i in range(len(reach[0])):
        for members in sets:
            if not any((table[i] & table[members].any(axis=0)).any() for table in reach):
                members.append(i)
                break
        else:
            sets.append([i])
    return tuple(np.array(members) for members in sets)


def detect(
    objective: Objective, name: str, length: Array, centre: Array, copies: Copies | None = None
) -> tuple[AxisMap, ...]:
    """The structured axes of an array, the longest first; no two follow the same axis of an output."""
    detector, maps, taken = Detector(objective, name, length, centre, copies), [], set[tuple[int, int]]()
    shape: Shape = detector.x.shape
    axes = sorted((k for k in range(len(shape)) if shape[k] > 1), key=lambda k: -shape[k])
    for axis, seen in zip(axes, detector.middles(axes), strict=True):
        found = detector.axis_map(axis, seen, taken)
        if found is not None:
            maps.append(found)
            taken |= {(k, place) for k, place in enumerate(found.places) if place is not None}
    return tuple(maps)


def shots(shape: Shape, maps: tuple[AxisMap, ...]) -> int:
    """How many evaluations one point of a method takes with the structure."""
    followed = {one.axis: len(one.colours) for one in maps}
    return int(np.prod([followed.get(axis, size) for axis, size in enumerate(shape)]))

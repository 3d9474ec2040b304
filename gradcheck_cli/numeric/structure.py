"""Which axes of an array move only their own part of the outputs: found by experiment, never declared.

An axis is separable when a slice of the array moves the slice of the output with the same index and nothing else, bit
for bit (the batch axis, the output features of a weight). It is local when a slice moves a few slices of an output axis
(the receptive field of a convolution). Elements whose reach is disjoint may share an evaluation.

Source: Curtis, Powell, Reid, On the estimation of sparse Jacobian matrices, IMA J. Appl. Math. 13 (1974).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gradcheck_cli.layer import Array, Shape
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.values import dataclass

LOCAL = 3  # a slice that moves at most a third of an output axis may be local to it
SLICES = 64  # the longest axis whose slices are tried one by one


@dataclass(frozen=True)
class AxisMap:
    """A structured axis of an array.

    For each output, `places` has the output axis that follows it and `reach` (slices, length of that axis) what each
    slice moves there; None where the output does not move. `colours` are sets of slices whose reach is disjoint.
    """

    axis: int
    places: tuple[int | None, ...]
    reach: tuple[Array | None, ...]
    colours: tuple[Array, ...]


class Detector:
    """Moves parts of one array by large random amounts, and sees which outputs keep every bit."""

    def __init__(self, objective: Objective, name: str, length: Array, centre: Array) -> None:
        self.objective, self.name, self.centre = objective, name, centre
        self.x = objective.arrays[name]
        self.bounds = list(pairwise(np.cumsum([0, *(int(np.prod(shape)) for shape in objective.shapes)]).tolist()))
        rng = np.random.default_rng(1)
        signs, sizes = rng.choice([-1.0, 1.0], self.x.shape), rng.uniform(0.5, 1.5, self.x.shape)
        far = self.x + signs * sizes * length.reshape(self.x.shape)
        near = self.x * (1 + 0.25 * signs * sizes)
        self.elsewhere = [far.astype(self.x.dtype), near.astype(self.x.dtype)]

    def moved(self, mask: Array) -> list[Array] | None:
        """For each output, which of its entries change when the masked entries move; None outside the domain."""
        for place in self.elsewhere:
            values = self.objective.moved({self.name: np.where(mask, place, self.x)})
            if values is not None:
                changed = values != self.centre
                parts = zip(self.bounds, self.objective.shapes, strict=True)
                return [changed[low:high].reshape(shape) for (low, high), shape in parts]
        return None

    def slices(self, axis: int, chosen: Array) -> Array:
        """A mask of whole slices along an axis."""
        return np.broadcast_to(chosen.reshape([-1 if k == axis else 1 for k in range(self.x.ndim)]), self.x.shape)

    def axis_map(self, axis: int, taken: set[tuple[int, int]]) -> AxisMap | None:
        """The structure of one axis; one evaluation where it has none."""
        count = self.x.shape[axis]
        middle = np.arange(count) == count // 2
        seen = self.moved(self.slices(axis, middle))
        if seen is None or not any(part.any() for part in seen):
            return None
        places = [self._follows(part, count, {b for o, b in taken if o == k}) for k, part in enumerate(seen)]
        if any(place is None and part.any() for place, part in zip(places, seen, strict=True)):
            return None
        if all(b is None or np.array_equal(along(part, b), middle) for b, part in zip(places, seen, strict=True)):
            return self._separable(axis, places)
        return self._local(axis, places) if count <= SLICES else None

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
        for bit in range((count - 1).bit_length()):
            for value in (0, 1):
                chosen = np.asarray((index >> bit) & 1 == value)
                seen = self.moved(self.slices(axis, chosen))
                if seen is None:
                    return None
                for k, (place, part) in enumerate(zip(places, seen, strict=True)):
                    if place is None and part.any():
                        places[k] = place = self._late(part, chosen)
                    if part.any() and (place is None or (along(part, place) & ~chosen).any()):
                        return None
        eye = np.eye(count, dtype=bool)
        return AxisMap(axis, tuple(places), tuple(None if place is None else eye for place in places), (index,))

    @staticmethod
    def _late(changed: Array, chosen: Array) -> int | None:
        """The axis of an output that was asleep when the middle slice moved."""
        for b in range(changed.ndim):
            if changed.shape[b] == chosen.size and not along(changed, b)[~chosen].any():
                return b
        return None

    def _local(self, axis: int, places: list[int | None]) -> AxisMap | None:
        """Move the slices one by one, then random halves: nothing may move outside the reach found."""
        count = self.x.shape[axis]
        shapes = self.objective.shapes
        reach = [None if b is None else np.zeros((count, shapes[k][b]), bool) for k, b in enumerate(places)]
        for i in range(count):
            if not self._add(axis, np.asarray(np.arange(count) == i), places, reach):
                return None
        rng = np.random.default_rng(2)
        for _ in range(4):
            chosen = np.asarray(rng.random(count) < 0.5)
            seen = self.moved(self.slices(axis, chosen))
            if seen is None:
                return None
            for place, table, part in zip(places, reach, seen, strict=True):
                if part.any() and (place is None or (along(part, place) & ~table[chosen].any(axis=0)).any()):  # type: ignore[index]
                    return None
        colours = colour([table for table in reach if table is not None])
        return AxisMap(axis, tuple(places), tuple(reach), colours) if 2 * len(colours) <= count else None

    def _add(self, axis: int, chosen: Array, places: list[int | None], reach: list[Array | None]) -> bool:
        seen = self.moved(self.slices(axis, chosen))
        if seen is None:
            return False
        for place, table, part in zip(places, reach, seen, strict=True):
            if place is None or table is None:
                if part.any():
                    return False
                continue
            table[chosen] |= along(part, place)
        return True


def along(changed: Array, axis: int) -> Array:
    """Which indices of one axis hold anything that changed."""
    return np.asarray(changed.any(axis=tuple(k for k in range(changed.ndim) if k != axis)))


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


def detect(objective: Objective, name: str, length: Array, centre: Array) -> tuple[AxisMap, ...]:
    """The structured axes of an array, the longest first; no two follow the same axis of an output."""
    detector, maps, taken = Detector(objective, name, length, centre), [], set[tuple[int, int]]()
    shape: Shape = detector.x.shape
    for axis in sorted((k for k in range(len(shape)) if shape[k] > 1), key=lambda k: -shape[k]):
        found = detector.axis_map(axis, taken)
        if found is not None:
            maps.append(found)
            taken |= {(k, place) for k, place in enumerate(found.places) if place is not None}
    return tuple(maps)


def shots(shape: Shape, maps: tuple[AxisMap, ...]) -> int:
    """How many evaluations one point of a method takes with the structure."""
    followed = {one.axis: len(one.colours) for one in maps}
    return int(np.prod([followed.get(axis, size) for axis, size in enumerate(shape)]))

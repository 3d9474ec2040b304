"""What the layer's own derivative says of one array at points around this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gradcheck_cli.evidence import UNIT32
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Objective, fitted
from gradcheck_cli.numeric.scales import lengths

ASKED = 24  # times for entries of an array that is too large to keep all
ORDERS = 24  # in which the entries of the array itself are moved
LITTLE = 64  # times less than the others does it move beside them
ALIKE = 1e-6  # of the size of the gradient: nearer than this two gradients are the same


class Around:
    """Gradients of one array a little beside the point, to compare with the `analytic` values, those of all arrays.

    Where they are right, what is one of them is a subgradient, if not of its own array alone, then of all together.
    They are kept where the tables of all units take no more than there is room for, else asked for a few elements only.
    """

    def __init__(self, objective: Objective, name: str, analytic: Mapping[str, Array], unit: float) -> None:
        self.objective, self.name, self.analytic = objective, name, analytic[name]
        self.others = [other for other in analytic if other != name]
        self.away = max(unit, UNIT32**2) ** 0.5  # of each length: beyond what counts as on the kink, and hardly bent
        self.kept = 8 * self.analytic.size * (ORDERS + 6 + 2 * len(self.others)) <= objective.room
        self.tables, self.asked = dict[int, Array](), 0

    def of(self, unit: int, rows: Sequence[int] | Array) -> Array:
        """The gradients (points, elements) of some entries in one unit; of no point where too many were asked for."""
        if self.kept:
            if unit not in self.tables:
                self.tables[unit] = self._table(unit, np.arange(len(self.analytic)))
            return self.tables[unit][:, rows]
        self.asked += 1
        return self._table(unit, rows) if self.asked <= ASKED else np.empty((0, len(rows)))

    def _table(self, unit: int, rows: Sequence[int] | Array) -> Array:
        cotangent = self.objective.cotangent if self.objective.view == "vjp" else np.eye(self.objective.outputs)[unit]
        found = (self._gradient(cotangent, point) for point in self._points(unit))
        return np.array([row[rows] for row in found if row is not None]).reshape(-1, len(rows))

    def has(self, unit: int, rows: Sequence[int] | Array) -> bool:
        """Whether some entries have the gradient of one of the points."""
        analytic = self.analytic[rows, unit]
        slack = max(ALIKE, 64 * self.away) * np.abs(analytic).max(initial=0.0)
        return bool((np.abs(self.of(unit, rows) - analytic) <= slack).all(axis=1).any())

    def excuses(self, unit: int, rows: Sequence[int] | Array, direction: Array | float = 1.0) -> bool:
        """Whether several kinks meet in some entries, and backpropagation may give their sum along a direction.

        It chooses a subgradient at each kink, and what comes of that need not be one of the whole. Points beside have
        about half of the kinks on: taking none of them gives about 0, taking all twice the middle.
        """
        near = (self.of(unit, rows) * direction).sum(axis=1)
        near = np.sort(near[np.isfinite(near)])
        if not len(near):
            return True  # nothing is known
        low, high = float(near[0]), float(near[-1])
        spread = high - low
        kinds = 1 + np.count_nonzero(np.diff(near) > max(1e-3 * spread, 64 * self.away * max(-low, high)))
        least, most = min(low, low + high, 0) - spread / 4, max(high, low + high, 0) + spread / 4
        return bool(kinds > 2 and least <= (self.analytic[rows, unit] * direction).sum() <= most)

    def _points(self, unit: int) -> Iterator[Mapping[str, Array]]:
        """The array moved one way and the other, its entries by different amounts, alone and a little beside others.

        It always moves: else what it says at its own kink would be taken for what it says beside it.
        """
        for by in self._ahead(self.analytic[:, unit]):
            yield {self.name: self._moved(self.name, by)}
            yield {self.name: self._moved(self.name, -by)}
        rng, own = np.random.default_rng(5), len(self.analytic)
        for k in range(ORDERS // 2):
            by = rng.choice([-1, 1], own) ** k * (0.5 + rng.permutation(own) / own)
            yield {self.name: self._moved(self.name, by)}
            yield {self.name: self._moved(self.name, -by)}
        for moving in [[name] for name in self.others] + [self.others] * (len(self.others) > 1):
            for sign in (1, -1):
                little = {self.name: self._moved(self.name, sign * (0.5 + rng.permutation(own) / own) / LITTLE)}
                yield little | {name: self._moved(name, sign) for name in moving}

    @staticmethod
    def _ahead(analytic: Array) -> Iterator[Array]:
        """Of tied entries those ahead that have a gradient, the one with more of it first or last."""
        for size in (np.abs(analytic), np.where(analytic == 0, 0, -np.abs(analytic))):
            rank = np.argsort(np.argsort(size, kind="stable"), kind="stable") / len(size)
            yield np.where(analytic == 0, rank - 1.5, rank + 0.5)

    def _moved(self, name: str, by: Array | float) -> Array:
        array = self.objective.arrays[name]
        flat = array.reshape(-1)
        return np.asarray(flat + by * self.away * lengths(flat), array.dtype).reshape(array.shape)

    def _gradient(self, cotangent: Array, point: Mapping[str, Array]) -> Array | None:
        try:
            gradient = self.objective.vjp(cotangent, self.objective.arrays | dict(point)).get(self.name)
        except Exception:  # noqa: BLE001 - beside the point the VJP may have no value
            return None
        return fitted(gradient, self.objective.arrays[self.name].shape)

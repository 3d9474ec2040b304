"""What the layer's own derivative says of one array at points around this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gradcheck_cli.evidence import UNIT32
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Objective, fitted
from gradcheck_cli.numeric.scales import lengths

ORDERS = 8  # in which the entries of the array itself are moved
LITTLE = 64  # times less than the others does it move beside them
ALIKE = 1e-6  # of the size of the gradient: nearer than this two gradients are the same


class Around:
    """Gradients of one array a little beside the point: what is one of them is a subgradient, if not of its own array
    alone, then of all arrays together. Each unit is asked once, where its table takes no more than there is room for.
    """

    def __init__(self, objective: Objective, name: str, wrt: Sequence[str], unit: float) -> None:
        self.objective, self.name, self.wrt = objective, name, wrt
        self.away = max(unit, UNIT32**2) ** 0.5  # of each length: beyond what counts as on the kink, and hardly bent
        self.tables = dict[int, Array]()

    def of(self, unit: int) -> Array:
        """The gradients (points, elements) of one unit; of no point where there is no room for them."""
        if unit not in self.tables:
            objective, size = self.objective, self.objective.arrays[self.name].size
            points = self._points() if 8 * size * (ORDERS + 2 * len(self.wrt)) <= objective.room else ()
            cotangent = objective.cotangent if objective.view == "vjp" else np.eye(objective.outputs)[unit]
            rows = [row for point in points if (row := self._gradient(cotangent, point)) is not None]
            self.tables[unit] = np.array(rows).reshape(-1, size)
        return self.tables[unit]

    def has(self, unit: int, rows: Array, analytic: Array) -> bool:
        """Whether some entries have the gradient of one of the points."""
        slack = max(ALIKE, 64 * self.away) * np.abs(analytic).max(initial=0.0)
        return bool((np.abs(self.of(unit)[:, rows] - analytic) <= slack).all(axis=1).any())

    def excuses(self, unit: int, row: int, analytic: float) -> bool:
        """Whether several kinks meet at an entry, and its value is about as large as they may make it.

        What backpropagation then says need not be a subgradient of the whole: it chooses one at each kink, where points
        beside have about half of them on. None on gives 0 or so, all of them twice the middle.
        """
        near = np.sort(self.of(unit)[:, row])
        if not len(near):
            return True  # nothing is known
        low, high = float(near[0]), float(near[-1])
        spread = high - low
        kinds = 1 + np.count_nonzero(np.diff(near) > max(1e-3 * spread, 64 * self.away * max(-low, high)))
        return bool(kinds > 2 and min(low, low + high, 0) - spread <= analytic <= max(high, low + high, 0) + spread)

    def _points(self) -> Iterator[Mapping[str, Array]]:
        """The array moved one way and the other, its entries by different amounts, alone and a little beside others.

        It always moves: else what it says at its own kink would be taken for what it says beside it.
        """
        rng, own = np.random.default_rng(5), self.objective.arrays[self.name].size
        for k in range(ORDERS):
            order = np.arange(own) if k == 0 else rng.permutation(own)
            signs = (-1) ** k if k < ORDERS // 2 else rng.choice([-1, 1], own)
            yield {self.name: self._moved(self.name, signs * (0.5 + order / own))}
        others = [name for name in self.wrt if name != self.name]
        for moving in [[name] for name in others] + [others] * (len(others) > 1):
            for sign in (1, -1):
                little = {self.name: self._moved(self.name, sign * (0.5 + rng.permutation(own) / own) / LITTLE)}
                yield little | {name: self._moved(name, sign) for name in moving}

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

"""The noise of forward and of the VJP, measured on fine lines through the point.

After Moré & Wild, Estimating computational noise, SIAM J. Sci. Comput. 33 (2011): high differences of values at points
a few thousand ulps apart hold no trace of a smooth function, only its noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from gradcheck_cli.evidence import UNIT32, UNIT64
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.fine import moves_of
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.values import dataclass

OFFSETS = (-3, -2, -1, 1, 2, 3)
LINES: dict[np.dtype[Any], tuple[int, int]] = {
    np.dtype(np.float16): (2**3, 2**4),
    np.dtype(np.float32): (2**5, 2**7),
    np.dtype(np.float64): (2**12, 2**15),
    np.dtype(np.longdouble): (2**16, 2**20),
}
TINY = float(np.finfo(np.float64).tiny)
UNDERFLOW = 1e-320  # what is lost of outputs near zero, with digits left to multiply it
COARSE = (2**28, 2**32)
PRECISIONS: dict[float, np.dtype[Any]] = {
    2.0**-11: np.dtype(np.float16),
    UNIT32: np.dtype(np.float32),
    UNIT64: np.dtype(np.float64),
}


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the rounding in forward.

    `sigma` has one for each output, `total` one for each unit (of the contracted sum), `magnitude` is the sum of
    |weight * output| of each unit, `unit` the round-off of the working precision.
    """

    sigma: Array
    weighted: Array
    total: Array
    magnitude: Array
    ulp: Array
    unit: float

    @cached_property
    def relative(self) -> Array:
        """The effective unit round-off of each unit: u, or more where forward is noisier."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.total / self.magnitude
        return np.maximum(self.unit, np.where(self.magnitude > 0, ratio, self.unit))

    def of_some(self, outputs: Array, magnitude: float) -> Noise:
        """The noise of some outputs, contracted to one unit, in the VJP view; with their own sum of |weight output|."""
        weighted, largest = self.weighted[outputs], float(self.weighted.max(initial=0.0)) or 1.0
        mine, whole = (float(((part / largest) ** 2).sum()) for part in (weighted, self.weighted))
        return replace(
            self,
            sigma=self.sigma[outputs],
            weighted=weighted,
            total=self.total * np.sqrt(mine / whole) if whole else self.total,
            magnitude=np.array([magnitude]),
            ulp=self.ulp[outputs],
        )

    def of_unit(self, unit: int) -> Noise:
        """The noise of one output, as the whole noise of a function with that output only."""
        pick = slice(unit, unit + 1)
        arrays = {name: getattr(self, name)[pick] for name in ("sigma", "weighted", "total", "magnitude", "ulp")}
        return replace(self, **arrays)


def beside(x: Array, steps: int, move: Array) -> Array:
    """x moved by so many steps, with no other array of its size on the way."""
    place = steps * move
    place += x
    return place


def scales(objective: Objective, of: tuple[int, int]) -> tuple[int, ...]:
    """The scales of the lines to measure along: the longer one where evaluations are costly."""
    return of[1:] if objective.costly else of


def line_values(objective: Objective, wrt: Sequence[str], y0: Array, of: tuple[int, int], dtype: Any) -> Array:
    """Outputs at seven points k = -3..3 on each line (7, lines, n); where there are none, those of the middle."""
    arrays, lines = objective.arrays, scales(objective, of)
    start = {name: arrays[name].astype(dtype, copy=False).astype(arrays[name].dtype, copy=False) for name in wrt}
    rows = np.empty((7, len(lines), y0.size), y0.dtype)
    rows[3] = y0
    for line, scale in enumerate(lines):
        moves = {name: moves_of(objective, name, scale, dtype) for name in wrt}
        for k in OFFSETS:
            values = objective.moved({name: beside(start[name], k, moves[name]) for name in wrt})
            rows[k + 3, line] = y0 if values is None else values
    return rows


def deviation(rows: Array, ulp: Array) -> Array:
    """Standard deviation of the noise in seven equidistant values (first axis), for each column."""
    *_, third, _, fifth = differences(rows)
    by_third = _rms(third) / np.sqrt(20)
    by_fifth = 1.5 * _rms(fifth) / np.sqrt(252)
    clean = np.minimum(np.abs(third[0]), np.abs(third[-1])) / np.sqrt(20)
    sigma = np.minimum(by_third, by_fifth)
    crossed = sigma > 100 * np.maximum(clean, ulp)  # a kink on the line: one side only is clean
    return np.asarray(np.where(crossed, 3 * np.maximum(clean, ulp), sigma), dtype=np.float64)


def differences(rows: Array) -> list[Array]:
    """Differences of neighbours, of first to fifth order."""
    orders = []
    for _ in range(5):
        rows = rows[1:] - rows[:-1]
        orders.append(rows)
    return orders


def _rms(rows: Array) -> Array:
    largest = np.maximum(np.abs(rows).max(axis=0), TINY)
    return np.asarray(largest * np.sqrt(np.square(rows / largest).sum(axis=0) / len(rows)))


def measure(objective: Objective, wrt: Sequence[str], y0: Array) -> Noise:
    """Measure the noise of forward; 12 evaluations, 24 in single precision, half if they are costly."""
    dtype: np.dtype[Any] = np.dtype(np.longdouble) if y0.dtype == np.longdouble else np.dtype(np.float64)
    lines = line_values(objective, wrt, y0, LINES[dtype], dtype)
    unit = 2.0**-64 if dtype == np.longdouble else UNIT64
    if dtype == np.float64 and is_single(lines, objective.dtypes):
        dtype, unit = np.dtype(np.float32), UNIT32
        lines = line_values(objective, wrt, y0, LINES[dtype], dtype)
    return summarise(objective, y0, lines, dtype, unit)


def measure_coarse(objective: Objective, wrt: Sequence[str], y0: Array, fine: Noise) -> Noise | None:
    """Noise on coarser lines, such as an iteration's tolerance or single precision inside leave; 12 evaluations.

    Believed only of outputs whose differences of third to fifth order agree, as those of noise do and those of a smooth
    function or of a kink do not. None where it is nowhere much larger than the fine noise.
    """
    if fine.unit != UNIT64:
        return None
    dtype = np.dtype(np.float64)
    lines = line_values(objective, wrt, y0, COARSE, dtype)
    sigma = np.maximum(fine.sigma, noise_like(lines).max(axis=0))
    weighted = np.abs(objective.weights) * sigma
    total = np.maximum(fine.total, objective.gather_noise(weighted))
    larger = (total > 4 * fine.total).any() or (sigma > 4 * fine.sigma).any()
    return replace(fine, sigma=sigma, weighted=weighted, total=total) if larger else None


def noise_like(rows: Array) -> Array:
    """The deviation of seven equidistant values where it looks like noise at every order, else 0."""
    *_, third, fourth, fifth = differences(rows)
    orders = [_rms(found) / np.sqrt(scale) for found, scale in ((third, 20), (fourth, 70), (fifth, 252))]
    clean = np.minimum(np.abs(third[0]), np.abs(third[-1])) / np.sqrt(20)
    alike = (np.max(orders, axis=0) <= 6 * np.min(orders, axis=0)) & (orders[0] <= 100 * clean)
    return np.asarray(np.where(alike, np.minimum(orders[0], 1.5 * orders[2]), 0.0), dtype=np.float64)


def is_single(values: Array, dtypes: Sequence[np.dtype[np.generic]]) -> bool:
    """Whether outputs were computed in float32, by their dtype or because float32 holds every one of them."""
    if any(dtype == np.float32 for dtype in dtypes):
        return True
    with np.errstate(over="ignore"):
        for some in (values[..., :8], values):  # a few say mostly that they are not
            if not np.array_equal(some, some.astype(np.float32)):
                return False
    return not np.array_equal(values, np.trunc(values))


def summarise(objective: Objective, y0: Array, lines: Array, dtype: np.dtype[np.floating], unit: float) -> Noise:
    """The largest deviation over the lines, never below the rounding of the outputs themselves."""
    ulp = np.spacing(np.abs(y0).astype(dtype)).astype(np.float64)
    sigma = np.maximum(np.maximum(0.29 * ulp, deviation(lines, ulp).max(axis=0)), UNDERFLOW)
    size = np.abs(objective.weights)
    weighted = size * sigma
    independent = objective.gather_noise(weighted)
    sums = objective.gather(objective.weights * (lines - y0))
    total = np.maximum(independent, deviation(sums, objective.gather_noise(size * ulp)).max(axis=0))
    magnitude = objective.gather(np.abs(objective.weights * y0)).astype(np.float64)
    return Noise(sigma, weighted, total, magnitude, ulp, unit)

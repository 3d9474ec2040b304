"""Directional differences over blocks of an array too large to visit: what they see, and how small an error could be.

A probe moves every element of a block by a random sign and a random part of its length, so that errors of several
elements do not cancel, and compares the slope of each row's outputs with what the analytic values say of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck_cli.differences.central import Central
from gradcheck_cli.differences.method import Estimate, Samples, Scales
from gradcheck_cli.evidence import UNIT64, K
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.grid import Grid
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import snapped
from gradcheck_cli.numeric.scales import SHORTEST, root_mean_square
from gradcheck_cli.numeric.slabs import SLAB, slabs
from gradcheck_cli.values import dataclass

CODES = 2.0**15  # random 16-bit numbers are the direction: a quarter of the memory of the array


@dataclass(frozen=True)
class Tile:
    """Some rows by some columns. With a `ramp` (origin, span), moves grow from once to twice along the columns."""

    rows: slice
    columns: slice
    ramp: tuple[int, int] | None = None


@dataclass(frozen=True)
class Seen:
    """What a probe says of each row: its residual, numeric minus analytic slope, and the bound on it without mistakes.

    `noise` is the part of the bound that grows as the step shrinks, `mismatch` that of the one-sided slopes. `leaks`
    says that outputs moved that no row owns: the rows are no rows.
    """

    residual: Array
    bound: Array
    noise: Array
    mismatch: Array
    leaks: bool = False

    @property
    def suspicious(self) -> Array:
        """The rows whose residual is beyond its bound."""
        return np.asarray(~(np.abs(self.residual) <= 2 * self.bound))

    @property
    def bent(self) -> Array:
        """The suspicious rows whose residual may be that of a kink which the probe has crossed."""
        return self.suspicious & ~(self.mismatch < np.abs(self.residual) / 8)


class Probes:
    """The probes of one array: its table `x`, the analytic values and bounds on their rounding, flat.

    Elements whose analytic value is not finite stay where they are; `broken` are their flat indices.
    """

    def __init__(
        self, objective: Objective, grid: Grid, noise: Noise, centre: Array, analytic: Array, rounding: Array
    ) -> None:
        self.objective, self.grid, self.noise, self.centre = objective, grid, grid.noise(noise, centre), centre
        self.x = grid.table(objective.arrays[grid.name])
        broken = ~np.isfinite(analytic)
        self.broken = np.flatnonzero(broken)
        self.still = grid.table(broken) if self.broken.size else None
        values = (np.where(broken, 0.0, analytic), np.where(broken, 0.0, rounding)) if self.broken.size else None
        self.analytic, self.rounding = map(grid.table, values or (analytic, rounding))
        self.codes = np.random.default_rng(7).integers(-(2**15), 2**15, self.x.shape, np.int16)
        self.typical = _extent(objective.arrays[grid.name].reshape(-1))
        self.step = self._step()

    def _step(self) -> float:
        squares = np.zeros(self.grid.rows)
        for tile in self.everything():
            squares[tile.rows] += ((self.analytic[tile.rows, tile.columns] * self.direction(tile)) ** 2).sum(axis=1)
        slope = np.sqrt(squares)
        middle = float(np.median(slope[slope > 0])) if (slope > 0).any() else float(np.median(self.noise.magnitude))
        one = np.ones(1)
        return float(Central().steps(Scales(one, middle * one, np.median(self.noise.total) * one, self.noise.unit))[0])

    def everything(self) -> Iterator[Tile]:
        """Tiles over the whole array, none larger than a slab."""
        height = max(1, SLAB // max(self.grid.columns, 1))
        for top in range(0, self.grid.rows, height):
            for columns in slabs(self.grid.columns):
                yield Tile(slice(top, min(top + height, self.grid.rows)), columns)

    def direction(self, tile: Tile) -> Array:
        """How far the entries of a tile move in units of the step: signs, half to one and a half lengths."""
        here = (tile.rows, tile.columns)
        code = self.codes[here]
        moves = np.copysign(0.5, code) + code / CODES
        moves *= np.maximum(np.abs(self.x[here]), self.typical)
        if tile.ramp is not None:
            origin, span = tile.ramp
            moves *= 1 + (np.arange(tile.columns.start, tile.columns.stop) - origin) / span
        if self.still is not None:
            moves[self.still[here]] = 0.0
        return np.asarray(moves)

    def look(self, tiles: Sequence[Tile], steps: Array) -> Seen | None:
        """Probe the tiles at once with a step for each row, 2 evaluations; None where forward can't be evaluated."""
        rows = self.grid.rows
        predicted, squares, rounding = np.zeros(rows), np.zeros(rows), np.zeros(rows)
        values = []
        for sign in (1.0, -1.0):
            place = self.x.copy()
            for tile in tiles:
                here = (tile.rows, tile.columns)
                base, step = snapped(self.x[here], self.noise.unit), sign * steps[tile.rows, None]
                place[here] = snapped((base + step * self.direction(tile)).astype(base.dtype), self.noise.unit)
                made = (place[here] - base) / (2 * step)
                terms = self.analytic[here] * made
                predicted[tile.rows] += terms.sum(axis=1)
                squares[tile.rows] += (terms**2).sum(axis=1)
                rounding[tile.rows] += ((self.rounding[here] * made) ** 2).sum(axis=1)
            found = self.objective.moved({self.grid.name: self.grid.array(place)})
            if found is None:
                return None
            values.append(found)
        leaks = bool((np.stack(values)[:, self.grid.owner < 0] != self.centre[self.grid.owner < 0]).any())
        slopes = self._combine(np.stack(values), steps)
        own = 2 * np.sqrt(rounding) + K * UNIT64 * np.sqrt(squares)
        bound, noise = slopes.uncertainty[0] + own, K * slopes.roundoff[0]
        return Seen(slopes.value[0] - predicted, bound, noise, slopes.mismatch[0], leaks)

    def _combine(self, values: Array, steps: Array) -> Estimate:
        samples = Samples(
            made=np.array([1.0, -1.0])[:, None, None] * steps,
            values=values[:, None, :],
            centre=self.centre,
            weights=self.objective.weights,
            gather=lambda terms, weights: self.grid.gather(terms * weights),
            noise=self.noise.total,
            relative=self.noise.relative,
            unit=self.noise.unit,
        )
        return Central().combine(samples)

    def resolution(self, bounds: Array) -> Array:
        """The smallest error of one element of each row that would have been seen, from the bounds of the rows."""
        return np.asarray(3 * bounds / (0.5 * self.typical))


def _extent(x: Array) -> float:
    """How far the entries of a flat array are moved at least: their root mean square, or 1 where all are zero."""
    rms = root_mean_square(x)
    return max(rms, SHORTEST) if rms > 0 else 1.0

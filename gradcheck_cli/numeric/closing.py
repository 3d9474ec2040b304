"""One directional difference through all arrays at once: does forward change as the analytic values say?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import snapped
from gradcheck_cli.numeric.scales import lengths, scattered
from gradcheck_cli.values import dataclass

POWER = 1e-4  # of the size of what it looks for, the coarsest that a probe may be to say anything
SHARP = 1e-7  # of it, where no finer step is worth its evaluations
CLOSER = (1.0, 2.0**-4, 2.0**-8)  # of the first step, where another one crosses kinks or leaves the domain
NARROWEST, WIDEST = 2.0**-30, 2.0**-6


@dataclass(frozen=True)
class Probe:
    """⟨dy, forward's change⟩ - ⟨analytic, v⟩ along a direction v, and how far it may be from 0 by its own doing.

    `size` is the root of the sum of the squared terms of ⟨analytic, v⟩: what the whole gradient weighs in a direction.
    """

    error: float
    uncertainty: float
    size: float

    @property
    def powerful(self) -> bool:
        """Whether a mistake would show."""
        return self.uncertainty <= POWER * self.size

    @property
    def agrees(self) -> bool:
        """Whether forward and the analytic values agree."""
        return self.powerful and abs(self.error) <= self.uncertainty

    @property
    def resolution(self) -> float:
        """The relative error of the whole gradient that would have been seen."""
        return max(abs(self.error), self.uncertainty) / self.size if self.size else 0.0


def directional(
    objective: Objective, noise: Noise, centre: Array, analytic: Mapping[str, Array], still: Mapping[str, Array]
) -> Probe:
    """Probe the analytic values of some arrays, those entries aside that keep `still`; 4 to 12 evaluations.

    It is powerless where no step is fine enough to tell, as at a kink or outside the domain.
    """
    directions = _directions(objective, analytic, still)
    terms = [analytic[name].reshape(-1) * v for name, v in directions.items()]
    largest = max((float(np.abs(part).max(initial=0.0)) for part in terms), default=0.0)
    if not 0 < largest < np.inf:
        return Probe(np.nan, np.inf, largest)
    size = largest * float(np.sqrt(sum(((part / largest) ** 2).sum() for part in terms)))
    best = Probe(np.nan, np.inf, size)
    total = max(float(noise.total[0]), noise.unit * float(noise.magnitude[0]))
    first = float(np.clip(np.cbrt(8 * total / size), NARROWEST, WIDEST))
    line = Line(objective, centre, directions, analytic, noise.unit)
    for closer in CLOSER:
        found = line.look(first * closer, total, size)
        if found is not None and not found.uncertainty >= best.uncertainty:
            best = found
        if best.uncertainty <= SHARP * size:
            break
    return best


def _directions(objective: Objective, analytic: Mapping[str, Array], still: Mapping[str, Array]) -> dict[str, Array]:
    """Random signs, magnitudes in [0.5, 1.5] of each entry's length scale: errors do not cancel."""
    flat = {name: objective.arrays[name].reshape(-1) for name in analytic}
    return {
        name: np.where(still[name], 0.0, lengths(x) * scattered(4 + k, x.shape))
        for k, (name, x) in enumerate(flat.items())
    }


@dataclass(frozen=True)
class Line:
    """A line through the point along which all arrays move."""

    objective: Objective
    centre: Array
    directions: Mapping[str, Array]
    analytic: Mapping[str, Array]
    unit: float

    def look(self, step: float, total: float, size: float) -> Probe | None:
        """The error at a step and at half of it, extrapolated; what it may be off; 4 evaluations."""
        coarse, fine = self._error(step), self._error(step / 2)
        if coarse is None or fine is None:
            return None
        curved = abs(fine[0] - coarse[0])
        bent = abs(2 * fine[1] - coarse[1])  # the difference of the one-sided slopes at the point: 0 but at a kink
        rounding = 64 * self.unit * size * np.sqrt(sum(v.size for v in self.directions.values()))
        return Probe((4 * fine[0] - coarse[0]) / 3, 2 * curved + bent + 12 * total / step + float(rounding), size)

    def _error(self, step: float) -> tuple[float, float] | None:
        """(⟨dy, Δforward⟩ - ⟨analytic, Δx⟩) / 2h, for the Δx really made; and the second difference over h."""
        arrays = self.objective.arrays
        ends: list[dict[str, Array]] = [{}, {}]
        predicted = 0.0
        for name, v in self.directions.items():
            x = arrays[name]
            move = (step * v).reshape(x.shape).astype(x.dtype)
            ends[0][name], ends[1][name] = snapped(x + move, self.unit), snapped(x - move, self.unit)
            predicted += float(self.analytic[name].reshape(-1) @ (ends[0][name] - ends[1][name]).reshape(-1))
        high, low = self.objective.moved(ends[0]), self.objective.moved(ends[1])
        if high is None or low is None:
            return None
        weights = self.objective.weights
        change, bend = float(weights @ (high - low)), float(weights @ ((high - self.centre) + (low - self.centre)))
        return (change - predicted) / (2 * step), bend / step

"""Central differences."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gradcheck_cli.differences.method import Estimate, Samples, Scales, balanced
from gradcheck_cli.evidence import K
from gradcheck_cli.layer import Array
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class Central:
    """D = (f(x+h) - f(x-h)) / 2h, two evaluations, truncation f''' h²/6.

    The uncertainty is K standard deviations of the noise, the rounding of the slopes, and 8 C²/V, with C the mismatch
    of the one-sided slopes and V their size: the truncation of a function whose derivatives grow evenly.

    Source: Dennis and Schnabel, Numerical Methods for Unconstrained Optimization (1983), section 5.6.
    """

    name: ClassVar[str] = "central"
    offsets: ClassVar[tuple[complex, ...]] = (1, -1)

    def steps(self, scales: Scales) -> Array:
        return balanced(scales, order=2)

    def combine(self, samples: Samples) -> Estimate:
        width = samples.made[0] - samples.made[1]
        difference = samples.values[0] - samples.values[1]
        value = samples.total(difference) / width
        slope = samples.extent(difference) / width
        second = np.add(samples.values[0], samples.values[1], out=difference)
        second -= 2 * samples.centre
        mismatch = 2 * samples.extent(second) / width
        roundoff = np.sqrt(2) * samples.noise / width
        curvature = 8 * mismatch * np.divide(mismatch, slope, out=np.zeros_like(slope), where=slope > 0)
        uncertainty = K * roundoff + 8 * samples.relative * slope + curvature
        step = width / 2 if width.shape == value.shape else np.broadcast_to(width / 2, value.shape)
        return Estimate(value, uncertainty, step, roundoff, mismatch, slope)

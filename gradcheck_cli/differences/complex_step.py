"""The complex step."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gradcheck_cli.differences.method import Estimate, Samples, Scales
from gradcheck_cli.layer import Array
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class ComplexStep:
    """D = Im f(x + ih) / h, one evaluation, no subtraction and so no cancellation: h may be 1e-30.

    Right only for a forward that is analytic in complex numbers; abs, max, sort and conjugates silently break it.
    Source: Squire and Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40 (1998).
    """

    name: ClassVar[str] = "complex_step"
    offsets: ClassVar[tuple[complex, ...]] = (1j,)

    def steps(self, scales: Scales) -> Array:
        return np.asarray(np.maximum(1e-30 * scales.length, 1e-300))

    def combine(self, samples: Samples) -> Estimate:
        step = np.abs(samples.made[0])
        change = np.array(np.imag(samples.values[0]))
        value = samples.total(change) / samples.made[0]
        slope = samples.extent(change) / step
        roundoff = 8 * samples.relative * slope
        smallest = samples.extent(np.full(change.shape, np.finfo(np.float64).tiny))
        uncertainty = 8 * roundoff + 4 * samples.unit * slope + smallest / step
        return Estimate(value, uncertainty, np.broadcast_to(step, value.shape), roundoff, np.zeros_like(slope), slope)

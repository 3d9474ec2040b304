"""Forward differences."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gradcheck_cli.differences.method import Estimate, Samples, Scales, balanced, moved
from gradcheck_cli.evidence import K
from gradcheck_cli.layer import Array
from gradcheck_cli.values import dataclass


def sided(samples: Samples) -> Estimate:
    """A one-sided difference at h, its truncation three times the change to h/2.

    Twice it is the first-order term, to which those of higher order may add.
    """
    far, near = moved(samples, 0), moved(samples, 1)
    step = np.abs(samples.made[0])
    value = samples.total(far) / samples.made[0]
    roundoff = np.sqrt(2) * samples.noise / step
    truncation = 3 * np.abs(value - samples.total(near) / samples.made[1])
    mismatch = samples.extent(far - 2 * near) / step
    slope = samples.extent(far) / step
    uncertainty = truncation + K * roundoff + 8 * samples.relative * slope
    return Estimate(value, uncertainty, np.broadcast_to(step, value.shape), roundoff, mismatch, slope)


@dataclass(frozen=True)
class Forward:
    """D = (f(x+h) - f(x)) / h, with a second value at h/2 for the uncertainty; truncation f'' h/2.

    For layers that are defined on one side only. Source: Dennis and Schnabel (1983), section 5.6.
    """

    name: ClassVar[str] = "forward"
    offsets: ClassVar[tuple[complex, ...]] = (1, 0.5)

    def steps(self, scales: Scales) -> Array:
        return balanced(scales, order=1)

    def combine(self, samples: Samples) -> Estimate:
        return sided(samples)

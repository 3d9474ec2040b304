"""Backward differences."""

from __future__ import annotations

from typing import ClassVar

from gradcheck_cli.differences.forward import sided
from gradcheck_cli.differences.method import Estimate, Samples, Scales, balanced
from gradcheck_cli.layer import Array
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class Backward:
    """D = (f(x) - f(x-h)) / h, with a second value at h/2 for the uncertainty; truncation f'' h/2.

    The mirror image of the forward difference. Source: Dennis and Schnabel (1983), section 5.6.
    """

    name: ClassVar[str] = "backward"
    offsets: ClassVar[tuple[complex, ...]] = (-1, -0.5)

    def steps(self, scales: Scales) -> Array:
        return balanced(scales, order=1)

    def combine(self, samples: Samples) -> Estimate:
        return sided(samples)

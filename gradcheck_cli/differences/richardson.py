"""Richardson extrapolation of central differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from gradcheck_cli.differences.central import Central
from gradcheck_cli.differences.method import Estimate, Samples, Scales, balanced
from gradcheck_cli.evidence import K
from gradcheck_cli.layer import Array
from gradcheck_cli.values import dataclass


def tableau(steps: Sequence[float], values: Sequence[float]) -> list[list[float]]:
    """Romberg's tableau in h² for steps in rising order.

    T[i][0] = D(h_i); T[i][m] = T[i][m-1] + (T[i][m-1] - T[i+1][m-1]) / ((h_{i+m}/h_i)² - 1).
    """
    table = [[value] for value in values]
    for m in range(1, len(values)):
        for i in range(len(values) - m):
            ratio = (steps[i + m] / steps[i]) ** 2 - 1
            table[i].append(table[i][m - 1] + (table[i][m - 1] - table[i + 1][m - 1]) / ratio)
    return table


@dataclass(frozen=True)
class Richardson:
    """(16 D(h/4) - D(h)) / 15 of two central differences, four evaluations, truncation O(h⁴).

    The uncertainty is the whole change |D(h) - D(h/4)|, not a fraction of it (out of range the expansion lies), and the
    noise of this very combination, 4.3 times that of D(h). Source: Richardson, Phil. Trans. R. Soc. A 210 (1911).
    """

    name: ClassVar[str] = "richardson"
    offsets: ClassVar[tuple[complex, ...]] = (1, -1, 0.25, -0.25)

    def steps(self, scales: Scales) -> Array:
        return 4 * balanced(scales, order=2)

    def combine(self, samples: Samples) -> Estimate:
        central = Central()
        far = central.combine(replace(samples, made=samples.made[:2], values=samples.values[:2]))
        near = central.combine(replace(samples, made=samples.made[2:], values=samples.values[2:]))
        weight = 1 / ((far.step / near.step) ** 2 - 1)
        value = near.value + weight * (near.value - far.value)
        roundoff = np.hypot((1 + weight) * near.roundoff, weight * far.roundoff)
        truncation = np.abs(far.value - near.value)
        uncertainty = truncation + K * roundoff + 8 * samples.relative * near.slope
        return Estimate(value, uncertainty, near.step, roundoff, near.mismatch, near.slope)

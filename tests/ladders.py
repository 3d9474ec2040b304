"""Levels of a ladder made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from gradcheck_cli.evidence import UNIT64, Level, Trace

STEPS = [1e-5 * 4.0**k for k in range(8)]  # up to 0.16
SIGMA = 1e-16


def level(step: float, value: float, mismatch: float, same: bool = False) -> Level:
    """One level with one output."""
    right, left = np.array([value + mismatch / 2]), np.array([value - mismatch / 2])
    return Level(step, value, mismatch, abs(value), right, left, same, np.zeros(1))


def seen(levels: Sequence[Level], sigma: float = SIGMA, magnitude: float = 1.0, hidden: float = 0.0) -> Trace:
    return Trace(
        levels=tuple(levels),
        noise=tuple(math.sqrt(2) * sigma / (2 * one.step) for one in levels),
        absolute_noise=(sigma,) * len(levels),
        magnitude=magnitude,
        length=1.0,
        relative=UNIT64,
        hidden=hidden,
    )


def ladder(
    value: Callable[[float], float], mismatch: Callable[[float], float], steps: Sequence[float] = STEPS
) -> list[Level]:
    return [level(h, value(h), mismatch(h)) for h in steps]

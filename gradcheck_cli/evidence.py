"""What the levels of one element show: plain values, gathered by the numeric side and judged by the comparison."""

from __future__ import annotations

import itertools
from enum import StrEnum
from functools import cached_property

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.values import dataclass

K = 6.0  # standard deviations of noise that count as a bound
UNIT64, UNIT32 = 2.0**-53, 2.0**-24  # round-off of the working precisions


@dataclass(frozen=True)
class Level:
    """One central difference: step made, value, mismatch C and size V of the one-sided slopes.

    `rounding` is the weighted rounding of the outputs there, which is larger than at x where they are larger.

    `right` and `left` are the weighted one-sided slopes of each output; `same` says that all outputs kept every bit.
    """

    step: float
    value: float
    mismatch: float
    slope: float
    right: Array
    left: Array
    same: bool
    rounding: Array

    @cached_property
    def spread(self) -> float:
        """The root of the sum of the squares of the rounding, without underflow."""
        largest = float(self.rounding.max(initial=0.0)) or 1.0
        return largest * float(np.sqrt(((self.rounding / largest) ** 2).sum()))


class Status(StrEnum):
    """What the levels look like."""

    SMOOTH = "smooth"
    KINK = "kink"
    JUMP = "jump"
    CURVED = "curved"


@dataclass(frozen=True)
class Trace:
    """The levels in rising order of step, and the noise they are read against."""

    levels: tuple[Level, ...]
    noise: tuple[float, ...]
    absolute_noise: tuple[float, ...]
    magnitude: float
    length: float
    relative: float
    hidden: float

    def visible(self, k: int) -> float:
        """The second difference at a level above which there is more than noise."""
        return 8 * self.absolute_noise[k]

    @property
    def intercept(self) -> float:
        """What remains at h = 0 of the mismatch of the one-sided slopes: a kink at x leaves it in every pair."""
        remains = []
        for low, high in itertools.pairwise(self.levels):
            jump_low, jump_high = low.right - low.left, high.right - high.left
            at_zero = jump_low - (jump_high - jump_low) * low.step / (high.step - low.step)
            remains.append(float(np.abs(at_zero).sum()))
        return min(remains, default=0.0)


@dataclass(frozen=True)
class LadderEstimate:
    """What the levels say. `base` is the level the value rests on, `block` the levels that behave alike.

    `inflation` is how much more noise there is than was measured; `flat` says that the function may be a staircase;
    `visible` is the first level whose second difference stands out of the noise.
    """

    value: float
    uncertainty: float
    step: float
    roundoff: float
    status: Status
    flat: bool
    inflation: float
    base: int
    block: tuple[int, ...]
    ended_by_break: bool = False
    visible: int = 0

"""A ladder of central differences of one element: levels at steps of any size, and which outputs it reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gradcheck_cli.evidence import UNIT32, Level
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.values import dataclass

Function: TypeAlias = Callable[[Any], Array | None]

FACTOR = 4.0
JITTER = (1.0, 0.89, 1.13, 0.94, 1.07)  # exact powers of 4 let quantised outputs agree by accident
MOST = 14
REACH = 64.0  # the dependency probe goes so many length scales away


@dataclass(frozen=True)
class Line:
    """The outputs as a function of one coordinate; `length` is its scale, `extent` that of the largest beside it."""

    function: Function
    x: Any
    centre: Array
    weights: Array
    noise: Noise
    length: float
    extent: float

    def snap(self, value: Any) -> Any:
        """The nearest coordinate that the layer's working precision holds."""
        return type(self.x)(np.float32(value)) if self.noise.unit == UNIT32 else value


class Ladder:
    """The levels of one element, sorted by step. `tried` counts the steps evaluated, finite or not."""

    def __init__(self, line: Line, first: float) -> None:
        self.line, self.first = line, first
        self.levels: list[Level] = []
        self.tried = 0
        self.probed = False
        self.reached = np.zeros(line.weights.size, bool)
        self.farthest = 0.0
        self._sigma: tuple[Noise, tuple[bool, int], float] | None = None
        x = abs(float(line.x))
        ulp = float(np.spacing(np.abs(line.x))) if line.noise.unit != UNIT32 else float(np.spacing(np.float32(x)))
        self.lowest = max(8 * ulp, 2.0**-46 * min(line.length, 64 * x or line.length))

    @property
    def exhausted(self) -> bool:
        """Whether the bound on the number of levels is reached."""
        return self.tried >= MOST

    def rung(self, k: int) -> float:
        """The k-th step of the ladder, from the first one."""
        return float(self.first * FACTOR**k * JITTER[k % len(JITTER)])

    def ends(self, step: float) -> tuple[Any, Any]:
        """The coordinates on both sides of a step."""
        line, step = self.line, max(step, self.lowest)
        base = line.snap(line.x)
        return line.snap(base + type(line.x)(step)), line.snap(base - type(line.x)(step))

    def add(self, step: float) -> bool:
        """Evaluate one more level; whether it was finite on both sides."""
        self.tried += 1
        line = self.line
        step = max(step, self.lowest)
        if any(abs(level.step / step - 1) < 0.01 for level in self.levels):
            return False  # two levels so near tell nothing apart
        base, (high, low) = line.snap(line.x), self.ends(step)
        plus, minus = line.function(high), line.function(low)
        if plus is None or minus is None or high == base or low == base:
            return False
        self._note(plus, minus, step)
        up, down = high - base, base - low
        right = line.weights * (plus - line.centre) / up
        left = line.weights * (line.centre - minus) / down
        value = (line.weights * (plus - minus) / (up + down)).sum()
        width = float(up + down)
        level = Level(
            step=width / 2,
            value=float(value),
            mismatch=float(np.abs(right - left).sum()),
            slope=float((np.abs(right) + np.abs(left)).sum() / 2),
            right=right.astype(np.float64),
            left=left.astype(np.float64),
            rounding=0.29 * self._ulps(plus, minus),
            same=bool(np.array_equal(plus, line.centre) and np.array_equal(minus, line.centre)),
        )
        if not np.isfinite([level.value, level.mismatch]).all():
            return False
        self.levels = sorted([*self.levels, level], key=lambda one: one.step)
        return True

    def probe(self) -> None:
        """See which outputs depend on this element at all, from far away on both sides; once, 2 to 4 evaluations."""
        if self.probed:
            return
        self.probed = True
        for sign in (1, -1):
            for far in (REACH * self.line.extent, REACH * self.line.length):
                values = self.line.function(self.line.snap(self.line.x + type(self.line.x)(sign * far)))
                if values is not None:
                    self._note(values, values, far)
                    break

    def _note(self, plus: Array, minus: Array, step: float) -> None:
        self.reached |= (plus != self.line.centre) | (minus != self.line.centre)
        self.farthest = max(self.farthest, step)

    def _ulps(self, plus: Array, minus: Array) -> Array:
        """The weighted last places of the outputs at a level, of those that moved."""
        dtype = np.float32 if self.line.noise.unit == UNIT32 else plus.dtype
        largest = np.maximum(np.abs(plus), np.abs(minus)).astype(dtype)
        moved = (plus != self.line.centre) | (minus != self.line.centre)
        ulps = np.abs(self.line.weights) * np.spacing(largest).astype(np.float64)
        return np.asarray(np.where(moved & np.isfinite(ulps), ulps, 0.0))

    @property
    def sigma(self) -> float:
        """The noise of the contracted output: of all outputs, or of those that depend once that is known."""
        noise = self.line.noise
        known = self.probed, int(np.count_nonzero(self.reached))
        if self._sigma is None or self._sigma[0] is not noise or self._sigma[1] != known:
            self._sigma = noise, known, self._depending(noise)
        return self._sigma[2]

    def _depending(self, noise: Noise) -> float:
        total = float(noise.total[0])
        if not self.probed or not self.reached.any():
            return total
        largest = float(noise.weighted.max(initial=0.0)) or 1.0
        squares = (noise.weighted / largest) ** 2
        return float(total * np.sqrt(squares[self.reached].sum() / squares.sum())) if squares.any() else total

    def absolute_noise(self, level: Level) -> float:
        """Σ |g| σ at a level over the outputs that depend."""
        seen = self.reached if self.reached.any() else np.ones_like(self.reached)
        return float(np.maximum(self.line.noise.weighted, level.rounding)[seen].sum())

    @property
    def magnitude(self) -> float:
        """Σ |g y| over the outputs that depend; over all where even the far probe moved none.

        Outputs that are all 0 tell no size; what is rounded to 0 on their way is taken to be of size 1.
        """
        seen = self.reached if self.reached.any() or not self.probed else np.ones_like(self.reached)
        weights, outputs = self.line.weights[seen], self.line.centre[seen]
        return float(np.abs(weights * (outputs if outputs.any() else 1.0)).sum())

    @property
    def hidden(self) -> float:
        """The slope that outputs which never changed can hide below their last bit."""
        if not self.probed or self.farthest == 0:
            return 0.0
        ulps = np.abs(self.line.weights) * self.line.noise.ulp
        return float(ulps[~self.reached].sum() / self.farthest)

    def noise_at(self, step: float, rounding: float = 0.0) -> float:
        """N(h) = √2 σ / 2h, with σ at least the rounding of the outputs at that step."""
        return float(np.sqrt(2) * max(self.sigma, rounding) / (2 * step))

    def noise_of(self, level: Level) -> float:
        """The noise of a level's value."""
        return self.noise_at(level.step, level.spread)

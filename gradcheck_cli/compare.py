"""The only rule for outcomes: when two numbers and their uncertainties agree, and when a mismatch is beyond doubt.

Agreement certifies itself: an analytic value and a difference quotient, computed by unrelated ways, do not agree to the
noise by accident. A mismatch must be earned: as long as an innocent explanation is left, it is inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from gradcheck_cli.evidence import UNIT32, UNIT64, K, LadderEstimate, Status, Trace
from gradcheck_cli.layer import Array
from gradcheck_cli.spec import Tolerance
from gradcheck_cli.values import dataclass

FLOOR = 256.0  # times u T is the working precision: smaller differences are rounding
NOTHING = 64.0  # times u S is what cancellation in a VJP may leave of a zero
SCATTER = 32.0  # times the measured noise, and so many times below the error, scatter is no excuse
TINY64, TINY32 = float(np.finfo(np.float64).tiny), float(np.finfo(np.float32).tiny)  # what is below counts as 0
COARSEST = 1e-3, 2e-2  # how coarse a pass may be before it is called inconclusive: usual, single precision or noise


class Decision(IntEnum):
    """Of one element, by its numbers alone."""

    OPEN = 0  # cannot be told apart: the resolution is too coarse, or the error is about as large as it
    PASS = 1
    ZERO = 2  # both are zero to the precision of the element's natural slope
    ROUNDING = 3  # the difference is below the working precision
    MISMATCH = 4


@dataclass(frozen=True)
class Numbers:
    """What an element is decided by; floats, or arrays of one shape.

    `analytic` and its rounding; `numeric` and its uncertainty; `slope` T and `natural` S, the sizes against which zero
    is measured; `floor` F; `rho`, the coarsest relative resolution that still is a pass; `unit`, the round-off of the
    VJP: an agreement to its root, half the digits, is no accident.
    """

    analytic: Any
    rounding: Any
    numeric: Any
    uncertainty: Any
    slope: Any
    natural: Any
    floor: Any
    rho: Any
    unit: float

    @cached_property
    def error(self) -> Any:
        """|analytic - numeric|; infinite where either is not a number."""
        with np.errstate(invalid="ignore"):
            return np.fmin(np.abs(np.subtract(self.analytic, self.numeric)), np.inf)

    @property
    def resolution(self) -> Any:
        """r + F: the smallest error that would have been seen."""
        return self.uncertainty + self.rounding + self.floor


def decide(numbers: Numbers) -> Array:
    """Decide elements by their numbers: granted by true comparisons, so that NaN is never a pass."""
    bound, error = numbers.uncertainty + numbers.rounding, numbers.error
    size = np.maximum(np.abs(numbers.analytic), np.abs(numbers.numeric))
    digits = np.maximum(np.sqrt(numbers.unit) * size, TINY32 if numbers.unit >= UNIT32 else TINY64)
    with np.errstate(invalid="ignore"):
        powerful = (error <= bound) & (bound <= numbers.rho * size)
        agree = (error <= digits) & (numbers.uncertainty <= digits) & np.isfinite(size)
    codes = np.full(np.shape(error), Decision.PASS, np.int8)
    if not (powerful | agree).all():
        _decide_others(numbers, ~(powerful | agree), codes)
    return codes


def _decide_others(numbers: Numbers, others: Array, codes: Array) -> None:
    """Write down the decisions on those that do not simply agree."""
    bound, error = numbers.uncertainty + numbers.rounding, numbers.error
    with np.errstate(invalid="ignore"):
        reach = numbers.rho * np.maximum(numbers.slope, numbers.natural)
        cancelled = NOTHING * numbers.unit * numbers.natural
        small = np.abs(numbers.analytic) <= np.maximum(numbers.floor, cancelled) + numbers.rounding
        zero = (error <= bound) & small & (bound <= reach)
        bound = bound + numbers.floor
        rounding, mismatch = (error <= bound) & (bound <= reach), error > 2 * bound
    np.copyto(codes, Decision.OPEN, where=others)
    for code, meets in ((Decision.MISMATCH, mismatch), (Decision.ROUNDING, rounding), (Decision.ZERO, zero)):
        np.copyto(codes, code, where=others & meets)


def is_weak(numbers: Numbers) -> Any:
    """Whether a zero is granted against the size of the outputs, not of its slopes: a tiny slope might be hidden."""
    bound = numbers.uncertainty + numbers.rounding + numbers.floor
    return ~(bound <= np.maximum(2 * numbers.floor, numbers.rho * numbers.slope))


def decide_tolerance(numbers: Numbers, tolerance: Tolerance) -> Array:
    """Decide by an explicit tolerance t = atol + rtol max(|a|, |n|): the error and its bound are below it, or above."""
    bound = numbers.uncertainty + numbers.rounding
    error = numbers.error
    with np.errstate(invalid="ignore"):
        allowed = tolerance.atol + tolerance.rtol * np.maximum(np.abs(numbers.analytic), np.abs(numbers.numeric))
        below, above = error + bound <= allowed, error - bound > allowed
    return np.asarray(np.select([below, above], [Decision.PASS, Decision.MISMATCH], Decision.OPEN), dtype=np.int8)


def coarseness(relative: Any, unit: float, vjp_unit: float) -> Any:
    """rho: the relative resolution asked for at first, from the noise of forward and the precision of the VJP."""
    cap = 1e-2 if unit == UNIT32 else 1e-3
    return np.maximum(np.minimum(10 * np.sqrt(relative), cap), 10 * math.sqrt(vjp_unit))


def coarsest(relative: float, vjp_unit: float) -> float:
    """The relative resolution accepted of an element on which every step has been tried."""
    return float(np.clip(30 * math.sqrt(max(relative, vjp_unit)), *COARSEST))


def floor(slope: Any, unit: float, vjp_unit: float) -> Any:
    """F = 256 u T: the working precision of an element with natural slope T."""
    return FLOOR * max(unit, vjp_unit) * slope


@dataclass(frozen=True)
class Case:
    """A mismatch and everything that could excuse it."""

    numbers: Numbers
    seen: Trace
    found: LadderEstimate
    unit: float
    length: float
    explored: bool

    @property
    def error(self) -> float:
        """|analytic - numeric|."""
        return float(self.numbers.error)


def settled(case: Case) -> bool:
    """The levels are smooth, there are enough of them, and they scatter no more than their noise.

    A sum may round a few times worse than the lines that measured it; that is far below an error that counts.
    """
    found = case.found
    smooth = found.status is Status.SMOOTH and not found.flat
    calm = found.inflation <= 1 or (
        found.inflation <= SCATTER and case.error > SCATTER * found.inflation * float(case.numbers.resolution)
    )
    return smooth and calm and len(found.block) >= 2 and len(case.seen.levels) >= 3


def beyond_bounds(case: Case) -> bool:
    """The error is beyond twice all bounds, what outputs that never moved could hide, and the digits that are sure."""
    numbers = case.numbers
    sure = float(numbers.rho) * max(abs(float(numbers.analytic)), abs(float(numbers.numeric)))
    return case.error > max(2 * (float(numbers.resolution) + 128 * case.seen.hidden), sure)


def explored(case: Case) -> bool:
    """Large steps and steps below the one that counts have been looked at."""
    return case.explored


def not_rounding(case: Case) -> bool:
    """Rounding of intermediate values of natural size cannot make the error, at some level within the length scale."""
    slope, levels = float(case.numbers.slope), [case.seen.levels[i] for i in case.found.block]
    still = all(level.same for level in levels)
    outputs = (1e4 if still else 16) * max(case.unit, UNIT64) * case.seen.magnitude
    most = max(8 * case.unit * case.length * slope, outputs)
    alike = (level.step for level in levels if abs(level.value - case.found.value) <= case.error / 4)
    return any(step <= case.length and case.error > most / step for step in (case.found.step, *alike))


def no_kink(case: Case) -> bool:
    """The mismatch of the one-sided slopes vanishes as the step shrinks, to less than the error."""
    return case.error > case.seen.intercept


def not_another_scale(case: Case) -> bool:
    """The analytic value is not the slope that larger steps see: past a sudden break, or where outputs begin to move.

    Stairs have about their overall slope over steps of several stairs, and on both sides.
    """
    analytic, levels = float(case.numbers.analytic), case.seen.levels
    if levels[case.found.base].same:
        stairs = [level for level in levels if 0 < level.slope >= level.mismatch]
        return all(abs(analytic - level.value) > 0.4 * case.error for level in stairs)
    above = levels[case.found.block[-1] + 1 :]
    return not case.found.ended_by_break or all(abs(analytic - level.value) > 0.1 * case.error for level in above)


def positive(case: Case) -> bool:
    """The levels exclude the analytic value: a band, a plateau over a factor 256, or clean h² convergence."""
    return outside_band(case) or plateau(case) or convergence(case)


def outside_band(case: Case) -> bool:
    """At some level the analytic value lies outside the one-sided slopes by more than everything that moves them."""
    analytic, levels = float(case.numbers.analytic), case.seen.levels
    for i in case.found.block:
        neighbours = [levels[k] for k in (i - 1, i + 1) if 0 <= k < len(levels)]
        change = min((abs(level.value - levels[i].value) for level in neighbours), default=math.inf)
        slack = 2 * (K * case.seen.noise[i] + levels[i].mismatch + change)
        slack += 8 * case.unit * case.length * float(case.numbers.slope) / levels[i].step
        if abs(analytic - levels[i].value) > slack:
            return True
    return False


def plateau(case: Case) -> bool:
    """Three or more levels that span a factor 256 give one value within their noise, and each excludes the other."""
    analytic, numeric = float(case.numbers.analytic), case.found.value
    fitting = [
        level.step
        for level, noise in zip(case.seen.levels, case.seen.noise, strict=True)
        if abs(level.value - numeric) <= K * noise and abs(analytic - level.value) > K * noise
    ]
    return len(fitting) >= 3 and max(fitting) >= 256 * min(fitting)


def convergence(case: Case) -> bool:
    """From the base on, successive differences shrink as h², and the error is four times the uncertainty."""
    levels, base = case.seen.levels, case.found.base
    rising = [i for i in case.found.block if i >= base]
    if len(rising) < 3 or case.error <= 4 * case.found.uncertainty:
        return False
    for i, j, k in zip(rising, rising[1:], rising[2:], strict=False):
        low, high = abs(levels[j].value - levels[i].value), abs(levels[k].value - levels[j].value)
        quiet = high <= K * (case.seen.noise[j] + case.seen.noise[k]) and levels[k].mismatch <= 0.3 * levels[k].slope
        ratio = high / low / (levels[k].step / levels[j].step) ** 2 if low > 0 else math.inf
        if not quiet and not 0.4 <= ratio <= 2.5:
            return False
    return True


CLAUSES: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("scatter", settled),
    ("hidden", beyond_bounds),
    ("unexplored", explored),
    ("noise", not_rounding),
    ("kink", no_kink),
    ("scale", not_another_scale),
    ("marginal", positive),
)


def excuse(case: Case) -> str | None:
    """The first clause that a mismatch does not meet, or None when it is beyond doubt."""
    return next((reason for reason, clause in CLAUSES if not clause(case)), None)


def beyond_rounding(low: Array, high: Array, rounding: Array, slope: Array, natural: Array, dtype: str) -> Array:
    """Where a low-precision gradient differs from the float64 one by more than its measured noise explains.

    |a_low - a_high| <= 2 rounding + min(256 u, 1/32) (|a| + max(|a|, T, S)), with rounding already six standard
    deviations; and 64 of the smallest numbers of the dtype, for what underflows.
    """
    size, info = np.abs(high), np.finfo(dtype)
    largest = np.maximum(size, np.maximum(slope, natural))
    allowed = (
        2 * rounding + min(FLOOR / 2 * float(info.eps), 1 / 32) * (size + largest) + 64 * float(info.smallest_subnormal)
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.abs(low - high) <= allowed))


@dataclass(frozen=True)
class Rule:
    """How elements are decided: by their measured uncertainty, or by an explicit tolerance."""

    tolerance: Tolerance | None = None

    @property
    def automatic(self) -> bool:
        """Whether the measured uncertainty decides."""
        return self.tolerance is None

    def decide(self, numbers: Numbers) -> Array:
        """Decide elements by their numbers."""
        return decide(numbers) if self.tolerance is None else decide_tolerance(numbers, self.tolerance)

    def excuse(self, case: Case) -> str | None:
        """What keeps a mismatch from being a fail. With a tolerance only levels that are not smooth do."""
        if self.tolerance is None:
            return excuse(case)
        smooth = case.found.status is Status.SMOOTH and not case.found.flat and case.found.inflation <= 1
        return None if smooth and len(case.seen.levels) >= 3 else "scatter"

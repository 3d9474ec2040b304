"""What the checker says about the corpus, beside the truth."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck_cli.results import CheckResult, Element, Outcome, Rows, Verdict
from gradcheck_cli.spec import CheckSpec, Given
from tests.corpus import truth
from tests.corpus.case import UNIT, Point
from tests.corpus.wrong import Wrong

OVERHEAD = ("plumbing", "noise")  # the tiers of a result that do not grow with the elements
PASSED = (Outcome.PASS, Outcome.KINK)


@dataclass(frozen=True)
class Judged:
    """One element: what the checker says, what is true, and the slope it would have if nothing cancelled."""

    array: str
    element: Element
    true: float
    slope: float
    unit: float

    @property
    def floor(self) -> float:
        """F: differences below it are rounding."""
        return 256 * self.unit * self.slope

    @property
    def wrong_by(self) -> float:
        """How far the analytic value is from the truth."""
        return abs(self.element.analytic - self.true)

    @property
    def missed(self) -> bool:
        """Whether a wrong value passed."""
        return self.element.outcome in PASSED and not self.wrong_by <= max(self.floor, 8 * self.unit * abs(self.true))

    @property
    def covered(self) -> bool:
        """Whether the truth lies within the stated uncertainty of the numeric value."""
        return abs(self.element.numeric - self.true) <= self.element.uncertainty

    @property
    def tightness(self) -> float:
        """The stated uncertainty over the true error; NaN where both are 0."""
        least = max(abs(self.element.numeric - self.true), UNIT["float64"] * abs(self.true))
        return self.element.uncertainty / least if least else math.nan

    @property
    def power(self) -> float:
        """The smallest error that would have been seen, relative to the element or a millionth of its slope.

        NaN for an element that no output depends on: it has no scale.
        """
        scale = max(abs(self.element.numeric), 1e-6 * self.slope)
        return self.element.resolution / scale if self.slope else math.nan


@dataclass(frozen=True)
class Measured:
    """A check of the corpus with every element judged; elements on a kink have no truth and are left out."""

    name: str
    point: Point
    result: CheckResult
    judged: tuple[Judged, ...]

    @property
    def visited(self) -> int:
        return sum(array.visited for array in self.result.arrays)

    @property
    def inconclusive(self) -> int:
        return sum(array.inconclusive for array in self.result.arrays)

    @property
    def overhead(self) -> int:
        """Evaluations that do not grow with the number of elements."""
        return sum(self.result.evaluations_by_tier.get(tier, 0) for tier in OVERHEAD)

    @property
    def per_element(self) -> float:
        """Evaluations for each element, the overhead counted apart."""
        return (self.result.evaluations - self.overhead) / max(self.visited, 1)

    @property
    def reasons(self) -> str:
        """Why elements are inconclusive, or what was found."""
        elements = [element for array in self.result.arrays for element in array.worst]
        reasons = {element.reason or "?" for element in elements if element.outcome is Outcome.INCONCLUSIVE}
        error = [f"{self.result.error.type}: {self.result.error.message}"] if self.result.error else []
        return "; ".join(sorted(reasons) + error)


def check(name: str, layer: Any, point: Point) -> CheckResult:
    """The checker's result for a layer at a point, with default settings."""
    from gradcheck_cli.runner import run_check

    spec = CheckSpec(
        id=f"corpus::{name}",
        name=name,
        layer=layer,
        layer_name=type(layer).__name__,
        arrays={array: Given(values=value, dtype=str(value.dtype)) for array, value in point.arrays.items()},
        cotangent=point.cotangent,
        dtype=point.dtype,
    )
    return run_check(spec, Rows(None))


def _judge(point: Point, result: CheckResult) -> tuple[Judged, ...]:
    if point.edge:
        return ()
    gradient, slope = truth.gradient(point), truth.natural_slope(point)
    return tuple(
        Judged(array.name, element, float(gradient[array.name][element.index]), float(slope[array.name][element.index]), unit)
        for array in result.arrays
        for element in array.worst
        for unit in (UNIT["float64"] if element.precision == "formula" else UNIT[point.dtype],)
        if element.precision == "formula"
    )


@functools.cache
def measured(point: Point) -> Measured:
    """The correct layer at the point, checked."""
    result = check(point.name, point.layer, point)
    return Measured(point.name, point, result, _judge(point, result))


@functools.cache
def measured_wrong(wrong: Wrong) -> Measured:
    """The wrong gradient, checked."""
    result = check(wrong.name, wrong.make(), wrong.point)
    return Measured(wrong.name, wrong.point, result, _judge(wrong.point, result))


def false_alarm(one: Measured) -> bool:
    """Whether a correct gradient was called wrong."""
    return one.result.verdict in (Verdict.FAIL, Verdict.ERROR)


def caught(one: Measured) -> bool:
    """Whether a wrong gradient was called wrong."""
    return one.result.verdict in (Verdict.FAIL, Verdict.ERROR)


def coverage(many: Iterable[Measured]) -> float:
    """The share of elements whose stated uncertainty covers the truth."""
    judged = [one.covered for each in many for one in each.judged if math.isfinite(one.true)]
    return sum(judged) / len(judged)


def tightness(many: Iterable[Measured]) -> float:
    """The median of uncertainty over true error."""
    ratios = [one.tightness for each in many for one in each.judged]
    return statistics.median(ratio for ratio in ratios if not math.isnan(ratio))


def power(many: Iterable[Measured]) -> tuple[float, float]:
    """Median and worst relative resolution."""
    ratios = [one.power for each in many for one in each.judged if not math.isnan(one.power)]
    return statistics.median(ratios), max(ratios)


def cost(many: Sequence[Measured]) -> tuple[float, int]:
    """Mean evaluations for each element, and the largest overhead of a check."""
    spent = sum(one.result.evaluations - one.overhead for one in many)
    return spent / sum(one.visited for one in many), max(one.overhead for one in many)


def inconclusive_share(many: Sequence[Measured]) -> float:
    """The share of elements that stay inconclusive."""
    return sum(one.inconclusive for one in many) / sum(one.visited for one in many)


def by_tier(many: Iterable[Measured]) -> Mapping[str, int]:
    """Evaluations of all checks for each tier."""
    total: dict[str, int] = {}
    for one in many:
        for tier, count in one.result.evaluations_by_tier.items():
            total[tier] = total.get(tier, 0) + count
    return total


def finite_median(values: Iterable[float]) -> float:
    """The median, or NaN of nothing."""
    kept = [value for value in values if not math.isnan(value)]
    return float(np.median(kept)) if kept else math.nan

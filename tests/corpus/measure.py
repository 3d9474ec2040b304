"""What the checker says about the corpus, beside the truth."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck_cli.layer import as_outputs
from gradcheck_cli.results import CheckResult, Element, Outcome, Rows, Verdict
from gradcheck_cli.spec import CheckSpec, Given
from tests.corpus import truth
from tests.corpus.case import UNIT, Point, as_given
from tests.corpus.wrong import CONTRACT, Wrong

OVERHEAD = ("plumbing", "noise")  # the tiers of a result that do not grow with the elements
PASSED = (Outcome.PASS, Outcome.KINK)


@dataclass(frozen=True)
class Judged:
    """One element: what the checker says, what is true, and the slope it would have if nothing cancelled.

    `natural` is S, the slope of something of the size of all outputs; `coarse` the relative error that noise
    can hide there, `excused` the error of the correct layer itself.
    """

    array: str
    element: Element
    true: float
    slope: float
    natural: float = 0.0
    coarse: float = 0.0
    excused: float = 0.0

    @property
    def wrong_by(self) -> float:
        """How far the analytic value is from the truth."""
        return abs(self.element.analytic - self.true)

    @property
    def floor(self) -> float:
        """F: differences below it are rounding, of the element's own slope or of what cancels to it."""
        return UNIT["float64"] * max(256 * self.slope, 64 * self.natural)

    @property
    def missed(self) -> bool:
        """Whether a wrong value passed: by more than rounding, and than what noise can hide of its own slope."""
        size = max(abs(self.element.analytic), abs(self.true), self.slope)
        hidden = max(self.floor, self.coarse * size, 2 * self.excused)
        printed = self.wrong_by <= max(self.element.resolution, 2 * self.excused)
        return self.element.outcome in PASSED and not (self.wrong_by <= hidden and printed)

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
    gradient, slope, right = truth.gradient(point), truth.natural_slope(point), _right(point)
    judged, outputs = [], as_outputs(point.layer.forward(**point.arrays))
    whole = sum(float(np.abs(dy * y).sum()) for dy, y in zip(point.cotangent, outputs, strict=True))
    for array in result.arrays:
        true, slopes, own = gradient[array.name], slope[array.name], right[array.name]
        for element in (element for element in array.worst if element.precision == "formula"):
            at = element.index
            excused = abs(float(own[at]) - float(true[at]))
            natural = whole / max(1.0, abs(float(point.arrays[array.name][at])))
            one = Judged(array.name, element, float(true[at]), float(slopes[at]), natural, point.coarse, excused)
            judged.append(one)
    return tuple(judged)


@functools.cache
def _right(point: Point) -> Mapping[str, Any]:
    """The gradient of the correct layer itself."""
    arrays = {name: value.copy() for name, value in point.arrays.items()}
    cotangent = as_given(point.cotangent, point.layer.forward(**arrays))
    gradient: Mapping[str, Any] = point.layer.vjp(cotangent, **arrays)
    return gradient


@functools.cache
def measured(point: Point) -> Measured:
    """The correct layer at the point, checked."""
    result = check(point.name, point.layer, point)
    return Measured(point.name, point, result, _judge(point, result))


@functools.cache
def measured_wrong(wrong: Wrong) -> Measured:
    """The wrong gradient, checked. Where the contract is broken, its elements say nothing."""
    result = check(wrong.name, wrong.make(), wrong.point)
    judged = () if wrong.name in CONTRACT else _judge(wrong.point, result)
    return Measured(wrong.name, wrong.point, result, judged)


def called_wrong(one: Measured) -> bool:
    """Whether the checker says that the gradient is wrong."""
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

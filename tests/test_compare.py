"""The rule for outcomes: every condition decides a row, every clause saves a check from a wrong verdict."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradcheck_cli import compare
from gradcheck_cli.compare import (
    Case,
    Decision,
    Numbers,
    Rule,
    beyond_rounding,
    coarseness,
    coarsest,
    decide,
    decide_tolerance,
    excuse,
    floor,
    is_weak,
)
from gradcheck_cli.evidence import UNIT32, UNIT64, Trace
from gradcheck_cli.numeric.estimate import estimate
from gradcheck_cli.spec import Tolerance
from tests.ladders import STEPS, ladder, level, seen

USUAL = Numbers(
    analytic=1.0,
    rounding=0.0,
    numeric=1.0,
    uncertainty=1e-12,
    slope=1.0,
    natural=1.0,
    floor=0.0,
    rho=1e-7,
    unit=UNIT64,
)
DIGITS = math.sqrt(UNIT64)


def numbers(analytic: float, numeric: float, uncertainty: float, **more: float) -> Numbers:
    return replace(USUAL, analytic=analytic, numeric=numeric, uncertainty=uncertainty, **more)


ROWS: dict[str, tuple[Numbers, Decision]] = {
    "within the bound, and the bound has power": (numbers(1.0, 1 + 5e-8, 6e-8), Decision.PASS),
    "beyond the bound": (numbers(1.0, 1 + 7e-8, 6e-8), Decision.OPEN),
    "bound without power": (numbers(1.0, 1 + 5e-8, 2e-7), Decision.OPEN),
    "rounding of the VJP is part of the bound": (numbers(1.0, 1 + 7e-8, 5e-8, rounding=3e-8), Decision.PASS),
    "rounding of the VJP takes power away": (numbers(1.0, 1 + 5e-8, 6e-8, rounding=9e-8), Decision.OPEN),
    "eight digits agree": (numbers(1.0, 1 + 0.9 * DIGITS, 1e-9), Decision.PASS),
    "fewer than eight digits agree": (numbers(1.0, 1 + 1.1 * DIGITS, 1e-9), Decision.MISMATCH),
    "eight digits agree by accident of noise": (numbers(1.0, 1 + 1e-9, 1e-3), Decision.OPEN),
    "agreement needs precision of the VJP": (
        numbers(1.0, 1 + 1e-5, 1e-9, unit=UNIT32, rho=1e-2),
        Decision.PASS,
    ),
    "zero beside the outputs": (numbers(0.0, 1e-9, 2e-9, slope=0.0, natural=1.0), Decision.ZERO),
    "zero beside the slope": (numbers(0.0, 1e-9, 2e-9, slope=1.0, natural=0.0), Decision.ZERO),
    "zero that differs": (numbers(0.0, 3e-9, 2e-9, slope=0.0), Decision.OPEN),
    "zero without power": (numbers(0.0, 1e-9, 2e-7), Decision.OPEN),
    "zero up to cancellation in the VJP": (numbers(60 * UNIT64, 0.0, 1e-9, slope=0.0), Decision.ZERO),
    "zero up to the floor": (numbers(1e-12, 0.0, 1e-9, natural=0.0, floor=2e-12), Decision.ZERO),
    "zero up to the rounding of the VJP": (numbers(1e-10, 0.0, 1e-9, slope=0.0, rounding=1e-10), Decision.ZERO),
    "not small enough for a zero": (numbers(1e-10, 0.0, 1e-9), Decision.ROUNDING),
    "difference below the floor": (numbers(1e-10, 1e-10 + 2e-14, 1e-15, floor=3e-14), Decision.ROUNDING),
    "difference above the floor": (numbers(1e-10, 1e-10 + 4e-14, 1e-15, floor=3e-14), Decision.OPEN),
    "floor beside a slope that is no larger": (numbers(1e-10, 2e-10, 1e-15, slope=1e-9, natural=0.0, floor=1e-9), 0),
    "twice everything is not yet a mismatch": (numbers(1.0, 1 + 1.9e-6, 5e-7, floor=5e-7), Decision.OPEN),
    "more than twice everything is a mismatch": (numbers(1.0, 1 + 2.1e-6, 5e-7, floor=5e-7), Decision.MISMATCH),
    "NaN analytic": (numbers(math.nan, 1.0, 1e-12), Decision.MISMATCH),
    "NaN numeric": (numbers(1.0, math.nan, 1e-12), Decision.MISMATCH),
    "NaN uncertainty": (numbers(1.0, 1 + 1e-7, math.nan), Decision.OPEN),
    "NaN uncertainty of equal numbers": (numbers(1.0, 1.0, math.nan), Decision.OPEN),
    "infinite uncertainty": (numbers(1.0, 1.0, math.inf), Decision.OPEN),
    "no size at all": (numbers(0.0, 0.0, 0.0, slope=0.0, natural=0.0), Decision.PASS),
    "NaN power": (numbers(1.0, 1.0 + 1e-7, 2e-7, rho=math.nan), Decision.OPEN),
}


@pytest.mark.parametrize("row", ROWS)
def test_decision(row: str) -> None:
    given, decision = ROWS[row]
    assert Decision(int(decide(given))) is Decision(decision)


def test_many_elements_are_decided_at_once() -> None:
    rows = [given for given, _ in ROWS.values() if given.unit == UNIT64]
    columns = {
        name: np.array([[getattr(row, name)] for row in rows])
        for name in ("analytic", "rounding", "numeric", "uncertainty", "slope", "natural", "floor", "rho")
    }
    with np.errstate(invalid="ignore"):
        found = decide(Numbers(**columns, unit=UNIT64))
    assert found.shape == (len(rows), 1)
    assert found[:, 0].tolist() == [int(decide(row)) for row in rows]


TOLERANCES = {
    "error and bound below": (numbers(1.0, 1 + 5e-7, 4e-7), Decision.PASS),
    "error below, bound not": (numbers(1.0, 1 + 5e-7, 6e-7), Decision.OPEN),
    "rounding of the VJP is part of the bound": (numbers(1.0, 1 + 5e-7, 4e-7, rounding=2e-7), Decision.OPEN),
    "error above, bound not": (numbers(1.0, 1 + 12e-7, 4e-7), Decision.OPEN),
    "error and bound above": (numbers(1.0, 1 + 15e-7, 4e-7), Decision.MISMATCH),
    "agreement of eight digits is no excuse for a bound": (numbers(1.0, 1.0, 2e-6), Decision.OPEN),
    "NaN": (numbers(1.0, math.nan, 4e-7), Decision.OPEN),
    "NaN bound": (numbers(1.0, 1.0, math.nan), Decision.OPEN),
}


@pytest.mark.parametrize("row", TOLERANCES)
@pytest.mark.parametrize("tolerance", [Tolerance(rtol=1e-6), Tolerance(atol=1e-6), Tolerance(5e-7, 5e-7)])
def test_decision_by_tolerance(row: str, tolerance: Tolerance) -> None:
    given, decision = TOLERANCES[row]
    assert Decision(int(decide_tolerance(given, tolerance))) is decision
    assert Decision(int(Rule(tolerance).decide(given))) is decision


def test_rule_without_a_tolerance_decides_by_the_uncertainty() -> None:
    assert Rule().automatic
    assert not Rule(Tolerance(1e-6)).automatic
    assert Rule().decide(numbers(1.0, 1.0, 1e-12)) == Decision.PASS


def test_power_asked_for() -> None:
    assert coarseness(UNIT64, UNIT64, UNIT64) == pytest.approx(10 * DIGITS)
    assert coarseness(1e-7, UNIT64, UNIT64) == 1e-3
    assert coarseness(1e-5, UNIT32, UNIT64) == 1e-2
    assert coarseness(UNIT64, UNIT64, UNIT32) == pytest.approx(10 * math.sqrt(UNIT32))


def test_power_accepted_in_the_end() -> None:
    assert coarsest(UNIT64, UNIT64) == 1e-3
    assert coarsest(1e-8, UNIT64) == pytest.approx(3e-3)
    assert coarsest(UNIT64, UNIT32) == pytest.approx(30 * math.sqrt(UNIT32))
    assert coarsest(0.1, UNIT64) == 2e-2


def test_floor_is_256_units_of_the_natural_slope() -> None:
    assert floor(3.0, UNIT64, UNIT64) == 256 * UNIT64 * 3
    assert floor(3.0, UNIT64, UNIT32) == floor(3.0, UNIT32, UNIT64) == 256 * UNIT32 * 3


def test_zeros_granted_against_the_outputs_are_weak() -> None:
    assert is_weak(numbers(0.0, 0.0, 1e-9, slope=0.0, floor=0.0))
    assert not is_weak(numbers(0.0, 0.0, 1e-9, slope=1.0))
    assert not is_weak(numbers(0.0, 0.0, 1e-14, slope=0.0, floor=1e-14))


def test_low_precision_is_compared_with_its_measured_rounding() -> None:
    high, unit = np.array([1.0, 1.0, 0.0, np.nan]), UNIT32
    rounding, slope = np.full(4, 1e-5), np.ones(4)
    allowed = 2e-5 + 256 * unit * (1 + 1)
    low = np.array([1 + 0.99 * allowed, 1 + 1.01 * allowed, 2e-5 + 255 * unit, 1.0])
    assert beyond_rounding(low, high, rounding, slope, np.zeros(4), "float32").tolist() == [False, True, False, True]
    assert not beyond_rounding(low, high, rounding, slope, np.full(4, 1e6), "float32")[:3].any()


def mismatch(trace: Trace, analytic: float, explored: bool = True, **more: Any) -> Case:
    """The case against an analytic value, of a ladder made by hand, with T the largest slope."""
    found = estimate(trace)
    slope = max(one.slope for one in trace.levels)
    given = numbers(analytic, found.value, found.uncertainty, slope=slope, floor=256 * UNIT64 * slope)
    return Case(given, trace, found, UNIT64, 1.0, explored, **more)


def smooth() -> Trace:
    return seen(ladder(lambda h: 2.0 + 3 * h**2, lambda h: h))


def test_a_mismatch_on_a_clean_ladder_has_no_excuse() -> None:
    assert excuse(mismatch(smooth(), 2.01)) is None


EXCUSED: dict[str, tuple[Case, str]] = {
    "too few levels": (mismatch(seen(ladder(lambda h: 2.0, lambda h: 0.0, STEPS[:2])), 2.1), "scatter"),
    "more scatter than noise": (
        mismatch(seen([level(h, 2.0 + (-1) ** k * 1e-9 / h, 0.0) for k, h in enumerate(STEPS)]), 3.0),
        "scatter",
    ),
    "perhaps a staircase": (
        mismatch(seen(ladder(lambda h: 0.1 * (h > 1e-3), lambda h: 0.1 / h * (h > 1e-3))), 0.1),
        "scatter",
    ),
    "one level behaves": (
        mismatch(seen([level(STEPS[0], 2.0, 0.0), *[level(h, 2.0 + 0.3 / h, 0.5 / h) for h in STEPS[1:]]]), 3.0),
        "scatter",
    ),
    "outputs that never moved could hide it": (mismatch(seen(smooth().levels, hidden=1e-4), 2.02), "hidden"),
    "large steps were not tried": (mismatch(smooth(), 2.01, explored=False), "unexplored"),
    "step beyond the length": (replace(mismatch(smooth(), 2.01), length=1e-6), "noise"),
    "below the rounding of outputs": (mismatch(seen(smooth().levels, magnitude=1e12), 2.01), "noise"),
    "below the rounding of slopes": (replace(mismatch(smooth(), 2.01), unit=1e-5), "noise"),
    "within a kink that no level resolves": (
        mismatch(seen(ladder(lambda h: 2.0, lambda h: 1e-6 + 1e4 * h)), 2.0 + 5e-7),
        "kink",
    ),
    "slope at another scale": (
        mismatch(seen(ladder(lambda h: 2.0 + h**2 + 0.5 * (h > 2e-3), lambda h: 300 * h + 0.5 * (h > 2e-3))), 2.5),
        "scale",
    ),
}


@pytest.mark.parametrize("name", EXCUSED)
def test_excuse(name: str) -> None:
    case, reason = EXCUSED[name]
    assert excuse(case) == reason


def test_bits_that_never_move_need_a_larger_error() -> None:
    levels = [level(h, 0.0, 0.0, same=True) for h in STEPS]
    assert excuse(mismatch(seen(levels, magnitude=1.0), 1e-7)) is None
    assert excuse(mismatch(seen(levels, magnitude=1e5), 1e-7)) == "noise"
    moving = [replace(one, same=False) for one in levels]
    assert excuse(mismatch(seen(moving, magnitude=1e5), 1e-7)) is None


def only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Leave one of the three ways in which the levels can exclude a value."""
    for other in {"outside_band", "plateau", "convergence"} - {name}:
        monkeypatch.setattr(compare, other, lambda case: False)


NOISY = seen(ladder(lambda h: 2.0 + 1e-9 * h**2, lambda h: 1.0 * h), sigma=1e-10)
EVIDENCE = {
    "outside_band": (mismatch(smooth(), 2.01), mismatch(smooth(), 2.0 + 1e-5)),
    "plateau": (mismatch(NOISY, 2.01), mismatch(seen(ladder(lambda h: 2.0, lambda h: h, STEPS[:4])), 2.5)),
    "convergence": (mismatch(smooth(), 2.0 + 1e-3), mismatch(smooth(), 2.0 + 1e-6)),
}


@pytest.mark.parametrize("name", EVIDENCE)
def test_each_kind_of_evidence_suffices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    enough, too_little = EVIDENCE[name]
    only(monkeypatch, name)
    assert compare.positive(enough)
    assert not compare.positive(too_little)


def test_no_evidence_is_marginal(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "none of them")
    assert excuse(mismatch(smooth(), 2.01)) == "marginal"


def test_irregular_convergence_is_no_evidence() -> None:
    assert not compare.convergence(mismatch(seen(ladder(lambda h: 2.0 + abs(h) ** 1.2, lambda h: h)), 2.5))


def test_tolerance_leaves_only_the_shape_of_the_levels_as_an_excuse() -> None:
    rule = Rule(Tolerance(rtol=1e-6))
    assert rule.excuse(mismatch(smooth(), 2.01, explored=False)) is None
    assert rule.excuse(EXCUSED["slope at another scale"][0]) is None
    assert rule.excuse(EXCUSED["more scatter than noise"][0]) == "scatter"
    assert rule.excuse(EXCUSED["perhaps a staircase"][0]) == "scatter"
    assert rule.excuse(EXCUSED["too few levels"][0]) == "scatter"
    assert Rule().excuse(mismatch(smooth(), 2.01)) is None

"""Points at which a wrong gradient could slip through, or a check could break."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradcheck_cli.compare import Decision, decide
from gradcheck_cli.layer import Array
from gradcheck_cli.results import Outcome, Verdict
from gradcheck_cli.spec import Difference
from tests.judging import Map, at, check, entrywise, outcomes
from tests.test_compare import numbers
from tests.test_second import opinion


@pytest.mark.parametrize("slope", [0.0, 1.0, 10.0, 5e4])
def test_no_gradient_passes_at_a_jump(slope: float) -> None:
    found = at(check(entrywise(lambda x: x + (x >= 0.5), lambda x: slope + 0 * x), {"x": [0.5]}), 0)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, "discontinuity")


@pytest.mark.parametrize("k", [100, 200, 500])
def test_slopes_far_away_lend_no_tolerance(k: float) -> None:
    layer = entrywise(lambda x: np.exp(k * x), lambda x: 1.001 * k * np.exp(k * x))
    assert outcomes(check(layer, {"x": [0.3]})) == [Outcome.FAIL]


@pytest.mark.parametrize("step", [1e-15, 1e-300, 1e-3, 10.0, 1e3])
def test_an_explicit_step_out_of_range_hides_no_mistake(step: float) -> None:
    layer = entrywise(np.exp, lambda x: 1.01 * np.exp(x))
    assert outcomes(check(layer, {"x": [0.5]}, difference=Difference(step=step))) == [Outcome.FAIL]


REAL: dict[str, Callable[[Array], Array]] = {
    "absolute value": np.abs,
    "real part": lambda x: np.real(x) ** 2,
    "cast": lambda x: np.real(x).astype(np.float64) ** 2,
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_answer_to_a_complex_step_is_no_zero_slope(name: str) -> None:
    assert opinion(REAL[name])[0] is None
    result = check(entrywise(REAL[name], lambda x: 0 * x), {"x": [0.5, -0.75]}, difference=Difference("complex_step"))
    assert result.verdict is not Verdict.PASS


def test_the_complex_step_finds_a_wrong_gradient() -> None:
    layer = entrywise(np.exp, lambda x: 1.01 * np.exp(x))
    assert outcomes(check(layer, {"x": [0.5]}, difference=Difference("complex_step"))) == [Outcome.FAIL]


def test_steps_that_float16_does_not_hold_are_no_error() -> None:
    layer = Map(lambda x: np.exp(x.astype(np.float32)), lambda dy, x: (1.1 * dy * np.exp(x)).astype(x.dtype))
    result = check(layer, {"x": [0.5, -0.75, 1.25, 0.3]}, dtype="float16")
    assert result.verdict is not Verdict.PASS


def test_an_infinite_analytic_value_is_never_decided_as_a_pass() -> None:
    assert decide(numbers(np.inf, 1.0, 1e-12)) != Decision.PASS
    assert decide(numbers(np.inf, np.inf, 1e-12)) != Decision.PASS

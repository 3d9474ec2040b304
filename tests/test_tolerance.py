"""Explicit tolerances, steps and methods, for those who want them."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli.results import CheckResult, Outcome, Verdict
from gradcheck_cli.spec import Difference, Tolerance
from tests.judging import Map, at, check, entrywise, outcomes

X = {"x": [0.5, -0.75, 1.25]}
METHODS = ("central", "forward", "backward", "richardson", "complex_step")


def exp(factor: float = 1.0) -> Map:
    return entrywise(np.exp, lambda x: factor * np.exp(x))


def warned(result: CheckResult) -> list[str]:
    return [note for note in result.notes if "explicit step" in note]


@pytest.mark.parametrize("method", METHODS)
def test_method_is_used_and_told(method: str) -> None:
    result = check(exp(), X, difference=Difference(method), tolerance=Tolerance(rtol=1e-4))
    assert result.verdict is Verdict.PASS
    assert [(element.method, element.tier) for element in result.arrays[0].worst] == [(method, 1)] * 3


@pytest.mark.parametrize("method", [method for method in METHODS if method != "complex_step"])
def test_every_method_finds_a_wrong_gradient(method: str) -> None:
    result = check(exp(1.01), X, difference=Difference(method))
    assert outcomes(result) == [Outcome.FAIL] * 3


@pytest.mark.parametrize("method", ["central", "forward", "backward"])
def test_absolute_step_is_the_one_made(method: str) -> None:
    result = check(exp(), X, difference=Difference(method, step=2.0**-10), tolerance=Tolerance(rtol=1e-1))
    assert {element.step for element in result.arrays[0].worst} == {2.0**-10}
    found = at(result, 0)
    h = 2.0**-10
    quotient = {"central": np.sinh(h) / h, "forward": np.expm1(h) / h, "backward": -np.expm1(-h) / h}[method]
    assert found.numeric / found.analytic == pytest.approx(quotient, rel=1e-9)


def test_step_of_richardson_is_its_finer_one() -> None:
    result = check(exp(), X, difference=Difference("richardson", step=2.0**-6), tolerance=Tolerance(rtol=1e-1))
    assert {element.step for element in result.arrays[0].worst} == {2.0**-8}


def test_step_of_the_complex_step() -> None:
    result = check(exp(), X, difference=Difference("complex_step", step=1e-20), tolerance=Tolerance(rtol=1e-12))
    assert {element.step for element in result.arrays[0].worst} == {1e-20}
    assert result.verdict is Verdict.PASS


def test_relative_step_follows_the_length_of_each_element() -> None:
    result = check(
        entrywise(lambda x: x * x, lambda x: 2 * x),
        {"x": [1024.0, -2.0, 0.25]},
        difference=Difference(relative_step=2.0**-12),
        tolerance=Tolerance(rtol=1e-6),
    )
    steps = {element.index[0]: element.step for element in result.arrays[0].worst}
    assert steps == {0: 0.25, 1: 2.0**-11, 2: 2.0**-12}  # small entries of an ordinary array have length 1


def test_error_within_the_tolerance_passes_and_beyond_it_fails() -> None:
    for factor, outcome in ((1 + 0.9e-3, Outcome.PASS), (1 + 1.1e-3, Outcome.FAIL), (1 - 1.1e-3, Outcome.FAIL)):
        assert outcomes(check(exp(factor), X, tolerance=Tolerance(rtol=1e-3))) == [outcome] * 3


@pytest.mark.parametrize(("offset", "outcome"), [(0.9e-3, Outcome.PASS), (1.1e-3, Outcome.FAIL)])
def test_absolute_tolerance(offset: float, outcome: Outcome) -> None:
    layer = Map(np.exp, lambda dy, x: dy * np.exp(x) + np.sign(dy) * offset)
    assert outcomes(check(layer, X, tolerance=Tolerance(atol=1e-3))) == [outcome] * 3


def test_rtol_and_atol_add_up() -> None:
    layer = exp(1 + 1.5e-3)
    assert outcomes(check(layer, {"x": [0.0]}, tolerance=Tolerance(rtol=1e-3))) == [Outcome.FAIL]
    assert outcomes(check(layer, {"x": [0.0]}, tolerance=Tolerance(rtol=1e-3, atol=2e-3))) == [Outcome.PASS]


def test_tolerance_accepts_what_the_automatic_rule_would_not() -> None:
    assert check(exp(1 + 1e-5), X).verdict is Verdict.FAIL
    assert check(exp(1 + 1e-5), X, tolerance=Tolerance(rtol=1e-4)).verdict is Verdict.PASS


def test_tolerance_beyond_what_differences_reach_is_inconclusive() -> None:
    result = check(exp(), X, tolerance=Tolerance(rtol=1e-17))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert all(element.reason for element in result.arrays[0].worst)


def test_tolerance_switches_floor_and_agreement_off() -> None:
    tiny = entrywise(lambda x: 1e6 * x + 0 * x, lambda x: 1e6 * (1 + 1e-10))
    assert check(tiny, X).verdict is Verdict.PASS  # ten digits agree
    assert check(tiny, X, tolerance=Tolerance(rtol=1e-12)).verdict is not Verdict.PASS


def test_a_step_that_cannot_reach_the_tolerance_is_told() -> None:
    result = check(exp(), X, difference=Difference(step=0.1), tolerance=Tolerance(rtol=1e-7))
    sentence = (
        "the explicit step cannot reach the explicit tolerance at 3 of 3 elements (its own error is larger); "
        "other steps were tried there"
    )
    assert warned(result) == [sentence]
    assert result.verdict is Verdict.PASS
    assert {element.method for element in result.arrays[0].worst} == {"richardson"}


def test_a_step_that_reaches_the_tolerance_is_no_news() -> None:
    result = check(exp(), X, difference=Difference(step=1e-5), tolerance=Tolerance(rtol=1e-6))
    assert (result.verdict, warned(result)) == (Verdict.PASS, [])


def test_a_wrong_gradient_is_no_reason_to_warn_of_the_step() -> None:
    result = check(exp(1.01), X, difference=Difference(step=1e-5), tolerance=Tolerance(rtol=1e-6))
    assert (result.verdict, warned(result)) == (Verdict.FAIL, [])


def test_without_an_explicit_tolerance_there_is_nothing_to_reach() -> None:
    result = check(exp(), X, difference=Difference(step=0.1))
    assert (result.verdict, warned(result)) == (Verdict.PASS, [])


def test_kinks_are_accepted_under_a_tolerance_too() -> None:
    relu = entrywise(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float))
    result = check(relu, {"x": [0.0, 0.5]}, tolerance=Tolerance(rtol=1e-6))
    assert outcomes(result) == [Outcome.KINK, Outcome.PASS]


@pytest.mark.parametrize("method", ["central", "richardson"])
def test_one_sided_methods_exist_for_functions_defined_on_one_side(method: str) -> None:
    root = entrywise(lambda x: x + np.sqrt(x) ** 5, lambda x: 1 + 2.5 * np.sqrt(x) ** 3)
    forward = check(root, {"x": [0.0, 1.0]}, difference=Difference("forward"), tolerance=Tolerance(1e-3, 1e-3))
    assert forward.verdict is Verdict.PASS
    other = check(root, {"x": [0.0, 1.0]}, difference=Difference(method), tolerance=Tolerance(1e-3, 1e-3))
    assert at(other, 0).reason == "domain"

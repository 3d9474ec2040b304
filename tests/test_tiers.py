"""The three tiers through whole checks: what settles where, what it costs, and how an element ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.differences.central import Central
from gradcheck_cli.differences.method import Estimate, Samples
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.levels import MOST
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Outcome, Verdict
from gradcheck_cli.spec import Difference, Given
from gradcheck_cli.tiers import first
from tests.judging import Map, at, check, entrywise, outcomes

PLUMBING, NOISE = 4, 12


def tiers(result: CheckResult) -> dict[str, int]:
    """Evaluations of the tiers alone."""
    overhead = ("plumbing", "noise", "structure")
    return {tier: count for tier, count in result.evaluations_by_tier.items() if tier not in overhead}


class Alone:
    """A built-in layer without its stacked evaluation."""

    def __init__(self, name: str) -> None:
        self.layer = LAYERS[name]()
        self.calls = 0

    def arrays(self, **given: Any) -> Any:
        return self.layer.arrays(**given)

    def forward(self, **arrays: Array) -> Any:
        self.calls += 1
        return self.layer.forward(**arrays)

    def vjp(self, dy: Any, **arrays: Array) -> Any:
        return self.layer.vjp(dy, **arrays)


def test_cost_of_linear_to_the_evaluation() -> None:
    layer = Alone("linear")
    result = check(layer)
    elements = 3 + 6 + 2
    assert result.evaluations_by_tier == {"plumbing": PLUMBING, "noise": NOISE, "tier1": 2 * elements}
    assert result.evaluations == layer.calls
    assert result.vjp_calls == 2 + 6 + 4


def test_cost_of_tanh_to_the_evaluation() -> None:
    layer = Alone("tanh")
    result = check(layer, {"x": Given(shape=(4,))})
    assert result.evaluations_by_tier == {"plumbing": PLUMBING, "noise": NOISE, "tier1": 2 * 4}
    assert result.evaluations == layer.calls


def test_stacks_are_counted_by_their_points() -> None:
    result = check(LAYERS["linear"]())
    assert result.evaluations_by_tier["tier1"] == 2 * 11


def coupled(size: int) -> Map:
    """y = tanh(M x) with a full matrix: nothing can share an evaluation."""
    m = np.random.default_rng(0).normal(size=(3, size)) / np.sqrt(size)
    return Map(
        lambda x: np.asarray(np.tanh((m @ x.reshape(size, -1)).ravel())),
        lambda dy, x: np.asarray((dy / np.cosh(m @ x) ** 2) @ m),
        (size,),
    )


@pytest.mark.parametrize("size", [1, 5, 60])
def test_every_coupled_element_costs_two_evaluations(size: int) -> None:
    result = check(coupled(size))
    assert result.verdict is Verdict.PASS
    assert tiers(result) == {"tier1": 2 * size}
    assert {element.tier for element in result.arrays[0].worst} == {1}


def test_uncertainty_of_a_pass_is_never_below_the_difference_it_accepts() -> None:
    result = check(coupled(60))
    assert all(element.uncertainty >= element.abs_error for element in result.arrays[0].worst)
    assert all(element.resolution >= element.uncertainty for element in result.arrays[0].worst)


def test_a_wrong_gradient_costs_a_bounded_ladder() -> None:
    result = check(entrywise(np.exp, lambda x: 1.001 * np.exp(x)), {"x": [0.5]})
    assert outcomes(result) == [Outcome.FAIL]
    assert result.evaluations_by_tier["tier2"] <= 2 * MOST + 4 + 6  # levels, probe, both sides
    assert at(result, 0).tier == 2
    assert at(result, 0).method == "richardson"


def test_many_wrong_elements_are_cheaper_than_the_first() -> None:
    def cost(size: int) -> int:
        layer = Map(coupled(size).f, lambda dy, x: 1.01 * coupled(size).pull(dy, x), (size,))
        result = check(layer)
        assert set(outcomes(result)) == {Outcome.FAIL}
        return tiers(result)["tier2"]

    assert (cost(40) - cost(8)) / 32 < 16


HARD: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "fast": (lambda x: np.sin(1000 * x), lambda x: 1000 * np.cos(1000 * x)),
    "steep": (lambda x: np.exp(30 * x), lambda x: 30 * np.exp(30 * x)),
    "log": (np.log, lambda x: 1 / x),
    "large constant": (lambda x: 1e8 + np.sin(x), np.cos),
    "small": (lambda x: 1e-9 * np.sin(x), lambda x: 1e-9 * np.cos(x)),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_smooth_functions_pass_within_a_bounded_ladder(name: str) -> None:
    f, slope = HARD[name]
    result = check(entrywise(f, slope), {"x": [0.3, 0.7, 1.3]})
    assert result.verdict is Verdict.PASS, str(result)
    assert tiers(result).get("tier2", 0) <= 3 * (2 * MOST + 4)


def test_elements_of_1e_minus_8_beside_1e8_are_all_judged() -> None:
    scale = np.array([1e-8, 1e8, 1.0])
    result = check(entrywise(lambda x: scale * np.sin(x), lambda x: scale * np.cos(x)), {"x": [0.3, 0.7, 1.3]})
    assert result.verdict is Verdict.PASS
    wrong = np.array([1 + 1e-4, 1.0, 1.0])
    result = check(entrywise(lambda x: scale * np.sin(x), lambda x: wrong * scale * np.cos(x)), {"x": [0.3, 0.7, 1.3]})
    assert outcomes(result)[0] in (Outcome.FAIL, Outcome.INCONCLUSIVE)
    assert outcomes(result)[1:] == [Outcome.PASS, Outcome.PASS]


def test_without_the_mismatch_of_its_sides_a_symmetric_kink_would_not_be_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At 0 the central difference of |x| is the 0 of the gradient, for every step."""
    layer = entrywise(np.abs, np.sign)
    assert outcomes(check(layer, {"x": [0.0, 0.5]})) == [Outcome.KINK, Outcome.PASS]
    combine = Central.combine

    def blind(self: Central, samples: Samples) -> Estimate:
        found = combine(self, samples)
        return replace(found, mismatch=0 * found.mismatch)

    monkeypatch.setattr(Central, "combine", blind)
    assert outcomes(check(layer, {"x": [0.0, 0.5]})) == [Outcome.PASS] * 2


def test_without_the_guard_the_middle_of_a_kink_would_pass_as_its_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = entrywise(lambda x: 3 * x + np.abs(x), lambda x: 3 + np.sign(x))
    asked = {"difference": Difference("richardson")}
    assert outcomes(check(layer, {"x": [0.0, 0.5]}, **asked)) == [Outcome.KINK, Outcome.PASS]
    monkeypatch.setattr(first, "EVEN", np.inf)
    assert outcomes(check(layer, {"x": [0.0, 0.5]}, **asked)) == [Outcome.PASS] * 2


def test_an_analytic_zero_where_nothing_moves_passes() -> None:
    result = check(Map(lambda x: x[:2] ** 2, lambda dy, x: np.append(2 * dy * x[:2], 0.0)), {"x": [0.3, -0.7, 0.9]})
    assert outcomes(result) == [Outcome.PASS] * 3
    assert at(result, 2).numeric == 0.0


def test_a_slope_where_nothing_moves_fails() -> None:
    result = check(Map(lambda x: x[:2] ** 2, lambda dy, x: np.append(2 * dy * x[:2], 0.5)), {"x": [0.3, -0.7, 0.9]})
    assert outcomes(result) == [Outcome.PASS, Outcome.PASS, Outcome.FAIL]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gradients_that_are_not_finite_never_pass(value: float) -> None:
    result = check(entrywise(np.exp, lambda x: np.where(x == 0.5, value, np.exp(x))), {"x": [0.5, 0.7]})
    assert outcomes(result) == [Outcome.NONFINITE, Outcome.PASS]
    assert at(result, 0).reason == ("not a number" if np.isnan(value) else "not finite")
    assert result.verdict is Verdict.FAIL


def test_a_vertical_tangent_is_inconclusive() -> None:
    def slope(x: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(1 / (3 * np.cbrt(x) ** 2))

    result = check(entrywise(np.cbrt, slope), {"x": [0.0, 0.7]})
    assert outcomes(result) == [Outcome.INCONCLUSIVE, Outcome.PASS]
    assert at(result, 0).reason == "vertical tangent"


def test_an_infinity_of_the_wrong_sign_is_no_tangent() -> None:
    result = check(entrywise(np.cbrt, lambda x: np.where(x == 0, -np.inf, 1 / 3)), {"x": [0.0]})
    assert at(result, 0).outcome is Outcome.NONFINITE


REASONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], float]] = {
    "domain": (np.sqrt, lambda x: 1.0 + 0 * x, 0.0),
    "staircase": (lambda x: np.round(np.sin(x), 4), np.cos, 0.3),
}


@pytest.mark.parametrize("reason", REASONS)
def test_reason_of_an_inconclusive_element(reason: str) -> None:
    f, slope, x = REASONS[reason]
    found = at(check(entrywise(f, slope), {"x": [x]}), 0)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, reason)
    assert found.uncertainty >= found.abs_error or np.isnan(found.abs_error)


def test_noise_of_a_tenth_of_the_output_leaves_nothing_to_say() -> None:
    def noisy(x: Array) -> Array:
        bits = np.ascontiguousarray(x).view(np.uint64).astype(np.float64)
        return np.asarray(np.exp(x) * (1 + 0.1 * np.sin(bits * 1.7)))

    result = check(entrywise(noisy, np.exp), {"x": [0.3, 0.9]})
    assert {(element.outcome, element.reason) for element in result.arrays[0].worst} == {
        (Outcome.INCONCLUSIVE, "noise")
    }


def test_jacobian_view_judges_every_pair_by_the_same_rule() -> None:
    m = np.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.5]])
    right = Map(lambda x: np.asarray(m @ np.sin(x)), lambda dy, x: np.asarray((dy @ m) * np.cos(x)))
    result = check(right, {"x": [0.4, -0.9]}, view="jacobian")
    assert result.verdict is Verdict.PASS
    assert result.arrays[0].elements == 6
    assert tiers(result)["tier1"] == 2 * 2  # one pair of evaluations serves all outputs
    analytic = {(element.output, element.index): element.analytic for element in result.arrays[0].worst}
    for j, i in np.ndindex(3, 2):
        assert analytic[(j,), (i,)] == pytest.approx(m[j, i] * np.cos([0.4, -0.9][i]), rel=1e-12)


def test_jacobian_view_finds_the_one_wrong_pair() -> None:
    def pull(dy: Any, x: Array) -> Array:
        gradient = dy * np.exp(x)
        gradient[1] += 1e-3 * dy[2]
        return np.asarray(gradient)

    result = check(Map(np.exp, pull), {"x": [0.4, -0.9, 0.2]}, view="jacobian")
    (wrong,) = [element for element in result.arrays[0].worst if element.outcome is Outcome.FAIL]
    assert wrong.label("x") == "∂y[2]/∂x[1]"
    assert (wrong.analytic, wrong.numeric) == (1e-3, 0.0)


def test_jacobian_view_counts_kinks_pair_by_pair() -> None:
    relu = entrywise(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float))
    result = check(relu, {"x": [0.0, 0.5]}, view="jacobian")
    (array,) = result.arrays
    assert (array.passed, array.kinks, array.failed) == (3, 1, 0)


def test_one_tiny_wrong_element_among_a_thousand_is_found() -> None:
    scale = np.where(np.arange(1000) == 617, 1.0, 1e6)
    wrong = np.where(np.arange(1000) == 617, 1 + 1e-5, 1.0)
    layer = entrywise(lambda x: scale * np.sin(x), lambda x: wrong * scale * np.cos(x))
    x = np.linspace(0.2, 1.2, 1000)
    result = check(layer, {"x": x})
    assert [element.index for element in result.arrays[0].worst if element.outcome is Outcome.FAIL] == [(617,)]
    assert result.arrays[0].worst[0].index == (617,)
    assert (result.arrays[0].passed, result.arrays[0].failed) == (999, 1)

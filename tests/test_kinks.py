"""Kinks: the band of subgradients, the gradient on both sides, directions for ties, and what checks make of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.evidence import UNIT64, Level, Trace
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import kinks
from gradcheck_cli.numeric.kinks import Sides, Spot, Together, band, directions, sides, slopes, violates
from gradcheck_cli.numeric.noise import measure
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.results import Outcome, Verdict
from gradcheck_cli.tiers import last
from tests.judging import Map, at, check, entrywise, outcomes

RELU = entrywise(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float))


def trace(rights: list[list[float]], lefts: list[list[float]], noise: float = 0.0) -> Trace:
    steps = [1e-3 * 4.0**k for k in range(len(rights))]
    levels = [
        Level(h, 0.0, 1.0, 1.0, np.array(right), np.array(left), False, np.zeros(len(right)))
        for h, right, left in zip(steps, rights, lefts, strict=True)
    ]
    count = len(levels)
    return Trace(tuple(levels), (noise,) * count, (noise,) * count, 1.0, 1.0, UNIT64, 0.0)


def test_band_is_the_sum_over_outputs_of_the_ends() -> None:
    found = band(trace([[1.0, -2.0], [1.0, -2.0]], [[0.0, 3.0], [0.0, 3.0]], noise=1e-9))
    assert (found.low, found.high) == (0.0 - 2.0, 1.0 + 3.0)
    assert found.slack == pytest.approx(12e-9)


def test_band_comes_from_the_level_that_changes_least() -> None:
    found = band(trace([[1.1], [1.01], [1.011], [2.0]], [[0.0], [0.0], [0.0], [0.0]]))
    assert found.high == 1.01
    assert found.slack == pytest.approx(0.001)


def test_no_levels_have_no_band() -> None:
    with pytest.raises(ValueError, match=r"^a band needs at least one level$"):
        band(trace([], []))


def objective(layer: Map, x: Array, dy: Array | None = None) -> Objective:
    y = np.asarray(layer.f(x))
    return Objective(layer, {"x": x}, (np.ones(y.shape) if dy is None else dy,))


def both_sides(layer: Map, x: float, error: float = math.inf) -> tuple[Sides, int, int]:
    one = objective(layer, np.array([x]))
    noise = measure(one, ["x"], one.at(one.arrays))
    before = sum(one.ledger.evaluations.values())
    answer = sides(one, noise, Spot("x", 0, 0, 1.0, 1e-15), 1e-3, error)
    return answer, sum(one.ledger.evaluations.values()) - before, one.ledger.vjp_calls


def slope_of_abs(left: float, right: float) -> Map:
    return entrywise(np.abs, lambda x: np.where(x > 0, right, np.where(x < 0, left, 0.0)))


def test_right_gradient_on_both_sides_costs_6_evaluations_and_2_vjp_calls() -> None:
    assert both_sides(slope_of_abs(-1.0, 1.0), 0.0) == (Sides.RIGHT, 6, 2)


@pytest.mark.parametrize(("left", "right"), [(-1.0, 1.01), (-1.01, 1.0), (1.0, 1.0), (math.nan, 1.0)])
def test_wrong_gradient_on_one_side_is_wrong(left: float, right: float) -> None:
    answer = both_sides(slope_of_abs(left, right), 0.0)[0]
    assert answer is not Sides.RIGHT
    assert answer is Sides.WRONG or math.isnan(left)


def test_another_kink_within_reach_leaves_it_unknown() -> None:
    layer = entrywise(lambda x: np.abs(x) + np.abs(x - 1e-3), lambda x: np.sign(x) + np.sign(x - 1e-3))
    assert both_sides(layer, 0.0)[0] is Sides.UNKNOWN


def test_a_side_out_of_the_domain_is_unknown() -> None:
    assert both_sides(entrywise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), 0.0)[0] is Sides.UNKNOWN


def test_a_vjp_that_raises_beside_the_point_is_unknown() -> None:
    def pull(dy: Any, x: Array) -> Array:
        raise ValueError("no value here")

    assert both_sides(Map(np.abs, pull), 0.0)[0] is Sides.UNKNOWN


def test_right_needs_a_bound_below_half_the_error() -> None:
    assert both_sides(slope_of_abs(-1.0, 1.0), 0.0, error=1e-3)[0] is Sides.RIGHT
    assert both_sides(slope_of_abs(-1.0, 1.0), 0.0, error=1e-7)[0] is Sides.UNKNOWN


def test_directions_move_ties_together_and_apart() -> None:
    values = np.array([0.5, -0.5, 0.5, 2.0])
    found = list(directions(values, np.random.default_rng(0)))
    assert found[0].tolist() == [1.0] * 4
    assert [d.tolist() for d in found[1:3]] == [[1, 1, 1, 0], [0, 0, 0, 1]]
    grouped = found[3 : 3 + kinks.DIRECTIONS]
    assert all(d[0] == d[1] == d[2] and set(np.abs(d)) == {1.0} for d in grouped)
    assert any(d[0] != d[2] for d in found[3 + kinks.DIRECTIONS :])
    assert len(found) == 3 + 2 * kinks.DIRECTIONS


def test_slopes_along_a_direction() -> None:
    one = objective(Map(lambda x: np.asarray(np.max(x)), lambda dy, x: dy), np.array([1.0, 1.0]), np.asarray(2.0))
    together = Together("x", np.array([0, 1]), np.array([1.0, 1.0]), 0.25)
    found = slopes(one, together, 0.25)
    assert found is not None
    assert [float(part[0]) for part in found] == [2.0, 2.0]  # the maximum moves with both
    apart = slopes(one, Together("x", np.array([0, 1]), np.array([1.0, -1.0]), 0.25), 0.25)
    assert apart is not None
    assert [float(part[0]) for part in apart] == [2.0, -2.0]
    assert sum(one.ledger.evaluations.values()) == 6


@pytest.mark.parametrize(("gradient", "wrong"), [([0.5, 0.5], False), ([1.0, 0.0], False), ([1.0, 1.0], True)])
def test_tied_maximum(gradient: list[float], wrong: bool) -> None:
    one = objective(Map(lambda x: np.asarray(np.max(x)), lambda dy, x: dy), np.array([1.0, 1.0]), np.asarray(1.0))
    noise = measure(one, ["x"], one.at(one.arrays))
    together = Together("x", np.array([0, 1]), np.array([1.0, 1.0]), 1e-3)
    found = violates(one, noise, together, np.array(gradient)[:, None])
    assert found is not None
    assert found.tolist() == [wrong]


def test_outside_the_domain_no_direction_tells() -> None:
    one = objective(entrywise(np.sqrt, lambda x: x), np.array([0.0, 1.0]))
    noise = measure(one, ["x"], one.at(one.arrays))
    assert violates(one, noise, Together("x", np.array([0]), np.array([1.0]), 1e-3), np.ones((1, 1))) is None
    assert slopes(one, Together("x", np.array([0]), np.array([1.0]), 1e-3), 1e-3) is None


@pytest.mark.parametrize("subgradient", [0.0, 0.3, 1.0])
def test_any_subgradient_is_accepted_and_counted(subgradient: float) -> None:
    layer = entrywise(RELU.f, lambda x: np.where(x == 0, subgradient, x > 0))
    result = check(layer, {"x": [0.0, 0.5, 0.0]})
    assert result.verdict is Verdict.PASS
    assert [array.kinks for array in result.arrays] == [2]
    assert result.notes == ("2 elements sit exactly on a kink; any subgradient is right",)


@pytest.mark.parametrize("slope", [-0.1, 1.1, 2.0])
def test_what_is_no_subgradient_fails(slope: float) -> None:
    result = check(entrywise(RELU.f, lambda x: np.where(x == 0, slope, x > 0)), {"x": [0.0, 0.5]})
    assert result.verdict is Verdict.FAIL
    assert at(result, 0).reason == "no subgradient"
    assert outcomes(result) == [Outcome.FAIL, Outcome.PASS]


def test_a_hundred_kinks_with_slope_2_fail() -> None:
    result = check(entrywise(RELU.f, lambda x: np.where(x == 0, 2.0, x > 0)), {"x": np.zeros(100)})
    assert [array.failed for array in result.arrays] == [100]


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_kink_beside_the_point_is_resolved(distance: float, side: int) -> None:
    result = check(RELU, {"x": [side * distance, 0.5, -0.7]})
    assert result.verdict is Verdict.PASS
    assert outcomes(result) == [Outcome.PASS] * 3


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9])
def test_a_wrong_slope_beside_a_kink_does_not_pass(distance: float) -> None:
    result = check(entrywise(RELU.f, lambda x: (x > -2 * distance).astype(float)), {"x": [-distance, 0.5, -0.7]})
    assert at(result, 0).outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE)
    assert outcomes(result)[1:] == [Outcome.PASS, Outcome.PASS]


def winners(x: Array, share: bool) -> Array:
    tied = (x == x.max()).astype(float)
    return tied / tied.sum() if share else tied


@pytest.mark.parametrize("x", [[0.7, 0.7, 0.1], [0.7, 0.1, 0.7, 0.7], [-1.3, -1.3]])
def test_tied_winners_may_share_the_gradient_but_not_each_get_it(x: list[float]) -> None:
    def layer(share: bool) -> Map:
        return Map(lambda x: np.asarray(x.max()), lambda dy, x: dy * winners(x, share))

    assert check(layer(True), {"x": x}).verdict is Verdict.PASS
    result = check(layer(False), {"x": x})
    assert result.verdict is Verdict.FAIL
    assert {at(result, k).reason for k in np.flatnonzero(winners(np.array(x), False))} == {"no subgradient"}


def test_without_directions_a_full_gradient_for_every_winner_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Map(lambda x: np.asarray(x.max()), lambda dy, x: dy * winners(x, False))
    assert check(layer, {"x": [0.7, 0.7, 0.1]}).verdict is Verdict.FAIL
    monkeypatch.setattr(last, "tied_kinks", lambda scene: None)
    assert check(layer, {"x": [0.7, 0.7, 0.1]}).verdict is Verdict.PASS


def test_ties_of_many_are_not_blamed_for_an_order_that_was_not_tried() -> None:
    def ranked(x: Array) -> Array:
        return np.argsort(np.argsort(-x, kind="stable"), kind="stable")

    layer = Map(np.sort, lambda dy, x: dy[ranked(-x)])
    result = check(layer, {"x": [0.7, 0.7, 0.1, 0.1, 0.1, 2.0]})
    assert Outcome.FAIL not in outcomes(result)
    wrong = check(Map(np.sort, lambda dy, x: 2 * dy[ranked(-x)]), {"x": [0.7, 0.7, 0.1, 0.1, 0.1, 2.0]})
    assert wrong.verdict is Verdict.FAIL


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_where_everything_is_zero_a_zero_passes(dtype: str) -> None:
    result = check(RELU, {"x": [-0.5, -2.0, -1e-3]}, dtype=dtype)
    assert outcomes(result) == [Outcome.PASS] * 3
    wrong = check(entrywise(RELU.f, lambda x: np.full(x.shape, 1e-3)), {"x": [-0.5, -2.0, -1e-3]}, dtype=dtype)
    assert wrong.verdict is not Verdict.PASS


@pytest.mark.parametrize("stairs", [4, 8, 64, 1024])
def test_a_straight_through_gradient_of_stairs_is_no_fail_and_a_forgotten_mask_is_one(stairs: int) -> None:
    W, x = np.random.default_rng(2).normal(size=(8, 6)), np.random.default_rng(3).normal(size=6)
    quantised = Map(lambda x: np.floor(stairs * (W @ x)) / stairs, lambda dy, x: W.T @ dy, (6,))
    assert Outcome.FAIL not in outcomes(check(quantised, {"x": x}))
    z = np.random.default_rng(stairs).normal(size=20)
    unmasked = outcomes(check(entrywise(RELU.f, np.ones_like), {"x": z}))
    assert [outcome is Outcome.FAIL for outcome in unmasked] == (z < 0).tolist()


def wrong_beside(factor: float) -> Map:
    return entrywise(np.abs, lambda x: np.where(np.abs(x) > 0, factor * np.sign(x), 0.0))


def test_without_the_sides_a_gradient_wrong_beside_its_kink_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    result = check(wrong_beside(1.5), {"x": [0.0]})
    assert (result.verdict, at(result, 0).reason) == (Verdict.FAIL, "wrong beside the kink")
    monkeypatch.setattr(kinks, "sides", lambda *args: Sides.RIGHT)
    assert check(wrong_beside(1.5), {"x": [0.0]}).verdict is Verdict.PASS


def narrow(x: Array) -> Array:
    return np.asarray(np.exp(-(((x - 0.75) / 1e-9) ** 2)))


def test_without_the_sides_a_feature_too_narrow_to_be_seen_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = entrywise(
        lambda x: x * x + 0.5 * (x - 0.75) * narrow(x),
        lambda x: 2 * x + 0.5 * narrow(x) * (1 - 2 * ((x - 0.75) / 1e-9) ** 2),
    )
    result = check(layer, {"x": [0.75, 0.4]})
    assert (result.verdict, at(result, 0).reason) == (Verdict.INCONCLUSIVE, "kink")
    monkeypatch.setattr(kinks, "sides", lambda *args: Sides.UNKNOWN)
    assert check(layer, {"x": [0.75, 0.4]}).verdict is Verdict.FAIL


def test_a_value_set_at_a_single_point_does_not_pass() -> None:
    layer = entrywise(lambda x: x * x, lambda x: np.where(x == 0.75, 0.0, 2 * x))
    assert check(layer, {"x": [0.75, 0.4]}).verdict is Verdict.INCONCLUSIVE


CURVED: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "log": (np.log, lambda x: 1 / x),
    "root": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
}


@pytest.mark.parametrize("name", CURVED)
def test_curvature_is_no_kink(name: str) -> None:
    f, slope = CURVED[name]
    x = [0.0, 1e-9, -1e-5] if name == "cube" else [1e-12, 1e-6, 0.3]
    result = check(entrywise(f, slope), {"x": x})
    assert outcomes(result) == [Outcome.PASS] * 3

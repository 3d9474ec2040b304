"""Gradients around a point: limits of them are accepted at a kink, and where several kinks meet nothing is certain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import gradcheck_cli
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.around import ASKED, Around
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.results import Verdict
from tests.judging import Map


@dataclass
class Network:
    """Two linear layers with a relu between, whose slope at 0 is `at_zero`; without `b` there is no bias."""

    at_zero: float

    def forward(self, x: Array, V: Array, W: Array, b: Array | float = 0.0) -> Array:
        return np.asarray(np.maximum(x @ V.T + b, 0) @ W.T)

    def vjp(self, dy: Array, x: Array, V: Array, W: Array, b: Array | float = 0.0) -> dict[str, Array]:
        z = x @ V.T + b
        dz = (dy @ W) * np.where(z == 0, self.at_zero, z > 0)
        found = {"x": dz @ V, "V": dz.T @ x, "W": dy.T @ np.maximum(z, 0)}
        return found | ({"b": dz.sum(axis=0)} if isinstance(b, np.ndarray) else {})


def verdict(at_zero: float, seed: int, bias: bool) -> Verdict:
    rng = np.random.default_rng(seed)
    arrays = {"x": rng.normal(size=(4, 3)), "V": rng.normal(size=(6, 3)), "W": rng.normal(size=(2, 6))}
    arrays["x"][[1, 3]] = 0.0  # padding: everything behind it is on its kink
    return gradcheck_cli.check(Network(at_zero), arrays | ({"b": np.zeros(6)} if bias else {})).verdict


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
def test_rows_of_zeros_pass_with_a_bias_of_zeros(at_zero: float, seed: int) -> None:
    assert verdict(at_zero, seed, bias=True) is Verdict.PASS


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
def test_rows_of_zeros_do_not_fail_without_a_bias(at_zero: float, seed: int) -> None:
    assert verdict(at_zero, seed, bias=False) in (Verdict.PASS, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("at_zero", [-1.0, 3.0])
def test_a_slope_that_no_relu_has_does_not_pass_at_zeros(at_zero: float, bias: bool) -> None:
    found = [verdict(at_zero, seed, bias) for seed in range(6)]
    assert found.count(Verdict.FAIL) >= 2
    assert Verdict.PASS not in found


def around(layer: Map, x: list[float], analytic: list[float]) -> Around:
    objective = Objective(layer, {"x": np.array(x)}, (np.ones(np.shape(layer.f(np.array(x)))),))
    return Around(objective, "x", {"x": np.array(analytic, float)[:, None]}, 2.0**-53)


def maximum(x: Array) -> Array:
    return np.asarray(x.max())


def winner(dy: Array, x: Array) -> Array:
    return np.asarray(dy * (x == x.max()))


def test_ties_break_beside_the_point() -> None:
    found = around(Map(maximum, winner), [0.7, 0.7, 0.1], [1, 1, 0])
    assert {tuple(row) for row in found.of(0, range(len(found.analytic)))} == {(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)}
    assert found.has(0, [0])
    assert not found.has(0, [0, 1])
    assert not found.excuses(0, [0])  # one kink only: what is right there is known


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [4, 2], [3, 0]])
def test_whoever_of_many_won_is_put_ahead(order: list[int]) -> None:
    dy = np.array([2.0, 3.0])

    def largest(dy: Array, x: Array) -> Array:
        made = np.zeros(x.size)
        made[np.argsort(-x)[:2]] = dy * [2.0, 3.0]
        return made

    analytic = np.zeros(5)
    analytic[order] = dy
    layer = Map(lambda x: np.asarray(np.sort(x)[:-3:-1]), largest)
    assert around(layer, [0.7] * 5, analytic.tolist()).has(0, range(5))


def test_each_unit_is_asked_once() -> None:
    found = around(Map(maximum, winner), [0.7, 0.7], [1, 1])
    assert len(found.of(0, [0, 1])) == found.objective.ledger.vjp_calls == len(found.of(0, [1]))


def test_large_arrays_are_asked_for_few_elements_and_then_nothing_is_certain() -> None:
    found = around(Map(maximum, winner), [0.7, 0.7], [1, 1])
    found.kept = False
    assert not found.excuses(0, [0])
    for _ in range(ASKED):
        calls = found.objective.ledger.vjp_calls
        assert not found.has(0, [0, 1])
    assert found.objective.ledger.vjp_calls == calls
    assert found.excuses(0, [0])


def test_gradients_without_value_tell_nothing() -> None:
    def raises(dy: Array, x: Array) -> Array:
        raise ValueError

    one = around(Map(maximum, raises), [0.7, 0.7], [1, 1])
    assert not one.has(0, [0])
    assert one.excuses(0, [0])


def test_points_without_a_gradient_are_left_out() -> None:
    """Of five slopes that may be on or off some points have none: they do not count as a kind."""

    def pull(dy: Array, x: Array) -> Array:
        return np.asarray(dy * (np.nan if x[0] > x[1] else (x == x.max())))

    found = around(Map(maximum, pull), [0.7, 0.7], [1, 1])
    assert np.isnan(found.of(0, [0])).any()
    assert not found.excuses(0, [0])
    assert not found.excuses(0, [0, 1], np.array([1.0, -1.0]))


@pytest.mark.parametrize(("analytic", "excused"), [(0.0, True), (3.0, True), (100.0, False)])
def test_where_several_kinks_meet_only_what_they_may_add_up_to_is_excused(analytic: float, excused: bool) -> None:
    slopes, across = np.array([1.0, -2.0, 4.0]), np.array([0.0, 1.0, -1.0])

    def forward(x: Array) -> Array:
        return np.asarray(np.maximum(slopes * (x[0] + across * x[1]), 0).sum())

    def vjp(dy: Array, x: Array) -> Array:
        on = slopes * (slopes * (x[0] + across * x[1]) > 0)
        return np.asarray(dy * np.array([on.sum(), (on * across).sum()]))

    assert around(Map(forward, vjp), [0.0, 0.0], [analytic, 0.0]).excuses(0, [0]) == excused

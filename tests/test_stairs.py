"""Stairs everywhere are left inconclusive at once, and what is not in stairs is judged in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.results import CheckResult, Outcome, Rows, Verdict
from gradcheck_cli.tiers import alike
from gradcheck_cli.tiers.sheet import INCONCLUSIVE
from tests.judging import check

RNG = np.random.default_rng(11)
ARRAYS = {"x": RNG.normal(size=(6, 16)), "W": RNG.normal(size=(12, 16)) / 4}
SIZE = 12 * 16


def in_stairs(W: Array) -> Array:
    return np.asarray(np.round(W * 16) / 16)


@dataclass(frozen=True)
class Dense:
    """f(x g(W)ᵀ) with the gradient of x Wᵀ, that of the last entries of W times a factor."""

    f: Callable[[Array], Array] = np.asarray
    g: Callable[[Array], Array] = np.asarray
    wrong: int = 0
    factor: float = 1.0

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        return {name: ArraySpec(shape) for name, shape in given.items()}

    def forward(self, x: Array, W: Array) -> Array:
        return np.asarray(self.f(x @ self.g(W).T))

    def vjp(self, dy: Array, x: Array, W: Array) -> dict[str, Array]:
        dW = (dy.T @ x).reshape(-1)
        dW[dW.size - self.wrong :] *= self.factor
        return {"x": dy @ self.g(W), "W": dW.reshape(W.shape)}


def weights(result: CheckResult) -> dict[tuple[int, ...], tuple[Outcome, str | None]]:
    return {one.index: (one.outcome, one.reason) for one in result.arrays[1].worst}


def judged(layer: Dense) -> CheckResult:
    return check(layer, ARRAYS, Rows(None))


def in_full(layer: Dense, monkeypatch: pytest.MonkeyPatch) -> CheckResult:
    with monkeypatch.context() as patch:
        patch.delitem(alike.WAYS, INCONCLUSIVE)
        return judged(layer)


def test_quantised_weights_are_in_stairs_and_soon_told(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Dense(g=in_stairs)
    result, full = judged(layer), in_full(layer, monkeypatch)
    assert result.verdict is full.verdict is Verdict.INCONCLUSIVE
    assert result.arrays[0].passed == 6 * 16
    assert {outcome for outcome, _ in weights(result).values()} == {Outcome.INCONCLUSIVE}
    assert Counter(reason for _, reason in weights(result).values())["staircase"] > 0.9 * SIZE
    assert 3 * result.evaluations < full.evaluations
    assert all(one.uncertainty >= abs(one.analytic - one.numeric) for one in result.arrays[1].worst)


def test_long_double_gives_up_where_a_few_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Dense(f=lambda y: y * (1 + 0.02 * np.sin(1e12 * y)))
    result = judged(layer)
    monkeypatch.setattr(alike, "MANY", 10**9)
    full = judged(layer)
    assert weights(result) == weights(full)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert 2 * result.evaluations < full.evaluations


def test_wrong_smooth_elements_among_stairs_fail() -> None:
    def almost(W: Array) -> Array:
        V = in_stairs(W)
        V[-1, -5:] = W[-1, -5:]
        return V

    found = weights(judged(Dense(g=almost, wrong=5, factor=1.01)))
    assert {index for index, (outcome, _) in found.items() if outcome is Outcome.FAIL} == {
        (11, k) for k in range(11, 16)
    }


def test_elements_that_move_nothing_fail_among_stairs() -> None:
    def without(W: Array) -> Array:
        V = in_stairs(W)
        V[-1, -5:] = 0.0
        return V

    found = weights(judged(Dense(g=without)))
    assert {index for index, (outcome, _) in found.items() if outcome is Outcome.FAIL} == {
        (11, k) for k in range(11, 16)
    }


def test_straight_through_gradients_of_quantised_outputs_are_no_fail() -> None:
    result = judged(Dense(f=lambda y: np.round(16 * y) / 16))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.arrays[0].failed == result.arrays[1].failed == 0


def test_a_relu_that_forgets_its_mask_fails_at_dead_units() -> None:
    result = judged(Dense(f=lambda y: np.maximum(y - 3.0, 0.0)))
    assert result.arrays[1].failed == SIZE

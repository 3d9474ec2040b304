"""Kinks everywhere are told without a ladder each, and nothing that is wrong hides among them."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli.adapters.chain import Chain
from gradcheck_cli.layer import Array
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Outcome, Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from gradcheck_cli.tiers import alike
from tests.judging import Map, at, check, entrywise

ZEROS = np.where(np.arange(300) % 3 == 0, np.random.default_rng(4).normal(size=300), 0.0)  # 200 of them on a kink


def relu(at_zero: float = 0.0, beside: float = 1.0) -> Map:
    """A relu; its slope for the eleventh entry is `beside` just above zero, where it is 0 at the point."""

    def pull(dy: Array, x: Array) -> Array:
        slope = np.where(x == 0, at_zero, (x > 0).astype(float))
        slope[10] *= beside if 0 < abs(x[10]) < 1e-2 else 1.0
        return np.asarray(dy * slope)

    return Map(lambda x: np.maximum(x, 0), pull)


@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
def test_many_kinks_take_few_evaluations(at_zero: float, monkeypatch: pytest.MonkeyPatch) -> None:
    result = check(relu(at_zero), {"x": ZEROS})
    assert (result.arrays[0].kinks, result.arrays[0].passed) == (200, 100)
    monkeypatch.setattr(alike, "MANY", 10**9)
    ladders = check(relu(at_zero), {"x": ZEROS})
    assert ladders.arrays[0].kinks == 200
    assert ladders.evaluations > 5 * result.evaluations
    assert ladders.vjp_calls > 5 * result.vjp_calls


def test_one_that_is_wrong_beside_its_kink_is_found() -> None:
    assert ZEROS[10] == 0
    result = check(relu(beside=1.2), {"x": ZEROS})
    assert result.verdict is Verdict.FAIL
    assert (at(result, 10).outcome, at(result, 10).reason) == (Outcome.FAIL, "wrong beside the kink")
    assert (result.arrays[0].kinks, result.arrays[0].failed) == (199, 1)


def test_one_outside_the_slopes_is_found() -> None:
    slope = np.where(np.arange(300) == 7, 1.5, 0.0)
    assert ZEROS[7] == 0
    result = check(entrywise(RELU, lambda x: np.where(x == 0, slope, x > 0)), {"x": ZEROS})
    assert (at(result, 7).outcome, at(result, 7).reason) == (Outcome.FAIL, "no subgradient")
    assert (result.arrays[0].kinks, result.arrays[0].failed) == (199, 1)


def RELU(x: Array) -> Array:  # noqa: N802 - beside `relu`, which is wrong at will
    return np.maximum(x, 0)


@pytest.mark.parametrize("distance", [1e-6, 1e-9])
def test_a_kink_beside_the_point_is_not_taken_for_one_at_it(distance: float) -> None:
    x = ZEROS.copy()
    x[10] = -distance
    right = entrywise(RELU, lambda x: (x > 0).astype(float))
    assert at(check(right, {"x": x}), 10).outcome is Outcome.PASS
    half = entrywise(RELU, lambda x: np.where((x < 0) & (x > -2 * distance), 0.5, x > 0))
    assert at(check(half, {"x": x}), 10).outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE)


def test_a_gradient_without_value_beside_the_point_leaves_ladders() -> None:
    def pull(dy: Array, x: Array) -> Array:
        if not np.array_equal(x, ZEROS) and np.count_nonzero(x == 0) < 100:
            raise ValueError("not defined there")
        return np.asarray(dy * (x > 0))

    result = check(Map(RELU, pull), {"x": ZEROS})
    assert result.arrays[0].kinks == 200


def pooled(share: bool) -> CheckResult:
    x = np.maximum(np.random.default_rng(5).normal(size=(2, 2, 16, 16)), 0)
    x[:, :, ::4, ::4] = x[:, :, 1::4, ::4] = x[:, :, ::4, 1::4] = x[:, :, 1::4, 1::4] = 0.5
    layer = LAYERS["max_pool2d"](kernel_size=2)
    if share:
        made = Map(lambda x: layer.forward(x=x), every_winner, (2, 2, 16, 16))
        return check(made, {"x": x})
    return run_check(CheckSpec("a", "a", layer, "max_pool2d", {"x": Given(values=x)}), Rows(None))


def every_winner(dy: Array, x: Array) -> Array:
    """The mistake of giving dy to every tied winner."""
    windows = x.reshape(2, 2, 8, 2, 8, 2)
    won = windows == windows.max(axis=(3, 5), keepdims=True)
    return np.asarray((won * dy[:, :, :, None, :, None]).reshape(x.shape))


def test_ties_of_a_pooling_layer_are_kinks_and_not_every_winner_gets_the_gradient() -> None:
    right = pooled(share=False)
    assert right.verdict is Verdict.PASS
    assert right.arrays[0].kinks > 250
    assert right.evaluations < 2000
    wrong = pooled(share=True)
    assert wrong.verdict is Verdict.FAIL
    assert wrong.arrays[0].failed > 250


def test_a_convolutional_network_with_ties_behind_its_relu_takes_few_evaluations() -> None:
    names = ("conv2d", "relu", "max_pool2d", "mean")
    links = (LAYERS["conv2d"](padding=1), LAYERS["relu"](), LAYERS["max_pool2d"](kernel_size=2), LAYERS["mean"]())
    rng = np.random.default_rng(9)
    arrays = {"0.x": rng.normal(size=(4, 3, 12, 12)), "0.W": rng.normal(size=(8, 3, 3, 3)) / 5, "0.b": np.zeros(8)}
    given = {name: Given(values=array) for name, array in arrays.items()}
    result = run_check(CheckSpec("a", "a", Chain(links, names), "chain", given), Rows(None))
    assert result.verdict is Verdict.PASS, str(result)
    assert any("judged link by link" in note for note in result.notes)
    assert result.evaluations < 4000  # with a ladder for each tie they are 8,866

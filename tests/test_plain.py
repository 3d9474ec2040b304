"""Mistakes everywhere: plain fails are told without a ladder each, and what is not plain keeps its ladder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.results import CheckResult, Outcome, Rows, Verdict
from gradcheck_cli.spec import Difference, Tolerance
from gradcheck_cli.tiers import alike
from tests.judging import Map, check, entrywise, outcomes

RNG = np.random.default_rng(3)
ARRAYS = {"x": RNG.normal(size=(5, 16)), "W": RNG.normal(size=(12, 16)) / 4}


@dataclass(frozen=True)
class Dense:
    """tanh(x Wᵀ), mixed over the outputs if asked; the gradient of W is `factor` times the right one from `row` on."""

    factor: float
    row: int = 0
    mixed: bool = False

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        return {name: ArraySpec(shape) for name, shape in given.items()}

    def forward(self, x: Array, W: Array) -> Array:
        y = np.tanh(x @ W.T)
        return np.exp(y.sum(axis=1) / 8) if self.mixed else y

    def vjp(self, dy: Array, x: Array, W: Array) -> dict[str, Array]:
        y = np.tanh(x @ W.T)
        dy = (dy * np.exp(y.sum(axis=1) / 8) / 8)[:, None] if self.mixed else dy
        dz = dy * (1 - y**2)
        dW = dz.T @ x
        dW[self.row :] *= self.factor
        return {"x": dz @ W, "W": dW}


def truth(result: CheckResult, layer: Dense) -> Array:
    """The right gradient of W, from the analytic values."""
    worst = {one.index: one.analytic for one in result.arrays[1].worst}
    values = np.array([[worst[row, column] for column in range(16)] for row in range(12)])
    values[layer.row :] /= layer.factor
    return values


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("factor", [-1.0, 2.0, 1.01, 1.0001])
def test_all_fail_in_few_evaluations_and_their_uncertainties_hold(factor: float, mixed: bool) -> None:
    layer = Dense(factor, mixed=mixed)
    result = check(layer, ARRAYS, Rows(None))
    right = truth(result, layer)
    assert result.arrays[1].failed == 12 * 16
    assert result.arrays[0].passed == 5 * 16
    assert result.evaluations < (13 if mixed else 5) * 12 * 16 or factor == 1.0001  # so near that many need ladders
    for one in result.arrays[1].worst:
        assert abs(one.numeric - right[one.index]) <= one.uncertainty
        assert one.resolution < abs(one.analytic - one.numeric)


def test_right_elements_beside_them_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Dense(1.5, row=4)
    result = check(layer, ARRAYS, Rows(None))
    assert (result.arrays[1].passed, result.arrays[1].failed) == (4 * 16, 8 * 16)
    monkeypatch.setattr(alike, "MANY", 10**9)
    ladders = check(layer, ARRAYS, Rows(None))
    assert (ladders.arrays[1].passed, ladders.arrays[1].failed) == (4 * 16, 8 * 16)
    assert ladders.evaluations > 2 * result.evaluations


def test_every_unit_of_a_jacobian_has_its_outcome() -> None:
    layer = Map(lambda x: np.exp(x - x.mean()), lambda dy, x: 2 * dy * np.exp(x - x.mean()), (16,))
    result = check(layer, view="jacobian")
    assert result.verdict is Verdict.FAIL
    assert result.arrays[0].failed == 16 * 16
    assert result.evaluations < 16 * 40


PARTS = 80  # elements of each kind: many that are wrong, and as many that are right where it is hard to tell


def hard(x: Array) -> Array:
    """A sine, a sine at its tops, stairs of 1e-9, sizes at their kinks, and a root at the end of its domain."""
    sines, tops, stairs, sizes, roots = np.split(x, 5)
    return np.concatenate([np.sin(sines), np.sin(tops), np.round(stairs, 9), np.abs(sizes), np.sqrt(roots)])


def slopes(x: Array) -> Array:
    """All right but those of the first sines."""
    sines, tops, stairs, sizes, roots = np.split(x, 5)
    found = [2 * np.cos(sines), np.cos(tops), np.zeros_like(stairs), np.sign(sizes), 0.5 / np.sqrt(roots)]
    return np.concatenate(found)


def points() -> Array:
    rng = np.random.default_rng(6)
    parts = [rng.uniform(-1, 1, PARTS), np.full(PARTS, np.pi / 2), rng.uniform(1, 2, PARTS), np.zeros(PARTS)]
    return np.concatenate([*parts, rng.uniform(1e-6, 1e-4, PARTS)])


@pytest.mark.parametrize("difference", [None, Difference(step=10.0), Difference(relative_step=2.0)])
def test_what_is_right_does_not_fail_among_many_that_are_wrong(difference: Difference | None) -> None:
    found = outcomes(check(entrywise(hard, slopes), {"x": points()}, difference=difference))
    kinds = [found[k * PARTS : (k + 1) * PARTS] for k in range(5)]
    assert Outcome.FAIL in kinds[0]
    assert Outcome.PASS not in kinds[0]
    for kind in (kinds[1], kinds[3], kinds[4]):
        assert Outcome.FAIL not in kind


def test_stairs_as_fine_as_the_noise_fail_no_more_than_on_their_ladders(monkeypatch: pytest.MonkeyPatch) -> None:
    x = points()[: 3 * PARTS]
    layer = entrywise(
        lambda x: np.concatenate([np.sin(x[:PARTS]), np.round(x[PARTS:], 9)]),
        lambda x: np.concatenate([2 * np.cos(x[:PARTS]), np.zeros(2 * PARTS)]),
    )
    together = outcomes(check(layer, {"x": x}))
    monkeypatch.setattr(alike, "MANY", 10**9)
    alone = outcomes(check(layer, {"x": x}))
    assert together[:PARTS] == alone[:PARTS] == [Outcome.FAIL] * PARTS
    assert together[PARTS:].count(Outcome.FAIL) <= alone[PARTS:].count(Outcome.FAIL)


def test_an_explicit_tolerance_has_ladders() -> None:
    layer, arrays = Dense(2.0), {name: array[:, :8] for name, array in ARRAYS.items()}
    result = check(layer, arrays, tolerance=Tolerance(atol=1e-6))
    assert result.arrays[1].failed == 12 * 8
    assert {one.method for one in result.arrays[1].worst} == {"richardson"}


def test_tables_that_do_not_fit_leave_ladders(monkeypatch: pytest.MonkeyPatch) -> None:
    result = check(Dense(2.0), ARRAYS, Rows(None))
    monkeypatch.setattr(alike, "DENSE", 10**9)
    ladders = check(Dense(2.0), ARRAYS, Rows(None))
    assert ladders.arrays[1].failed == result.arrays[1].failed == 12 * 16
    assert ladders.evaluations > 2 * result.evaluations

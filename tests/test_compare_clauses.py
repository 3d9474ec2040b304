"""Each clause of a fail saves a check from a wrong verdict: with it the verdict is right, without it it is not."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli import compare
from gradcheck_cli.layer import Array
from gradcheck_cli.results import Outcome
from tests.judging import Map, at, check, entrywise, switch_off


def steep(k: float, x: Array) -> Array:
    return k * x * x


def staircase(x: Array) -> Array:
    return np.asarray(np.floor(x / 4e-3) * 4e-3)


def absorbed(x: Array) -> Array:
    """A slope of 1e7 that no evaluation shows: the last place of 1e22 is 2e6, and tanh is flat beyond 3."""
    return np.asarray(1e22 + 4e5 * np.tanh(x), dtype=np.float64)


TINY = 1e-15  # a step of tanh so narrow and low that 1 + sin x rounds it away


def below_the_last_place(x: Array) -> Array:
    return np.asarray(1 + np.sin(x) + 0.1 * TINY * np.tanh(x / TINY), dtype=np.float64)


CLAUSES: dict[str, tuple[Map, list[float]]] = {
    "scatter": (entrywise(lambda x: np.round(np.sin(x), 4) + 1e-6 * x, lambda x: np.cos(x) + 1e-6), [0.3, -0.7, 1.1]),
    "hidden": (
        Map(
            lambda x: np.stack([absorbed(x), x]),
            lambda dy, x: dy[0] * 4e5 / np.cosh(x) ** 2 + dy[1],
        ),
        [0.3],
    ),
    "unexplored": (
        Map(
            lambda x: np.stack([steep(500, x), staircase(x)]),
            lambda dy, x: dy[0] * 1000 * x + dy[1],
        ),
        [0.3137],
    ),
    "noise": (
        Map(
            lambda x: np.stack([below_the_last_place(x), np.asarray(steep(1e4, x), dtype=np.float64)]),
            lambda dy, x: dy[0] * (np.cos(x) + 0.1 / np.cosh(np.minimum(x / TINY, 300)) ** 2) + 2e4 * x * dy[1],
        ),
        [TINY, 0.7, 1.3],
    ),
    "kink": (
        Map(
            lambda x: np.stack([steep(1e4, x - 0.5) + x, 1e-5 * np.abs(x - 0.5)]),
            lambda dy, x: dy[0] * (2e4 * (x - 0.5) + 1) + 1e-5 * dy[1] * np.where(x >= 0.5, 1, -1),
        ),
        [0.5],
    ),
    "scale": (
        Map(
            lambda x: np.stack([steep(500, x), staircase(x) + 0.1 * x]),
            lambda dy, x: dy[0] * 1000 * x + 1.1 * dy[1],
        ),
        [0.3137],
    ),
}


@pytest.mark.parametrize("reason", CLAUSES)
def test_without_the_clause_a_right_gradient_would_fail(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = CLAUSES[reason]
    assert Outcome.FAIL not in {element.outcome for element in check(layer, {"x": x}).arrays[0].worst}
    switch_off(monkeypatch, reason)
    assert Outcome.FAIL in {element.outcome for element in check(layer, {"x": x}).arrays[0].worst}


def test_without_the_last_clause_an_error_of_three_bounds_would_be_called_certain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = entrywise(lambda x: np.sin(1e5 * x), lambda x: 1e5 * np.cos(1e5 * x) * (1 + 4e-7))
    found = at(check(layer, {"x": [0.8]}), 0)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, "marginal")
    switch_off(monkeypatch, "marginal")
    found = at(check(layer, {"x": [0.8]}), 0)
    assert found.outcome is Outcome.FAIL
    assert found.abs_error < 4 * found.uncertainty


def test_every_clause_is_shown_to_matter() -> None:
    assert {reason for reason, _ in compare.CLAUSES} == {*CLAUSES, "marginal"}

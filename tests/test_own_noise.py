"""Elements that move outputs of their own are judged by the noise of these: the loudest outputs deafen no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Outcome, Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given

RNG = np.random.default_rng(5)
X, W, B = RNG.normal(size=(8, 32)), RNG.normal(size=(64, 32)), RNG.normal(size=64)
FAINTER = np.logspace(0, -20, 64)  # dL/dy of each output feature
DY = RNG.uniform(0.5, 1.5, size=(8, 64)) * FAINTER


class Spoiled:
    """A linear layer, one element of whose dL/dW is multiplied."""

    def __init__(self, row: int, factor: float) -> None:
        self.layer, self.row, self.factor = LAYERS["linear"](), row, factor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)

    def vjp(self, dy: Array, **arrays: Array) -> dict[str, Array]:
        gradients: dict[str, Array] = self.layer.vjp(dy, **arrays)
        gradients["W"][self.row, 7] *= self.factor
        return gradients


def checked(layer: Any) -> CheckResult:
    given = {"x": Given(values=X), "W": Given(values=W), "b": Given(values=B)}
    return run_check(CheckSpec("c", "c", layer, "c", given, (DY,)), Rows(None))


def test_no_element_needs_a_ladder_and_each_is_resolved_to_its_own_size() -> None:
    result = checked(LAYERS["linear"]())
    assert result.verdict is Verdict.PASS
    assert "tier2" not in result.evaluations_by_tier
    true = {"W": DY.T @ X, "b": DY.sum(axis=0)}
    for array in result.arrays[1:]:
        for element in array.worst:
            own = FAINTER[element.index[0]]
            assert element.uncertainty <= 1e-8 * own
            assert abs(element.numeric - true[array.name][element.index]) <= element.uncertainty


def with_outcome(result: CheckResult, outcome: Outcome) -> list[tuple[str, tuple[int, ...]]]:
    return [(array.name, one.index) for array in result.arrays for one in array.worst if one.outcome is outcome]


@pytest.mark.parametrize("factor", [1.001, 1 - 1e-5, -1.0, 0.0])
@pytest.mark.parametrize("row", [0, 16, 24])
def test_a_wrong_element_of_a_faint_output_fails(row: int, factor: float) -> None:
    result = checked(Spoiled(row, factor))
    assert with_outcome(result, Outcome.FAIL) == [("W", (row, 7))]


@pytest.mark.parametrize("factor", [1.001, -1.0, 0.0])
def test_an_error_that_the_last_bits_of_louder_outputs_may_hide_does_not_pass(factor: float) -> None:
    result = checked(Spoiled(63, factor))
    assert with_outcome(result, Outcome.FAIL) == []
    assert with_outcome(result, Outcome.INCONCLUSIVE) == [("W", (63, 7))]


def test_outputs_that_the_cotangent_leaves_out_shorten_no_steps() -> None:
    """Dead units hand back exact zeros, which any step suits."""
    steps = []
    for dead in (0.0, 1.0):
        dy = DY / FAINTER * np.where(np.arange(64) % 3 == 1, dead, 1.0)
        given = {"x": Given(values=X), "W": Given(values=W), "b": Given(values=B)}
        result = run_check(CheckSpec("c", "c", LAYERS["linear"](), "c", given, (dy,)), Rows(None))
        assert result.verdict is Verdict.PASS
        [array] = [array for array in result.arrays if array.name == "W"]
        steps.append(min(one.step for one in array.worst if one.index[0] % 3 != 1 and one.step is not None))
    assert steps[0] >= steps[1] / 4

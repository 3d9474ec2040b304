"""First rungs of ladders evaluated together: they spare single calls, and a stack that errs accuses nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.numeric.ahead import looked_up
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.results import CheckResult, Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given

# of slopes that are small by cancellation one difference is too coarse, and three rungs are enough
X = np.concatenate([np.linspace(0.5, 1.0, 9), [1e-3, 1e-4, 1e-5], np.linspace(1.0, 2.0, 11)])
SMALL = 3


@dataclass
class Cosine:
    """y = cos x; `leak` is what each row of a stack adds of the row before, from the third on."""

    leak: float = 0.0
    factor: float = 1.0
    calls: int = 0

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        return {"x": ArraySpec(given.get("x", (3,)))}

    def forward(self, x: Array) -> Array:
        self.calls += 1
        return np.asarray(np.cos(x))

    def forward_stacked(self, x: Array) -> Array:
        y = np.cos(x)
        if self.leak:
            y[2:] += self.leak * (y[1:-1] - y[:1])
        return np.asarray(y)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": -self.factor * dy * np.sin(x)}


def judged(layer: Cosine, view: Literal["vjp", "jacobian"] = "vjp") -> CheckResult:
    return run_check(CheckSpec("s", "s", layer, "s", {"x": Given(values=X)}, view=view), Rows(None))


@pytest.mark.parametrize("view", ["vjp", "jacobian"])
def test_single_calls_are_spared_and_say_the_same(
    view: Literal["vjp", "jacobian"], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Cosine()
    result = judged(layer, view)
    spared = layer.calls
    monkeypatch.setattr("gradcheck_cli.tiers.climb.pass_ahead", lambda _, left: left)
    layer = Cosine()
    plain = judged(layer, view)
    assert result.verdict is plain.verdict is Verdict.PASS
    assert layer.calls - spared == SMALL * 6
    assert result.evaluations == plain.evaluations
    for one, other in zip(result.arrays[0].worst, plain.arrays[0].worst, strict=True):
        assert (one.index, one.outcome, one.tier, one.method) == (other.index, other.outcome, other.tier, other.method)
        assert abs(one.numeric - other.numeric) <= one.uncertainty


def test_a_stack_that_leaks_accuses_nobody() -> None:
    assert judged(Cosine(leak=1e-2)).verdict is Verdict.PASS


def test_wrong_elements_fail_by_single_calls() -> None:
    result = judged(Cosine(factor=1.5))
    assert result.verdict is Verdict.FAIL
    assert result.arrays[0].failed == X.size


def objective(layer: Cosine, x: Array) -> Objective:
    return Objective(layer, {"x": x}, (np.ones(x.size),))


def test_what_is_known_is_known_at_its_places_only() -> None:
    x = np.array([1.0, -2.0, 3.0])
    found = looked_up(objective(Cosine(), x), "x", [2, 0], np.array([[4.0, 1.5], [2.0, 0.5]]), np.cos(x))
    assert found is not None
    np.testing.assert_array_equal(found[2](4.0), np.cos([1.0, -2.0, 4.0]))
    np.testing.assert_array_equal(found[0](0.5), np.cos([0.5, -2.0, 3.0]))
    assert found[0](4.0) is None
    assert set(found) == {0, 2}


def test_outputs_that_are_not_finite_are_unknown() -> None:
    x = np.ones(2)
    found = looked_up(objective(Cosine(), x), "x", [1], np.array([[np.inf], [2.0]]), np.cos(x))
    assert found is not None
    assert found[1](np.inf) is None
    np.testing.assert_array_equal(found[1](2.0), np.cos([1.0, 2.0]))


def test_a_stack_rounded_differently_is_told_by_its_changes() -> None:
    x, off = np.ones(2), np.array([0.0, 2.0**-50])
    found = looked_up(objective(Cosine(), x), "x", [0], np.array([[1.5], [0.5]]), np.cos(x) + off)
    assert found is not None
    np.testing.assert_allclose(found[0](1.5), np.cos([1.5, 1.0]) + off, rtol=0, atol=1e-16)
    assert found[0](1.5)[1] == (np.cos(x) + off)[1]  # what did not move is the centre, bit for bit


def test_a_stack_that_fails_knows_nothing() -> None:
    class Broken(Cosine):
        def forward_stacked(self, x: Array) -> Array:
            raise ValueError("no stacks")

    x = np.ones(2)
    assert looked_up(objective(Broken(), x), "x", [0], np.array([[1.5]]), np.cos(x)) is None

"""From a check's description to its result: points, cotangents, errors, expectations, runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.draws import draw_arrays
from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Outcome, Rows, Verdict
from gradcheck_cli.runner import run, run_check
from gradcheck_cli.spec import CheckSpec, RunSpec
from tests.judging import Map, check, entrywise, rules

RIGHT = entrywise(np.exp, np.exp)
WRONG = entrywise(np.exp, lambda x: 1.01 * np.exp(x))


def spec(layer: Any, name: str = "one", **asked: Any) -> CheckSpec:
    return CheckSpec(f"a.yaml::{name}", name, layer, "exp", **asked)


def failing(layer: Any, **asked: Any) -> CheckResult:
    """A check that cannot be made."""
    result = run_check(spec(layer, **asked))
    assert result.verdict is Verdict.ERROR
    assert result.error is not None
    assert not result.met
    return result


def test_result_repeats_what_was_asked() -> None:
    result = run_check(spec(RIGHT, seed=7, file="a.yaml", line=3, column=5, reproduce="gradcheck run a.yaml::one"))
    assert (result.id, result.name, result.layer, result.seed) == ("a.yaml::one", "one", "exp", 7)
    assert (result.file, result.line, result.column) == ("a.yaml", 3, 5)
    assert result.reproduce == "gradcheck run a.yaml::one"
    assert (result.verdict, result.met, bool(result)) == (Verdict.PASS, True, True)
    assert result.seconds > 0


def test_the_seed_decides_the_point() -> None:
    def values(**asked: Any) -> list[float]:
        return [element.analytic for element in check(RIGHT, **asked).arrays[0].worst]

    assert values(seed=0) == values(seed=0)
    assert values(seed=0) != values(seed=1)


def test_points_are_drawn_apart_and_judged_as_one() -> None:
    result = check(RIGHT, points=3)
    (array,) = result.arrays
    assert (result.verdict, result.points) == (Verdict.PASS, 3)
    assert (array.elements, array.visited, array.passed) == (9, 9, 9)
    assert sorted(element.point for element in array.worst) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len({element.analytic for element in array.worst}) == 9
    assert result.evaluations == 3 * check(RIGHT).evaluations


def test_one_wrong_point_fails_the_check_and_is_told() -> None:
    second = draw_arrays(RIGHT.arrays(), {}, "float64", 0, 1)["x"]

    def slope(x: Array) -> Array:
        return np.exp(x) * (1.01 if np.abs(x - second).max() < 0.1 else 1.0)

    result = check(entrywise(np.exp, slope), points=3)
    assert result.verdict is Verdict.FAIL
    assert {element.point for element in result.arrays[0].worst if element.outcome is Outcome.FAIL} == {1}


def test_given_values_are_the_same_at_every_point_but_the_cotangent_is_not() -> None:
    result = check(RIGHT, {"x": [0.1, 0.2, 0.3]}, points=2)
    first, second = ({e.index: e.analytic for e in result.arrays[0].worst if e.point == k} for k in (0, 1))
    assert first.keys() == second.keys()
    assert all(first[key] != second[key] for key in first)


def test_wrt_picks_arrays() -> None:
    result = check(LAYERS["linear"](), wrt=("b", "x"))
    assert {array.name for array in result.arrays} == {"b", "x"}


def test_cotangent_is_given() -> None:
    result = check(entrywise(lambda x: x, lambda x: 1.0), {"x": [1.0, 2.0]}, cotangent=(np.array([3.0, -4.0]),))
    assert sorted(element.analytic for element in result.arrays[0].worst) == [-4.0, 3.0]


TWICE = Map(lambda x: (2 * x, 3 * x), lambda dy, x: 2 * dy[0] + 3 * dy[1], (2,))


def test_several_outputs_take_several_cotangents() -> None:
    parts = (np.array([1.0, -2.0]), np.array([0.5, 4.0]))
    for given in (parts, (np.stack(parts),)):
        result = check(TWICE, {"x": [1.0, 2.0]}, cotangent=given)
        assert result.verdict is Verdict.PASS
        assert sorted(element.analytic for element in result.arrays[0].worst) == [3.5, 8.0]


def test_several_outputs_are_told_apart_in_the_jacobian_view() -> None:
    result = check(TWICE, {"x": [1.0, 2.0]}, view="jacobian")
    labels = sorted(element.label("x") for element in result.arrays[0].worst)
    assert labels == [f"∂y{n}[{j}]/∂x[{i}]" for n in (0, 1) for j in (0, 1) for i in (0, 1)]
    assert result.verdict is Verdict.PASS


def test_expecting_a_fail() -> None:
    assert run_check(spec(WRONG, expect="fail")).met
    assert not run_check(spec(RIGHT, expect="fail")).met
    assert not run_check(spec(Map(lambda x: None, lambda dy, x: dy), expect="fail")).met


class Two(Map):
    """Two arrays, of which some have a wrong gradient."""

    def __init__(self, **factors: float) -> None:
        super().__init__(np.exp, np.exp)
        object.__setattr__(self, "factors", factors)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec((2,)), "z": ArraySpec((2,))}

    def forward(self, x: Array, z: Array) -> Any:  # type: ignore[override]
        return np.exp(x) * np.sin(z)

    def vjp(self, dy: Any, x: Array, z: Array) -> Mapping[str, Any]:  # type: ignore[override]
        factors: Mapping[str, float] = self.factors  # type: ignore[attr-defined]
        gradients = {"x": dy * np.exp(x) * np.sin(z), "z": dy * np.exp(x) * np.cos(z)}
        return {name: gradient * factors.get(name, 1.0) for name, gradient in gradients.items()}


@pytest.mark.parametrize(
    ("factors", "named", "met"),
    [
        ({"x": 1.1}, ("x",), True),
        ({"x": 1.1}, ("z",), False),
        ({"x": 1.1}, ("x", "z"), False),
        ({"x": 1.1, "z": 1.1}, ("x", "z"), True),
        ({"x": 1.1, "z": 1.1}, ("x",), False),
    ],
)
def test_expecting_certain_arrays_to_fail(factors: dict[str, float], named: tuple[str, ...], met: bool) -> None:
    assert run_check(spec(Two(**factors), expect="fail", expect_arrays=named)).met is met


def test_rows_limit_what_is_kept() -> None:
    layer = Map(np.exp, lambda dy, x: dy * np.exp(x), (30,))
    assert len(check(layer, rows=Rows()).arrays[0].worst) == 10
    assert len(check(layer, rows=Rows(None)).arrays[0].worst) == 30
    assert len(check(layer, rows=Rows(5, 3)).arrays[0].worst) == 3


def test_a_run_keeps_its_order_and_reports_each_check() -> None:
    seen: list[str] = []
    asked = RunSpec((spec(RIGHT, "a"), spec(WRONG, "b"), spec(RIGHT, "c")))
    result = run(asked, lambda one: seen.append(one.name))
    assert [one.name for one in result.checks] == seen == ["a", "b", "c"]
    assert (result.verdict, int(result.exit_code)) == (Verdict.FAIL, 1)
    assert not result.interrupted


def test_a_run_stops_at_so_many_unmet_checks() -> None:
    asked = tuple(spec(layer, str(k)) for k, layer in enumerate((RIGHT, WRONG, RIGHT, WRONG, RIGHT)))
    assert len(run(RunSpec(asked, stop_at=1)).checks) == 2
    assert len(run(RunSpec(asked, stop_at=2)).checks) == 4
    assert len(run(RunSpec(asked)).checks) == 5


def test_an_interrupted_run_keeps_what_is_done() -> None:
    def interrupt(x: Array) -> Array:
        raise KeyboardInterrupt

    asked = (spec(RIGHT, "a"), spec(Map(interrupt, lambda dy, x: dy), "b"), spec(RIGHT, "c"))
    result = run(RunSpec(asked))
    assert [one.name for one in result.checks] == ["a"]
    assert result.interrupted
    assert int(result.exit_code) == 130


def test_a_layer_may_have_notes() -> None:
    class Talking(Map):
        notes = ("called with float64", 3)

    assert check(Talking(np.exp, lambda dy, x: dy * np.exp(x))).notes == ("called with float64",)


def test_findings_of_several_points_are_told_once() -> None:
    doubled = Map(np.exp, lambda dy, x: np.stack([dy * np.exp(x)] * 2))
    assert rules(check(doubled, points=3)).count("shape") == 1

"""The analytic Jacobian: rows by stacks of cotangents are those of single VJP calls, or single calls are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.draws import draw_arrays
from gradcheck_cli.layer import Array, ArraySpec, Shape, as_outputs
from gradcheck_cli.numeric import analytic
from gradcheck_cli.numeric.analytic import analytic_values, stacked_rows
from gradcheck_cli.numeric.objective import Objective, fitted
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given

EXAMPLES = [
    pytest.param(factory, example, id=f"{name}-{k}")
    for name, factory in LAYERS.items()
    for k, example in enumerate(factory.EXAMPLES)
]


def at(layer: Any, arrays: Mapping[str, Array]) -> Objective:
    """The Jacobian view of a layer at some arrays."""
    outputs = layer.forward(**arrays)
    one = Objective(layer, arrays, as_outputs(outputs), "jacobian")
    one.several = isinstance(outputs, tuple)
    return one


def one_by_one(objective: Objective, wrt: list[str]) -> dict[str, Array]:
    """The rows by single calls, as plainly as possible."""
    rows = [objective.vjp(cotangent) for cotangent in np.eye(objective.outputs)]
    return {name: np.stack([fitted(row[name], objective.arrays[name].shape) for row in rows], -1) for name in wrt}


@pytest.mark.parametrize(("factory", "example"), EXAMPLES)
def test_of_every_layer_stacked_rows_are_single_rows(factory: Any, example: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(analytic, "FEWEST", 1)
    layer = factory(**example.options)
    specs = layer.arrays(**example.shapes)
    arrays = draw_arrays(specs, {}, "float64", 0, 0)
    wrt = [name for name, spec in specs.items() if spec.differentiable]
    objective = at(layer, arrays)
    found = stacked_rows(objective, wrt, arrays)
    if found is not None:
        for name, expected in one_by_one(objective, wrt).items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-11, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("axis", "shape", "stacked"),
    [
        (-1, (20,), True),
        (-1, (4, 6), True),
        (-2, (4, 6), True),
        (0, (20,), False),
        (0, (4, 6), False),
        (1, (4, 6), False),
    ],
)
def test_softmax_is_stacked_where_its_axis_counts_from_the_end(axis: int, shape: Shape, stacked: bool) -> None:
    objective = at(LAYERS["softmax"](axis=axis), {"x": np.random.default_rng(0).normal(size=shape)})
    expected = one_by_one(objective, ["x"])["x"]
    objective.ledger.vjp_calls = 0
    rows = stacked_rows(objective, ["x"], objective.arrays)
    assert (rows is not None) is stacked
    np.testing.assert_allclose(analytic_values(objective, ["x"])["x"], expected, rtol=1e-12, atol=1e-16)


def test_a_stack_counts_every_row_and_is_confirmed_by_three_calls() -> None:
    objective = at(LAYERS["softmax"](), {"x": np.linspace(-1, 1, 30)})
    analytic_values(objective, ["x"])
    assert objective.ledger.vjp_calls == 30 + 3


def test_large_stacks_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = at(LAYERS["softmax"](), {"x": np.linspace(-1, 1, 30)})
    expected = one_by_one(objective, ["x"])["x"]
    monkeypatch.setattr(analytic, "STACK_BYTES", 8 * 60 * 7)
    np.testing.assert_allclose(analytic_values(objective, ["x"])["x"], expected, rtol=1e-12, atol=1e-16)


@dataclass(frozen=True)
class Doubled:
    """y = 2 x; what its VJP says of stacks, or of one output, may be another thing."""

    stacked: float = 2.0
    single: float = 2.0
    last: float = 2.0
    shapes: list[Shape] = field(default_factory=list)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(given.get("x", (20,)))}

    def forward(self, x: Array) -> Array:
        return 2 * x

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        self.shapes.append(x.shape)
        factor = np.full(x.shape, self.single if x.ndim == 1 else self.stacked)
        factor[..., -3] = self.last
        return {"x": factor * dy}

    def forward_stacked(self, x: Array) -> Array:
        return 2 * x


class Unstacked(Doubled):
    """The same without a stacked evaluation, as somebody's own function."""

    forward_stacked = None  # type: ignore[assignment]


def test_a_function_that_cannot_be_stacked_never_sees_a_stack() -> None:
    layer = Unstacked()
    analytic_values(at(layer, {"x": np.ones(20)}), ["x"])
    assert set(layer.shapes) == {(20,)}


@pytest.mark.parametrize("layer", [Doubled(stacked=2.1), Doubled(single=2.1), Doubled(stacked=np.nan)], ids=str)
def test_a_vjp_that_answers_stacks_otherwise_is_asked_for_single_rows(layer: Doubled) -> None:
    objective = at(layer, {"x": np.ones(20)})
    expected = one_by_one(objective, ["x"])["x"]
    assert stacked_rows(objective, ["x"], objective.arrays) is None
    np.testing.assert_array_equal(analytic_values(objective, ["x"])["x"], expected)


def test_one_wrong_row_is_seen_in_the_stack() -> None:
    given = {"x": Given(shape=(20,))}
    result = run_check(CheckSpec("a::b", "b", Doubled(last=2.02), "doubled", given, view="jacobian"), Rows(None))
    assert result.verdict is Verdict.FAIL
    assert [one.index for one in result.arrays[0].worst if one.outcome == "fail"] == [(17,)]

"""Copies of an array: entries moved in them come back, layers cannot write to them, structure is found in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.numeric import copies
from gradcheck_cli.numeric.copies import Copies
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.scales import lengths
from gradcheck_cli.numeric.structure import AxisMap, detect
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec


def objective_of(layer: Any, **shapes: Shape) -> Objective:
    specs = layer.arrays(**shapes)
    rng = np.random.default_rng(0)
    arrays = {name: one.draw(rng, one.shape) for name, one in specs.items()}
    made = Objective(layer, arrays, (np.asarray(layer.forward(**arrays)),))
    made.stacks = True
    return made


def test_outputs_are_those_of_single_calls_and_the_stack_is_put_back() -> None:
    objective = objective_of(LAYERS["linear"](9, 20), x=(8, 9))
    stack = Copies(objective, "W", 2)
    W = objective.arrays["W"]
    rows = np.arange(W.size).reshape(W.shape).T[:4]
    places = W.reshape(-1)[rows] + np.array([1.0, -1.0])[:, None, None]
    for _ in range(2):
        found = stack.evaluate(rows, places)
        assert found is not None
        for p, k in np.ndindex(2, 4):
            moved = W.copy()
            moved.reshape(-1)[rows[k]] = places[p, k]
            assert np.array_equal(found[0][p, k], objective.at(objective.arrays | {"W": moved}))
        assert np.array_equal(found[1], objective.at(objective.arrays))
        assert (stack.stack == W).all()


CASES = [
    ("linear", {"in_features": 9, "out_features": 7}, {"x": (8, 9)}),
    ("conv2d", {"in_channels": 2, "out_channels": 3, "kernel_size": 3}, {"x": (2, 2, 9, 9)}),
    ("batch_norm", {}, {"x": (12, 10)}),
    ("tanh", {}, {"x": (8, 9)}),
]


def told(maps: tuple[AxisMap, ...]) -> list[tuple[int, tuple[int | None, ...], list[list[int]]]]:
    return [(one.axis, one.places, [colour.tolist() for colour in one.colours]) for one in maps]


@pytest.mark.parametrize(("name", "options", "shapes"), CASES, ids=lambda value: str(value))
def test_stacks_show_the_structure_that_single_calls_show(
    name: str, options: dict[str, int], shapes: dict[str, Shape]
) -> None:
    objective = objective_of(LAYERS[name](**options), **shapes)
    centre = objective.at(objective.arrays)
    for array, x in objective.arrays.items():
        args = (objective, array, lengths(x.reshape(-1)), centre)
        assert told(detect(*args, Copies(objective, array, 2))) == told(detect(*args))


class Doubling:
    """A square whose stacked form writes to what it is given."""

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        return {"x": ArraySpec((10, 9))}

    def forward(self, x: Array) -> Array:
        return np.asarray(x * x)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": 2 * x * dy}

    def forward_stacked(self, x: Array) -> Array:
        y = x * x
        if len(x) > 2:
            x += 1e-3
        return np.asarray(y)


def test_a_layer_that_writes_to_its_stack_is_called_singly() -> None:
    result = run_check(CheckSpec("c", "c", Doubling(), "c", {}), Rows(None))
    assert result.verdict is Verdict.PASS
    assert Copies(objective_of(Doubling()), "x", 2).evaluate(np.arange(90).reshape(2, 45), np.ones((2, 2, 45))) is None


class Passing:
    """The identity; its stacked form hands back the very stack."""

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        return {"x": ArraySpec((10, 9))}

    def forward(self, x: Array) -> Array:
        return x

    def forward_stacked(self, x: Array) -> Array:
        return x


def test_outputs_that_are_the_stack_itself_outlive_it() -> None:
    objective = objective_of(Passing())
    found = Copies(objective, "x", 2).evaluate(np.arange(90).reshape(2, 45), np.full((2, 2, 45), 7.0))
    assert found is not None
    x = objective.arrays["x"].reshape(-1)
    moved = np.tile(np.stack([x, x]), (2, 1, 1))
    moved[:, 0, :45] = moved[:, 1, 45:] = 7.0
    assert np.array_equal(found[0], moved)
    assert np.array_equal(found[1], x)


class Restless:
    """The identity; its stacked form is another function at each call."""

    calls = 0

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        return {"x": ArraySpec((10, 9))}

    def forward(self, x: Array) -> Array:
        return x.copy()

    def forward_stacked(self, x: Array) -> Array:
        self.calls += 1
        return np.asarray(x + 1e-6 * self.calls)


def test_stacks_that_do_not_keep_the_unmoved_value_are_not_used() -> None:
    stack = Copies(objective_of(Restless()), "x", 2)
    rows, places = np.arange(90).reshape(2, 45), np.ones((2, 2, 45))
    assert stack.evaluate(rows, places) is not None
    assert stack.evaluate(rows, places) is None


def test_few_large_copies_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = objective_of(LAYERS["linear"](9, 7), x=(8, 9))
    assert Copies.of(objective, "W", 2) is not None
    monkeypatch.setattr(copies, "BYTES", 2000)
    assert Copies.of(objective, "W", 2) is None

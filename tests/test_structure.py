"""Shared evaluations: the structure is found by experiment, and a wrong one never acquits a wrong gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array, ArraySpec, Shape, as_outputs
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.scales import lengths
from gradcheck_cli.numeric.structure import colour, detect, shots
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given


@dataclass(frozen=True)
class Made:
    """A layer of one array x from two functions."""

    f: Callable[[Array], Array]
    g: Callable[[Array, Array], Array]

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(given.get("x", (12, 10)))}

    def forward(self, x: Array) -> Array:
        return self.f(x)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": self.g(dy, x)}


@dataclass(frozen=True)
class Wrong:
    """A layer with another gradient."""

    right: Any
    change: Callable[[dict[str, Array]], dict[str, Array]]
    forward_stacked: Any = field(default=None, init=False)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return self.right.arrays(**given)

    def forward(self, **arrays: Array) -> Any:
        return self.right.forward(**arrays)

    def vjp(self, dy: Any, **arrays: Array) -> dict[str, Array]:
        return self.change(dict(self.right.vjp(dy, **arrays)))


def check(layer: Any, **shapes: Shape) -> CheckResult:
    given = {name: Given(shape=shape) for name, shape in shapes.items()}
    return run_check(CheckSpec("c", "c", layer, "c", given), Rows(None))


def structure(layer: Any, name: str, **shapes: Shape) -> dict[int, tuple[int | None, ...]]:
    rng = np.random.default_rng(0)
    arrays = {key: np.asarray(spec.draw(rng, spec.shape)) for key, spec in layer.arrays(**shapes).items()}
    outputs = as_outputs(layer.forward(**arrays))
    objective = Objective(layer, arrays, outputs)
    centre = objective.at(arrays)
    maps = detect(objective, name, lengths(arrays[name].reshape(-1)), centre)
    return {one.axis: one.places for one in maps}


def test_the_axes_of_linear_are_found() -> None:
    layer = LAYERS["linear"](in_features=9, out_features=7)
    assert structure(layer, "x", x=(8, 9)) == {0: (0,)}
    assert structure(layer, "W", x=(8, 9)) == {0: (1,)}
    assert structure(layer, "b", x=(8, 9)) == {0: (1,)}


def test_every_axis_of_an_elementwise_layer_is_separable() -> None:
    assert structure(LAYERS["tanh"](), "x", x=(8, 9)) == {0: (0,), 1: (1,)}


def test_the_receptive_field_of_a_convolution_is_local() -> None:
    layer = LAYERS["conv2d"](in_channels=2, out_channels=3, kernel_size=3, padding=1)
    assert structure(layer, "x", x=(2, 2, 12, 12)) == {0: (0,), 2: (2,), 3: (3,)}
    assert structure(layer, "W", x=(2, 2, 12, 12)) == {0: (1,)}


def test_a_convolution_takes_the_evaluations_of_its_stencil() -> None:
    layer = LAYERS["conv2d"](in_channels=2, out_channels=3, kernel_size=3, padding=1)
    result = check(layer, x=(2, 2, 12, 12))
    assert result.verdict is Verdict.PASS
    x = 2 * 9 * 2 + 2  # nine colours for each channel, the closing probe
    assert result.evaluations_by_tier["tier1"] == x + 2 * 3 * 2 * 9 + 2 * 3  # W and b are too small to bother


MIXING: dict[str, tuple[Any, dict[str, Shape], str]] = {
    "batch_norm": (LAYERS["batch_norm"](), {"x": (12, 10)}, "x"),
    "attention": (LAYERS["scaled_dot_product_attention"](), {"q": (12, 10)}, "k"),
    "softmax over the batch": (LAYERS["softmax"](axis=0), {"x": (12, 10)}, "x"),
}


@pytest.mark.parametrize("name", ["batch_norm", "softmax over the batch"])
def test_a_batch_axis_that_mixes_is_not_separable(name: str) -> None:
    layer, shapes, array = MIXING[name]
    assert 0 not in structure(layer, array, **shapes)
    assert check(layer, **shapes).verdict is Verdict.PASS


CROSS = np.zeros((12, 12))
CROSS[7, 2] = 1e-6  # row 2 leaks into row 7


def leak(x: Array) -> Array:
    return np.tanh(x) + CROSS @ x


def test_cross_talk_of_a_millionth_is_seen() -> None:
    right = Made(leak, lambda dy, x: dy / np.cosh(x) ** 2 + CROSS.T @ dy)
    assert structure(right, "x") == {1: (1,)}
    assert check(right).verdict is Verdict.PASS


def test_a_gradient_without_the_cross_talk_fails_where_it_is_missing() -> None:
    result = check(Made(leak, lambda dy, x: dy / np.cosh(x) ** 2))
    assert result.verdict is Verdict.FAIL
    failed = {element.index[0] for element in result.arrays[0].worst if element.outcome == "fail"}
    assert failed == {2}


def route(x: Array) -> Array:
    """Row 0 is added to row 5, but only while the first entry of row 3 is between -1 and 1."""
    return x + np.where(abs(x[3, 0]) < 1, 1.0, 0.0) * np.eye(12)[:, [5]] @ x[[0]]


def routed(dy: Array, x: Array, *, forgets: bool) -> Array:
    gradient = dy.copy()
    if abs(x[3, 0]) < 1 and not forgets:
        gradient[0] += dy[5]
    return gradient


@pytest.mark.parametrize("forgets", [False, True])
def test_data_dependent_routing_hides_no_mistake(forgets: bool) -> None:
    x = np.random.default_rng(4).uniform(0.2, 0.8, (12, 10))
    layer = Made(route, lambda dy, x: routed(dy, x, forgets=forgets))
    result = run_check(CheckSpec("c", "c", layer, "c", {"x": Given(values=x)}), Rows(None))
    assert result.verdict is (Verdict.FAIL if forgets else Verdict.PASS)


def mistake(at: tuple[int, ...], factor: float) -> Callable[[dict[str, Array]], dict[str, Array]]:
    def change(gradients: dict[str, Array]) -> dict[str, Array]:
        gradients["W"][at] *= factor
        return gradients

    return change


@pytest.mark.parametrize("factor", [1.1, 1 + 1e-5])
def test_one_wrong_weight_is_the_only_one_that_fails(factor: float) -> None:
    layer = Wrong(LAYERS["linear"](in_features=9, out_features=11), mistake((7, 4), factor))
    result = check(layer, x=(8, 9))
    failed = [(a.name, e.index) for a in result.arrays for e in a.worst if e.outcome == "fail"]
    assert failed == [("W", (7, 4))]


def test_elements_are_the_same_with_and_without_shared_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = LAYERS["conv2d"](in_channels=2, out_channels=3, kernel_size=3)
    together = check(layer, x=(2, 2, 14, 14))
    monkeypatch.setattr("gradcheck_cli.tiers.scene.WORTHWHILE", 10**9)
    alone = check(layer, x=(2, 2, 14, 14))
    assert together.evaluations < alone.evaluations / 2
    for one, other in zip(together.arrays, alone.arrays, strict=True):
        ours = {element.index: element for element in one.worst}
        for element in other.worst:
            twin = ours[element.index]
            assert twin.outcome is element.outcome
            assert abs(twin.numeric - element.numeric) <= twin.uncertainty + element.uncertainty


def test_a_structure_that_the_closing_probe_contradicts_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck_cli.numeric.shared.confirmed", lambda *_: False)
    layer = LAYERS["linear"](in_features=9, out_features=11)
    result = check(layer, x=(8, 9))
    assert result.verdict is Verdict.PASS
    assert result.evaluations_by_tier["tier1"] >= 2 * result.elements


def test_slices_of_one_colour_reach_nothing_in_common() -> None:
    reach = np.array([[abs(i - j) <= 1 for j in range(10)] for i in range(10)])
    sets = colour([reach])
    assert len(sets) == 3
    for members in sets:
        assert reach[members].sum(axis=0).max() == 1


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_what_is_awake_on_one_side_only_is_seen(side: float) -> None:
    def next_on_one_side(x: Array) -> Array:
        return x + np.maximum(0.0, side * np.append(x[1:], -9.0 * side))

    x = np.full(12, side)
    x[[1, 3, 8, 10]] = 0.0
    objective = Objective(Made(next_on_one_side, lambda dy, x: dy), {"x": x}, [x])
    (found,) = detect(objective, "x", np.ones(12), next_on_one_side(x))
    (reach,) = found.reach
    assert reach is not None
    assert reach.tolist() == [[i - 1 <= j <= i for j in range(12)] for i in range(12)]


def test_shots_count_the_colours_and_the_other_axes() -> None:
    layer = LAYERS["linear"](in_features=9, out_features=7)
    arrays = {key: np.ones(spec.shape) * 0.5 for key, spec in layer.arrays(x=(8, 9)).items()}
    objective = Objective(layer, arrays, as_outputs(layer.forward(**arrays)))
    maps = detect(objective, "W", lengths(arrays["W"].reshape(-1)), objective.at(arrays))
    assert shots((7, 9), maps) == 9


def test_a_long_array_takes_no_table_of_its_slices_by_themselves() -> None:
    result = check(LAYERS["relu"](), x=(300_000,))  # a table of them would take 90 GB
    assert result.error is None
    assert result.verdict is Verdict.PASS
    assert result.arrays[0].visited == 300_000

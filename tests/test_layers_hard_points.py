"""Every layer through the whole check: at its default points all elements pass, at hard ones none may fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from layer_truth import cotangent_like

from gradcheck_cli.draws import draw_arrays
from gradcheck_cli.layer import Array, Shape, as_outputs
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given

# Tiny and huge inputs saturate what saturates, underflow and overflow what can, and leave the rest as it is.
SCALES = {"float64": (1e-150, 1e-6, 1e3, 1e30), "float32": (1e-6, 1e3), "float16": (1e-6, 1e-3, 1e2)}
HARD = [(dtype, scale) for dtype, scales in SCALES.items() for scale in scales]
EXAMPLES = [
    pytest.param(layer(**example.options), dict(example.shapes), id=f"{name}-{number}")
    for name, layer in LAYERS.items()
    for number, example in enumerate(layer.EXAMPLES)
]


def checked(layer: Any, given: Mapping[str, Given], dtype: str) -> CheckResult:
    return run_check(CheckSpec("hard", "hard", layer, layer.name, given, dtype=dtype), Rows(None))


def moved(layer: Any, shapes: Mapping[str, Shape], dtype: str, move: Any) -> dict[str, Array] | None:
    """The arrays that have a gradient, moved; None where the layer itself is not finite there, or not defined."""
    specs = layer.arrays(**shapes)
    arrays = draw_arrays(specs, {}, "float64", 0, 0)
    for name, spec in specs.items():
        if spec.kind == "float":
            value = move(arrays[name]) if spec.differentiable and name != "running_var" else arrays[name]
            arrays[name] = np.asarray(value, dtype=dtype)
    try:
        with np.errstate(all="ignore"):
            outputs = layer.forward(**arrays)
            gradients = layer.vjp(cotangent_like(outputs), **arrays)
    except np.linalg.LinAlgError:
        return None
    return arrays if all(np.isfinite(part).all() for part in (*as_outputs(outputs), *gradients.values())) else None


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_every_element_passes_at_the_default_point(layer: Any, shapes: dict[str, Shape], dtype: str) -> None:
    result = checked(layer, {name: Given(shape=shape) for name, shape in shapes.items()}, dtype)
    assert result.verdict is Verdict.PASS, str(result)
    assert [array.passed for array in result.arrays] == [array.elements for array in result.arrays]
    assert result.findings == ()


def example_for(name: str, number: int) -> tuple[Any, dict[str, Shape]]:
    """One of its examples, another for each number: each hard point costs one check, and all examples have a turn."""
    example = LAYERS[name].EXAMPLES[number % len(LAYERS[name].EXAMPLES)]
    return LAYERS[name](**example.options), dict(example.shapes)


def assert_no_false_alarm(layer: Any, arrays: Mapping[str, Array] | None, dtype: str) -> None:
    if arrays is None:
        pytest.skip("the layer is not finite there, or not defined")
    result = checked(layer, {name: Given(values=array) for name, array in arrays.items()}, dtype)
    assert result.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE), str(result)
    open_elements = [element for _, element in result.worst(Rows(None)) if element.outcome == "inconclusive"]
    assert all(element.reason for element in open_elements)


@pytest.mark.parametrize(("dtype", "scale"), HARD)
@pytest.mark.parametrize("name", LAYERS)
def test_no_scale_makes_a_right_gradient_fail(name: str, dtype: str, scale: float) -> None:
    layer, shapes = example_for(name, HARD.index((dtype, scale)))
    assert_no_false_alarm(layer, moved(layer, shapes, dtype, lambda value: scale * value), dtype)


NEAR = [("float64", 1e-9), ("float32", 1e-9), ("float64", 1e-12), ("float64", 1e-15)]


@pytest.mark.parametrize(("dtype", "distance"), NEAR)
@pytest.mark.parametrize("name", LAYERS)
def test_no_kink_nearby_makes_a_right_gradient_fail(name: str, dtype: str, distance: float) -> None:
    """Halves, where the kinks of most layers sit and ties are many, missed by a little, each by another amount."""
    layer, shapes = example_for(name, NEAR.index((dtype, distance)))
    rng = np.random.default_rng(3)

    def near(value: Array) -> Array:
        return np.asarray(np.round(2 * value) / 2 + distance * rng.uniform(-1, 1, value.shape))

    assert_no_false_alarm(layer, moved(layer, shapes, dtype, near), dtype)


@pytest.mark.parametrize("name", LAYERS)
def test_zeros_do_not_make_a_right_gradient_fail(name: str) -> None:
    layer, shapes = example_for(name, 0)
    assert_no_false_alarm(layer, moved(layer, shapes, "float64", np.zeros_like), "float64")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(18))
def test_a_sum_that_cancels_at_a_kink_does_not_make_a_right_gradient_fail(seed: int, dtype: str) -> None:
    """The bias puts every unit on its kink, but for the rounding of the sum: how far off, no single input tells."""
    rng = np.random.default_rng(seed)
    shapes = {"x": (3,), "h": (2,), "W": (2, 3), "U": (2, 2)}
    arrays = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    total = arrays["W"].astype(float) @ arrays["x"] + arrays["U"].astype(float) @ arrays["h"]
    arrays["b"] = -total.astype(dtype)
    assert_no_false_alarm(LAYERS["rnn_cell"](activation="relu"), arrays, dtype)

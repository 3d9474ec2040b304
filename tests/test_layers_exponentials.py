"""Softmax and its kin against torch autograd, the complex step and the published Jacobian; extremes, wrong axes."""

from __future__ import annotations

import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_truth import (
    assert_complex_step_agrees,
    assert_dtype_is_kept,
    assert_stack_is_single_calls,
    assert_torch_agrees,
    draw,
)

from gradcheck_cli.layer import ArrayError, OptionError
from gradcheck_cli.layers.exponentials import GumbelSoftmax, LogSoftmax, LogSumExp, Softmax

LAYERS = (Softmax, LogSoftmax, LogSumExp, GumbelSoftmax)
EXAMPLES = [
    pytest.param(layer(**example.options), example.shapes, id=f"{layer.name}-{n}")
    for layer in LAYERS
    for n, example in enumerate(layer.EXAMPLES)
]
bounded = settings(max_examples=15, deadline=None, derandomize=True)


@st.composite
def shapes_and_axes(draw_from: Any) -> tuple[tuple[int, ...], int]:
    shape = draw_from(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    return shape, draw_from(st.integers(-len(shape), len(shape) - 1))


def without_noise(layer: Any, arrays: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The layer with its noise, which has no gradient, filled in; and the other arrays."""
    if "noise" not in arrays:
        return layer, arrays
    fixed = {"noise": arrays["noise"]}
    filled = SimpleNamespace(forward=partial(layer.forward, **fixed), vjp=partial(layer.vjp, **fixed))
    return filled, {"x": arrays["x"]}


@bounded
@given(shapes_and_axes(), st.floats(-3, 3))
def test_softmax_agrees_with_torch(shape_and_axis: Any, beta: float) -> None:
    shape, axis = shape_and_axis
    layer = Softmax(beta, axis)
    assert_torch_agrees(layer, draw(layer, {"x": shape}), lambda x: (beta * x).softmax(axis))


@bounded
@given(shapes_and_axes(), st.floats(-3, 3))
def test_log_softmax_agrees_with_torch(shape_and_axis: Any, beta: float) -> None:
    shape, axis = shape_and_axis
    layer = LogSoftmax(beta, axis)
    assert_torch_agrees(layer, draw(layer, {"x": shape}), lambda x: (beta * x).log_softmax(axis))


@bounded
@given(shapes_and_axes(), st.booleans())
def test_logsumexp_agrees_with_torch(shape_and_axis: Any, keepdims: bool) -> None:
    shape, axis = shape_and_axis
    layer = LogSumExp(axis, keepdims)
    assert_torch_agrees(layer, draw(layer, {"x": shape}), lambda x: x.logsumexp(axis, keepdims))


@bounded
@given(shapes_and_axes(), st.floats(0.2, 3))
def test_gumbel_softmax_agrees_with_torch(shape_and_axis: Any, temperature: float) -> None:
    torch = pytest.importorskip("torch")
    shape, axis = shape_and_axis
    arrays = draw(GumbelSoftmax(), {"x": shape})
    layer, others = without_noise(GumbelSoftmax(temperature, axis), arrays)
    noise = torch.from_numpy(arrays["noise"])
    assert_torch_agrees(layer, others, lambda x: ((x + noise) / temperature).softmax(axis))


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_vjp_agrees_with_the_complex_step(layer: Any, shapes: Any) -> None:
    assert_complex_step_agrees(*without_noise(layer, draw(layer, shapes)))


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_stack_equals_single_calls(layer: Any, shapes: Any) -> None:
    assert_stack_is_single_calls(layer, shapes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_dtype_is_kept(layer: Any, shapes: Any, dtype: Any) -> None:
    assert_dtype_is_kept(layer, shapes, dtype)


def test_softmax_has_the_jacobian_of_its_docstring() -> None:
    """∂y_j/∂x_i = β y_i (δ_ij - y_j), and the softmax of mpmath."""
    beta, x = 2.0, np.array([0.3, -1.2, 0.8, 1.5, -0.4])
    with mpmath.workdps(40):
        powers = [mpmath.exp(beta * mpmath.mpf(each)) for each in x]
        y = np.array([float(each / sum(powers)) for each in powers])
    np.testing.assert_allclose(Softmax(beta).forward(x), y, rtol=1e-15)
    rows = np.array([Softmax(beta).vjp(dy, x)["x"] for dy in np.eye(5)])
    np.testing.assert_allclose(rows, beta * (np.diag(y) - np.outer(y, y)), rtol=1e-14)


def test_an_integer_beta_is_fine() -> None:
    x = draw(Softmax(), {"x": (5,)})["x"]
    np.testing.assert_array_equal(Softmax(2).forward(x), Softmax(2.0).forward(x))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_scores_of_a_thousand_do_not_overflow(dtype: Any) -> None:
    same = partial(np.testing.assert_allclose, rtol=0, atol=1e-300)  # exp(-2000) is not 0 in long double
    x = np.array([1000.0, -1000.0, 1000.0], dtype)
    dy = np.array([1.0, 2.0, 5.0], dtype)
    same(Softmax().forward(x), np.array([0.5, 0.0, 0.5], dtype))
    same(Softmax().vjp(dy, x)["x"], np.array([-1.0, 0.0, 1.0], dtype))
    rtol = 2 * float(np.finfo(dtype).eps)
    y = LogSoftmax().forward(x).astype(float)
    np.testing.assert_allclose(y, [-np.log(2), -2000 - np.log(2), -np.log(2)], rtol=rtol)
    same(LogSoftmax().vjp(dy, x)["x"], np.array([-3.0, 2.0, 1.0], dtype))
    np.testing.assert_allclose(float(LogSumExp().forward(x)), 1000 + np.log(2), rtol=rtol)
    same(LogSumExp().vjp(dy[0], x)["x"], np.array([0.5, 0.0, 0.5], dtype))


def test_a_forbidden_class_has_no_probability_and_no_gradient() -> None:
    x = np.array([0.5, -np.inf, 1.5])
    assert Softmax().forward(x)[1] == 0
    assert Softmax().vjp(np.ones(3), x)["x"][1] == 0


def test_gumbel_noise_is_drawn_and_has_no_gradient() -> None:
    spec = GumbelSoftmax().arrays(x=(3, 400))["noise"]
    noise = spec.draw(np.random.default_rng(0), spec.shape)
    assert (spec.kind, spec.differentiable, noise.shape) == ("float", False, (3, 400))
    assert len(np.unique(noise)) == noise.size
    assert abs(noise.mean() - np.euler_gamma) < 0.02
    assert abs(noise.var() - np.pi**2 / 6) < 0.1


@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_shape_with_the_axis_is_found_where_none_is_given(layer: Any, axis: int) -> None:
    assert layer(axis=axis).arrays()["x"].shape[axis] > 1


@pytest.mark.parametrize("layer", LAYERS)
def test_an_axis_that_x_does_not_have_is_refused(layer: Any) -> None:
    message = "option 'axis': 2; must be in [-2, 2) for x of shape (3, 4)"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        layer(axis=2).arrays(x=(3, 4))
    with pytest.raises(ArrayError, match=r"^array 'x': shape \(\); must have at least one axis$"):
        layer().arrays(x=())
    message = "array 'x': shape (3, 0); must have at least one element along axis -1"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer().arrays(x=(3, 0))


@pytest.mark.parametrize("layer", [Softmax, LogSoftmax])
def test_beta_must_be_finite(layer: Any) -> None:
    with pytest.raises(OptionError, match=r"^option 'beta': inf; must be finite$"):
        layer(beta=float("inf"))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(OptionError, match=f"^option 'temperature': {temperature}; must be positive and finite$"):
        GumbelSoftmax(temperature)


def test_noise_must_have_the_shape_of_x() -> None:
    message = "array 'noise': shape (4,); must be the shape of x = (3, 4)"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        GumbelSoftmax().arrays(x=(3, 4), noise=(4,))

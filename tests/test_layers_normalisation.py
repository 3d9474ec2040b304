"""Normalisation layers against torch autograd, the complex step and mpmath; extremes and impossible options."""

from __future__ import annotations

import re
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
from gradcheck_cli.layers.group_normalisation import GroupNorm, InstanceNorm
from gradcheck_cli.layers.normalisation import BatchNorm, LayerNorm
from gradcheck_cli.layers.rescaling import L2Normalize, RmsNorm, WeightNorm

LAYERS = (BatchNorm, LayerNorm, GroupNorm, InstanceNorm, RmsNorm, L2Normalize, WeightNorm)
EXAMPLES = [
    pytest.param(layer(**example.options), example.shapes, id=f"{layer.name}-{n}")
    for layer in LAYERS
    for n, example in enumerate(layer.EXAMPLES)
]
bounded = settings(max_examples=15, deadline=None, derandomize=True)
size = st.integers(1, 4)
three = st.integers(3, 5)
eps = st.sampled_from([1e-6, 1e-3, 0.5])
axes = st.lists(st.integers(1, 3), max_size=2).map(tuple)


@bounded
@given(three, size, axes, eps)
def test_batch_norm_in_training_agrees_with_torch(n: int, c: int, space: Any, eps: float) -> None:
    f = pytest.importorskip("torch").nn.functional
    layer = BatchNorm(eps=eps)
    arrays = draw(layer, {"x": (n, c, *space)})
    function = lambda x, gamma, beta: f.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)  # noqa: E731
    assert_torch_agrees(layer, arrays, function)


@bounded
@given(size, size, axes, eps)
def test_batch_norm_in_evaluation_agrees_with_torch(n: int, c: int, space: Any, eps: float) -> None:
    layer = BatchNorm(eps=eps, training=False)
    along = (c, *(1 for _ in space))

    def function(x: Any, gamma: Any, beta: Any, running_mean: Any, running_var: Any) -> Any:
        deviation = (running_var + eps).sqrt().reshape(along)
        return (x - running_mean.reshape(along)) / deviation * gamma.reshape(along) + beta.reshape(along)

    arrays = draw(layer, {"x": (n, c, *space)})
    assert_torch_agrees(layer, arrays, function)
    torch_own = pytest.importorskip("torch")
    x, gamma, beta, mean, var = (torch_own.tensor(array) for array in arrays.values())
    wanted = torch_own.nn.functional.batch_norm(x, mean, var, gamma, beta, training=False, eps=eps)
    np.testing.assert_allclose(layer.forward(**arrays), wanted.numpy(), rtol=1e-13, atol=1e-14)


@bounded
@given(axes, axes, three, eps)
def test_layer_norm_agrees_with_torch(leading: Any, covered: Any, last: int, eps: float) -> None:
    f = pytest.importorskip("torch").nn.functional
    shape = (*covered, last)
    layer = LayerNorm(shape, eps)
    arrays = draw(layer, {"x": (*leading, *shape)})
    assert_torch_agrees(layer, arrays, lambda x, gamma, beta: f.layer_norm(x, shape, gamma, beta, eps))


@bounded
@given(axes, axes, three, eps)
def test_rms_norm_agrees_with_torch(leading: Any, covered: Any, last: int, eps: float) -> None:
    f = pytest.importorskip("torch").nn.functional
    shape = (*covered, last)
    layer = RmsNorm(shape, eps)
    arrays = draw(layer, {"x": (*leading, *shape)})
    assert_torch_agrees(layer, arrays, lambda x, gamma: f.rms_norm(x, shape, gamma, eps))


@bounded
@given(size, size, three, axes, eps)
def test_group_norm_agrees_with_torch(n: int, groups: int, each: int, space: Any, eps: float) -> None:
    f = pytest.importorskip("torch").nn.functional
    layer = GroupNorm(groups, eps=eps)
    arrays = draw(layer, {"x": (n, groups * each, *space)})
    assert_torch_agrees(layer, arrays, lambda x, gamma, beta: f.group_norm(x, groups, gamma, beta, eps))


@bounded
@given(size, size, three, axes, eps)
def test_instance_norm_agrees_with_torch(n: int, c: int, last: int, space: Any, eps: float) -> None:
    f = pytest.importorskip("torch").nn.functional
    layer = InstanceNorm(eps=eps)
    arrays = draw(layer, {"x": (n, c, *space, last)})
    assert_torch_agrees(
        layer, arrays, lambda x, gamma, beta: f.instance_norm(x, weight=gamma, bias=beta, use_input_stats=True, eps=eps)
    )


@bounded
@given(st.lists(st.integers(2, 4), min_size=1, max_size=3).map(tuple), st.data(), st.sampled_from([1e-12, 1.0, 100.0]))
def test_l2_normalize_agrees_with_torch(shape: Any, data: Any, eps: float) -> None:
    f = pytest.importorskip("torch").nn.functional
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    layer = L2Normalize(axis, eps)
    assert_torch_agrees(layer, draw(layer, {"x": shape}), lambda x: f.normalize(x, dim=axis, eps=eps))


@bounded
@given(st.lists(st.integers(2, 4), min_size=2, max_size=4).map(tuple), st.data())
def test_weight_norm_agrees_with_torch(shape: Any, data: Any) -> None:
    torch = pytest.importorskip("torch")
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    layer = WeightNorm(dim)
    along = [1] * len(shape)
    along[dim] = shape[dim]
    function = lambda v, g: torch._weight_norm(v, g.reshape(along), dim % len(shape))  # noqa: E731
    assert_torch_agrees(layer, draw(layer, {"v": shape}), function)


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_vjp_agrees_with_the_complex_step(layer: Any, shapes: Any) -> None:
    assert_complex_step_agrees(layer, draw(layer, shapes), rtol=1e-11)


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_stack_equals_single_calls(layer: Any, shapes: Any) -> None:
    assert_stack_is_single_calls(layer, shapes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_dtype_is_kept(layer: Any, shapes: Any, dtype: Any) -> None:
    assert_dtype_is_kept(layer, shapes, dtype)


@pytest.mark.parametrize("layer", LAYERS)
def test_works_with_no_shapes_given(layer: Any) -> None:
    arrays = draw(layer(), {})
    assert set(layer().vjp(layer().forward(**arrays), **arrays)) == set(layer().arrays())


def test_parameters_alone_give_the_sizes() -> None:
    assert BatchNorm().arrays(beta=(7,))["x"].shape == (5, 7)
    assert LayerNorm().arrays(gamma=(3, 4))["x"].shape == (3, 3, 4)
    assert WeightNorm(-1).arrays(g=(6,))["v"].shape[-1] == 6


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1.0, 1e3, 1e200])
def test_layer_norm_at_any_scale_agrees_with_mpmath(scale: float) -> None:
    x = scale * np.array([0.3, -1.7, 0.9, 1.4])
    with mpmath.workdps(50):
        values = [mpmath.mpf(float(v)) for v in x]
        mean = mpmath.fsum(values) / 4
        deviation = mpmath.sqrt(mpmath.fsum((v - mean) ** 2 for v in values) / 4 + mpmath.mpf(1e-5))
        wanted = [float((v - mean) / deviation) for v in values]
        n = [(v - mean) / deviation for v in values]
        slope = [float(((k == 0) - mpmath.mpf(1) / 4 - n[0] * n[k] / 4) / deviation) for k in range(4)]
    layer = LayerNorm()
    np.testing.assert_allclose(layer.forward(x, np.ones(4), np.zeros(4)), wanted, rtol=4e-15)
    gradient = layer.vjp(np.array([1.0, 0, 0, 0]), x, np.ones(4), np.zeros(4))["x"]
    np.testing.assert_allclose(gradient, slope, rtol=1e-13)


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float16, 1e3), (np.float16, 1e-7), (np.float32, 1e30), (float, 1e300)]
)
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_extreme_inputs_stay_finite(layer: Any, shapes: Any, dtype: Any, scale: float) -> None:
    first, *rest = draw(layer, shapes).items()
    arrays = {name: array.astype(dtype) for name, array in rest}
    arrays = {first[0]: np.asarray(first[1] * scale).astype(dtype), **arrays}
    if "running_var" in arrays and scale > 1:
        arrays["running_mean"] *= dtype(scale)
    y = layer.forward(**arrays)
    assert np.isfinite(y).all()
    if scale > 1:
        gradients = layer.vjp(np.ones_like(y), **arrays)
        assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_l2_normalize_of_zero_is_zero(dtype: Any) -> None:
    x, layer = np.zeros((2, 3), dtype), L2Normalize(eps=0.5)
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.vjp(np.ones_like(x), x)["x"], 2 * np.ones_like(x))


OPTIONS = {
    "eps-negative": (lambda: BatchNorm(eps=-1e-5), "option 'eps': -1e-05; must be at least 0 and finite"),
    "eps-nan": (lambda: GroupNorm(eps=float("nan")), "option 'eps': nan; must be at least 0 and finite"),
    "eps-infinite": (lambda: InstanceNorm(eps=float("inf")), "option 'eps': inf; must be at least 0 and finite"),
    "eps-zero": (lambda: L2Normalize(eps=0.0), "option 'eps': 0.0; must be positive and finite"),
    "no-groups": (lambda: GroupNorm(0), "option 'groups': 0; must be at least 1"),
    "groups": (lambda: GroupNorm(2).arrays(x=(3, 5)), "option 'groups': 2; must divide the 5 channels"),
    "channels": (lambda: BatchNorm(0).arrays(), "option 'channels': 0; must be at least 1"),
    "one-feature": (
        lambda: RmsNorm((1,)),
        "option 'normalized_shape': (1,); must be sizes of at least 1 that hold two or more elements",
    ),
    "no-feature": (
        lambda: LayerNorm((3, 0)),
        "option 'normalized_shape': (3, 0); must be sizes of at least 1 that hold two or more elements",
    ),
    "axis": (
        lambda: L2Normalize(2).arrays(x=(3, 4)),
        "option 'axis': 2; must be an axis of x, whose shape is (3, 4)",
    ),
    "dim": (lambda: WeightNorm(-3).arrays(v=(3, 4)), "option 'dim': -3; must be an axis of v, whose shape is (3, 4)"),
}


@pytest.mark.parametrize(("build", "message"), OPTIONS.values(), ids=OPTIONS)
def test_an_impossible_option_is_refused(build: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        build()


VARIANCE = "their variance is zero otherwise"
ARRAYS = {
    "batch-axes": (BatchNorm(), {"x": (3,)}, "array 'x': shape (3,); must be (N, C, *S)"),
    "batch-empty": (BatchNorm(), {"x": (0, 3)}, "array 'x': shape (0, 3); must not be empty"),
    "batch-channels": (BatchNorm(4), {"x": (5, 3)}, "array 'x': shape (5, 3); must be (N, C, *S) with C = 4"),
    "batch-gamma": (BatchNorm(), {"x": (5, 3), "gamma": (2,)}, "array 'gamma': shape (2,); must be (C,) = (3,)"),
    "batch-single": (
        BatchNorm(),
        {"x": (1, 3)},
        f"array 'x': shape (1, 3); must hold two or more values for each channel: {VARIANCE}",
    ),
    "batch-running": (
        BatchNorm(training=False),
        {"x": (1, 3), "running_var": (1, 3)},
        "array 'running_var': shape (1, 3); must be (C,) = (3,)",
    ),
    "group-single": (
        GroupNorm(3),
        {"x": (4, 3)},
        f"array 'x': shape (4, 3); must hold two or more values in each group: {VARIANCE}",
    ),
    "instance-axes": (
        InstanceNorm(),
        {"x": (4, 3)},
        "array 'x': shape (4, 3); must be (N, C, *S) with S not empty",
    ),
    "instance-single": (
        InstanceNorm(),
        {"x": (4, 3, 1)},
        f"array 'x': shape (4, 3, 1); must hold two or more values for each channel of a sample: {VARIANCE}",
    ),
    "layer-x": (
        LayerNorm((3, 4)),
        {"x": (2, 4, 3)},
        "array 'x': shape (2, 4, 3); must end in normalized_shape = (3, 4)",
    ),
    "layer-short": (LayerNorm((3, 4)), {"x": (4,)}, "array 'x': shape (4,); must end in normalized_shape = (3, 4)"),
    "layer-scalar": (LayerNorm(), {"x": ()}, "array 'x': shape (); must hold two or more elements to normalise over"),
    "layer-beta": (
        LayerNorm(),
        {"x": (2, 4), "beta": (3,)},
        "array 'x': shape (2, 4); must end in normalized_shape = (3,)",
    ),
    "layer-both": (
        LayerNorm(),
        {"gamma": (4,), "beta": (3,)},
        "array 'beta': shape (3,); must be normalized_shape = (4,)",
    ),
    "rms-gamma": (
        RmsNorm(),
        {"gamma": (1,)},
        "array 'gamma': shape (1,); must hold two or more elements to normalise over",
    ),
    "l2-empty": (L2Normalize(), {"x": (3, 0)}, "array 'x': shape (3, 0); must not be empty along axis -1"),
    "weight-axes": (
        WeightNorm(),
        {"v": (3,)},
        "array 'v': shape (3,); must have two or more axes, none of them empty",
    ),
    "weight-g": (WeightNorm(1), {"v": (3, 4), "g": (3,)}, "array 'g': shape (3,); must be (out,) = (4,)"),
}


@pytest.mark.parametrize(("layer", "shapes", "message"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_that_does_not_fit_is_named(layer: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer.arrays(**shapes)

"""Pooling against torch autograd and the complex step; ties, padding and impossible options."""

from __future__ import annotations

import re
from typing import Any

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
from gradcheck_cli.layers.pooling import AvgPool2d, GlobalAvgPool, MaxPool2d

LAYERS = (MaxPool2d, AvgPool2d, GlobalAvgPool)
EXAMPLES = [
    pytest.param(layer, example, id=f"{layer.name}-{n}") for layer in LAYERS for n, example in enumerate(layer.EXAMPLES)
]
bounded = settings(max_examples=15, deadline=None, derandomize=True)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def padding_for(kernel: tuple[int, int], pad: bool) -> tuple[int, ...]:
    """torch allows up to half of the kernel."""
    return tuple(size // 2 if pad else 0 for size in kernel)


@bounded
@given(pairs, pairs, pairs, st.booleans(), pairs)
def test_max_pool2d_agrees_with_torch(kernel: Any, stride: Any, dilation: Any, pad: bool, more: Any) -> None:
    torch = pytest.importorskip("torch")
    fields = {"kernel_size": kernel, "stride": stride, "padding": padding_for(kernel, pad), "dilation": dilation}
    layer = MaxPool2d(**fields)
    sizes = tuple(d * (k - 1) + m for d, k, m in zip(dilation, kernel, more, strict=True))
    assert_torch_agrees(
        layer, draw(layer, {"x": (2, 2, *sizes)}), lambda x: torch.nn.functional.max_pool2d(x, **fields)
    )


@bounded
@given(pairs, st.none() | pairs, st.booleans(), st.booleans(), pairs)
def test_avg_pool2d_agrees_with_torch(kernel: Any, stride: Any, pad: bool, count: bool, more: Any) -> None:
    torch = pytest.importorskip("torch")
    fields = {"kernel_size": kernel, "stride": stride, "padding": padding_for(kernel, pad), "count_include_pad": count}
    layer = AvgPool2d(**fields)
    sizes = tuple(k + m for k, m in zip(kernel, more, strict=True))
    assert_torch_agrees(
        layer, draw(layer, {"x": (2, 2, *sizes)}), lambda x: torch.nn.functional.avg_pool2d(x, **fields)
    )


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4), (2, 3, 2, 3, 4)])
def test_global_avg_pool_agrees_with_torch(shape: Any, keepdims: bool) -> None:
    layer = GlobalAvgPool(keepdims=keepdims)
    axes = tuple(range(2, len(shape)))
    assert_torch_agrees(layer, draw(layer, {"x": shape}), lambda x: x.mean(dim=axes, keepdim=keepdims))


@pytest.mark.parametrize(("layer", "example"), EXAMPLES)
def test_example_agrees_with_the_complex_step(layer: Any, example: Any) -> None:
    layer = layer(**example.options)
    assert_complex_step_agrees(layer, draw(layer, example.shapes))


@pytest.mark.parametrize(("layer", "example"), EXAMPLES)
def test_stack_equals_single_calls(layer: Any, example: Any) -> None:
    assert_stack_is_single_calls(layer(**example.options), example.shapes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(("layer", "example"), EXAMPLES)
def test_dtype_is_kept(layer: Any, example: Any, dtype: Any) -> None:
    assert_dtype_is_kept(layer(**example.options), example.shapes, dtype)


def test_tied_maximum_gives_all_of_dy_to_one_winner_of_each_window() -> None:
    x, dy = np.ones((1, 1, 2, 4)), np.array([[[[2.0, 3.0]]]])
    gradient = MaxPool2d().vjp(dy, x)["x"]
    assert gradient.tolist() == [[[[2.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]]


def test_padding_never_wins_over_negative_values() -> None:
    x = np.full((1, 1, 2, 2), -1000.0)
    layer = MaxPool2d(kernel_size=2, stride=2, padding=1)
    y = layer.forward(x)
    assert y.tolist() == [[[[-1000.0] * 2] * 2]]
    assert layer.vjp(np.ones_like(y), x)["x"].tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]


def test_nan_reaches_the_maximum() -> None:
    x = np.array([[[[0.5, np.nan], [0.2, 0.9]]]])
    assert np.isnan(MaxPool2d().forward(x)).all()


@pytest.mark.parametrize(
    ("layer", "fields", "shapes", "message"),
    [
        (MaxPool2d, {"kernel_size": 0}, {}, "option 'kernel_size': 0; must be at least 1"),
        (MaxPool2d, {"stride": (0, 1)}, {}, "option 'stride': (0, 1); must be at least 1"),
        (AvgPool2d, {"padding": (1,)}, {}, "option 'padding': (1,); must be one integer or 2"),
        (
            MaxPool2d,
            {"kernel_size": (3, 2), "dilation": 2},
            {"x": (2, 2, 4, 4)},
            "option 'kernel_size': (3, 2); must fit the padded input: the window spans (5, 3), the input (4, 4)",
        ),
        (
            AvgPool2d,
            {"kernel_size": 5, "padding": 1},
            {"x": (2, 2, 2, 4)},
            "option 'kernel_size': 5; must fit the padded input: the window spans (5, 5), the input (4, 6)",
        ),
        (
            MaxPool2d,
            {"padding": 2},
            {"x": (2, 2, 4, 5)},
            "option 'padding': 2; must leave an element of the input (4, 5) in every window",
        ),
    ],
)
def test_impossible_option_says_what_must_hold(layer: Any, fields: Any, shapes: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        layer(**fields).arrays(**shapes)


@pytest.mark.parametrize(
    ("layer", "shape", "must"),
    [
        (MaxPool2d, (4,), "must be (N, C, H, W) or (..., H, W), every size at least 1"),
        (AvgPool2d, (2, 2, 0, 3), "must be (N, C, H, W) or (..., H, W), every size at least 1"),
        (GlobalAvgPool, (2, 3), "must be (N, C, ...) with one position axis or more, every size at least 1"),
    ],
)
def test_array_that_does_not_fit_is_named(layer: Any, shape: Any, must: str) -> None:
    message = f"array 'x': shape {shape}; {must}"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer().arrays(x=shape)

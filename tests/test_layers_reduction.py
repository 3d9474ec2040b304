"""Reductions and scans against torch autograd and the complex step; ties and impossible axes."""

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
from gradcheck_cli.layers.reduction import CumSum, Max, Mean, Sort, Sum

LAYERS = (Sum, Mean, Max, CumSum, Sort)
EXAMPLES = [
    pytest.param(layer, example, id=f"{layer.name}-{n}") for layer in LAYERS for n, example in enumerate(layer.EXAMPLES)
]
bounded = settings(max_examples=15, deadline=None, derandomize=True)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@pytest.mark.parametrize("layer", [Sum, Mean, Max])
@bounded
@given(shapes, st.sets(st.integers(-4, 3)), st.booleans(), st.booleans())
def test_reduction_agrees_with_torch(layer: Any, shape: Any, chosen: set[int], every: bool, keepdims: bool) -> None:
    ndim = len(shape)
    found = {axis % ndim: axis for axis in sorted(chosen) if -ndim <= axis < ndim}
    axis = None if every or not found else tuple(found.values())
    axis = axis[0] if axis and len(axis) == 1 else axis
    dim = tuple(range(ndim)) if axis is None else axis
    layer = layer(axis=axis, keepdims=keepdims)
    names = {"sum": "sum", "mean": "mean", "max": "amax"}
    assert_torch_agrees(
        layer, draw(layer, {"x": shape}), lambda x: getattr(x, names[layer.name])(dim=dim, keepdim=keepdims)
    )


@bounded
@given(shapes, st.integers(-4, 3))
def test_cumsum_agrees_with_torch(shape: Any, place: int) -> None:
    layer = CumSum(axis=place % (2 * len(shape)) - len(shape))
    assert_torch_agrees(layer, draw(layer, {"x": shape}), lambda x: x.cumsum(dim=layer.axis))


@bounded
@given(shapes, st.integers(-4, 3), st.booleans())
def test_sort_agrees_with_torch(shape: Any, place: int, descending: bool) -> None:
    layer = Sort(axis=place % (2 * len(shape)) - len(shape), descending=descending)
    assert_torch_agrees(
        layer, draw(layer, {"x": shape}), lambda x: x.sort(dim=layer.axis, descending=descending).values
    )


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


@pytest.mark.parametrize("layer", [Sum(), Mean(), Max()])
def test_scalar_input_passes_dy_through(layer: Any) -> None:
    x, dy = np.asarray(0.7), np.asarray(3.0)
    assert layer.forward(x) == x
    assert layer.vjp(dy, x)["x"] == dy


def test_tied_maximum_gives_all_of_dy_to_the_first() -> None:
    x = np.array([[1.0, 2.0, 2.0], [5.0, 5.0, 5.0]])
    gradient = Max(axis=1).vjp(np.array([3.0, 4.0]), x)["x"]
    assert gradient.tolist() == [[0.0, 3.0, 0.0], [4.0, 0.0, 0.0]]


def test_sort_of_ties_hands_each_dy_to_one_element() -> None:
    dy = np.array([1.0, 2.0, 3.0])
    assert Sort().vjp(dy, np.array([2.0, 1.0, 1.0]))["x"].tolist() == [3.0, 1.0, 2.0]
    assert Sort(descending=True).vjp(dy, np.array([1.0, 2.0, 1.0]))["x"].tolist() == [2.0, 1.0, 3.0]


def test_nan_reaches_the_maximum() -> None:
    assert np.isnan(Max().forward(np.array([1.0, np.nan, 2.0])))


@pytest.mark.parametrize("layer", [Sum, Mean, Max, CumSum, Sort])
def test_default_input_has_the_axis(layer: Any) -> None:
    assert len(layer(axis=3).arrays()["x"].shape) == 4
    assert len(layer(axis=-3).arrays()["x"].shape) == 3


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Sum(axis=2), (3, 4), "option 'axis': 2; must be from -2 to 1: the array has 2 axes"),
        (Mean(axis=(0, -3)), (3, 4), "option 'axis': (0, -3); must be from -2 to 1: the array has 2 axes"),
        (Max(axis=(0, -2)), (3, 4), "option 'axis': (0, -2); must name each axis once"),
        (CumSum(), (), "option 'axis': -1; needs an array with axes: this one has none"),
        (Sort(axis=1), (3,), "option 'axis': 1; must be from -1 to 0: the array has 1 axes"),
    ],
)
def test_impossible_axis_says_what_must_hold(layer: Any, shape: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        layer.arrays(x=shape)


@pytest.mark.parametrize("layer", [Mean(axis=1), Max(axis=1)])
def test_nothing_to_reduce_is_refused(layer: Any) -> None:
    message = "array 'x': shape (2, 0); must have at least one element along axis 1"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer.arrays(x=(2, 0))
    assert Sum(axis=1).forward(np.zeros((2, 0))).tolist() == [0.0, 0.0]

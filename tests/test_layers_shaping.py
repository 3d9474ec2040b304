"""Layers that move elements against torch autograd and the complex step; impossible options."""

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
from gradcheck_cli.layers.shaping import Concat, Reshape, Slice, Transpose, Where

LAYERS = (Concat, Transpose, Reshape, Slice, Where)
EXAMPLES = [
    pytest.param(layer, example, id=f"{layer.name}-{n}") for layer in LAYERS for n, example in enumerate(layer.EXAMPLES)
]
bounded = settings(max_examples=15, deadline=None, derandomize=True)
some_shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@bounded
@given(some_shapes, st.integers(0, 7), st.integers(1, 3))
def test_concat_agrees_with_torch(shape: Any, place: int, more: int) -> None:
    torch = pytest.importorskip("torch")
    axis = place % (2 * len(shape)) - len(shape)
    other = tuple(more if at == axis % len(shape) else size for at, size in enumerate(shape))
    layer = Concat(axis=axis)
    assert_torch_agrees(layer, draw(layer, {"a": shape, "b": other}), lambda a, b: torch.cat((a, b), dim=axis))


@bounded
@given(st.permutations(range(4)), st.integers(0, 4))
def test_transpose_agrees_with_torch(order: list[int], back: int) -> None:
    layer = Transpose(axes=tuple(axis - 4 if axis < back else axis for axis in order))
    assert_torch_agrees(layer, draw(layer, {"x": (2, 3, 4, 5)}), lambda x: x.permute(layer.axes))


@pytest.mark.parametrize(("shape", "came"), [((-1,), (2, 3)), ((4, -1), (2, 3, 2)), ((2, 3), (6,)), ((3, 4), (2, 6))])
def test_reshape_agrees_with_torch(shape: Any, came: Any) -> None:
    layer = Reshape(shape=shape)
    assert_torch_agrees(layer, draw(layer, {"x": came}), lambda x: x.reshape(shape))


ends = st.none() | st.integers(-6, 6)


@bounded
@given(ends, ends, st.integers(1, 3), st.integers(-2, 1))
def test_slice_agrees_with_torch(start: Any, stop: Any, step: int, axis: int) -> None:
    if not range(5)[slice(start, stop, step)]:
        return
    layer = Slice(axis=axis, start=start, stop=stop, step=step)
    index = (slice(start, stop, step),) if axis in (-2, 0) else (slice(None), slice(start, stop, step))
    assert_torch_agrees(layer, draw(layer, {"x": (5, 5)}), lambda x: x[index])


@bounded
@given(st.lists(st.tuples(st.integers(2, 4), *[st.booleans()] * 3), max_size=3), *[st.integers(0, 3)] * 3)
def test_where_agrees_with_torch(axes: Any, cut_a: int, cut_b: int, cut_condition: int) -> None:
    torch = pytest.importorskip("torch")
    shapes = {
        name: tuple(1 if axis[place] else axis[0] for axis in axes)[cut:]
        for place, (name, cut) in enumerate((("a", cut_a), ("b", cut_b), ("condition", cut_condition)), start=1)
    }
    assert_torch_agrees(Where(), draw(Where(), shapes), lambda a, b, condition: torch.where(condition, a, b))


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


def test_slice_backwards_takes_from_the_end() -> None:
    layer = Slice(start=-1, stop=0, step=-2)
    x = np.arange(5.0)
    assert layer.forward(x).tolist() == [4.0, 2.0]
    assert layer.vjp(np.array([7.0, 9.0]), x)["x"].tolist() == [0.0, 0.0, 9.0, 0.0, 7.0]


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (Concat(axis=2), {"a": (3, 4, 2), "b": (3, 4, 3)}),
        (Transpose(axes=(3, 0, 1, 2)), {"x": (3, 4, 2, 3)}),
        (Reshape(shape=(2, 3)), {"x": (3, 2)}),
        (Reshape(shape=(4, -1)), {"x": (2, 12)}),
        (Slice(axis=1, start=4, stop=-1), {"x": (3, 7)}),
        (Where(), {"a": (3, 4), "b": (3, 4), "condition": (3, 4)}),
    ],
)
def test_default_shapes_follow_the_options(layer: Any, wanted: Any) -> None:
    assert {name: spec.shape for name, spec in layer.arrays().items()} == wanted


@pytest.mark.parametrize(
    ("make", "shapes", "message"),
    [
        (lambda: Concat(axis=2), {"a": (2, 3)}, "option 'axis': 2; must be from -2 to 1: the array has 2 axes"),
        (lambda: Transpose(axes=(0, 1)), {"x": (2, 3, 4)}, "option 'axes': (0, 1); must name all 3 axes of x"),
        (lambda: Transpose(axes=(0, -2)), {"x": (2, 3)}, "option 'axes': (0, -2); must name each axis once"),
        (
            lambda: Transpose(axes=(0, 2)),
            {"x": (2, 3)},
            "option 'axes': (0, 2); must be from -2 to 1: the array has 2 axes",
        ),
        (lambda: Reshape(shape=(2, -2)), {}, "option 'shape': (2, -2); must hold sizes of at least 0, or one -1"),
        (lambda: Reshape(shape=(-1, -1)), {}, "option 'shape': (-1, -1); must hold at most one -1"),
        (
            lambda: Reshape(shape=(4, -1)),
            {"x": (2, 3)},
            "option 'shape': (4, -1); must divide the 6 elements of x (2, 3)",
        ),
        (lambda: Reshape(shape=(2, 2)), {"x": (2, 3)}, "option 'shape': (2, 2); must hold the 6 elements of x (2, 3)"),
        (lambda: Slice(step=0), {}, "option 'step': 0; must not be 0"),
        (lambda: Slice(start=3), {"x": (2, 3)}, "option 'start': 3; must leave an element of the 3 along axis 1"),
        (lambda: Slice(axis=0, stop=0), {"x": (2, 3)}, "option 'stop': 0; must leave an element of the 2 along axis 0"),
        (lambda: Slice(axis=-3), {"x": (2, 3)}, "option 'axis': -3; must be from -2 to 1: the array has 2 axes"),
    ],
)
def test_impossible_option_says_what_must_hold(make: Any, shapes: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        make().arrays(**shapes)


@pytest.mark.parametrize(
    ("layer", "shapes", "message"),
    [
        (
            Concat(axis=1),
            {"a": (2, 3, 4), "b": (2, 3, 5)},
            "array 'b': shape (2, 3, 5); must be (2, any, 4), as a is (2, 3, 4)",
        ),
        (Concat(), {"a": (3,), "b": (2, 3)}, "array 'b': shape (2, 3); must be (any,), as a is (3,)"),
        (Where(), {"a": (2, 3), "b": (2,)}, "array 'b': shape (2,); must broadcast with (2, 3)"),
        (Where(), {"a": (2, 3), "condition": (4,)}, "array 'condition': shape (4,); must broadcast with (2, 3)"),
    ],
)
def test_array_that_does_not_fit_is_named(layer: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer.arrays(**shapes)

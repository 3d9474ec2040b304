"""Dropout with a mask that is given and with one from a seed."""

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
from gradcheck_cli.layers.dropout import Dropout

EXAMPLES = [
    pytest.param(Dropout(**example.options), example.shapes, id=f"dropout-{n}")
    for n, example in enumerate(Dropout.EXAMPLES)
]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=3), st.floats(0, 0.9))
def test_given_mask_agrees_with_torch(axes: Any, p: float) -> None:
    shapes = {"x": tuple(n for n, _ in axes), "mask": tuple(n if whole else 1 for n, whole in axes)}
    layer = Dropout(p)
    assert_torch_agrees(layer, draw(layer, shapes), lambda x, mask: x * mask / (1 - p))


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_vjp_agrees_with_the_complex_step(layer: Any, shapes: Any) -> None:
    assert_complex_step_agrees(layer, draw(layer, shapes))


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_stack_equals_single_calls(layer: Any, shapes: Any) -> None:
    assert_stack_is_single_calls(layer, shapes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_dtype_is_kept(layer: Any, shapes: Any, dtype: Any) -> None:
    assert_dtype_is_kept(layer, shapes, dtype)


def test_a_seed_gives_one_mask_with_the_right_share() -> None:
    layer, x = Dropout(0.3, seed=7), np.ones((100, 100))
    y = layer.forward(x)
    np.testing.assert_array_equal(layer.forward(x), y)
    np.testing.assert_array_equal(layer.vjp(x, x)["x"], y)
    assert set(np.unique(y)) == {0.0, 1 / 0.7}
    assert abs(np.mean(y == 0) - 0.3) < 0.02
    assert not np.array_equal(Dropout(0.3, seed=8).forward(x), y)


def test_without_a_seed_the_mask_is_an_array_of_its_own() -> None:
    assert list(Dropout().arrays()) == ["x", "mask"]
    assert list(Dropout(seed=0).arrays()) == ["x"]
    spec = Dropout(0.2).arrays(mask=(3, 5))
    assert (spec["x"].shape, spec["mask"].kind) == ((3, 5), "boolean")
    with pytest.raises(ArrayError, match=r"^array 'mask': none given; must be given, or the option seed set$"):
        Dropout().forward(np.ones(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.0}, "option 'p': 1.0; must be in [0, 1)"),
        ({"p": -0.1}, "option 'p': -0.1; must be in [0, 1)"),
        ({"p": float("nan")}, "option 'p': nan; must be in [0, 1)"),
        ({"seed": -1}, "option 'seed': -1; must not be negative"),
    ],
)
def test_an_impossible_option_is_refused(options: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        Dropout(**options)


@pytest.mark.parametrize("mask", [(4,), (3, 5), (3, 4, 1)])
def test_a_mask_that_does_not_fit_is_refused(mask: Any) -> None:
    message = f"array 'mask': shape {mask}; must be the shape of x = (3, 4), or 1 in some of its axes"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        Dropout().arrays(x=(3, 4), mask=mask)


def test_a_mask_beside_a_seed_is_refused() -> None:
    message = "array 'mask': shape (3,); must be left out: the mask comes from seed = 1"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        Dropout(seed=1).arrays(mask=(3,))

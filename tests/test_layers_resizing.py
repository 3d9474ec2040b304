"""Upsampling and padding against torch autograd, numpy and the complex step; impossible options."""

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
from gradcheck_cli.layers.resizing import Pad, UpsampleNearest

LAYERS = (UpsampleNearest, Pad)
EXAMPLES = [
    pytest.param(layer, example, id=f"{layer.name}-{n}") for layer in LAYERS for n, example in enumerate(layer.EXAMPLES)
]
TORCH_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
bounded = settings(max_examples=15, deadline=None, derandomize=True)


@bounded
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.booleans())
def test_upsample_nearest_agrees_with_torch(factors: list[int], one: bool) -> None:
    torch = pytest.importorskip("torch")
    factor = factors[0] if one else tuple(factors)
    layer = UpsampleNearest(scale_factor=factor)
    arrays = draw(layer, {"x": (2, 2, *range(2, 2 + len(factors)))})
    assert_torch_agrees(
        layer, arrays, lambda x: torch.nn.functional.interpolate(x, scale_factor=factor, mode="nearest")
    )


@bounded
@given(st.sampled_from(sorted(TORCH_MODES)), st.lists(st.integers(0, 2), min_size=4, max_size=4), st.booleans())
def test_pad_agrees_with_torch(mode: Any, widths: list[int], one_axis: bool) -> None:
    torch = pytest.importorskip("torch")
    widths = widths[:2] if one_axis else widths
    value = 0.4 if mode == "constant" else 0.0
    layer = Pad(widths=tuple(widths), mode=mode, value=value)
    arrays = draw(layer, {"x": (2, 3, 4) if one_axis else (2, 2, 3, 4)})
    assert_torch_agrees(layer, arrays, lambda x: torch.nn.functional.pad(x, widths, TORCH_MODES[mode], value or None))


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


def test_widths_start_at_the_last_axis() -> None:
    assert Pad(widths=(1, 0, 0, 2), value=9.0).forward(np.array([[1.0, 2.0]])).tolist() == [
        [9.0, 1.0, 2.0],
        [9.0, 9.0, 9.0],
        [9.0, 9.0, 9.0],
    ]


def test_edge_gradient_collects_every_copy() -> None:
    assert Pad(widths=(2, 1), mode="edge").vjp(np.arange(1.0, 6.0), np.zeros(2))["x"].tolist() == [6.0, 9.0]


@pytest.mark.parametrize(
    ("layer", "fields", "shapes", "message"),
    [
        (UpsampleNearest, {"scale_factor": 0}, {}, "option 'scale_factor': 0; must be at least 1"),
        (UpsampleNearest, {"scale_factor": (2, -1)}, {}, "option 'scale_factor': (2, -1); must be at least 1"),
        (
            UpsampleNearest,
            {"scale_factor": (2, 3)},
            {"x": (2, 3, 4)},
            "option 'scale_factor': (2, 3); must be one integer",
        ),
        (Pad, {"widths": (1, -1)}, {}, "option 'widths': (1, -1); must be at least 0"),
        (Pad, {"widths": (1,)}, {}, "option 'widths': (1,); must hold a pair (before, after) for each padded axis"),
        (Pad, {"widths": ()}, {}, "option 'widths': (); must hold a pair (before, after) for each padded axis"),
        (Pad, {"mode": "wrap"}, {}, "option 'mode': 'wrap'; must be 'constant', 'reflect' or 'edge'"),
        (
            Pad,
            {"widths": (3, 0), "mode": "reflect"},
            {"x": (2, 3)},
            "option 'widths': (3, 0); must be smaller than the axis to reflect, of size 3",
        ),
    ],
)
def test_impossible_option_says_what_must_hold(layer: Any, fields: Any, shapes: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        layer(**fields).arrays(**shapes)


@pytest.mark.parametrize(
    ("layer", "shape", "must"),
    [
        (UpsampleNearest(), (2, 3), "must be (N, C, ...) with one position axis or more, every size at least 1"),
        (Pad(widths=(1, 1, 1, 1)), (3,), "must have at least 2 axes, every size at least 1"),
    ],
)
def test_array_that_does_not_fit_is_named(layer: Any, shape: Any, must: str) -> None:
    message = f"array 'x': shape {shape}; {must}"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer.arrays(x=shape)

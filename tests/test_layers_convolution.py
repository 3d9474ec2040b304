"""Convolutions against torch autograd and the complex step; impossible options against their whole message."""

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
from gradcheck_cli.layers.convolution import Conv1d, Conv2d, ConvTranspose2d

LAYERS = (Conv1d, Conv2d, ConvTranspose2d)
EXAMPLES = [
    pytest.param(layer, example, id=f"{layer.name}-{n}") for layer in LAYERS for n, example in enumerate(layer.EXAMPLES)
]
bounded = settings(max_examples=15, deadline=None, derandomize=True)


@st.composite
def options(draw: Any, rank: int) -> dict[str, Any]:
    """Options and spatial sizes that fit each other, a remainder under the stride included."""
    each = lambda low, high: st.tuples(*[st.integers(low, high)] * rank)  # noqa: E731 - a strategy of one line
    kernel, stride, padding, dilation = draw(each(1, 3)), draw(each(1, 3)), draw(each(0, 2)), draw(each(1, 2))
    groups = draw(st.integers(1, 2))
    channels, out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    sizes = tuple(size + draw(st.integers(0, 4)) for size in least)
    fields = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return {"fields": {**fields, "in_channels": channels, "out_channels": out}, "x": (2, channels, *sizes)}


@bounded
@given(options(1))
def test_conv1d_agrees_with_torch(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    layer = Conv1d(**case["fields"])
    rest = {name: case["fields"][name] for name in ("stride", "padding", "dilation", "groups")}
    assert_torch_agrees(
        layer, draw(layer, {"x": case["x"]}), lambda x, W, b: torch.nn.functional.conv1d(x, W, b, **rest)
    )


@bounded
@given(options(2))
def test_conv2d_agrees_with_torch(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    layer = Conv2d(**case["fields"])
    rest = {name: case["fields"][name] for name in ("stride", "padding", "dilation", "groups")}
    assert_torch_agrees(
        layer, draw(layer, {"x": case["x"]}), lambda x, W, b: torch.nn.functional.conv2d(x, W, b, **rest)
    )


@bounded
@given(options(2), st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_conv_transpose2d_agrees_with_torch(case: dict[str, Any], extra: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    fields = case["fields"]
    extra = tuple(min(more, stride - 1) for more, stride in zip(extra, fields["stride"], strict=True))
    layer = ConvTranspose2d(**fields, output_padding=extra)
    x = tuple(size + 4 for size in case["x"][2:])  # large enough for any padding drawn here
    rest = {name: fields[name] for name in ("stride", "padding", "dilation", "groups")}
    assert_torch_agrees(
        layer,
        draw(layer, {"x": (*case["x"][:2], *x)}),
        lambda x, W, b: torch.nn.functional.conv_transpose2d(x, W, b, output_padding=extra, **rest),
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


@pytest.mark.parametrize("layer", LAYERS)
def test_shapes_are_deduced_from_any_array(layer: Any) -> None:
    whole = {name: spec.shape for name, spec in layer().arrays().items()}
    for name, shape in whole.items():
        found = {key: spec.shape for key, spec in layer().arrays(**{name: shape}).items()}
        assert found[name] == shape
        assert layer().arrays(**found)


def test_default_kernel_shrinks_to_a_small_input() -> None:
    assert Conv2d().arrays(x=(2, 3, 2, 5))["W"].shape == (4, 3, 2, 3)


@pytest.mark.parametrize(
    ("layer", "fields", "shapes", "message"),
    [
        (Conv1d, {"kernel_size": 0}, {}, "option 'kernel_size': 0; must be at least 1"),
        (Conv1d, {"stride": 0}, {}, "option 'stride': 0; must be at least 1"),
        (Conv1d, {"stride": (1, 2)}, {}, "option 'stride': (1, 2); must be one integer"),
        (Conv2d, {"padding": -1}, {}, "option 'padding': -1; must be at least 0"),
        (Conv2d, {"dilation": (1, 2, 1)}, {}, "option 'dilation': (1, 2, 1); must be one integer or 2"),
        (Conv2d, {"groups": 0}, {}, "option 'groups': 0; must be at least 1"),
        (Conv2d, {"in_channels": 3, "groups": 2}, {}, "option 'groups': 2; must divide in_channels = 3"),
        (Conv2d, {"out_channels": 3, "groups": 2}, {}, "option 'groups': 2; must divide out_channels = 3"),
        (Conv2d, {"groups": 2}, {"x": (2, 3, 5, 5)}, "option 'groups': 2; must divide in_channels = 3"),
        (Conv2d, {"groups": 2}, {"b": (3,)}, "option 'groups': 2; must divide out_channels = 3"),
        (Conv2d, {"out_channels": -1}, {}, "option 'out_channels': -1; must be at least 1"),
        (
            Conv2d,
            {"kernel_size": (2, 3), "dilation": (1, 3), "padding": (0, 1)},
            {"x": (1, 2, 4, 4)},
            "option 'kernel_size': (2, 3); must fit the padded input: the kernel spans (2, 7), the input (4, 6)",
        ),
        (ConvTranspose2d, {"in_channels": 3, "groups": 2}, {}, "option 'groups': 2; must divide in_channels = 3"),
        (
            ConvTranspose2d,
            {"stride": 2, "output_padding": 2},
            {},
            "option 'output_padding': 2; must be smaller than stride = 2",
        ),
        (
            ConvTranspose2d,
            {"padding": (3, 1)},
            {"x": (1, 2, 2, 3), "W": (2, 3, 3, 3)},
            "option 'padding': (3, 1); must leave an output with elements: its sizes are (-2, 3)",
        ),
    ],
)
def test_impossible_option_says_what_must_hold(layer: Any, fields: Any, shapes: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        layer(**fields).arrays(**shapes)


@pytest.mark.parametrize(
    ("layer", "fields", "shapes", "message"),
    [
        (Conv1d, {}, {"x": (2, 3)}, "array 'x': shape (2, 3); must be (N, in_channels, L), every size at least 1"),
        (
            Conv2d,
            {},
            {"x": (2, 3, 0, 4)},
            "array 'x': shape (2, 3, 0, 4); must be (N, in_channels, H, W), every size at least 1",
        ),
        (
            Conv2d,
            {"in_channels": 2},
            {"x": (2, 3, 4, 4)},
            "array 'x': shape (2, 3, 4, 4); must have in_channels = 2 along axis 1",
        ),
        (
            Conv1d,
            {},
            {"W": (2, 3)},
            "array 'W': shape (2, 3); must be (out_channels, in_channels / groups, kernel), every size at least 1",
        ),
        (
            Conv1d,
            {},
            {"x": (2, 3, 5), "W": (2, 4, 2)},
            "array 'W': shape (2, 4, 2); must be (out_channels, in_channels / groups, kernel) = (2, 3, 2)",
        ),
        (
            ConvTranspose2d,
            {},
            {"x": (2, 3, 5, 4), "W": (2, 4, 2, 2)},
            (
                "array 'W': shape (2, 4, 2, 2); "
                "must be (in_channels, out_channels / groups, kernel H, kernel W) = (3, 4, 2, 2)"
            ),
        ),
        (
            Conv1d,
            {},
            {"x": (2, 3, 2), "W": (2, 3, 4)},
            "array 'W': shape (2, 3, 4); must fit the padded input: the kernel spans (4,), the input (2,)",
        ),
        (Conv2d, {"out_channels": 3}, {"b": (2,)}, "array 'b': shape (2,); must be (out_channels,) = (3,)"),
    ],
)
def test_array_that_does_not_fit_is_named(layer: Any, fields: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer(**fields).arrays(**shapes)

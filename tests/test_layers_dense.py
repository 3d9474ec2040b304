"""Affine, bilinear and outer products and table look-up against torch autograd and the complex step."""

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
from gradcheck_cli.layers.dense import Bilinear, Embedding, Linear, Outer

LAYERS = (Linear, Bilinear, Embedding, Outer)
EXAMPLES = [
    pytest.param(layer(**example.options), example.shapes, id=f"{layer.name}-{n}")
    for layer in LAYERS
    for n, example in enumerate(layer.EXAMPLES)
]
ANALYTIC = [each for each in EXAMPLES if not isinstance(each.values[0], Embedding)]
bounded = settings(max_examples=15, deadline=None, derandomize=True)
size = st.integers(1, 5)
leading = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@bounded
@given(leading, size, size)
def test_linear_agrees_with_torch(leading: Any, n_in: int, n_out: int) -> None:
    torch = pytest.importorskip("torch")
    layer = Linear(n_in, n_out)
    arrays = draw(layer, {"x": (*leading, n_in)})
    assert_torch_agrees(layer, arrays, lambda x, W, b: torch.nn.functional.linear(x, W, b))


@bounded
@given(leading, size, size, size)
def test_bilinear_agrees_with_torch(leading: Any, n1: int, n2: int, n_out: int) -> None:
    torch = pytest.importorskip("torch")
    layer = Bilinear(out_features=n_out)
    arrays = draw(layer, {"x1": (*leading, n1), "x2": (*leading, n2)})
    assert_torch_agrees(layer, arrays, lambda x1, x2, W, b: torch.nn.functional.bilinear(x1, x2, W, b))


@bounded
@given(leading, size, size)
def test_embedding_agrees_with_torch(leading: Any, rows: int, columns: int) -> None:
    torch = pytest.importorskip("torch")
    layer = Embedding(rows, columns)
    arrays = draw(layer, {"indices": leading})
    assert_torch_agrees(layer, arrays, lambda indices, W: torch.nn.functional.embedding(indices, W))


@bounded
@given(leading, size, size)
def test_outer_agrees_with_torch(leading: Any, m: int, n: int) -> None:
    torch = pytest.importorskip("torch")
    layer = Outer()
    arrays = draw(layer, {"x": (*leading, m), "z": (*leading, n)})
    assert_torch_agrees(layer, arrays, lambda x, z: torch.einsum("...i,...j->...ij", x, z))


@pytest.mark.parametrize(("layer", "shapes"), ANALYTIC)
def test_vjp_agrees_with_the_complex_step(layer: Any, shapes: Any) -> None:
    assert_complex_step_agrees(layer, draw(layer, shapes))


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
    assert set(layer().vjp(layer().forward(**arrays), **arrays)) == {
        name for name, spec in layer().arrays().items() if spec.differentiable
    }


def test_embedding_accumulates_repeated_indices() -> None:
    dy = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    gradient = Embedding().vjp(dy, np.array([2, 0, 2]), np.ones((4, 2)))["W"]
    np.testing.assert_array_equal(gradient, [[2.0, 20.0], [0.0, 0.0], [5.0, 50.0], [0.0, 0.0]])


def test_embedding_draws_an_index_twice() -> None:
    for seed in range(20):
        indices = draw(Embedding(1000), {"indices": (2, 3)}, seed)["indices"]
        assert len(np.unique(indices)) < indices.size


@pytest.mark.parametrize("index", [-1, 4])
def test_embedding_refuses_an_index_out_of_range(index: int) -> None:
    indices, W = np.array([1, index, 0]), np.ones((4, 2))
    message = f"array 'indices': index {index}; must be in [0, 4)"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        Embedding().forward(indices, W)
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        Embedding().forward_stacked(indices[None], W[None])


ARRAYS = {
    "linear-W-axes": (Linear(), {"W": (3,)}, "array 'W': shape (3,); must be (out_features, in_features)"),
    "linear-x-axes": (Linear(), {"x": ()}, "array 'x': shape (); must be (in_features,) or (..., in_features)"),
    "linear-x": (Linear(3), {"x": (2, 4)}, "array 'x': shape (2, 4); must end in in_features = 3"),
    "linear-W": (
        Linear(),
        {"x": (4,), "W": (2, 3)},
        "array 'W': shape (2, 3); must be (out_features, in_features) = (2, 4)",
    ),
    "linear-b": (Linear(), {"W": (2, 3), "b": (3,)}, "array 'b': shape (3,); must be (out_features,) = (2,)"),
    "bilinear-W-axes": (
        Bilinear(),
        {"W": (2, 3)},
        "array 'W': shape (2, 3); must be (out_features, in1_features, in2_features)",
    ),
    "bilinear-x1-axes": (Bilinear(), {"x1": ()}, "array 'x1': shape (); must be (..., in1_features) = (3,)"),
    "bilinear-x2": (
        Bilinear(),
        {"x1": (5, 2), "x2": (4, 3)},
        "array 'x2': shape (4, 3); must be (..., in2_features), with the leading axes of x1, = (5, 3)",
    ),
    "bilinear-b": (Bilinear(), {"W": (2, 3, 4), "b": (3,)}, "array 'b': shape (3,); must be (out_features,) = (2,)"),
    "embedding-W-axes": (Embedding(), {"W": (3,)}, "array 'W': shape (3,); must be (num_embeddings, embedding_dim)"),
    "embedding-W": (
        Embedding(5),
        {"W": (4, 2)},
        "array 'W': shape (4, 2); must be (num_embeddings, embedding_dim) = (5, 2)",
    ),
    "outer-x": (Outer(), {"x": ()}, "array 'x': shape (); must be (m,) or (..., m)"),
    "outer-z": (
        Outer(),
        {"x": (5, 2), "z": (4, 3)},
        "array 'z': shape (4, 3); must be (n,) behind the leading axes of x = (5,)",
    ),
}


@pytest.mark.parametrize(("layer", "shapes", "message"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_that_does_not_fit_is_named(layer: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer.arrays(**shapes)


@pytest.mark.parametrize(
    ("layer", "shapes", "option", "value"),
    [
        (Linear(in_features=0), {}, "in_features", 0),
        (Linear(out_features=-2), {}, "out_features", -2),
        (Linear(), {"x": (2, 0)}, "in_features", 0),
        (Bilinear(in2_features=0), {}, "in2_features", 0),
        (Embedding(num_embeddings=0), {}, "num_embeddings", 0),
        (Embedding(embedding_dim=-1), {}, "embedding_dim", -1),
    ],
)
def test_an_impossible_size_is_refused(layer: Any, shapes: Any, option: str, value: int) -> None:
    with pytest.raises(OptionError, match=f"^option '{option}': {value}; must be at least 1$"):
        layer.arrays(**shapes)

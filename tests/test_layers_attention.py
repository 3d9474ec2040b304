"""Attention against torch autograd and the complex step; masks, extremes and impossible options."""

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
from gradcheck_cli.layers.attention import RotaryEmbedding, ScaledDotProductAttention
from gradcheck_cli.layers.multi_head_attention import MultiHeadAttention

LAYERS = (ScaledDotProductAttention, MultiHeadAttention, RotaryEmbedding)
EXAMPLES = [
    pytest.param(layer(**example.options), example.shapes, id=f"{layer.name}-{n}")
    for layer in LAYERS
    for n, example in enumerate(layer.EXAMPLES)
]
bounded = settings(max_examples=15, deadline=None, derandomize=True)
size = st.integers(1, 4)
leading = st.lists(st.integers(1, 3), max_size=2).map(tuple)


@bounded
@given(leading, size, size, size, size, st.sampled_from(["none", "causal", "mask", "batch"]), st.booleans())
def test_attention_agrees_with_torch(lead: Any, L: int, S: int, E: int, V: int, seen: str, scaled: bool) -> None:
    f = pytest.importorskip("torch").nn.functional
    layer = ScaledDotProductAttention(seen == "causal", seen == "mask", 0.7 if scaled else None)
    shapes = {"q": (*lead, L, E), "k": (*lead, S, E), "v": (*lead, S, V)}
    if seen == "batch":
        shapes["mask"] = (*lead, L, S)

    def function(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        return f.scaled_dot_product_attention(q, k, v, mask, is_causal=layer.causal, scale=layer.scale)

    assert_torch_agrees(layer, draw(layer, shapes), function)


@bounded
@given(st.integers(1, 3), size, size, st.integers(1, 3), st.integers(1, 3), st.sampled_from(["none", "causal", "mask"]))
def test_multi_head_attention_agrees_with_torch(n: int, L: int, S: int, heads: int, each: int, seen: str) -> None:
    torch = pytest.importorskip("torch")
    E, M = heads * each, heads * each + 1
    layer = MultiHeadAttention(heads, causal=seen == "causal", masked=seen == "mask", cross=True)
    module = torch.nn.MultiheadAttention(E, heads, bias=False, kdim=M, vdim=M, batch_first=True, dtype=torch.float64)

    def function(x: Any, Wq: Any, Wk: Any, Wv: Any, Wo: Any, memory: Any, mask: Any = None) -> Any:
        named = {"q_proj_weight": Wq, "k_proj_weight": Wk, "v_proj_weight": Wv, "out_proj.weight": Wo}
        hidden = ~mask if mask is not None else ~torch.ones(L, S, dtype=bool).tril() if seen == "causal" else None
        options = {"attn_mask": hidden, "need_weights": False}
        return torch.func.functional_call(module, named, (x, memory, memory), options)[0]

    assert_torch_agrees(layer, draw(layer, {"x": (n, L, E), "memory": (n, S, M)}), function)


@bounded
@given(leading, size, st.integers(1, 3), st.integers(1, 3))
def test_self_attention_agrees_with_torch(lead: Any, L: int, heads: int, each: int) -> None:
    torch = pytest.importorskip("torch")
    layer = MultiHeadAttention(heads, heads * each)

    def function(x: Any, Wq: Any, Wk: Any, Wv: Any, Wo: Any) -> Any:
        y = 0
        for q, k, v, o in zip(*(W.split(each) for W in (Wq, Wk, Wv)), Wo.split(each, dim=1), strict=True):
            scores = torch.einsum("...le,...se->...ls", x @ q.T, x @ k.T) / each**0.5
            y = y + scores.softmax(-1) @ (x @ v.T) @ o.T
        return y

    assert_torch_agrees(layer, draw(layer, {"x": (*lead, L, heads * each)}), function)


@bounded
@given(leading, size, size, st.sampled_from(["adjacent", "halves"]), st.integers(0, 1000), st.sampled_from([10.0, 1e4]))
def test_rotary_embedding_agrees_with_complex_numbers_in_torch(
    lead: Any, L: int, half: int, pairs: Any, offset: int, base: float
) -> None:
    torch = pytest.importorskip("torch")
    layer = RotaryEmbedding(pairs, base, offset)

    def function(x: Any) -> Any:
        split = x.unflatten(-1, (half, 2) if pairs == "adjacent" else (2, half))
        split = split if pairs == "adjacent" else split.transpose(-1, -2)
        angles = torch.outer(
            torch.arange(offset, offset + L, dtype=torch.float64),
            torch.tensor(base, dtype=torch.float64) ** (-torch.arange(half, dtype=torch.float64) / half),
        )
        turned = torch.view_as_complex(split.contiguous()) * torch.polar(torch.ones_like(angles), angles)
        y = torch.view_as_real(turned)
        return (y if pairs == "adjacent" else y.transpose(-1, -2)).flatten(-2)

    assert_torch_agrees(layer, draw(layer, {"x": (*lead, L, 2 * half)}), function)


def test_rotated_likeness_depends_on_the_distance_only() -> None:
    q, k = np.random.default_rng(0).normal(size=(2, 1, 6))
    near, far = ((RotaryEmbedding(offset=n).forward(q) @ RotaryEmbedding(offset=n + 3).forward(k).T) for n in (0, 40))
    np.testing.assert_allclose(near, far, rtol=1e-13)


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_vjp_agrees_with_the_complex_step(layer: Any, shapes: Any) -> None:
    assert_complex_step_agrees(layer, draw(layer, shapes), rtol=1e-10)


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


def test_any_one_shape_gives_the_sizes() -> None:
    assert ScaledDotProductAttention().arrays(k=(2, 7, 6))["q"].shape == (2, 3, 6)
    assert ScaledDotProductAttention().arrays(v=(2, 7, 6))["k"].shape == (2, 7, 4)
    assert MultiHeadAttention().arrays(Wk=(6, 4), memory=(3, 5, 4))["x"].shape == (3, 3, 6)
    assert MultiHeadAttention(cross=True).arrays(x=(2, 3, 4))["memory"].shape == (2, 4, 5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_extreme_scores_do_not_overflow(layer: Any, shapes: Any, dtype: Any) -> None:
    arrays = {
        name: array if array.dtype == bool else (1000 * array).astype(dtype)
        for name, array in draw(layer, shapes).items()
    }
    y = layer.forward(**arrays)
    gradients = layer.vjp(np.ones_like(y), **arrays)
    assert all(np.isfinite(array).all() for array in (y, *gradients.values()))


def test_a_query_that_sees_no_key_gets_zero() -> None:
    layer = ScaledDotProductAttention()
    arrays = draw(layer, {"q": (3, 4), "k": (5, 4), "v": (5, 2), "mask": (3, 5)})
    arrays["mask"][1] = False
    y = layer.forward(**arrays)
    assert (y[1] == 0).all()
    assert (y[[0, 2]] != 0).all()
    assert (layer.vjp(np.ones_like(y), **arrays)["q"][1] == 0).all()
    assert_complex_step_agrees(layer, arrays)


@pytest.mark.parametrize("shape", [(4,), (1, 1), (3, 1), (2, 1, 3, 4)])
def test_a_mask_broadcasts_to_the_scores(shape: Any) -> None:
    layer = ScaledDotProductAttention(causal=True)
    shapes = {"q": (2, 2, 3, 2), "k": (2, 2, 4, 2), "v": (2, 2, 4, 3), "mask": shape}
    arrays = draw(layer, shapes)
    whole = {**arrays, "mask": np.broadcast_to(arrays["mask"], (2, 2, 3, 4))}
    np.testing.assert_array_equal(layer.forward(**arrays), layer.forward(**whole))
    assert_complex_step_agrees(layer, arrays)
    assert_stack_is_single_calls(layer, shapes)


OPTIONS = {
    "scale": (lambda: ScaledDotProductAttention(scale=float("inf")), "option 'scale': inf; must be finite"),
    "no-heads": (lambda: MultiHeadAttention(0), "option 'heads': 0; must be at least 1"),
    "features": (lambda: MultiHeadAttention(features=-4), "option 'features': -4; must be at least 1"),
    "heads": (lambda: MultiHeadAttention(3).arrays(x=(5, 4)), "option 'heads': 3; must divide the 4 features of x"),
    "base": (lambda: RotaryEmbedding(base=0.0), "option 'base': 0.0; must be positive and finite"),
    "offset": (lambda: RotaryEmbedding(offset=-1), "option 'offset': -1; must be at least 0"),
}


@pytest.mark.parametrize(("build", "message"), OPTIONS.values(), ids=OPTIONS)
def test_an_impossible_option_is_refused(build: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        build()


ARRAYS = {
    "q": (
        ScaledDotProductAttention(),
        {"q": (4,)},
        "array 'q': shape (4,); must be (..., length, features), not empty",
    ),
    "k": (
        ScaledDotProductAttention(),
        {"q": (3, 4), "k": (5, 3)},
        "array 'k': shape (5, 3); must be (..., S, E) = (5, 4)",
    ),
    "v": (
        ScaledDotProductAttention(),
        {"k": (2, 5, 4), "v": (5, 3)},
        "array 'v': shape (5, 3); must be (..., S, V) = (2, 5, 3)",
    ),
    "mask": (
        ScaledDotProductAttention(),
        {"q": (3, 4), "k": (5, 4), "mask": (5, 3)},
        "array 'mask': shape (5, 3); must broadcast to (..., L, S) = (3, 5)",
    ),
    "mask-larger": (
        ScaledDotProductAttention(),
        {"q": (3, 4), "k": (5, 4), "mask": (2, 3, 5)},
        "array 'mask': shape (2, 3, 5); must broadcast to (..., L, S) = (3, 5)",
    ),
    "x": (MultiHeadAttention(), {"x": (3, 0)}, "array 'x': shape (3, 0); must be (..., length, features), not empty"),
    "x-features": (MultiHeadAttention(2, 6), {"x": (3, 4)}, "array 'x': shape (3, 4); must end in features = 6"),
    "Wq": (
        MultiHeadAttention(),
        {"x": (3, 4), "Wq": (4, 3)},
        "array 'Wq': shape (4, 3); must be (features, features) = (4, 4)",
    ),
    "Wv": (
        MultiHeadAttention(),
        {"x": (3, 4), "memory": (5, 3), "Wv": (4, 4)},
        "array 'Wv': shape (4, 4); must be (features, memory features) = (4, 3)",
    ),
    "memory": (
        MultiHeadAttention(),
        {"x": (2, 3, 4), "memory": (5, 4)},
        "array 'memory': shape (5, 4); must start with the leading axes of x, (2,)",
    ),
    "rotary": (RotaryEmbedding(), {"x": (3, 5)}, "array 'x': shape (3, 5); must be (..., L, E) with E even, not empty"),
}


@pytest.mark.parametrize(("layer", "shapes", "message"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_that_does_not_fit_is_named(layer: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer.arrays(**shapes)

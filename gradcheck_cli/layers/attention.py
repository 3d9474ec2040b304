"""Attention: queries look up values by their likeness to keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, Mask, OptionError, Shape
from gradcheck_cli.layers.matrices import lift, swap


def seen(mask: Array | None, causal: bool, queries: int, keys: int) -> Array | None:
    """Which key each query may see, or None for all."""
    if not causal:
        return mask
    below = np.tri(queries, keys, dtype=bool)
    return below if mask is None else mask & below


def _weights(scores: Array, seen: Array | None) -> Array:
    """Softmax over the last axis, zero where a key is not seen; a row that sees none is all zero."""
    if seen is None:
        seen = np.ones((1,) * scores.ndim, bool)
    highest = np.max(np.where(seen, scores.real, -np.inf), axis=-1, keepdims=True)
    shift = np.where(np.isfinite(highest), highest, 0).astype(scores.real.dtype)
    e = np.where(seen, np.exp(np.where(seen, scores - shift, 0)), 0)
    total = e.sum(axis=-1, keepdims=True)
    return np.asarray(e / np.where(total.real > 0, total, 1))


def attend(q: Array, k: Array, v: Array, seen: Array | None, scale: float) -> Array:
    """Attention of q to k, weighting v."""
    return np.asarray(_weights((scale * q) @ swap(k), seen) @ v)


def attend_vjp(dy: Array, q: Array, k: Array, v: Array, seen: Array | None, scale: float) -> tuple[Array, Array, Array]:
    """Gradients of q, k and v."""
    weights = _weights((scale * q) @ swap(k), seen)
    d_weights = dy @ swap(v)
    d_scores = weights * (d_weights - (weights * d_weights).sum(axis=-1, keepdims=True))
    return scale * (d_scores @ k), swap(d_scores) @ (scale * q), swap(weights) @ dy


def mask_spec(given: Mapping[str, Shape], masked: bool, scores: Shape) -> dict[str, ArraySpec]:
    """Spec of the mask, if one is asked for or given; it broadcasts to `scores` (..., L, S)."""
    if not masked and "mask" not in given:
        return {}
    mask = given.get("mask", scores[-2:])
    try:
        fits = np.broadcast_shapes(mask, scores) == scores
    except ValueError:
        fits = False
    if not fits:
        raise ArrayError("mask", f"shape {mask}", f"must broadcast to (..., L, S) = {scores}")
    return {"mask": ArraySpec(mask, "boolean", Mask())}


def lift_mask(mask: Array | None, ndim: int) -> Array | None:
    """Insert axes of size 1 behind the stack axis of a stacked mask, up to `ndim` axes."""
    return None if mask is None else lift(mask, ndim)


@dataclass(frozen=True)
class ScaledDotProductAttention:
    """Attention of queries to keys, weighting values.

    With `causal`, query i sees keys 0 .. i only. `scale` is 1/sqrt(E) by default.

    Formula:
        A = softmax(scale q kᵀ) over the keys that a query sees; 0 for the others, and for a query that sees none
        y = A v

    Arrays:
        q (..., L, E): queries
        k (..., S, E): keys
        v (..., S, V): values
        mask (L, S) or broadcasting to (..., L, S): boolean, true where a query sees a key; with `masked`, or when given
        y (..., L, V): output

    VJP:
        with P = dy vᵀ and D = A (P − Σ A P), element by element, with the sum over the keys
        dL/dq = scale D k
        dL/dk = scale Dᵀ q
        dL/dv = Aᵀ dy

    Source:
        Vaswani et al., Attention Is All You Need (2017), section 3.2.1
    """

    name: ClassVar[str] = "scaled_dot_product_attention"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"q": (3, 4), "k": (5, 4), "v": (5, 2)}),
        Example({"causal": True, "scale": 0.7}, {"q": (2, 4, 3), "k": (2, 4, 3), "v": (2, 4, 5)}),
        Example({"masked": True}, {"q": (2, 3, 3, 2), "k": (2, 3, 4, 2), "v": (2, 3, 4, 3)}),
        Example({"masked": True, "causal": True}, {"q": (2, 3, 4), "k": (2, 5, 4), "v": (2, 5, 3), "mask": (2, 3, 5)}),
    )

    causal: bool = False
    masked: bool = False
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not math.isfinite(self.scale):
            raise OptionError("scale", self.scale, "must be finite")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        for name, shape in given.items():
            if name in ("q", "k", "v") and (len(shape) < 2 or min(shape) < 1):
                raise ArrayError(name, f"shape {shape}", "must be (..., length, features), not empty")
        q, k, v = given.get("q"), given.get("k"), given.get("v")
        lead = next((shape[:-2] for shape in (q, k, v) if shape), ())
        L, E = q[-2:] if q else (3, k[-1] if k else 4)
        S = k[-2] if k else v[-2] if v else 5
        k_must, v_must = (*lead, S, E), (*lead, S, v[-1] if v else 3)
        if k and k != k_must:
            raise ArrayError("k", f"shape {k}", f"must be (..., S, E) = {k_must}")
        if v and v != v_must:
            raise ArrayError("v", f"shape {v}", f"must be (..., S, V) = {v_must}")
        specs = {"q": ArraySpec((*lead, L, E)), "k": ArraySpec(k_must), "v": ArraySpec(v_must)}
        return specs | mask_spec(given, self.masked, (*lead, L, S))

    def _settings(self, q: Array, k: Array, mask: Array | None) -> tuple[Array | None, float]:
        scale = 1 / math.sqrt(q.shape[-1]) if self.scale is None else self.scale
        return seen(mask, self.causal, q.shape[-2], k.shape[-2]), scale

    def forward(self, q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
        return attend(q, k, v, *self._settings(q, k, mask))

    def vjp(self, dy: Array, q: Array, k: Array, v: Array, mask: Array | None = None) -> dict[str, Array]:
        return dict(zip("qkv", attend_vjp(dy, q, k, v, *self._settings(q, k, mask)), strict=True))

    def forward_stacked(self, q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
        return self.forward(q, k, v, lift_mask(mask, q.ndim))


@dataclass(frozen=True)
class RotaryEmbedding:
    """Rotation of pairs of features by angles that grow with the position.

    Formula:
        θ[p, i] = (offset + p) base^(−2i/E) for the positions p = 0 .. L−1 and the pairs i = 0 .. E/2−1
        (y_a, y_b) = (x_a cos θ − x_b sin θ, x_a sin θ + x_b cos θ)
        pairs: adjacent    (a, b) = (2i, 2i+1)
        pairs: halves      (a, b) = (i, i + E/2)

    Arrays:
        x (..., L, E): input, E even
        y (..., L, E): output

    VJP:
        (dL/dx_a, dL/dx_b) = (dy_a cos θ + dy_b sin θ, −dy_a sin θ + dy_b cos θ), the rotation by −θ

    Source:
        Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding (2021), section 3.4.2
    """

    name: ClassVar[str] = "rotary_embedding"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"pairs": "halves", "offset": 5}, {"x": (2, 3, 6)}),
        Example({"base": 10.0, "offset": 1}, {"x": (2, 3, 5, 2)}),
    )

    pairs: Literal["adjacent", "halves"] = "adjacent"
    base: float = 10000.0
    offset: int = 0

    def __post_init__(self) -> None:
        if self.pairs not in ("adjacent", "halves"):
            raise OptionError("pairs", self.pairs, "must be 'adjacent' or 'halves'")
        if not 0 < self.base < math.inf:
            raise OptionError("base", self.base, "must be positive and finite")
        if self.offset < 0:
            raise OptionError("offset", self.offset, "must be at least 0")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = given.get("x", (3, 4))
        if len(x) < 2 or x[-1] % 2 or min(x) < 1:
            raise ArrayError("x", f"shape {x}", "must be (..., L, E) with E even, not empty")
        return {"x": ArraySpec(x)}

    def _rotate(self, x: Array, sign: int) -> Array:
        length, features = x.shape[-2:]
        frequency = self.base ** (-2 * np.arange(features // 2, dtype=np.longdouble) / features)
        angle = (self.offset + np.arange(length))[:, None] * frequency
        cos, sin = (np.asarray(part, x.real.dtype) for part in (np.cos(angle), sign * np.sin(angle)))
        adjacent = self.pairs == "adjacent"
        a, b = (x[..., 0::2], x[..., 1::2]) if adjacent else np.split(x, 2, axis=-1)
        turned = (a * cos - b * sin, a * sin + b * cos)
        return np.stack(turned, axis=-1).reshape(x.shape) if adjacent else np.concatenate(turned, axis=-1)

    def forward(self, x: Array) -> Array:
        return self._rotate(x, 1)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in x
        return {"x": self._rotate(dy, -1)}

    def forward_stacked(self, x: Array) -> Array:
        return self._rotate(x, 1)

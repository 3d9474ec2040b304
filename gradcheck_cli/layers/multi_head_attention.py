"""Attention in several heads, with its projections."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape
from gradcheck_cli.layers.attention import attend, attend_vjp, lift_mask, mask_spec, seen
from gradcheck_cli.layers.matrices import outer_sum, swap

FAMILY = "attention"


@dataclass(frozen=True)
class MultiHeadAttention:
    """Attention in several heads: of an input to itself, or to a memory (cross attention).

    With `causal`, query i sees keys 0 .. i only. A head of a query that sees no key is zero.

    Formula:
        q = x Wqᵀ, k = m Wkᵀ, v = m Wvᵀ, with m = memory if there is one, else x
        each is split along its last axis into `heads` parts of size E / heads
        u = the heads side by side, each softmax(q kᵀ / √(E / heads)) v over the keys that a query sees
        y = u Woᵀ

    Arrays:
        x (..., L, E): input, E = features
        Wq (E, E): weight of the queries
        Wk (E, M), Wv (E, M): weights of the keys and values, M = E without a memory
        Wo (E, E): weight of the output
        memory (..., S, M): what the keys and values come from; with `cross`, or when given
        mask (L, S) or broadcasting to (..., L, S): boolean, true where a query sees a key; with `masked`, or when given
        y (..., L, E): output

    VJP:
        with du = dy Wo, and dq, dk, dv from du, head by head, as in scaled_dot_product_attention
        with a memory: dL/dx = dq Wq, dL/dmemory = dk Wk + dv Wv
        without: dL/dx = dq Wq + dk Wk + dv Wv
        dL/dWq = Σ dqᵀ x, dL/dWk = Σ dkᵀ m, dL/dWv = Σ dvᵀ m, dL/dWo = Σ dyᵀ u, over positions and leading axes

    Source:
        Vaswani et al., Attention Is All You Need (2017), section 3.2.2
    """

    name: ClassVar[str] = "multi_head_attention"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"heads": 2}, {"x": (3, 4)}),
        Example({"heads": 3, "causal": True}, {"x": (2, 4, 6)}),
        Example({"heads": 2, "masked": True}, {"x": (2, 3, 4), "mask": (2, 3, 3)}),
        Example({"heads": 2, "cross": True}, {"x": (2, 3, 4), "memory": (2, 5, 3)}),
    )

    heads: int = 2
    features: int | None = None
    causal: bool = False
    masked: bool = False
    cross: bool = False

    def __post_init__(self) -> None:
        for option, value in (("heads", self.heads), ("features", self.features)):
            if value is not None and value < 1:
                raise OptionError(option, value, "must be at least 1")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = self._x(given)
        E, source = x[-1], self._source(given, x)
        specs = {"x": ArraySpec(x)}
        for name, columns in (("Wq", E), ("Wk", source[-1]), ("Wv", source[-1]), ("Wo", E)):
            if given.get(name, (E, columns)) != (E, columns):
                form = "(features, features)" if columns == E else "(features, memory features)"
                raise ArrayError(name, f"shape {given[name]}", f"must be {form} = {(E, columns)}")
            specs[name] = ArraySpec((E, columns))
        if self.cross or "memory" in given:
            specs["memory"] = ArraySpec(source)
        return specs | mask_spec(given, self.masked, (*x[:-1], source[-2]))

    def _x(self, given: Mapping[str, Shape]) -> Shape:
        """Shape of x, from the option, else what is given, else small."""
        for name in ("x", "memory"):
            if name in given and (len(given[name]) < 2 or min(given[name]) < 1):
                raise ArrayError(name, f"shape {given[name]}", "must be (..., length, features), not empty")
        rows = [given[name][0] for name in ("Wq", "Wk", "Wv", "Wo") if given.get(name)]
        x = given.get("x")
        E = self.features or (x[-1] if x else rows[0] if rows else 2 * self.heads)
        if x and x[-1] != E:
            raise ArrayError("x", f"shape {x}", f"must end in features = {E}")
        if E % self.heads:
            raise OptionError("heads", self.heads, f"must divide the {E} features of x")
        return x or (*given.get("memory", ())[:-2], 3, E)

    def _source(self, given: Mapping[str, Shape], x: Shape) -> Shape:
        """Shape of what the keys and values come from: memory, else x."""
        if not self.cross and "memory" not in given:
            return x
        columns = next((given[name][-1] for name in ("Wk", "Wv") if given.get(name)), x[-1] + 1)
        memory = given.get("memory", (*x[:-2], x[-2] + 1, columns))
        if memory[:-2] != x[:-2]:
            raise ArrayError("memory", f"shape {memory}", f"must start with the leading axes of x, {x[:-2]}")
        return memory

    def _split(self, a: Array) -> Array:
        """(..., L, E) as (..., heads, L, E / heads)."""
        return np.swapaxes(a.reshape(*a.shape[:-1], self.heads, -1), -2, -3)

    def _merge(self, a: Array) -> Array:
        """(..., heads, L, E / heads) as (..., L, E)."""
        a = np.swapaxes(a, -2, -3)
        return a.reshape(*a.shape[:-2], -1)

    def _settings(self, q: Array, k: Array, mask: Array | None) -> tuple[Array | None, float]:
        """Which keys are seen in each head, and the scale."""
        if mask is not None and mask.ndim > 2:
            mask = mask[..., None, :, :]
        return seen(mask, self.causal, q.shape[-2], k.shape[-2]), 1 / math.sqrt(q.shape[-1])

    def forward(
        self,
        x: Array,
        Wq: Array,
        Wk: Array,
        Wv: Array,
        Wo: Array,
        memory: Array | None = None,
        mask: Array | None = None,
    ) -> Array:
        m = x if memory is None else memory
        q, k, v = (self._split(a @ swap(W)) for a, W in ((x, Wq), (m, Wk), (m, Wv)))
        return np.asarray(self._merge(attend(q, k, v, *self._settings(q, k, mask))) @ swap(Wo))

    def vjp(
        self,
        dy: Array,
        x: Array,
        Wq: Array,
        Wk: Array,
        Wv: Array,
        Wo: Array,
        memory: Array | None = None,
        mask: Array | None = None,
    ) -> dict[str, Array]:
        m = x if memory is None else memory
        q, k, v = (self._split(a @ swap(W)) for a, W in ((x, Wq), (m, Wk), (m, Wv)))
        settings = self._settings(q, k, mask)
        u = self._merge(attend(q, k, v, *settings))
        dq, dk, dv = (self._merge(d) for d in attend_vjp(self._split(dy @ Wo), q, k, v, *settings))
        weights = {"Wq": (dq, x), "Wk": (dk, m), "Wv": (dv, m), "Wo": (dy, u)}
        gradients = {name: outer_sum(*pair) for name, pair in weights.items()}
        dx, dm = dq @ Wq, dk @ Wk + dv @ Wv
        return gradients | ({"x": dx + dm} if memory is None else {"x": dx, "memory": dm})

    def forward_stacked(
        self,
        x: Array,
        Wq: Array,
        Wk: Array,
        Wv: Array,
        Wo: Array,
        memory: Array | None = None,
        mask: Array | None = None,
    ) -> Array:
        between = (1,) * (x.ndim - 3)
        Wq, Wk, Wv, Wo = (W.reshape(W.shape[0], *between, *W.shape[1:]) for W in (Wq, Wk, Wv, Wo))
        return self.forward(x, Wq, Wk, Wv, Wo, memory, lift_mask(mask, x.ndim))

"""Activations that multiply their input by a gate between 0 and 1: SiLU, SwiGLU, Mish, GELU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape
from gradcheck_cli.layers.elementwise import Elementwise
from gradcheck_cli.layers.special import away_from_zero, clipped, normal_cdf, normal_pdf, sigmoid

FAMILY = "activations"


def _swish(x: Array, beta: float) -> tuple[Array, Array]:
    """x σ(β x) and its derivative σ(β x) (1 + β x σ(−β x))."""
    z = beta * x
    s = sigmoid(z)
    return np.asarray(x * s), np.asarray(s * (1.0 + z * sigmoid(-z)))


@dataclass(frozen=True)
class SiLU(Elementwise):
    """Sigmoid linear unit, also called swish.

    Formula:
        y = x σ(x)

    Arrays:
        x (...): input
        y (...): output, in the shape of x

    VJP:
        dL/dx = dy σ(x) (1 + x σ(−x))

    Source:
        Elfwing, Uchibe, Doya, Sigmoid-Weighted Linear Units for Neural Network Function Approximation in
            Reinforcement Learning (2018)
    """

    name: ClassVar[str] = "silu"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({}, {"x": (3, 4)}),
        Example({}, {"x": (2, 4, 3)}),
    )

    def forward(self, x: Array) -> Array:
        return np.asarray(x * sigmoid(x))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy * _swish(x, 1.0)[1]}


@dataclass(frozen=True)
class SwiGLU(Elementwise):
    """Gated linear unit: the swish of the first half of the last axis times the second half.

    Formula:
        y = a σ(β a) ⊙ b, with x = [a, b] and β = beta

    Arrays:
        x (2n,) or (..., 2n): the gate a and the values b, one after the other
        y (n,) or (..., n): output

    VJP:
        dL/da = dy ⊙ b σ(β a) (1 + β a σ(−β a))
        dL/db = dy ⊙ a σ(β a)
        dL/dx = [dL/da, dL/db]

    Source:
        Shazeer, GLU Variants Improve Transformer (2020), section 2
    """

    name: ClassVar[str] = "swiglu"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (6,)}),
        Example({"beta": 1.7}, {"x": (3, 4)}),
        Example({"beta": 0.5}, {"x": (2, 3, 10)}),
    )

    beta: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.beta):
            raise OptionError("beta", self.beta, "must be finite")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = given.get("x", (3, 4))
        if len(x) < 1 or x[-1] % 2:
            raise ArrayError("x", f"shape {x}", "must be (2n,) or (..., 2n), to be split in halves")
        return {"x": ArraySpec(x)}

    def forward(self, x: Array) -> Array:
        a, b = np.split(x, 2, axis=-1)
        return np.asarray(_swish(a, self.beta)[0] * b)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        a, b = np.split(x, 2, axis=-1)
        gate, slope = _swish(a, self.beta)
        return {"x": np.concatenate([dy * b * slope, dy * gate], axis=-1)}


@dataclass(frozen=True)
class Mish(Elementwise):
    """Input times the hyperbolic tangent of its softplus.

    Formula:
        y = x t, with t = tanh(log(1 + exp(x)))

    Arrays:
        x (...): input
        y (...): output, in the shape of x

    VJP:
        dL/dx = dy (t + x (1 − t²) σ(x))

    Source:
        Misra, Mish: A Self Regularized Non-Monotonic Activation Function (2020)
    """

    name: ClassVar[str] = "mish"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({}, {"x": (3, 4)}),
        Example({}, {"x": (2, 4, 3)}),
    )

    @staticmethod
    def _tanh_softplus(x: Array) -> tuple[Array, Array]:
        """Return t and 1 − t: with u = exp(x), t = u (u + 2) / (u (u + 2) + 2)."""
        e = np.exp(-away_from_zero(x))
        negative = x.real < 0
        top = np.where(negative, e * (e + 2.0), 1.0 + 2.0 * e)
        rest = np.where(negative, 2.0, 2.0 * e * e)
        return np.asarray(top / (top + rest)), np.asarray(rest / (top + rest))

    def forward(self, x: Array) -> Array:
        return np.asarray(x * self._tanh_softplus(x)[0])

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        t, rest = self._tanh_softplus(x)
        return {"x": dy * (t + x * (rest * (1.0 + t)) * sigmoid(x))}


@dataclass(frozen=True)
class GELU(Elementwise):
    """Gaussian error linear unit, exact or in its approximation by tanh.

    Formula:
        approximate: none    y = x Φ(x) = x (1 + erf(x / √2)) / 2
        approximate: tanh    y = x (1 + tanh(u)) / 2 = x σ(2u), with u = √(2/π) (x + 0.044715 x³)

    Arrays:
        x (...): input
        y (...): output, in the shape of x

    VJP:
        approximate: none    dL/dx = dy (Φ(x) + x φ(x)), with φ(x) = exp(−x²/2) / √(2π)
        approximate: tanh    dL/dx = dy σ(2u) (1 + 2 x u′ σ(−2u)), with u′ = √(2/π) (1 + 0.134145 x²)

    Source:
        Hendrycks, Gimpel, Gaussian Error Linear Units (2016), section 2
    """

    name: ClassVar[str] = "gelu"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"approximate": "tanh"}, {"x": (3, 4)}),
        Example({"approximate": "none"}, {"x": (2, 4, 3)}),
    )

    approximate: Literal["none", "tanh"] = "none"

    def __post_init__(self) -> None:
        if self.approximate not in ("none", "tanh"):
            raise OptionError("approximate", self.approximate, "must be 'none' or 'tanh'")

    def forward(self, x: Array) -> Array:
        return np.asarray(x * (normal_cdf(x) if self.approximate == "none" else sigmoid(self._twice_u(x)[0])))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        if self.approximate == "none":
            return {"x": dy * (normal_cdf(x) + x * normal_pdf(x))}
        z, slope = self._twice_u(x)
        return {"x": dy * sigmoid(z) * (1.0 + clipped(x, 60.0) * sigmoid(-z) * slope)}

    @staticmethod
    def _twice_u(x: Array) -> tuple[Array, Array]:
        """Return 2u and 2u′. Beyond ±60 σ(±2u) is 0 or 1 in every precision: neither x³ nor x u′ need be formed."""
        x, scale = clipped(x, 60.0), math.sqrt(8.0 / math.pi)
        return scale * x * (1.0 + 0.044715 * x * x), scale * (1.0 + 0.134145 * x * x)

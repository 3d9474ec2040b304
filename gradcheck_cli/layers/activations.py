"""Smooth activations: sigmoid, hyperbolic tangent and softplus."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, Example, OptionError
from gradcheck_cli.layers.elementwise import Elementwise
from gradcheck_cli.layers.special import away_from_zero, sigmoid, softplus


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """Logistic function.

    Formula:
        y = σ(x) = 1 / (1 + exp(−x))

    Arrays:
        x (...): input
        y (...): output in (0, 1), in the shape of x

    VJP:
        dL/dx = dy σ(x) σ(−x), where σ(−x) = 1 − y with all its digits

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 3.10
    """

    name: ClassVar[str] = "sigmoid"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({}, {"x": (3, 4)}),
        Example({}, {"x": (2, 4, 3)}),
    )

    def forward(self, x: Array) -> Array:
        return sigmoid(x)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy * sigmoid(x) * sigmoid(-x)}


@dataclass(frozen=True)
class Tanh(Elementwise):
    """Hyperbolic tangent.

    Formula:
        y = tanh(x)

    Arrays:
        x (...): input
        y (...): output in (−1, 1), in the shape of x

    VJP:
        dL/dx = dy (1 − y²)
        evaluated as 4 dy e² / (1 + e²)² with e = exp(−|x|), which keeps its digits where y is near ±1

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.3.2
    """

    name: ClassVar[str] = "tanh"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({}, {"x": (3, 4)}),
        Example({}, {"x": (2, 4, 3)}),
    )

    def forward(self, x: Array) -> Array:
        return np.asarray(np.tanh(x))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy * self._slope(x)}

    def jvp(self, tangents: Mapping[str, Array], x: Array) -> Array:
        return np.asarray(tangents["x"] * self._slope(x))

    @staticmethod
    def _slope(x: Array) -> Array:
        e = np.exp(-away_from_zero(x))
        sech = 2.0 * e / (1.0 + e * e)
        return np.asarray(sech * sech)


@dataclass(frozen=True)
class Softplus(Elementwise):
    """Smooth rectifier.

    Formula:
        y = log(1 + exp(β x)) / β, with β = beta

    Arrays:
        x (...): input
        y (...): positive output, in the shape of x

    VJP:
        dL/dx = dy σ(β x)

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 3.10, there with β = 1
    """

    name: ClassVar[str] = "softplus"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"beta": 2.5}, {"x": (3, 4)}),
        Example({"beta": 0.3}, {"x": (2, 4, 3)}),
    )

    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise OptionError("beta", self.beta, "must be positive and finite")

    def forward(self, x: Array) -> Array:
        return np.asarray(softplus(self.beta * x) / self.beta)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy * sigmoid(self.beta * x)}

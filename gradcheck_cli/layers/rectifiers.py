"""Activations with a kink or a seam: linear on one side, constant, linear or exponential on the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Example, Generic, OptionError, Shape
from gradcheck_cli.layers.elementwise import Elementwise

FAMILY = "activations"


def _check_finite(option: str, value: float) -> None:
    if not math.isfinite(value):
        raise OptionError(option, value, "must be finite")


@dataclass(frozen=True)
class ReLU(Elementwise):
    """Rectified linear unit.

    Formula:
        y = max(x, 0)

    Arrays:
        x (...): input
        y (...): output, in the shape of x

    VJP:
        dL/dx = dy where x > 0, else 0

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.3.1
    """

    name: ClassVar[str] = "relu"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({}, {"x": (3, 4)}),
        Example({}, {"x": (2, 4, 3)}),
    )

    def forward(self, x: Array) -> Array:
        return np.where(x.real <= 0, 0.0, x)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": np.where(x <= 0, 0.0, dy)}


@dataclass(frozen=True)
class LeakyReLU(Elementwise):
    """Rectified linear unit with a small slope left of zero.

    Formula:
        y = x where x > 0, else a x, with a = negative_slope

    Arrays:
        x (...): input
        y (...): output, in the shape of x

    VJP:
        dL/dx = dy where x > 0, else a dy

    Source:
        Maas, Hannun, Ng, Rectifier Nonlinearities Improve Neural Network Acoustic Models (2013), section 2
    """

    name: ClassVar[str] = "leaky_relu"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"negative_slope": 0.2}, {"x": (3, 4)}),
        Example({"negative_slope": -0.5}, {"x": (2, 4, 3)}),
    )

    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        _check_finite("negative_slope", self.negative_slope)

    def forward(self, x: Array) -> Array:
        return np.where(x.real <= 0, self.negative_slope * x, x)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": np.where(x <= 0, self.negative_slope * dy, dy)}


def _exponential_left(x: Array) -> Array:
    """exp(x) - 1 left of zero, else 0: never evaluated where it could overflow."""
    return np.asarray(np.expm1(np.where(x.real > 0, 0.0, x)))


@dataclass(frozen=True)
class ELU(Elementwise):
    """Exponential linear unit.

    Formula:
        y = x where x > 0, else α (exp(x) − 1), with α = alpha

    Arrays:
        x (...): input
        y (...): output, in the shape of x

    VJP:
        dL/dx = dy where x > 0, else α exp(x) dy

    Source:
        Clevert, Unterthiner, Hochreiter, Fast and Accurate Deep Network Learning by Exponential Linear Units
            (ELUs) (2016), section 3
    """

    name: ClassVar[str] = "elu"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"alpha": 0.4}, {"x": (3, 4)}),
        Example({"alpha": 1.7}, {"x": (2, 4, 3)}),
    )

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check_finite("alpha", self.alpha)

    def forward(self, x: Array) -> Array:
        return np.where(x.real > 0, x, self.alpha * _exponential_left(x))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": np.where(x > 0, dy, dy * (self.alpha * np.exp(np.where(x > 0, 0.0, x))))}


@dataclass(frozen=True)
class SELU(Elementwise):
    """Scaled exponential linear unit: the ELU whose constants keep mean 0 and variance 1.

    Formula:
        y = λ x where x > 0, else λ α (exp(x) − 1)
        λ = 1.0507009873554805, α = 1.6732632423543772

    Arrays:
        x (...): input
        y (...): output, in the shape of x

    VJP:
        dL/dx = λ dy where x > 0, else λ α exp(x) dy

    Source:
        Klambauer, Unterthiner, Mayr, Hochreiter, Self-Normalizing Neural Networks (2017), equation 2
    """

    name: ClassVar[str] = "selu"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({}, {"x": (3, 4)}),
        Example({}, {"x": (2, 4, 3)}),
    )
    SCALE: ClassVar[float] = 1.0507009873554805
    ALPHA: ClassVar[float] = 1.6732632423543772

    def forward(self, x: Array) -> Array:
        return np.where(x.real > 0, self.SCALE * x, self.SCALE * self.ALPHA * _exponential_left(x))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        left = self.SCALE * self.ALPHA * np.exp(np.where(x > 0, 0.0, x))
        return {"x": dy * np.where(x > 0, self.SCALE, left)}


@dataclass(frozen=True)
class AcrossKinks:
    """Values below, between and above two kinks, at a distance of at least a tenth of the half-width from both."""

    low: float
    high: float

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        return self.low + (self.high - self.low) * (0.5 + 0.5 * Generic()(rng, shape))


@dataclass(frozen=True)
class HardTanh(Elementwise):
    """Input cut off at two bounds.

    Formula:
        y = min(max(x, min_val), max_val)

    Arrays:
        x (...): input
        y (...): output, in the shape of x

    VJP:
        dL/dx = dy where min_val < x < max_val, else 0

    Source:
        Collobert et al., Natural Language Processing (Almost) from Scratch (2011), section 3.3.1
    """

    name: ClassVar[str] = "hardtanh"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"min_val": -0.5, "max_val": 2.0}, {"x": (3, 4)}),
        Example({"min_val": 0.0, "max_val": 6.0}, {"x": (2, 4, 3)}),
    )

    min_val: float = -1.0
    max_val: float = 1.0

    def __post_init__(self) -> None:
        _check_finite("min_val", self.min_val)
        _check_finite("max_val", self.max_val)
        if self.min_val >= self.max_val:
            raise OptionError("min_val", self.min_val, f"must be less than max_val = {self.max_val}")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(given.get("x", (2, 3)), draw=AcrossKinks(self.min_val, self.max_val))}

    def forward(self, x: Array) -> Array:
        return np.where(x.real <= self.min_val, self.min_val, np.where(x.real >= self.max_val, self.max_val, x))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": np.where((x <= self.min_val) | (x >= self.max_val), 0.0, dy)}

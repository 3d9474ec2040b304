"""Layers whose forward pass is not what it seems: low precision, noise or an iteration inside, steps, absorption."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Generic, Positive
from tests.corpus.case import Plain
from tests.corpus.dense import Residual
from tests.corpus.reductions import Softmax

VECTOR = {"x": ArraySpec((5,))}


@dataclass(frozen=True)
class SingleInside(Residual):
    """x + tanh(x W) computed in float32, given back as float64: its gradient too."""

    def forward(self, x: Array, W: Array) -> Array:
        return super().forward(x.astype(np.float32), W.astype(np.float32)).astype(np.float64)

    def vjp(self, dy: Array, x: Array, W: Array) -> dict[str, Array]:
        single = super().vjp(dy.astype(np.float32), x.astype(np.float32), W.astype(np.float32))
        return {name: value.astype(np.float64) for name, value in single.items()}

    def reference(self, x: Array, W: Array) -> Array:
        return Residual.forward(self, x, W)


@dataclass(frozen=True)
class SingleForward(Softmax):
    """A softmax whose forward pass is float32 inside; the gradient is exact."""

    def forward(self, x: Array) -> Array:
        return super().forward(x.astype(np.float32)).astype(np.float64)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return Softmax(self.beta).vjp(dy, x)

    def reference(self, x: Array) -> Array:
        return Softmax(self.beta).forward(x)


@dataclass(frozen=True)
class Noisy(Plain):
    """exp(x) + x³ with relative noise that is drawn from the bits of the input: pure, and rough everywhere."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = VECTOR

    noise: float = 1e-7

    def forward(self, x: Array) -> Array:
        rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(x).tobytes()))
        return np.asarray((np.exp(x) + x**3) * (1 + self.noise * rng.normal(size=x.shape)))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy * (np.exp(x) + 3 * x**2)}

    def reference(self, x: Array) -> Array:
        return np.asarray(np.exp(x) + x**3)


@dataclass(frozen=True)
class FixedPoint(Plain):
    """The y with y = 0.4 tanh(y W) + x, found by iterating until two rounds agree to `tolerance`."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((3,)), "W": ArraySpec((3, 3), draw=Generic(0.3))}

    tolerance: float = 1e-10

    def forward(self, x: Array, W: Array) -> Array:
        y = x
        for _ in range(200):
            last, y = y, x + 0.4 * np.tanh(y @ W)
            if np.abs(y - last).max() <= self.tolerance:
                break
        return np.asarray(y)

    def vjp(self, dy: Array, x: Array, W: Array) -> dict[str, Array]:
        y = FixedPoint(1e-16).forward(x, W)
        slope = 0.4 / np.cosh(y @ W) ** 2
        adjoint = np.linalg.solve(np.eye(len(y)) - W * slope, dy)
        return {"x": adjoint, "W": np.outer(y, slope * adjoint)}

    def reference(self, x: Array, W: Array) -> Array:
        y = x
        for _ in range(60):
            y = x + 0.4 * np.tanh(y @ W)
        return np.asarray(y)


@dataclass(frozen=True)
class NewtonRoot(Plain):
    """The cube root of positive x by Newton's method, stopped at a relative step of 1e-7."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((5,), draw=Positive())}

    def forward(self, x: Array) -> Array:
        y = np.ones_like(x)
        for _ in range(60):
            step = (y - x / (y * y)) / 3
            y = y - step
            if np.all(np.abs(step) <= 1e-7 * y):
                break
        return np.asarray(y)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy / (3 * np.cbrt(x) ** 2)}

    def reference(self, x: Array) -> Array:
        return np.cbrt(x)


@dataclass(frozen=True)
class Quantised(Plain):
    """sin x rounded to so many decimals."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = VECTOR

    decimals: int = 9

    def forward(self, x: Array) -> Array:
        return np.asarray(np.round(np.sin(x), self.decimals))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy * np.cos(x)}

    def reference(self, x: Array) -> Array:
        return np.sin(x)


@dataclass(frozen=True)
class Absorbed(Plain):
    """y = (big + x²) - big: most digits of x² are lost."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = VECTOR

    big: float = 1e6

    def forward(self, x: Array) -> Array:
        return np.asarray((self.big + x * x) - self.big)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": 2 * dy * x}


@dataclass(frozen=True)
class Unrelated(Plain):
    """Two outputs: 1e8 times exp of one array, and the tanh of another."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((3,)), "z": ArraySpec((3,))}

    def forward(self, x: Array, z: Array) -> tuple[Array, Array]:
        return np.asarray(1e8 * np.exp(x)), np.tanh(z)

    def vjp(self, dy: tuple[Array, Array], x: Array, z: Array) -> dict[str, Array]:
        return {"x": dy[0] * 1e8 * np.exp(x), "z": dy[1] / np.cosh(z) ** 2}

"""Normalising layers: statistics taken from the array itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Generic
from tests.corpus.case import Plain

# scale and offset off 1 and 0, and a spread that makes eps count
WEIGHTED: dict[str, ArraySpec] = {
    "x": ArraySpec((3, 4), draw=Generic(0.1)),
    "gamma": ArraySpec((4,)),
    "beta": ArraySpec((4,)),
}


def standardised(x: Array, axis: int, eps: float) -> tuple[Array, Array]:
    """(x - mean) / √(variance + eps) along the axis, and the divisor."""
    n = x.shape[axis]
    d = x - x.sum(axis=axis, keepdims=True) / n
    spread = np.sqrt((d * d).sum(axis=axis, keepdims=True) / n + eps)
    return d / spread, spread


def through_statistics(dh: Array, h: Array, spread: Array, axis: int) -> Array:
    """From dL/dh of the standardised h to dL/dx."""
    mean, along = dh.mean(axis=axis, keepdims=True), (dh * h).mean(axis=axis, keepdims=True)
    return np.asarray((dh - mean - h * along) / spread)


@dataclass(frozen=True)
class LayerNorm(Plain):
    """Each row standardised, then scaled and shifted."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = WEIGHTED
    AXIS: ClassVar[int] = -1

    eps: float = 1e-3

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        return np.asarray(standardised(x, self.AXIS, self.eps)[0] * gamma + beta)

    def vjp(self, dy: Array, x: Array, gamma: Array, beta: Array) -> dict[str, Array]:
        h, spread = standardised(x, self.AXIS, self.eps)
        dx = through_statistics(dy * gamma, h, spread, self.AXIS)
        return {"x": dx, "gamma": (dy * h).sum(axis=0), "beta": dy.sum(axis=0)}


@dataclass(frozen=True)
class BatchNorm(LayerNorm):
    """Each column standardised over the batch, then scaled and shifted."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = WEIGHTED | {"x": ArraySpec((4, 4), draw=Generic(0.1))}
    AXIS: ClassVar[int] = 0


@dataclass(frozen=True)
class RmsNorm(Plain):
    """Each row over its root mean square, then scaled."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((3, 4), draw=Generic(0.1)), "gamma": ArraySpec((4,))}

    eps: float = 1e-3

    def spread(self, x: Array) -> Array:
        return np.asarray(np.sqrt((x * x).sum(axis=-1, keepdims=True) / x.shape[-1] + self.eps))

    def forward(self, x: Array, gamma: Array) -> Array:
        return np.asarray(x / self.spread(x) * gamma)

    def vjp(self, dy: Array, x: Array, gamma: Array) -> dict[str, Array]:
        r = self.spread(x)
        dh, h = dy * gamma, x / r
        return {"x": (dh - h * (dh * h).mean(axis=-1, keepdims=True)) / r, "gamma": (dy * h).sum(axis=0)}


@dataclass(frozen=True)
class UnitLength(Plain):
    """Each row over its Euclidean length."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((2, 4))}

    def forward(self, x: Array) -> Array:
        return np.asarray(x / np.sqrt((x * x).sum(axis=-1, keepdims=True)))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
        y = x / length
        return {"x": (dy - y * (dy * y).sum(axis=-1, keepdims=True)) / length}


@dataclass(frozen=True)
class BiasedBatchNorm(Plain):
    """A bias in front of a standardised batch: its true gradient is zero by cancellation."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((4, 3)), "b": ArraySpec((3,))}

    eps: float = 1e-5

    def forward(self, x: Array, b: Array) -> Array:
        return standardised(x + b, 0, self.eps)[0]

    def vjp(self, dy: Array, x: Array, b: Array) -> dict[str, Array]:
        h, spread = standardised(x + b, 0, self.eps)
        dx = through_statistics(dy, h, spread, 0)
        return {"x": dx, "b": dx.sum(axis=0)}

"""Layers that look along an axis: softmax and its kin, losses, maxima, norms and statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Integers, Positive
from tests.corpus.case import Plain

ROWS = {"x": ArraySpec((2, 4))}


def normalised(z: Array) -> Array:
    """The softmax of the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Softmax(Plain):
    """Probabilities along the last axis."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = ROWS

    beta: float = 1.0

    def forward(self, x: Array) -> Array:
        return normalised(self.beta * x)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        y = self.forward(x)
        return {"x": self.beta * y * (dy - (dy * y).sum(axis=-1, keepdims=True))}


@dataclass(frozen=True)
class LogSoftmax(Plain):
    """The logarithm of the softmax."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = ROWS

    def forward(self, x: Array) -> Array:
        z = x - x.max(axis=-1, keepdims=True)
        return np.asarray(z - np.log(np.exp(z).sum(axis=-1, keepdims=True)))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy - normalised(x) * dy.sum(axis=-1, keepdims=True)}


@dataclass(frozen=True)
class LogSumExp(Plain):
    """log Σ exp(x) along the last axis."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = ROWS

    def forward(self, x: Array) -> Array:
        top = x.max(axis=-1, keepdims=True)
        return np.asarray(top[..., 0] + np.log(np.exp(x - top).sum(axis=-1)))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": normalised(x) * dy[..., None]}


@dataclass(frozen=True)
class CrossEntropy(Plain):
    """Mean negative log-probability of the targets."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {
        "x": ArraySpec((3, 4)),
        "target": ArraySpec((3,), "integer", Integers(0, 4)),
    }

    def forward(self, x: Array, target: Array) -> Array:
        y = LogSoftmax().forward(x)
        return np.asarray(-y[np.arange(len(y)), target].sum() / len(y))

    def vjp(self, dy: Array, x: Array, target: Array) -> dict[str, Array]:
        p = normalised(x)
        p[np.arange(len(p)), target] -= 1.0
        return {"x": dy * p / len(p)}


@dataclass(frozen=True)
class SquaredError(Plain):
    """Mean of the squared differences."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((2, 3)), "y": ArraySpec((2, 3))}

    def forward(self, x: Array, y: Array) -> Array:
        return np.asarray(((x - y) ** 2).sum() / x.size)

    def vjp(self, dy: Array, x: Array, y: Array) -> dict[str, Array]:
        dx = dy * 2.0 * (x - y) / x.size
        return {"x": dx, "y": -dx}


@dataclass(frozen=True)
class Maximum(Plain):
    """The largest of the last axis; the first of those that are tied takes the gradient."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = ROWS

    def forward(self, x: Array) -> Array:
        return np.asarray(x.max(axis=-1))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        dx = np.zeros_like(x)
        np.put_along_axis(dx, x.argmax(axis=-1)[..., None], dy[..., None], axis=-1)
        return {"x": dx}


@dataclass(frozen=True)
class Sort(Plain):
    """The last axis in rising order."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = ROWS

    def forward(self, x: Array) -> Array:
        return np.sort(x, axis=-1)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        dx = np.zeros_like(x)
        np.put_along_axis(dx, x.argsort(axis=-1, kind="stable"), dy, axis=-1)
        return {"x": dx}


@dataclass(frozen=True)
class Norm(Plain):
    """Euclidean length of the last axis."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = ROWS

    def forward(self, x: Array) -> Array:
        return np.asarray(np.sqrt((x * x).sum(axis=-1)))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": x * (dy / self.forward(x))[..., None]}


@dataclass(frozen=True)
class Variance(Plain):
    """Mean squared distance from the mean of the last axis."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((2, 5))}

    def forward(self, x: Array) -> Array:
        d = x - x.sum(axis=-1, keepdims=True) / x.shape[-1]
        return np.asarray((d * d).sum(axis=-1) / x.shape[-1])

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": 2.0 * (x - x.mean(axis=-1, keepdims=True)) * dy[..., None] / x.shape[-1]}


@dataclass(frozen=True)
class CumulativeSum(Plain):
    """Running sums of the last axis."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = ROWS

    def forward(self, x: Array) -> Array:
        return np.cumsum(x, axis=-1)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": np.cumsum(dy[..., ::-1], axis=-1)[..., ::-1].copy()}


@dataclass(frozen=True)
class Proportions(Plain):
    """Each of the last axis as a share of their sum."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((2, 4), draw=Positive())}

    def forward(self, x: Array) -> Array:
        return np.asarray(x / x.sum(axis=-1, keepdims=True))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        total = x.sum(axis=-1, keepdims=True)
        return {"x": (dy - (dy * x).sum(axis=-1, keepdims=True) / total) / total}


@dataclass(frozen=True)
class Cosine(Plain):
    """Cosine of the angle between two vectors."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((4,)), "y": ArraySpec((4,))}

    def forward(self, x: Array, y: Array) -> Array:
        return np.asarray((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))

    def vjp(self, dy: Array, x: Array, y: Array) -> dict[str, Array]:
        c, xx, yy = self.forward(x, y), (x * x).sum(), (y * y).sum()
        length = np.sqrt(xx * yy)
        return {"x": dy * (y / length - c * x / xx), "y": dy * (x / length - c * y / yy)}


@dataclass(frozen=True)
class HuberLoss(Plain):
    """Sum of Huber's function: quadratic within 1, linear beyond."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((6,))}

    def forward(self, x: Array) -> Array:
        return np.asarray(np.where(np.abs(x) < 1.0, 0.5 * x * x, np.abs(x) - 0.5).sum())

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy * np.clip(x, -1.0, 1.0)}

"""Products, sums and selections of whole arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Integers, Mask
from tests.corpus.case import Plain


@dataclass(frozen=True)
class Linear(Plain):
    """y = x Wᵀ + b."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((3, 4)), "W": ArraySpec((4, 4)), "b": ArraySpec((4,))}

    def forward(self, x: Array, W: Array, b: Array) -> Array:
        return np.asarray(x @ W.T + b)

    def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:
        return {"x": dy @ W, "W": dy.T @ x, "b": dy.sum(axis=0)}


@dataclass(frozen=True)
class Matmul(Plain):
    """Y = A B."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"A": ArraySpec((3, 3)), "B": ArraySpec((3, 3))}

    def forward(self, A: Array, B: Array) -> Array:
        return np.asarray(A @ B)

    def vjp(self, dy: Array, A: Array, B: Array) -> dict[str, Array]:
        return {"A": dy @ B.T, "B": A.T @ dy}


@dataclass(frozen=True)
class Bilinear(Plain):
    """y_k = xᵀ W_k z."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {
        "x": ArraySpec((3,)),
        "z": ArraySpec((3,)),
        "W": ArraySpec((2, 3, 3)),
    }

    def forward(self, x: Array, z: Array, W: Array) -> Array:
        return np.asarray((W @ z) @ x)

    def vjp(self, dy: Array, x: Array, z: Array, W: Array) -> dict[str, Array]:
        return {
            "x": dy @ (W @ z),
            "z": dy @ (W.swapaxes(1, 2) @ x),
            "W": dy[:, None, None] * np.outer(x, z),
        }


@dataclass(frozen=True)
class Quadratic(Plain):
    """y = xᵀ A x: the vector is used twice."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((4,)), "A": ArraySpec((4, 4))}

    def forward(self, x: Array, A: Array) -> Array:
        return np.asarray(x @ (A @ x))

    def vjp(self, dy: Array, x: Array, A: Array) -> dict[str, Array]:
        return {"x": dy * (A + A.T) @ x, "A": dy * np.outer(x, x)}


@dataclass(frozen=True)
class Residual(Plain):
    """y = x + tanh(x W): the input takes two ways."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((2, 3)), "W": ArraySpec((3, 3))}

    def forward(self, x: Array, W: Array) -> Array:
        return np.asarray(x + np.tanh(x @ W))

    def vjp(self, dy: Array, x: Array, W: Array) -> dict[str, Array]:
        inner = dy / np.cosh(x @ W) ** 2
        return {"x": dy + inner @ W.T, "W": x.T @ inner}


@dataclass(frozen=True)
class Broadcast(Plain):
    """y = a b + c with a (3, 1), b (4,) and c (1, 4)."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"a": ArraySpec((3, 1)), "b": ArraySpec((4,)), "c": ArraySpec((1, 4))}

    def forward(self, a: Array, b: Array, c: Array) -> Array:
        return np.asarray(a * b + c)

    def vjp(self, dy: Array, a: Array, b: Array, c: Array) -> dict[str, Array]:
        return {
            "a": (dy * b).sum(axis=1, keepdims=True),
            "b": (dy * a).sum(axis=0),
            "c": dy.sum(axis=0, keepdims=True),
        }


@dataclass(frozen=True)
class Embedding(Plain):
    """Rows of a table; an index may come twice."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {
        "table": ArraySpec((4, 3)),
        "index": ArraySpec((5,), "integer", Integers(0, 4)),
    }

    def forward(self, table: Array, index: Array) -> Array:
        return np.asarray(table[index])

    def vjp(self, dy: Array, table: Array, index: Array) -> dict[str, Array]:
        gradient = np.zeros_like(table)
        np.add.at(gradient, index, dy)
        return {"table": gradient}


@dataclass(frozen=True)
class Dropout(Plain):
    """x / keep where the given mask is true, else 0."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {
        "x": ArraySpec((3, 4)),
        "mask": ArraySpec((3, 4), "boolean", Mask(0.6)),
    }

    keep: float = 0.6

    def forward(self, x: Array, mask: Array) -> Array:
        return np.where(mask, x / self.keep, 0.0)

    def vjp(self, dy: Array, x: Array, mask: Array) -> dict[str, Array]:
        return {"x": np.where(mask, dy / self.keep, 0.0)}


@dataclass(frozen=True)
class Polar(Plain):
    """Two outputs: the square of the radius, and the product."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((3,)), "y": ArraySpec((3,))}

    def forward(self, x: Array, y: Array) -> tuple[Array, Array]:
        return np.asarray(x * x + y * y), np.asarray(x * y)

    def vjp(self, dy: tuple[Array, Array], x: Array, y: Array) -> dict[str, Array]:
        radius, product = dy
        return {"x": 2 * radius * x + product * y, "y": 2 * radius * y + product * x}


@dataclass(frozen=True)
class Perceptron(Plain):
    """Two affine maps with a ReLU between."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {
        "x": ArraySpec((2, 3)),
        "W": ArraySpec((3, 4)),
        "V": ArraySpec((4, 2)),
    }

    def forward(self, x: Array, W: Array, V: Array) -> Array:
        return np.asarray(np.maximum(x @ W, 0.0) @ V)

    def vjp(self, dy: Array, x: Array, W: Array, V: Array) -> dict[str, Array]:
        z = x @ W
        dz = np.where(z > 0, dy @ V.T, 0.0)
        return {"x": dz @ W.T, "W": x.T @ dz, "V": np.maximum(z, 0.0).T @ dy}

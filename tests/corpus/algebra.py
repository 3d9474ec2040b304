"""Linear algebra: solutions, inverses and determinants, well and ill-conditioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Spd
from tests.corpus.case import Plain


def eliminate(A: Array, B: Array) -> tuple[Array, Any]:
    """A⁻¹ B and det A by Gauss and Jordan, for numbers of any kind."""
    A, B, determinant = A.copy(), B.copy(), 1.0
    for k in range(len(A)):
        pivot = k + int(np.argmax(np.abs(A[k:, k])))
        if pivot != k:
            A[[k, pivot]], B[[k, pivot]], determinant = A[[pivot, k]], B[[pivot, k]], -determinant
        determinant = determinant * A[k, k]
        A[k], B[k] = A[k] / A[k, k], B[k] / A[k, k]
        for row in (row for row in range(len(A)) if row != k):
            A[row], B[row] = A[row] - A[row, k] * A[k], B[row] - A[row, k] * B[k]
    return B, determinant


def _rotation(cosine: float, sine: float, n: int) -> Array:
    """A product of plane rotations: orthogonal, with nothing special about it."""
    Q = np.eye(n)
    for k in range(n - 1):
        G = np.eye(n)
        G[k : k + 2, k : k + 2] = [[cosine, -sine], [sine, cosine]]
        Q = Q @ G
    return Q


def conditioned(condition: float, n: int = 3) -> Array:
    """A matrix with singular values from 1 down to 1 / condition."""
    U, V = _rotation(0.6, 0.8, n), _rotation(12 / 13, 5 / 13, n)
    return np.asarray((U * condition ** (-np.arange(n) / (n - 1))) @ V)


@dataclass(frozen=True)
class Solve(Plain):
    """y = A⁻¹ b."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"A": ArraySpec((3, 3), draw=Spd()), "b": ArraySpec((3,))}

    def forward(self, A: Array, b: Array) -> Array:
        return np.asarray(np.linalg.solve(A, b))

    def vjp(self, dy: Array, A: Array, b: Array) -> dict[str, Array]:
        db = np.linalg.solve(A.T, dy)
        return {"A": -np.outer(db, self.forward(A, b)), "b": db}

    def reference(self, A: Array, b: Array) -> Array:
        return eliminate(A, b[:, None])[0][:, 0]


@dataclass(frozen=True)
class Inverse(Plain):
    """Y = A⁻¹."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"A": ArraySpec((3, 3), draw=Spd())}

    def forward(self, A: Array) -> Array:
        return np.asarray(np.linalg.inv(A))

    def vjp(self, dy: Array, A: Array) -> dict[str, Array]:
        Y = np.linalg.inv(A)
        return {"A": -Y.T @ dy @ Y.T}

    def reference(self, A: Array) -> Array:
        return eliminate(A, np.eye(len(A)).astype(object))[0]


@dataclass(frozen=True)
class LogDeterminant(Plain):
    """y = log |det A|."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"A": ArraySpec((3, 3), draw=Spd())}

    def forward(self, A: Array) -> Array:
        return np.asarray(np.linalg.slogdet(A)[1])

    def vjp(self, dy: Array, A: Array) -> dict[str, Array]:
        return {"A": dy * np.linalg.inv(A).T}

    def reference(self, A: Array) -> Array:
        determinant = eliminate(A, np.eye(len(A)).astype(object))[1]
        return np.array([np.log(abs(determinant))], dtype=object).reshape(())


@dataclass(frozen=True)
class Whitened(Plain):
    """y = bᵀ A⁻¹ b: the vector is used twice, the matrix through a solution."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"A": ArraySpec((3, 3), draw=Spd()), "b": ArraySpec((3,))}

    def forward(self, A: Array, b: Array) -> Array:
        return np.asarray(b @ np.linalg.solve(A, b))

    def vjp(self, dy: Array, A: Array, b: Array) -> dict[str, Array]:
        right, left = np.linalg.solve(A, b), np.linalg.solve(A.T, b)
        return {"A": -dy * np.outer(left, right), "b": dy * (left + right)}

    def reference(self, A: Array, b: Array) -> Array:
        return np.asarray(b @ eliminate(A, b[:, None])[0][:, 0])

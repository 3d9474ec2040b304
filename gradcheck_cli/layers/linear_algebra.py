"""Linear algebra of batched matrices: product, inverse, linear equations, determinant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, Shape
from gradcheck_cli.layers import lapack
from gradcheck_cli.layers.matrices import lift, sum_to, swap


@dataclass(frozen=True)
class Regular:
    """Matrices over the last two axes with singular values in [0.5, 2], well apart: of full rank by a margin."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        *batch, m, n = shape
        r = min(m, n)
        left, right = (np.linalg.qr(rng.normal(size=(*batch, size, r)))[0] for size in (m, n))
        values = 0.5 + 1.5 * (np.arange(r) + rng.uniform(0.25, 0.75, (*batch, r))) / max(r, 1)
        return np.asarray((left * values[..., None, :]) @ swap(right))


def square(given: Mapping[str, Shape]) -> Shape:
    """Shape of the square matrices A."""
    A = given.get("A", (3, 3))
    if len(A) < 2 or A[-1] != A[-2] or min(A) < 1:
        raise ArrayError("A", f"shape {A}", "must be (..., n, n), not empty")
    return A


def _check_batches(array: str, shape: Shape, other: Shape, of: str) -> None:
    try:
        np.broadcast_shapes(shape[:-2], other[:-2])
    except ValueError:
        must = f"must have leading axes that broadcast with those of {of}, {other[:-2]}"
        raise ArrayError(array, f"shape {shape}", must) from None


@dataclass(frozen=True)
class Matmul:
    """Product of matrices, batched; leading axes broadcast.

    Formula:
        Y = A B

    Arrays:
        A (..., m, k): left factor
        B (..., k, n): right factor
        Y (..., m, n): product; its leading axes are those of A and B, broadcast against each other

    VJP:
        dL/dA = dY Bᵀ, summed over the leading axes along which A was broadcast
        dL/dB = Aᵀ dY, summed over the leading axes along which B was broadcast

    Source:
        Giles, An extended collection of matrix derivative results for forward and reverse mode automatic
            differentiation (2008), section 2.2
    """

    name: ClassVar[str] = "matmul"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"A": (2, 3), "B": (3, 4)}),
        Example({}, {"A": (2, 3, 4), "B": (4, 5)}),
        Example({}, {"A": (3, 1, 2, 4), "B": (2, 4, 3)}),
        Example({}, {"A": (4, 2), "B": (3, 2, 5)}),
    )

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        for name, form in (("A", "(..., m, k)"), ("B", "(..., k, n)")):
            if name in given and (len(given[name]) < 2 or min(given[name]) < 1):
                raise ArrayError(name, f"shape {given[name]}", f"must be {form}, not empty")
        A = given.get("A", (2, given["B"][-2] if "B" in given else 3))
        B = given.get("B", (A[-1], 4))
        if B[-2] != A[-1]:
            raise ArrayError("B", f"shape {B}", f"must be (..., k, n) with k = {A[-1]}, the last axis of A")
        _check_batches("B", B, A, "A")
        return {"A": ArraySpec(A), "B": ArraySpec(B)}

    def forward(self, A: Array, B: Array) -> Array:
        return np.asarray(A @ B)

    def vjp(self, dy: Array, A: Array, B: Array) -> dict[str, Array]:
        return {"A": sum_to(dy @ swap(B), A.shape), "B": sum_to(swap(A) @ dy, B.shape)}

    def jvp(self, tangents: Mapping[str, Array], A: Array, B: Array) -> Array:
        dA, dB = (tangents.get(name, np.zeros_like(array)) for name, array in (("A", A), ("B", B)))
        return np.asarray(dA @ B + A @ dB)

    def forward_stacked(self, A: Array, B: Array) -> Array:
        ndim = max(A.ndim, B.ndim)
        return np.asarray(lift(A, ndim) @ lift(B, ndim))


@dataclass(frozen=True)
class Inverse:
    """Inverse of square matrices.

    Formula:
        Y = A⁻¹

    Arrays:
        A (..., n, n): not singular
        Y (..., n, n): inverse

    VJP:
        dL/dA = −Yᵀ dY Yᵀ

    Source:
        Giles, An extended collection of matrix derivative results for forward and reverse mode automatic
            differentiation (2008), section 2.2
    """

    name: ClassVar[str] = "inverse"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"A": (3, 3)}),
        Example({}, {"A": (2, 4, 4)}),
        Example({}, {"A": (3, 2, 2, 2)}),
    )

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"A": ArraySpec(square(given), draw=Regular())}

    def forward(self, A: Array) -> Array:
        return np.asarray(lapack.inv(A))

    def vjp(self, dy: Array, A: Array) -> dict[str, Array]:
        transposed = swap(lapack.inv(A))
        return {"A": -transposed @ dy @ transposed}

    def forward_stacked(self, A: Array) -> Array:
        return self.forward(A)


@dataclass(frozen=True)
class Solve:
    """Solution of linear equations; leading axes broadcast.

    Formula:
        y = A⁻¹ b, the solution of A y = b

    Arrays:
        b (n,) or (..., n, k): right-hand side, one vector, or k columns
        A (..., n, n): not singular
        y (..., n, k): solution, leading axes broadcast; (n,) or (..., n) for one vector b

    VJP:
        dL/db = A⁻ᵀ dy, summed over the leading axes along which b was broadcast
        dL/dA = −(A⁻ᵀ dy) yᵀ, summed over the leading axes along which A was broadcast

    Source:
        Giles, An extended collection of matrix derivative results for forward and reverse mode automatic
            differentiation (2008), section 2.3
    """

    name: ClassVar[str] = "solve"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"A": (3, 3), "b": (3,)}),
        Example({}, {"A": (2, 4, 4), "b": (4, 3)}),
        Example({}, {"A": (3, 3), "b": (2, 3, 2)}),
        Example({}, {"A": (2, 3, 3), "b": (3,)}),
    )

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        b = given.get("b")
        if b is not None and (len(b) < 1 or min(b) < 1):
            raise ArrayError("b", f"shape {b}", "must be (n,) or (..., n, k), not empty")
        n = 3 if b is None else b[0] if len(b) == 1 else b[-2]
        A = square({"A": (n, n), **given})
        if b is not None and n != A[-1]:
            form = "(n,)" if len(b) == 1 else "(..., n, k)"
            raise ArrayError("b", f"shape {b}", f"must be {form} with n = {A[-1]}, the size of A")
        if b is not None and len(b) > 1:
            _check_batches("b", b, A, "A")
        return {"b": ArraySpec(b or (A[-1], 2)), "A": ArraySpec(A, draw=Regular())}

    def forward(self, b: Array, A: Array) -> Array:
        return np.asarray(lapack.solve(A, b[:, None])[..., 0] if b.ndim == 1 else lapack.solve(A, b))

    def vjp(self, dy: Array, b: Array, A: Array) -> dict[str, Array]:
        if b.ndim == 1:
            gradients = self.vjp(dy[..., None], b[:, None], A)
            return {"b": gradients["b"][:, 0], "A": gradients["A"]}
        db = lapack.solve(swap(A), dy)
        dA = -db @ swap(lapack.solve(A, b))
        return {"b": sum_to(db, b.shape), "A": sum_to(dA, A.shape)}

    def forward_stacked(self, b: Array, A: Array) -> Array:
        columns = b[..., None] if b.ndim == 2 else b
        ndim = max(columns.ndim, A.ndim)
        y = lapack.solve(lift(A, ndim), lift(columns, ndim))
        return np.asarray(y[..., 0] if b.ndim == 2 else y)


@dataclass(frozen=True)
class Logdet:
    """Logarithm of the absolute value of the determinant.

    Formula:
        y = log |det A|

    Arrays:
        A (..., n, n): not singular
        y (...): output

    VJP:
        dL/dA = dy A⁻ᵀ

    Source:
        Giles, An extended collection of matrix derivative results for forward and reverse mode automatic
            differentiation (2008), section 2.2
    """

    name: ClassVar[str] = "logdet"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"A": (3, 3)}),
        Example({}, {"A": (2, 4, 4)}),
        Example({}, {"A": (3, 2, 2, 2)}),
    )

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"A": ArraySpec(square(given), draw=Regular())}

    def forward(self, A: Array) -> Array:
        sign, logarithm = lapack.slogdet(A)
        if not np.iscomplexobj(A):
            return np.asarray(logarithm)
        return np.asarray(logarithm + np.log(np.where(sign.real < 0, -sign, sign)))

    def vjp(self, dy: Array, A: Array) -> dict[str, Array]:
        return {"A": np.asarray(dy)[..., None, None] * swap(lapack.inv(A))}

    def forward_stacked(self, A: Array) -> Array:
        return self.forward(A)

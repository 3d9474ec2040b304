"""Matrix factors, eigenvalues and norms, batched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape, Spd
from gradcheck_cli.layers import lapack
from gradcheck_cli.layers.linear_algebra import Regular, square
from gradcheck_cli.layers.matrices import swap
from gradcheck_cli.layers.rescaling import magnitude

FAMILY = "linear algebra"


def _symmetric(a: Array) -> Array:
    return np.asarray((a + swap(a)) / 2)


def _refuse_complex(layer: str, A: Array) -> None:
    """Numpy would take complex matrices as Hermitian, or their singular values, and neither is analytic."""
    if np.iscomplexobj(A):
        raise TypeError(f"{layer}: complex matrices are not supported; use real ones")


def _factor(S: Array) -> Array:
    """Lower L with S = L Lᵀ, column by column, with no conjugation: analytic in complex S."""
    L = np.zeros_like(S)
    for j in range(S.shape[-1]):
        column = S[..., j:, j] - (L[..., j:, :j] @ L[..., j, :j, None])[..., 0]
        L[..., j:, j] = column / np.sqrt(column[..., :1])
    return L


@dataclass(frozen=True)
class Cholesky:
    """Lower triangular factor of a symmetric positive definite matrix.

    The forward pass takes the symmetric part of A, so every element of A can change alone, and the gradient is
    symmetric: an off-diagonal pair shares it in halves.

    Formula:
        Y Yᵀ = (A + Aᵀ) / 2, Y lower triangular with a positive diagonal

    Arrays:
        A (..., n, n): matrix whose symmetric part is positive definite
        Y (..., n, n): factor

    VJP:
        P = the lower triangle of Yᵀ dY, its diagonal halved
        S = Y⁻ᵀ P Y⁻¹
        dL/dA = (S + Sᵀ) / 2
        what dY says above the diagonal does not count

    Source:
        Murray, Differentiation of the Cholesky decomposition (2016), arXiv 1602.07527
    """

    name: ClassVar[str] = "cholesky"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"A": (3, 3)}),
        Example({}, {"A": (2, 4, 4)}),
        Example({}, {"A": (3, 2, 2, 2)}),
    )

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"A": ArraySpec(square(given), draw=Spd())}

    def forward(self, A: Array) -> Array:
        S = _symmetric(A)
        return _factor(S) if np.iscomplexobj(S) else np.asarray(lapack.cholesky(S))

    def vjp(self, dy: Array, A: Array) -> dict[str, Array]:
        transposed = swap(self.forward(A))
        P = np.tril(transposed @ dy)
        P[..., range(A.shape[-1]), range(A.shape[-1])] /= 2
        S = swap(lapack.solve(transposed, swap(lapack.solve(transposed, P))))
        return {"A": _symmetric(S)}

    def forward_stacked(self, A: Array) -> Array:
        return self.forward(A)


@dataclass(frozen=True)
class Eigh:
    """Eigenvalues of a symmetric matrix, in ascending order.

    The forward pass takes the symmetric part of A, so every element of A can change alone, and the gradient is
    symmetric: an off-diagonal pair shares it in halves. Where eigenvalues coincide y has a kink, and the gradient is
    that of one choice of V. Complex matrices are refused.

    Formula:
        (A + Aᵀ) / 2 = V diag(y) Vᵀ, with Vᵀ V = I and y[0] ≤ y[1] ≤ ...

    Arrays:
        A (..., n, n): matrix
        y (..., n): eigenvalues

    VJP:
        dL/dA = V diag(dy) Vᵀ

    Source:
        Giles, An extended collection of matrix derivative results for forward and reverse mode automatic
            differentiation (2008), section 3.1
    """

    name: ClassVar[str] = "eigh"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"A": (3, 3)}),
        Example({}, {"A": (2, 4, 4)}),
        Example({}, {"A": (3, 2, 2, 2)}),
    )

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"A": ArraySpec(square(given), draw=Spd())}

    def forward(self, A: Array) -> Array:
        _refuse_complex(self.name, A)
        return np.asarray(lapack.eigvalsh(_symmetric(A)))

    def vjp(self, dy: Array, A: Array) -> dict[str, Array]:
        V = lapack.eigh(_symmetric(A))[1]
        return {"A": (V * dy[..., None, :]) @ swap(V)}

    def forward_stacked(self, A: Array) -> Array:
        return self.forward(A)


@dataclass(frozen=True)
class Uneven:
    """Matrices over the last two axes with row sums and column sums of |A| apart, and no element near zero."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        rows, columns = (1 + rng.permutation(size) / size for size in shape[-2:])
        size = rows[:, None] * columns * rng.uniform(0.45, 0.55, shape)
        return np.asarray(size * rng.choice([-1.0, 1.0], shape))


Order = Literal["frobenius", "nuclear", "spectral", "one", "infinity"]


@dataclass(frozen=True)
class MatrixNorm:
    """Norm of matrices: frobenius, nuclear, spectral, one or infinity.

    Complex matrices are refused by nuclear and spectral.

    Formula:
        order: frobenius    y = √(Σ_ij A_ij²)
        order: nuclear      y = Σ s_k, the sum of the singular values
        order: spectral     y = max s_k, the largest singular value
        order: one          y = max_j Σ_i |A_ij|, the largest sum down a column
        order: infinity     y = max_i Σ_j |A_ij|, the largest sum along a row

    Arrays:
        A (..., m, n): matrix
        y (...): norm

    VJP:
        order: frobenius    dL/dA = dy A / y, and 0 where y = 0
        order: nuclear      dL/dA = dy U Vᵀ, where A = U diag(s) Vᵀ is the thin singular value decomposition
        order: spectral     dL/dA = dy u vᵀ, with u and v the singular vectors of the largest singular value
        order: one          dL/dA = dy sign(A) in the first column with the largest sum, 0 elsewhere
        order: infinity     dL/dA = dy sign(A) in the first row with the largest sum, 0 elsewhere

    Source:
        Watson, Characterization of the subdifferential of some matrix norms (1992)
    """

    name: ClassVar[str] = "matrix_norm"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"A": (3, 4)}),
        Example({"order": "nuclear"}, {"A": (2, 4, 3)}),
        Example({"order": "spectral"}, {"A": (3, 5)}),
        Example({"order": "one"}, {"A": (2, 2, 3)}),
        Example({"order": "infinity"}, {"A": (4, 2)}),
    )

    order: Order = "frobenius"

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise OptionError("order", self.order, f"must be one of {', '.join(map(repr, get_args(Order)))}")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        A = given.get("A", (3, 4))
        if len(A) < 2 or min(A) < 1:
            raise ArrayError("A", f"shape {A}", "must be (..., m, n), not empty")
        return {"A": ArraySpec(A, draw=Uneven() if self.order in ("one", "infinity") else Regular())}

    def forward(self, A: Array) -> Array:
        if self.order == "frobenius":
            size = magnitude(A, (-2, -1), 0.0)
            z = A / size
            return np.asarray(size[..., 0, 0] * np.sqrt((z * z).sum(axis=(-2, -1))))
        if self.order in ("nuclear", "spectral"):
            _refuse_complex(f"{self.name} {self.order}", A)
            values = lapack.svd(A, compute_uv=False)
            return np.asarray(values.sum(axis=-1) if self.order == "nuclear" else values[..., 0])
        sums = self._sums(A)
        largest = sums.real.argmax(axis=-1)[..., None]
        return np.asarray(np.take_along_axis(sums, largest, axis=-1)[..., 0])

    def _sums(self, A: Array) -> Array:
        """Sums of |A| along the columns, or the rows."""
        return np.asarray(np.where(A.real < 0, -A, A).sum(axis=-2 if self.order == "one" else -1))

    def vjp(self, dy: Array, A: Array) -> dict[str, Array]:
        dy = np.asarray(dy)[..., None, None]
        if self.order == "frobenius":
            z = A / magnitude(A, (-2, -1), 0.0)
            norm = np.sqrt((z * z).sum(axis=(-2, -1), keepdims=True))
            return {"A": dy * (z / np.where(norm > 0, norm, 1))}
        if self.order in ("nuclear", "spectral"):
            U, _, Vt = lapack.svd(A, full_matrices=False)
            return {"A": dy * (U @ Vt if self.order == "nuclear" else U[..., :1] @ Vt[..., :1, :])}
        sums = self._sums(A)
        winner = np.arange(sums.shape[-1]) == sums.argmax(axis=-1)[..., None]
        return {"A": dy * np.sign(A) * (winner[..., None, :] if self.order == "one" else winner[..., None])}

    def forward_stacked(self, A: Array) -> Array:
        return self.forward(A)

"""Dense layers: affine maps and products of whole arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape

FEW = 16  # features


def _size(option: str, given: int | None, found: int | None, default: int) -> int:
    """Settle a size from the option, else from a given shape, else the default."""
    size = given if given is not None else found if found is not None else default
    if size < 1:
        raise OptionError(option, size, "must be at least 1")
    return size


@dataclass(frozen=True)
class Linear:
    """Affine map of the last axis.

    Formula:
        y = x Wᵀ + b

    Arrays:
        x (in,) or (..., in): input, in = in_features
        W (out, in): weight
        b (out,): bias, out = out_features
        y (out,) or (..., out): output

    VJP:
        dL/dx = dy W
        dL/dW = Σ dyᵀ x, over the leading axes
        dL/db = Σ dy, over the leading axes

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.5.6
    """

    name: ClassVar[str] = "linear"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"in_features": 3, "out_features": 2}),
        Example({}, {"x": (4, 5), "W": (3, 5)}),
        Example({"out_features": 5}, {"x": (2, 3, 4)}),
    )

    in_features: int | None = None
    out_features: int | None = None

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        W, x, b = given.get("W"), given.get("x"), given.get("b")
        if W is not None and len(W) != 2:
            raise ArrayError("W", f"shape {W}", "must be (out_features, in_features)")
        if x is not None and len(x) < 1:
            raise ArrayError("x", f"shape {x}", "must be (in_features,) or (..., in_features)")
        n_in = _size("in_features", self.in_features, x[-1] if x else W[1] if W else None, 3)
        n_out = _size("out_features", self.out_features, W[0] if W else b[-1] if b else None, 2)
        if x is not None and x[-1] != n_in:
            raise ArrayError("x", f"shape {x}", f"must end in in_features = {n_in}")
        if W is not None and (n_out, n_in) != W:
            raise ArrayError("W", f"shape {W}", f"must be (out_features, in_features) = {(n_out, n_in)}")
        if b is not None and b != (n_out,):
            raise ArrayError("b", f"shape {b}", f"must be (out_features,) = {(n_out,)}")
        return {"x": ArraySpec(x or (n_in,)), "W": ArraySpec((n_out, n_in)), "b": ArraySpec((n_out,))}

    def forward(self, x: Array, W: Array, b: Array) -> Array:
        return np.asarray(x @ W.T + b)

    def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in b
        rows, dy_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        return {"x": dy @ W, "W": dy_rows.T @ rows, "b": dy_rows.sum(axis=0)}

    def jvp(self, tangents: Mapping[str, Array], x: Array, W: Array, b: Array) -> Array:
        dx, dW, db = (tangents.get(name, np.zeros_like(array)) for name, array in (("x", x), ("W", W), ("b", b)))
        return np.asarray(dx @ W.T + x @ dW.T + db)

    def forward_stacked(self, x: Array, W: Array, b: Array) -> Array:
        y = _rows_times(x.reshape(x.shape[0], -1, x.shape[-1]), W)
        y = np.add(y, b[:, None], out=y if len(b) <= len(y) and b.dtype == y.dtype else None)  # fresh memory is dear
        return np.asarray(y.reshape(y.shape[0], *x.shape[1:-1], W.shape[1]))


def _rows_times(x: Array, W: Array) -> Array:
    """x Wᵀ for stacks of both. Few features are outermost in memory: what follows then takes many rows at a time."""
    if W.shape[1] > FEW:
        return np.asarray(x @ np.swapaxes(W, -1, -2))
    y = np.empty((W.shape[1], max(len(x), len(W)), x.shape[1]), np.result_type(x, W)).swapaxes(0, 1)
    return np.matmul(W, np.swapaxes(x, -1, -2), out=y).swapaxes(-1, -2)


_BILINEAR_SHAPES = {
    "x1": "(..., in1_features)",
    "x2": "(..., in2_features), with the leading axes of x1,",
    "W": "(out_features, in1_features, in2_features)",
    "b": "(out_features,)",
}


@dataclass(frozen=True)
class Bilinear:
    """Bilinear form of the last axes of two inputs, one for each output feature.

    Formula:
        y_k = Σ_ij x1_i W_kij x2_j + b_k

    Arrays:
        x1 (in1,) or (..., in1): first input, in1 = in1_features
        x2 (in2,) or (..., in2): second input, with the leading axes of x1, in2 = in2_features
        W (out, in1, in2): weight
        b (out,): bias, out = out_features
        y (out,) or (..., out): output

    VJP:
        dL/dx1_i = Σ_kj dy_k W_kij x2_j
        dL/dx2_j = Σ_ki dy_k W_kij x1_i
        dL/dW_kij = Σ dy_k x1_i x2_j, over the leading axes
        dL/db_k = Σ dy_k, over the leading axes

    Source:
        Tenenbaum, Freeman, Separating Style and Content with Bilinear Models (2000), section 2
    """

    name: ClassVar[str] = "bilinear"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"in1_features": 3, "in2_features": 4, "out_features": 2}),
        Example({}, {"x1": (5, 2), "x2": (5, 3)}),
        Example({"out_features": 3}, {"x1": (2, 3, 4), "x2": (2, 3, 2)}),
    )

    in1_features: int | None = None
    in2_features: int | None = None
    out_features: int | None = None

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        W, b, x1, x2 = (given.get(array) for array in ("W", "b", "x1", "x2"))
        if W is not None and len(W) != 3:
            raise ArrayError("W", f"shape {W}", "must be (out_features, in1_features, in2_features)")
        n1 = _size("in1_features", self.in1_features, x1[-1] if x1 else W[1] if W else None, 3)
        n2 = _size("in2_features", self.in2_features, x2[-1] if x2 else W[2] if W else None, 4)
        out = _size("out_features", self.out_features, W[0] if W else b[-1] if b else None, 2)
        leading = x1[:-1] if x1 else x2[:-1] if x2 else ()
        specs = {"x1": (*leading, n1), "x2": (*leading, n2), "W": (out, n1, n2), "b": (out,)}
        for array, shape in specs.items():
            if given.get(array, shape) != shape:
                raise ArrayError(array, f"shape {given[array]}", f"must be {_BILINEAR_SHAPES[array]} = {shape}")
        return {array: ArraySpec(shape) for array, shape in specs.items()}

    def forward(self, x1: Array, x2: Array, W: Array, b: Array) -> Array:
        return np.asarray(np.einsum("...i,kij,...j->...k", x1, W, x2) + b)

    def vjp(self, dy: Array, x1: Array, x2: Array, W: Array, b: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in b
        rows1, rows2, dy_rows = (part.reshape(-1, part.shape[-1]) for part in (x1, x2, dy))
        return {
            "x1": np.einsum("...k,kij,...j->...i", dy, W, x2),
            "x2": np.einsum("...k,kij,...i->...j", dy, W, x1),
            "W": np.einsum("nk,ni,nj->kij", dy_rows, rows1, rows2),
            "b": dy_rows.sum(axis=0),
        }

    def forward_stacked(self, x1: Array, x2: Array, W: Array, b: Array) -> Array:
        rows1, rows2 = (x.reshape(x.shape[0], -1, x.shape[-1]) for x in (x1, x2))
        y = np.einsum("...ni,...kij,...nj->...nk", rows1, W, rows2) + b[:, None, :]
        return np.asarray(y.reshape(y.shape[0], *x1.shape[1:-1], y.shape[-1]))


@dataclass(frozen=True)
class RepeatedIntegers:
    """Integers in [0, high); where there are two or more, the first comes twice."""

    high: int

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        indices = np.asarray(rng.integers(0, self.high, shape))
        if indices.size > 1:
            indices.flat[rng.integers(1, indices.size)] = indices.flat[0]
        return indices


@dataclass(frozen=True)
class Embedding:
    """Rows of a table, picked by index.

    Formula:
        y_n = W_i, with i = indices[n]

    Arrays:
        indices (...): integers in [0, num_embeddings), repeated at will
        W (num_embeddings, embedding_dim): table
        y (..., embedding_dim): the rows picked

    VJP:
        dL/dW_i = Σ dy_n, over every n with indices[n] = i; 0 for a row that is never picked

    Source:
        Bengio, Ducharme, Vincent, Jauvin, A Neural Probabilistic Language Model (2003), section 2
    """

    name: ClassVar[str] = "embedding"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"num_embeddings": 5, "embedding_dim": 3}),
        Example({}, {"indices": (7,), "W": (4, 2)}),
        Example({"num_embeddings": 3}, {"indices": (2, 3, 2)}),
        Example({}, {"indices": (), "W": (3, 4)}),
    )

    num_embeddings: int | None = None
    embedding_dim: int | None = None

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        W = given.get("W")
        if W is not None and len(W) != 2:
            raise ArrayError("W", f"shape {W}", "must be (num_embeddings, embedding_dim)")
        table = (
            _size("num_embeddings", self.num_embeddings, W[0] if W else None, 5),
            _size("embedding_dim", self.embedding_dim, W[1] if W else None, 3),
        )
        if W is not None and table != W:
            raise ArrayError("W", f"shape {W}", f"must be (num_embeddings, embedding_dim) = {table}")
        indices = ArraySpec(given.get("indices", (2, 3)), "integer", RepeatedIntegers(table[0]))
        return {"indices": indices, "W": ArraySpec(table)}

    def forward(self, indices: Array, W: Array) -> Array:
        self._check(indices, W.shape[0])
        return np.asarray(W[indices])

    def vjp(self, dy: Array, indices: Array, W: Array) -> dict[str, Array]:
        dW = np.zeros_like(W)
        np.add.at(dW, indices, dy)
        return {"W": dW}

    def forward_stacked(self, indices: Array, W: Array) -> Array:
        self._check(indices, W.shape[1])
        points = np.arange(W.shape[0]).reshape(-1, *(1,) * (indices.ndim - 1))
        return np.asarray(W[points, indices])

    @staticmethod
    def _check(indices: Array, rows: int) -> None:
        strange = indices[(indices < 0) | (indices >= rows)]
        if strange.size:
            raise ArrayError("indices", f"index {strange.flat[0]}", f"must be in [0, {rows})")


@dataclass(frozen=True)
class Outer:
    """Outer product of the last axes of two inputs.

    Formula:
        y_ij = x_i z_j

    Arrays:
        x (m,) or (..., m): first input
        z (n,) or (..., n): second input, with the leading axes of x
        y (m, n) or (..., m, n): output

    VJP:
        dL/dx_i = Σ_j dy_ij z_j
        dL/dz_j = Σ_i dy_ij x_i

    Source:
        Giles, An extended collection of matrix derivative results for forward and reverse mode automatic
            differentiation (2008), section 2.2, for the product of a column x and a row zᵀ
    """

    name: ClassVar[str] = "outer"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3,), "z": (4,)}),
        Example({}, {"x": (5, 2), "z": (5, 3)}),
        Example({}, {"x": (2, 3, 4), "z": (2, 3, 2)}),
    )

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x, z = given.get("x"), given.get("z")
        if x is None:
            x = (*z[:-1], 3) if z else (3,)
        if z is None:
            z = (*x[:-1], 4)
        if len(x) < 1:
            raise ArrayError("x", f"shape {x}", "must be (m,) or (..., m)")
        if len(z) < 1 or z[:-1] != x[:-1]:
            raise ArrayError("z", f"shape {z}", f"must be (n,) behind the leading axes of x = {x[:-1]}")
        return {"x": ArraySpec(x), "z": ArraySpec(z)}

    def forward(self, x: Array, z: Array) -> Array:
        return np.asarray(x[..., :, None] * z[..., None, :])

    def vjp(self, dy: Array, x: Array, z: Array) -> dict[str, Array]:
        return {"x": np.einsum("...ij,...j->...i", dy, z), "z": np.einsum("...ij,...i->...j", dy, x)}

    def forward_stacked(self, x: Array, z: Array) -> Array:
        return self.forward(x, z)

"""Dense layers: affine maps and products of whole arrays."""
# ruff: noqa: D102 - layer.py says what the methods of a layer do

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape


def _size(option: str, given: int | None, found: int | None, default: int) -> int:
    """Settle a size from the option, else from a given shape, else the default."""
    if given is not None and given < 1:
        raise OptionError(option, given, "must be at least 1")
    return given if given is not None else found if found is not None else default


@dataclass(frozen=True)
class Linear:
    """Affine map of the last axis.

    Formula:
        y = x Wᵀ + b

    Arrays:
        x (in,) or (..., in): input
        W (out, in): weight
        b (out,): bias
        y (out,) or (..., out): output

    VJP:
        dL/dx = dy W
        dL/dW = Σ dyᵀ x, summed over the leading axes
        dL/db = Σ dy, summed over the leading axes

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

    def forward_stacked(self, x: Array, W: Array, b: Array) -> Array:
        between = (1,) * (x.ndim - 2)
        weights = np.swapaxes(W, -1, -2)
        y = x[:, None, :] @ weights if x.ndim == 2 else x.reshape(x.shape[0], -1, x.shape[-1]) @ weights
        shape = (y.shape[0], *x.shape[1:-1], W.shape[1])
        return np.asarray(y.reshape(shape) + b.reshape(b.shape[0], *between, b.shape[-1]))

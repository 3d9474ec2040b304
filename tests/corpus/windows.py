"""Windows that slide along an axis: convolution and pooling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec
from tests.corpus.case import Plain


@dataclass(frozen=True)
class Conv1d(Plain):
    """y[o, t] = b[o] + Σ W[o, c, k] x[c, stride·t + k - padding]."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {
        "x": ArraySpec((2, 6)),
        "W": ArraySpec((2, 2, 3)),
        "b": ArraySpec((2,)),
    }

    padding: int = 1
    stride: int = 1

    def columns(self, x: Array) -> Array:
        """The windows of the padded x: (channels, places, kernel)."""
        edge = np.zeros((len(x), self.padding), x.dtype)
        wide = np.concatenate([edge, x, edge], axis=1)
        starts = range(0, wide.shape[1] - 2, self.stride)
        return np.stack([wide[:, start : start + 3] for start in starts], axis=1)

    def forward(self, x: Array, W: Array, b: Array) -> Array:
        columns = self.columns(x)
        return np.asarray((W[:, :, None, :] * columns).sum(axis=(1, 3)) + b[:, None])

    def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:
        parts = np.einsum("ot,ock->ctk", dy, W)
        return {
            "x": self.spread(parts, x.shape[1]),
            "W": np.einsum("ot,ctk->ock", dy, self.columns(x)),
            "b": dy.sum(axis=1),
        }

    def spread(self, parts: Array, size: int) -> Array:
        """Add the windows (channels, places, kernel) back to where they came from."""
        wide = np.zeros((len(parts), size + 2 * self.padding), parts.dtype)
        for place in range(parts.shape[1]):
            wide[:, place * self.stride : place * self.stride + 3] += parts[:, place]
        return wide[:, self.padding : self.padding + size].copy()


@dataclass(frozen=True)
class Conv2d(Plain):
    """One channel, a 2×2 kernel, no padding."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((4, 4)), "W": ArraySpec((2, 2))}

    def forward(self, x: Array, W: Array) -> Array:
        n, m = x.shape[0] - 1, x.shape[1] - 1
        y = [W[i, j] * x[i : i + n, j : j + m] for i in range(2) for j in range(2)]
        return np.asarray(y[0] + y[1] + y[2] + y[3])

    def vjp(self, dy: Array, x: Array, W: Array) -> dict[str, Array]:
        (n, m), dx, dW = dy.shape, np.zeros_like(x), np.zeros_like(W)
        for i in range(2):
            for j in range(2):
                dx[i : i + n, j : j + m] += W[i, j] * dy
                dW[i, j] = (dy * x[i : i + n, j : j + m]).sum()
        return {"x": dx, "W": dW}


@dataclass(frozen=True)
class MaxPool(Plain):
    """The largest of each window of three, two apart; the first of those that are tied takes the gradient."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((2, 7))}

    def windows(self, x: Array) -> Array:
        return np.stack([x[:, start : start + 3] for start in range(0, x.shape[1] - 2, 2)], axis=1)

    def forward(self, x: Array) -> Array:
        return np.asarray(self.windows(x).max(axis=-1))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        winner, dx = self.windows(x).argmax(axis=-1), np.zeros_like(x)
        for row, place in np.ndindex(dy.shape):
            dx[row, 2 * place + winner[row, place]] += dy[row, place]
        return {"x": dx}


@dataclass(frozen=True)
class MeanPool(Plain):
    """The mean of each window of two."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((2, 6))}

    def forward(self, x: Array) -> Array:
        return np.asarray((x[:, 0::2] + x[:, 1::2]) / 2)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": np.repeat(dy / 2, 2, axis=1)}

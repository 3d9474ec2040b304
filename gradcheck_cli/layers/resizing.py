"""Layers that lengthen axes: nearest-neighbour upsampling and padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape
from gradcheck_cli.layers.windows import each_axis, nonempty

FAMILY = "convolution and pooling"


@dataclass(frozen=True)
class UpsampleNearest:
    """Repeat each position a whole number of times along every position axis.

    Formula:
        y[n, c, i, ...] = x[n, c, i // scale_factor, ...]

    Arrays:
        x (N, C, ...): input
        y (N, C, ...), every position axis scale_factor times as long: output

    VJP:
        dL/dx[n, c, p] = Σ dy[n, c, i], over the block of positions i that repeat p

    Source:
        Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts (2016), section "Better Upsampling"
    """

    name: ClassVar[str] = "upsample_nearest"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (2, 3, 2, 3)}),
        Example({"scale_factor": (3, 2)}, {"x": (2, 3, 2, 3)}),
        Example({"scale_factor": 3}, {"x": (2, 3, 4)}),
    )

    scale_factor: int | tuple[int, ...] = 2

    def __post_init__(self) -> None:
        each_axis("scale_factor", self.scale_factor, 1 if isinstance(self.scale_factor, int) else self._rank(), 1)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        default = (2, 3, 2, 3) if isinstance(self.scale_factor, int) else (2, 3, *range(2, 2 + self._rank()))
        x = nonempty(given.get("x"), default, "(N, C, ...) with one position axis or more", 3)
        each_axis("scale_factor", self.scale_factor, len(x) - 2, 1)
        return {"x": ArraySpec(x)}

    def forward(self, x: Array) -> Array:
        return self._repeat(x, x.ndim - 2)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        factors = each_axis("scale_factor", self.scale_factor, x.ndim - 2, 1)
        blocks = tuple(part for pair in zip(x.shape[2:], factors, strict=True) for part in pair)
        return {"x": np.asarray(dy.reshape(*x.shape[:2], *blocks).sum(axis=tuple(range(3, 2 * x.ndim - 2, 2))))}

    def forward_stacked(self, x: Array) -> Array:
        return self._repeat(x, x.ndim - 3)

    def _repeat(self, x: Array, rank: int) -> Array:
        for axis, factor in enumerate(each_axis("scale_factor", self.scale_factor, rank, 1)):
            x = x.repeat(factor, axis=axis - rank)
        return x

    def _rank(self) -> int:
        return 1 if isinstance(self.scale_factor, int) else max(len(self.scale_factor), 1)


@dataclass(frozen=True)
class Pad:
    """Lengthen the last axes with a constant, a reflection or copies of the edge.

    `widths` holds a pair (before, after) for each axis, the last axis first, as in torch.

    Formula:
        y[i] = x[i − before] within x
        outside: value (constant), the mirror image without the edge (reflect), or the nearest element (edge)

    Arrays:
        x (...): input
        y (...), each padded axis longer by before + after: output

    VJP:
        dL/dx[p] = Σ dy[i], over all i at which y is a copy of x[p]

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.5, for zeros; the other modes as in numpy.pad
    """

    name: ClassVar[str] = "pad"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (2, 3, 3, 4)}),
        Example({"widths": (2, 1), "mode": "reflect"}, {"x": (2, 3, 4)}),
        Example({"widths": (0, 3, 2, 0), "mode": "edge"}, {"x": (2, 3, 2)}),
        Example({"widths": (1, 2, 0, 1), "value": 0.7}, {"x": (3, 2)}),
    )

    widths: tuple[int, ...] = (1, 1)
    mode: Literal["constant", "reflect", "edge"] = "constant"
    value: float = 0.0

    def __post_init__(self) -> None:
        if len(self.widths) % 2 or not self.widths:
            raise OptionError("widths", self.widths, "must hold a pair (before, after) for each padded axis")
        if min(self.widths) < 0:
            raise OptionError("widths", self.widths, "must be at least 0")
        if self.mode not in ("constant", "reflect", "edge"):
            raise OptionError("mode", self.mode, "must be 'constant', 'reflect' or 'edge'")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = given.get("x")
        rank = len(self.widths) // 2
        if x is None:
            x = (2, *(axis + 3 + max(pair) for axis, pair in enumerate(self._pairs())))
        if len(x) < rank or 0 in x:
            raise ArrayError("x", f"shape {x}", f"must have at least {rank} axes, every size at least 1")
        for size, pair in zip(x[len(x) - rank :], self._pairs(), strict=True):
            if self.mode == "reflect" and max(pair) >= size:
                raise OptionError("widths", self.widths, f"must be smaller than the axis to reflect, of size {size}")
        return {"x": ArraySpec(x)}

    def forward(self, x: Array) -> Array:
        pairs = ((0, 0),) * (x.ndim - len(self._pairs())) + self._pairs()
        if self.mode == "constant":
            return np.pad(x, pairs, constant_values=self.value)
        return np.pad(x, pairs, mode=self.mode)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        for back, pair in enumerate(reversed(self._pairs()), start=1):
            dy = self._fold(dy, x.shape[-back], pair, axis=-back)
        return {"x": dy.copy()}

    def forward_stacked(self, x: Array) -> Array:
        return self.forward(x)

    def _pairs(self) -> tuple[tuple[int, int], ...]:
        """(before, after) of the padded axes, in the order of the axes."""
        return tuple(zip(self.widths[-2::-2], self.widths[::-2], strict=True))

    def _fold(self, dy: Array, size: int, pair: tuple[int, int], axis: int) -> Array:
        """Add the padding of one axis back to the elements that it copies."""
        rows = np.moveaxis(dy, axis, 0)
        total = rows[pair[0] : pair[0] + size].copy()
        if self.mode != "constant":
            sources = np.pad(np.arange(size), pair, mode=self.mode)
            for place in (*range(pair[0]), *range(pair[0] + size, len(rows))):
                total[sources[place]] += rows[place]
        return np.moveaxis(total, 0, axis)

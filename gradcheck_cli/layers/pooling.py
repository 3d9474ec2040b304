"""Pooling: the largest or the mean value of each window, or of everything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Example, OptionError, Shape
from gradcheck_cli.layers.windows import Windows, each_axis, nonempty

FAMILY = "convolution and pooling"


def _windows(
    kernel: int | tuple[int, ...], stride: int | tuple[int, ...] | None, *rest: int | tuple[int, ...]
) -> Windows:
    """Windows over two axes; the stride defaults to the kernel. `rest` is the padding and the dilation."""
    padding, dilation = rest
    return Windows(
        each_axis("kernel_size", kernel, 2, 1),
        each_axis("kernel_size" if stride is None else "stride", kernel if stride is None else stride, 2, 1),
        each_axis("padding", padding, 2, 0),
        each_axis("dilation", dilation, 2, 1),
    )


def _pooled(x: Shape | None, windows: Windows, kernel: object, padding: object) -> Mapping[str, ArraySpec]:
    """The spec of x, if windows fit into it and none lies in the padding alone."""
    x = nonempty(x, (2, 3, *windows.default_sizes()), "(N, C, H, W) or (..., H, W)", 2)
    if min(windows.places(x[-2:])) < 1:
        spans, sizes = windows.spans, windows.padded(x[-2:])
        raise OptionError(
            "kernel_size", kernel, f"must fit the padded input: the window spans {spans}, the input {sizes}"
        )
    if not windows.reach_input(x[-2:]):
        raise OptionError("padding", padding, f"must leave an element of the input {x[-2:]} in every window")
    return {"x": ArraySpec(x)}


@dataclass(frozen=True)
class MaxPool2d:
    """Largest value of each window; padding never wins.

    Formula:
        y[n, c, i, j] = max_{k, l} x[n, c, s i + d k − p, s j + d l − p]
        k, l run over the kernel, of kernel_size
        s is the stride (kernel_size by default), d the dilation, p the padding, each along its axis

    Arrays:
        x (N, C, H, W) or (..., H, W): input
        y (..., (H + 2 p − d (kernel H − 1) − 1) // s + 1, likewise for W): output

    VJP:
        dL/dx[n, c, u, v] = Σ dy, over the windows in which x[n, c, u, v] is the largest
        of ties the first takes all, which is a subgradient

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.3
    """

    name: ClassVar[str] = "max_pool2d"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (2, 3, 4, 5)}),
        Example({"kernel_size": (3, 2), "stride": (2, 1), "padding": 1}, {"x": (2, 3, 5, 4)}),
        Example({"kernel_size": 2, "dilation": (1, 2), "stride": 2}, {"x": (3, 5, 7)}),
        Example({"kernel_size": (3, 4)}, {"x": (2, 3, 3, 4)}),
    )

    kernel_size: int | tuple[int, ...] = 2
    stride: int | tuple[int, ...] | None = None
    padding: int | tuple[int, ...] = 0
    dilation: int | tuple[int, ...] = 1

    def __post_init__(self) -> None:
        self._windows()

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return _pooled(given.get("x"), self._windows(), self.kernel_size, self.padding)

    def forward(self, x: Array) -> Array:
        flat = self._windows().flat_view(x, fill=-np.inf)
        return np.asarray(np.take_along_axis(flat, flat.real.argmax(axis=-3, keepdims=True), axis=-3)[..., 0, :, :])

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        flat = self._windows().flat_view(x, fill=-np.inf)
        parts = np.zeros(flat.shape, dy.dtype)
        np.put_along_axis(parts, flat.real.argmax(axis=-3, keepdims=True), dy[..., None, :, :], axis=-3)
        return {"x": self._windows().flat_scatter(parts, x.shape[-2:])}

    def forward_stacked(self, x: Array) -> Array:
        return self.forward(x)

    def _windows(self) -> Windows:
        return _windows(self.kernel_size, self.stride, self.padding, self.dilation)


@dataclass(frozen=True)
class AvgPool2d:
    """Mean of each window; padding counts as zeros, or not at all without `count_include_pad`.

    Formula:
        y[n, c, i, j] = 1/m Σ_{k, l} x[n, c, s i + k − p, s j + l − p]
        k, l run over the kernel, of kernel_size
        s is the stride (kernel_size by default), p the padding, each along its axis
        m counts all elements of the kernel, or with count_include_pad: false those within x

    Arrays:
        x (N, C, H, W) or (..., H, W): input
        y (..., (H + 2 p − kernel H) // s + 1, likewise for W): output

    VJP:
        dL/dx[n, c, u, v] = Σ dy/m, over the windows that hold the position u, v

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.3
    """

    name: ClassVar[str] = "avg_pool2d"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (2, 3, 4, 5)}),
        Example({"kernel_size": (3, 2), "stride": (2, 1), "padding": 1}, {"x": (2, 3, 5, 4)}),
        Example({"kernel_size": 3, "padding": (1, 0), "count_include_pad": False}, {"x": (2, 4, 5)}),
    )

    kernel_size: int | tuple[int, ...] = 2
    stride: int | tuple[int, ...] | None = None
    padding: int | tuple[int, ...] = 0
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        self._windows()

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return _pooled(given.get("x"), self._windows(), self.kernel_size, self.padding)

    def forward(self, x: Array) -> Array:
        return np.asarray(self._windows().view(x).sum(axis=(-4, -3)) / self._counts(x))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        windows = self._windows()
        share = (dy / self._counts(x))[..., None, None, :, :]
        parts = np.broadcast_to(share, (*share.shape[:-4], *windows.kernel, *share.shape[-2:]))
        return {"x": windows.scatter(parts, x.shape[-2:])}

    def forward_stacked(self, x: Array) -> Array:
        return self.forward(x)

    def _windows(self) -> Windows:
        return _windows(self.kernel_size, self.stride, self.padding, 1)

    def _counts(self, x: Array) -> Array:
        """How many elements each window counts, in the precision of x."""
        windows = self._windows()
        if self.count_include_pad:
            return np.asarray(math.prod(windows.kernel), x.real.dtype)
        return np.asarray(windows.view(np.ones(x.shape[-2:], x.real.dtype)).sum(axis=(0, 1)))


@dataclass(frozen=True)
class GlobalAvgPool:
    """Mean over every position of each channel.

    Formula:
        y[n, c] = 1/m Σ_p x[n, c, p], over the m positions p

    Arrays:
        x (N, C, ...): input
        y (N, C), or (N, C, 1, ...) with keepdims: output

    VJP:
        dL/dx[n, c, p] = dy[n, c] / m

    Source:
        Lin, Chen, Yan, Network In Network (2014), section 3.2
    """

    name: ClassVar[str] = "global_avg_pool"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (2, 3, 4, 5)}),
        Example({"keepdims": True}, {"x": (3, 2, 2, 3)}),
        Example({}, {"x": (2, 3, 5)}),
    )

    keepdims: bool = False

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(nonempty(given.get("x"), (2, 3, 4, 5), "(N, C, ...) with one position axis or more", 3))}

    def forward(self, x: Array) -> Array:
        return np.asarray(x.mean(axis=tuple(range(2, x.ndim)), keepdims=self.keepdims))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        share = dy.reshape(*x.shape[:2], *(1,) * (x.ndim - 2)) / math.prod(x.shape[2:])
        return {"x": np.broadcast_to(share, x.shape).copy()}

    def forward_stacked(self, x: Array) -> Array:
        return np.asarray(x.mean(axis=tuple(range(3, x.ndim)), keepdims=self.keepdims))

"""Convolutions in torch's layout: (N, C, ...) inputs, with stride, padding, dilation and groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape
from gradcheck_cli.layers.windows import Windows, correlate, each_axis, kernel_gradient, spread

FAMILY = "convolution and pooling"


def _add_bias(y: Array, b: Array) -> Array:
    """Add b (K, O) to y (K, N, O, ...), in place where it fits: fresh memory would cost more than the sum."""
    room = y if len(b) <= len(y) and b.dtype == y.dtype else None
    return np.asarray(np.add(y, b.reshape(b.shape[0], 1, -1, *(1,) * (y.ndim - 3)), out=room))


def _bias_gradient(dy: Array) -> Array:
    return np.asarray(dy.sum(axis=(0, *range(2, dy.ndim))))


@dataclass(frozen=True)
class _Options:
    """The options of every convolution, and the shapes of the arrays that follow from them."""

    rank: ClassVar[int]
    axes: ClassVar[str]
    kernel_axes: ClassVar[str]
    transposed: ClassVar[bool] = False

    in_channels: int | None = None
    out_channels: int | None = None
    kernel_size: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] = 0
    dilation: int | tuple[int, ...] = 1
    groups: int = 1

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise OptionError("groups", self.groups, "must be at least 1")
        for option, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels is not None and channels < 1:
                raise OptionError(option, channels, "must be at least 1")
            if channels is not None and channels % self.groups:
                raise OptionError("groups", self.groups, f"must divide {option} = {channels}")
        self._windows((1,) * self.rank)
        if self.kernel_size is not None:
            each_axis("kernel_size", self.kernel_size, self.rank, 1)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x, W, b = given.get("x"), given.get("W"), given.get("b")
        for name, shape, must in (("x", x, f"(N, in_channels, {self.axes})"), ("W", W, self._weight_axes())):
            if shape is not None and (len(shape) != self.rank + 2 or 0 in shape):
                raise ArrayError(name, f"shape {shape}", f"must be {must}, every size at least 1")
        channels, out = self._channels(x, W, b)
        windows = self._windows(self._kernel(x, W))
        weight = self._weight_shape(channels, out, windows.kernel)
        if W is not None and weight != W:
            raise ArrayError("W", f"shape {W}", f"must be {self._weight_axes()} = {weight}")
        if b is not None and b != (out,):
            raise ArrayError("b", f"shape {b}", f"must be (out_channels,) = {(out,)}")
        if x is None:
            x = (2, channels, *self._default_sizes(windows))
        self._require_fit(x, weight, windows)
        return {"x": ArraySpec(x), "W": ArraySpec(weight), "b": ArraySpec((out,))}

    def _windows(self, kernel: Shape) -> Windows:
        return Windows(
            kernel,
            each_axis("stride", self.stride, self.rank, 1),
            each_axis("padding", self.padding, self.rank, 0),
            each_axis("dilation", self.dilation, self.rank, 1),
        )

    def _weight_axes(self) -> str:
        channels = "in_channels, out_channels / groups" if self.transposed else "out_channels, in_channels / groups"
        return f"({channels}, {self.kernel_axes})"

    def _weight_shape(self, channels: int, out: int, kernel: Shape) -> Shape:
        return (channels, out // self.groups, *kernel) if self.transposed else (out, channels // self.groups, *kernel)

    def _channels(self, x: Shape | None, W: Shape | None, b: Shape | None) -> tuple[int, int]:
        """Settle the channels from the options, else from the given shapes, else small multiples of the groups."""
        channels, out = self.in_channels, self.out_channels
        from_weight = (0, 0) if W is None else (W[0], W[1] * self.groups)[:: 1 if self.transposed else -1]
        if channels is None:
            channels = x[1] if x is not None else from_weight[0] or 3 * self.groups
        if out is None:
            out = from_weight[1] or (b[0] if b else 4 * self.groups)
        if x is not None and x[1] != channels:
            raise ArrayError("x", f"shape {x}", f"must have in_channels = {channels} along axis 1")
        for option, count in (("in_channels", channels), ("out_channels", out)):
            if count % self.groups:
                raise OptionError("groups", self.groups, f"must divide {option} = {count}")
        return channels, out

    def _kernel(self, x: Shape | None, W: Shape | None) -> Shape:
        """Settle the kernel from the option, else from W, else 3 or what fits along each axis of x."""
        if self.kernel_size is not None:
            return each_axis("kernel_size", self.kernel_size, self.rank, 1)
        if W is not None:
            return W[2:]
        if x is None or self.transposed:
            return (3,) * self.rank
        dense = self._windows((1,) * self.rank)
        rows = zip(dense.padded(x[2:]), dense.dilation, strict=True)
        return tuple(max(1, min(3, (size - 1) // dilation + 1)) for size, dilation in rows)

    def _default_sizes(self, windows: Windows) -> Shape:
        return windows.default_sizes()

    def _require_fit(self, x: Shape, weight: Shape, windows: Windows) -> None:
        if min(windows.places(x[2:])) >= 1:
            return
        must = f"must fit the padded input: the kernel spans {windows.spans}, the input {windows.padded(x[2:])}"
        if self.kernel_size is None:
            raise ArrayError("W", f"shape {weight}", must)
        raise OptionError("kernel_size", self.kernel_size, must)


@dataclass(frozen=True)
class Conv1d(_Options):
    """Convolution along one axis (a cross-correlation: the kernel is not flipped).

    Formula:
        y[n, o, i] = b[o] + Σ_{c, k} W[o, c, k] x[n, c, s i + d k − p]
        s is the stride, d the dilation, p the padding; x is 0 outside of its bounds
        c runs over the in_channels / groups channels that the group of o reads

    Arrays:
        x (N, in_channels, L): input
        W (out_channels, in_channels / groups, kernel): weight, kernel = kernel_size
        b (out_channels,): bias
        y (N, out_channels, (L + 2 p − d (kernel − 1) − 1) // s + 1): output

    VJP:
        dL/dx[n, c, j] = Σ W[o, c, k] dy[n, o, i], over all o, i, k with s i + d k − p = j
        dL/dW[o, c, k] = Σ_{n, i} dy[n, o, i] x[n, c, s i + d k − p]
        dL/db = Σ dy, over N and positions

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.5
    """

    name: ClassVar[str] = "conv1d"
    rank: ClassVar[int] = 1
    axes: ClassVar[str] = "L"
    kernel_axes: ClassVar[str] = "kernel"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"in_channels": 3, "out_channels": 4, "kernel_size": 3}),
        Example({"stride": 2, "padding": 1, "dilation": 2}, {"x": (2, 3, 8), "W": (4, 3, 3)}),
        Example({"groups": 2, "kernel_size": 2, "stride": 3}, {"x": (2, 4, 7)}),
    )

    def forward(self, x: Array, W: Array, b: Array) -> Array:
        return np.asarray(self.forward_stacked(x[None], W[None], b[None])[0])

    def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in b
        windows = self._windows(W.shape[2:])
        dx = spread(windows, self.groups, dy[None], W[None], x.shape[2:])[0]
        return {"x": dx, "W": kernel_gradient(windows, self.groups, x, dy), "b": _bias_gradient(dy)}

    def forward_stacked(self, x: Array, W: Array, b: Array) -> Array:
        return _add_bias(correlate(self._windows(W.shape[3:]), self.groups, x, W), b)


@dataclass(frozen=True)
class Conv2d(_Options):
    """Convolution over two axes (a cross-correlation: the kernel is not flipped).

    Formula:
        y[n, o, i, j] = b[o] + Σ_{c, k, l} W[o, c, k, l] x[n, c, s i + d k − p, s j + d l − p]
        s is the stride, d the dilation, p the padding, each along its axis; x is 0 outside of its bounds
        c runs over the in_channels / groups channels that the group of o reads

    Arrays:
        x (N, in_channels, H, W): input
        W (out_channels, in_channels / groups, kernel H, kernel W): weight, kernel = kernel_size along each axis
        b (out_channels,): bias
        y (N, out_channels, (H + 2 p − d (kernel H − 1) − 1) // s + 1, likewise for W): output

    VJP:
        dL/dx[n, c, u, v] = Σ W[o, c, k, l] dy[n, o, i, j],
            over all o, i, j, k, l with s i + d k − p = u and s j + d l − p = v
        dL/dW[o, c, k, l] = Σ_{n, i, j} dy[n, o, i, j] x[n, c, s i + d k − p, s j + d l − p]
        dL/db = Σ dy, over N and positions

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.5
    """

    name: ClassVar[str] = "conv2d"
    rank: ClassVar[int] = 2
    axes: ClassVar[str] = "H, W"
    kernel_axes: ClassVar[str] = "kernel H, kernel W"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"in_channels": 3, "out_channels": 4, "kernel_size": (3, 2)}),
        Example({"stride": (2, 3), "padding": (1, 2)}, {"x": (2, 3, 6, 7), "W": (4, 3, 3, 2)}),
        Example({"dilation": (2, 1), "groups": 2, "kernel_size": 2}, {"x": (2, 4, 4, 3), "b": (6,)}),
        Example({"kernel_size": (4, 5)}, {"x": (2, 3, 4, 5)}),
    )

    def forward(self, x: Array, W: Array, b: Array) -> Array:
        return np.asarray(self.forward_stacked(x[None], W[None], b[None])[0])

    def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in b
        windows = self._windows(W.shape[2:])
        dx = spread(windows, self.groups, dy[None], W[None], x.shape[2:])[0]
        return {"x": dx, "W": kernel_gradient(windows, self.groups, x, dy), "b": _bias_gradient(dy)}

    def forward_stacked(self, x: Array, W: Array, b: Array) -> Array:
        return _add_bias(correlate(self._windows(W.shape[3:]), self.groups, x, W), b)


@dataclass(frozen=True)
class ConvTranspose2d(_Options):
    """Transposed convolution over two axes: the adjoint of `conv2d` in its input, with a bias.

    Formula:
        y[n, o, u, v] = b[o] + Σ W[c, o, k, l] x[n, c, i, j],
            over all c in the group of o, and all i, j, k, l with s i + d k − p = u and s j + d l − p = v
        s is the stride, d the dilation, p the padding, each along its axis

    Arrays:
        x (N, in_channels, H, W): input
        W (in_channels, out_channels / groups, kernel H, kernel W): weight, kernel = kernel_size along each axis
        b (out_channels,): bias
        y (N, out_channels, (H − 1) s − 2 p + d (kernel H − 1) + output_padding + 1, likewise for W): output

    VJP:
        dL/dx = conv2d of dy with W and no bias, in the same stride, padding, dilation and groups
        dL/dW[c, o, k, l] = Σ_{n, i, j} x[n, c, i, j] dy[n, o, s i + d k − p, s j + d l − p], dy being 0 outside of its
            bounds
        dL/db = Σ dy, over N and positions

    Source:
        Dumoulin, Visin, A guide to convolution arithmetic for deep learning (2016), chapter 4
    """

    name: ClassVar[str] = "conv_transpose2d"
    rank: ClassVar[int] = 2
    axes: ClassVar[str] = "H, W"
    kernel_axes: ClassVar[str] = "kernel H, kernel W"
    transposed: ClassVar[bool] = True
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"in_channels": 3, "out_channels": 4, "kernel_size": (3, 2)}),
        Example({"stride": (2, 3), "padding": 1, "output_padding": (1, 2)}, {"x": (2, 3, 3, 2), "W": (3, 4, 3, 4)}),
        Example({"dilation": (2, 1), "groups": 2, "kernel_size": 2, "stride": 2}, {"x": (2, 4, 2, 3)}),
    )

    output_padding: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        strides = self._windows((1,) * self.rank).stride
        if any(extra >= stride for extra, stride in zip(self._extra(), strides, strict=True)):
            raise OptionError("output_padding", self.output_padding, f"must be smaller than stride = {self.stride}")

    def forward(self, x: Array, W: Array, b: Array) -> Array:
        return np.asarray(self.forward_stacked(x[None], W[None], b[None])[0])

    def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in b
        windows = self._windows(W.shape[2:])
        dx = correlate(windows, self.groups, dy[None], W[None])[0]
        return {"x": dx, "W": kernel_gradient(windows, self.groups, dy, x), "b": _bias_gradient(dy)}

    def forward_stacked(self, x: Array, W: Array, b: Array) -> Array:
        windows = self._windows(W.shape[3:])
        return _add_bias(spread(windows, self.groups, x, W, self._output_sizes(x.shape[3:], windows)), b)

    def _extra(self) -> Shape:
        return each_axis("output_padding", self.output_padding, self.rank, 0)

    def _output_sizes(self, sizes: Shape, windows: Windows) -> Shape:
        return tuple(a + b for a, b in zip(windows.spread_sizes(sizes), self._extra(), strict=True))

    def _default_sizes(self, windows: Windows) -> Shape:
        rows = enumerate(zip(windows.padding, windows.stride, strict=True))
        return tuple(2 + axis + -(-2 * pad // stride) for axis, (pad, stride) in rows)

    def _require_fit(self, x: Shape, weight: Shape, windows: Windows) -> None:  # noqa: ARG002 - any kernel fits
        sizes = self._output_sizes(x[2:], windows)
        if min(sizes) < 1:
            raise OptionError("padding", self.padding, f"must leave an output with elements: its sizes are {sizes}")

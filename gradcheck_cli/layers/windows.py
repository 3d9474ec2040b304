"""Windows that slide over the trailing axes of an array: views, sums against a kernel, and their adjoints."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from types import EllipsisType
from typing import TypeAlias

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, OptionError, Shape

Index: TypeAlias = tuple[EllipsisType | slice, ...]

TILE = 16  # rows that the kernels of a BLAS take at a time, or a multiple of what they take


def each_axis(option: str, value: int | tuple[int, ...], rank: int, least: int) -> Shape:
    """Spread an option over `rank` axes: one integer for all of them, or one for each."""
    sizes = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(sizes) != rank:
        raise OptionError(option, value, f"must be one integer or {rank}" if rank > 1 else "must be one integer")
    if min(sizes) < least:
        raise OptionError(option, value, f"must be at least {least}")
    return sizes


def nonempty(x: Shape | None, default: Shape, axes: str, least: int) -> Shape:
    """The given shape of x, or the default, if it has `least` axes or more and no empty one."""
    if x is not None and (len(x) < least or 0 in x):
        raise ArrayError("x", f"shape {x}", f"must be {axes}, every size at least 1")
    return default if x is None else x


@dataclass(frozen=True)
class Windows:
    """A grid of windows over the last `len(kernel)` axes; every field has one integer for each of them."""

    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape

    @property
    def rank(self) -> int:
        """How many axes the windows slide over."""
        return len(self.kernel)

    @property
    def spans(self) -> Shape:
        """How far a window reaches along each axis, holes counted."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def padded(self, sizes: Shape) -> Shape:
        """Sizes of an input of `sizes` with its padding."""
        return tuple(size + 2 * pad for size, pad in zip(sizes, self.padding, strict=True))

    def places(self, sizes: Shape) -> Shape:
        """How many windows fit along each axis of an input of `sizes`; below 1 where none does."""
        rows = zip(self.padded(sizes), self.spans, self.stride, strict=True)
        return tuple((size - span) // stride + 1 for size, span, stride in rows)

    def spread_sizes(self, places: Shape) -> Shape:
        """Sizes of the smallest input that has so many windows: the inverse of `places`."""
        rows = zip(places, self.spans, self.stride, self.padding, strict=True)
        return tuple((count - 1) * stride + span - 2 * pad for count, span, stride, pad in rows)

    def default_sizes(self) -> Shape:
        """Input sizes with three windows or more along each axis, no two alike, where a stride leaves a remainder."""
        rows = enumerate(self.spread_sizes((3,) * self.rank))
        return tuple(max(size + axis, axis + 1) for axis, size in rows)

    def reach_input(self, sizes: Shape) -> bool:
        """Whether every window holds at least one element that is not padding."""
        for axis, (size, places) in enumerate(zip(sizes, self.places(sizes), strict=True)):
            starts = np.arange(places) * self.stride[axis] - self.padding[axis]
            held = starts[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]
            if not np.all(np.any((held >= 0) & (held < size), axis=1)):
                return False
        return True

    def view(self, x: Array, fill: float = 0.0) -> Array:
        """The windows of x, read-only: (..., *sizes) -> (..., *kernel, *places), padded with `fill`."""
        lead, sizes = x.shape[: x.ndim - self.rank], x.shape[x.ndim - self.rank :]
        if any(self.padding):
            buffer = np.full(lead + self.padded(sizes), fill, x.dtype)
            buffer[self._inside(sizes)] = x
        else:
            buffer = np.ascontiguousarray(x)
        outer, inner = buffer.strides[: len(lead)], buffer.strides[len(lead) :]
        within = tuple(step * one for step, one in zip(self.dilation, inner, strict=True))
        between = tuple(step * one for step, one in zip(self.stride, inner, strict=True))
        shape = (*lead, *self.kernel, *self.places(sizes))
        windows: Array = np.ndarray(shape, buffer.dtype, buffer, strides=outer + within + between)
        windows.flags.writeable = False
        return windows

    def scatter(self, parts: Array, sizes: Shape) -> Array:
        """Add windows back to where they came from, the adjoint of `view`: (..., *kernel, *places) -> (..., *sizes)."""
        lead, places = parts.shape[: parts.ndim - 2 * self.rank], parts.shape[parts.ndim - self.rank :]
        buffer = np.zeros(lead + self.padded(sizes), parts.dtype)
        for offset in itertools.product(*map(range, self.kernel)):
            rows = zip(offset, self.dilation, self.stride, places, strict=True)
            target: Index = (..., *(slice(o * d, o * d + s * (count - 1) + 1, s) for o, d, s, count in rows))
            buffer[target] += parts[(slice(None),) * len(lead) + offset]
        return np.asarray(buffer[self._inside(sizes)])

    def flat_view(self, x: Array, fill: float = 0.0) -> Array:
        """The windows of x with each window in one axis: (..., *sizes) -> (..., window, *places)."""
        windows = self.view(x, fill)
        lead = windows.shape[: windows.ndim - 2 * self.rank]
        return windows.reshape(*lead, math.prod(self.kernel), *windows.shape[windows.ndim - self.rank :])

    def flat_scatter(self, parts: Array, sizes: Shape) -> Array:
        """The adjoint of `flat_view`: (..., window, *places) -> (..., *sizes)."""
        split = parts.ndim - self.rank
        return self.scatter(parts.reshape(*parts.shape[: split - 1], *self.kernel, *parts.shape[split:]), sizes)

    def _inside(self, sizes: Shape) -> Index:
        """Index of the input within the padded input."""
        return (..., *(slice(pad, pad + size) for pad, size in zip(self.padding, sizes, strict=True)))


def correlate(windows: Windows, groups: int, x: Array, W: Array) -> Array:
    """Slide W (K, O, C/groups, *kernel) over x (K, N, C, *sizes): y (K, N, O, *places).

    Small products of matrices leave the processor idle. One for all of a stack of W does not, but it rounds all copies
    alike only if each of them fills whole tiles.
    """
    places, (stack, batch), (copies, out) = windows.places(x.shape[3:]), x.shape[:2], W.shape[:2]
    inner, count = math.prod(W.shape[2:]), out // groups
    columns = windows.view(x).reshape(stack, batch, groups, inner, math.prod(places))
    weights = W.reshape(copies, 1, groups, count, inner)
    if stack == 1 < copies and count % TILE == 0:
        y = weights[:, 0].swapaxes(0, 1).reshape(groups, copies * count, inner) @ columns[0]
        y = y.reshape(batch, groups, copies, count, -1).transpose(2, 0, 1, 3, 4)
    else:
        y = weights @ columns
    return np.asarray(y.reshape(len(y), batch, out, *places))


def spread(windows: Windows, groups: int, y: Array, W: Array, sizes: Shape) -> Array:
    """The adjoint of `correlate` in x: y (K, N, O, *places) becomes x (K, N, C, *sizes)."""
    (stack, batch, out), places = y.shape[:3], y.shape[3:]
    inner = math.prod(W.shape[2:])
    weights = W.reshape(W.shape[0], 1, groups, out // groups, inner).swapaxes(-1, -2)
    parts = weights @ y.reshape(stack, batch, groups, out // groups, math.prod(places))
    return windows.scatter(parts.reshape(parts.shape[0], batch, groups * W.shape[2], *windows.kernel, *places), sizes)


def kernel_gradient(windows: Windows, groups: int, x: Array, dy: Array) -> Array:
    """The adjoint of `correlate` in W: from x (N, C, *sizes) and dy (N, O, *places) to (O, C/groups, *kernel)."""
    (batch, channels), (out, *places) = x.shape[:2], dy.shape[1:]
    inner, count = channels // groups * math.prod(windows.kernel), math.prod(places)
    columns = windows.view(x).reshape(batch, groups, inner, count).swapaxes(-1, -2)
    total = (dy.reshape(batch, groups, out // groups, count) @ columns).sum(axis=0)
    return np.asarray(total.reshape(out, channels // groups, *windows.kernel))

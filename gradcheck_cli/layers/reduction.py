"""Reductions and scans along axes: sum, mean, max, cumulative sum, sort."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape

FAMILY = "shape and reduction"

Axes = int | tuple[int, ...] | None


def resolve_axes(axis: Axes, ndim: int, option: str = "axis") -> Shape:
    """The axes that an option means, each counted from the front: None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -ndim <= each < ndim for each in axes):
        span = f"must be from {-ndim} to {ndim - 1}: the array has {ndim} axes"
        raise OptionError(option, axis, span if ndim else "needs an array with axes: this one has none")
    found = tuple(each % ndim for each in axes)
    if len(set(found)) != len(found):
        raise OptionError(option, axis, "must name each axis once")
    return found


def default_shape(*axes: Axes) -> Shape:
    """A small shape, no two neighbours alike, that has all of these axes."""
    every = [each for axis in axes if axis is not None for each in ((axis,) if isinstance(axis, int) else axis)]
    rank = max([2, *(each + 1 if each >= 0 else -each for each in every)])
    return tuple((3, 4, 2)[place % 3] for place in range(rank))


def _input(x: Shape | None, axis: Axes, *, empty: bool) -> Mapping[str, ArraySpec]:
    """The spec of x, if it has the axes and, unless `empty` is fine, elements along them."""
    x = default_shape(axis) if x is None else x
    if not math.prod(x[each] for each in resolve_axes(axis, len(x))) and not empty:
        raise ArrayError("x", f"shape {x}", f"must have at least one element along axis {axis}")
    return {"x": ArraySpec(x)}


def _behind_stack(axis: Axes, x: Array) -> Shape:
    """The axes of an array that has one stack axis in front of those that the option counts."""
    return tuple(each + 1 for each in resolve_axes(axis, x.ndim - 1))


def _spread(dy: Array, axes: Shape, shape: Shape) -> Array:
    """Repeat dy, whether it kept the reduced axes or not, along them."""
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return np.broadcast_to(dy.reshape(kept), shape).copy()


def _rows(x: Array, axes: Shape) -> Array:
    """The given axes as one last axis."""
    kept = x.ndim - len(axes)
    moved = np.moveaxis(x, axes, tuple(range(kept, x.ndim)))
    return moved.reshape(*moved.shape[:kept], math.prod(moved.shape[kept:]))


def _largest(x: Array, axes: Shape, *, keepdims: bool) -> Array:
    rows = _rows(x, axes)
    y = np.take_along_axis(rows, rows.real.argmax(axis=-1, keepdims=True), axis=-1)[..., 0]
    return np.asarray(np.expand_dims(y, axes) if keepdims else y)


@dataclass(frozen=True)
class Sum:
    """Sum over some axes, or over all.

    Formula:
        y = Σ x, over the axes in axis, by default over all

    Arrays:
        x (...): input
        y (...) without the axes, or with size 1 there with keepdims: output

    VJP:
        dL/dx = dy, repeated along the axes

    Source:
        Griewank, Walther, Evaluating Derivatives (2008), section 3.2
    """

    name: ClassVar[str] = "sum"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"axis": 0}, {"x": (3, 2)}),
        Example({"axis": (0, -1), "keepdims": True}, {"x": (2, 3, 4)}),
    )

    axis: int | tuple[int, ...] | None = None
    keepdims: bool = False

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return _input(given.get("x"), self.axis, empty=True)

    def forward(self, x: Array) -> Array:
        return np.asarray(x.sum(axis=resolve_axes(self.axis, x.ndim), keepdims=self.keepdims))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": _spread(dy, resolve_axes(self.axis, x.ndim), x.shape)}

    def forward_stacked(self, x: Array) -> Array:
        return np.asarray(x.sum(axis=_behind_stack(self.axis, x), keepdims=self.keepdims))


@dataclass(frozen=True)
class Mean:
    """Mean over some axes, or over all.

    Formula:
        y = 1/m Σ x, over the m elements along the axes in axis, by default along all

    Arrays:
        x (...): input
        y (...) without the axes, or with size 1 there with keepdims: output

    VJP:
        dL/dx = dy / m, repeated along the axes

    Source:
        Griewank, Walther, Evaluating Derivatives (2008), section 3.2
    """

    name: ClassVar[str] = "mean"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"axis": 0}, {"x": (3, 2)}),
        Example({"axis": (0, -1), "keepdims": True}, {"x": (2, 3, 4)}),
    )

    axis: int | tuple[int, ...] | None = None
    keepdims: bool = False

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return _input(given.get("x"), self.axis, empty=False)

    def forward(self, x: Array) -> Array:
        return np.asarray(x.mean(axis=resolve_axes(self.axis, x.ndim), keepdims=self.keepdims))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        axes = resolve_axes(self.axis, x.ndim)
        return {"x": _spread(dy / math.prod(x.shape[axis] for axis in axes), axes, x.shape)}

    def forward_stacked(self, x: Array) -> Array:
        return np.asarray(x.mean(axis=_behind_stack(self.axis, x), keepdims=self.keepdims))


@dataclass(frozen=True)
class Max:
    """Largest value along some axes, or of all.

    Formula:
        y = max x, over the axes in axis, by default over all

    Arrays:
        x (...): input
        y (...) without the axes, or with size 1 there with keepdims: output

    VJP:
        dL/dx = dy at the largest element, 0 elsewhere
        of ties the first takes all, which is a subgradient

    Source:
        Beck, First-Order Methods in Optimization (2017), chapter 3, the max rule of subdifferential calculus
    """

    name: ClassVar[str] = "max"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"axis": -1}, {"x": (3, 2)}),
        Example({"axis": (0, 2), "keepdims": True}, {"x": (2, 3, 4)}),
    )

    axis: int | tuple[int, ...] | None = None
    keepdims: bool = False

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return _input(given.get("x"), self.axis, empty=False)

    def forward(self, x: Array) -> Array:
        return _largest(x, resolve_axes(self.axis, x.ndim), keepdims=self.keepdims)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        axes = resolve_axes(self.axis, x.ndim)
        rows = _rows(x, axes)
        gradient = np.zeros(rows.shape, dy.dtype)
        np.put_along_axis(gradient, rows.argmax(axis=-1, keepdims=True), dy.reshape(*rows.shape[:-1], 1), axis=-1)
        reduced = gradient.reshape((*rows.shape[:-1], *(x.shape[axis] for axis in axes)))
        return {"x": np.moveaxis(reduced, tuple(range(rows.ndim - 1, x.ndim)), axes)}

    def forward_stacked(self, x: Array) -> Array:
        return _largest(x, _behind_stack(self.axis, x), keepdims=self.keepdims)


@dataclass(frozen=True)
class CumSum:
    """Running sum along an axis.

    Formula:
        y[i] = Σ_{j ≤ i} x[j]

    Arrays:
        x (...): input
        y (...): output

    VJP:
        dL/dx[j] = Σ_{i ≥ j} dy[i], the running sum from the other end

    Source:
        Blelloch, Prefix Sums and Their Applications (1990); its matrix is triangular, and the VJP is the transpose
    """

    name: ClassVar[str] = "cumsum"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"axis": 0}, {"x": (5,)}),
        Example({"axis": 1}, {"x": (2, 3, 4)}),
    )

    axis: int = -1

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return _input(given.get("x"), self.axis, empty=True)

    def forward(self, x: Array) -> Array:
        return np.asarray(np.cumsum(x, axis=self.axis))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in x
        return {"x": np.flip(np.cumsum(np.flip(dy, self.axis), axis=self.axis), self.axis)}

    def forward_stacked(self, x: Array) -> Array:
        return np.asarray(np.cumsum(x, axis=_behind_stack(self.axis, x)[0]))


@dataclass(frozen=True)
class Sort:
    """Sort along an axis.

    Formula:
        y[i] = x[σ(i)], with σ the stable order of x along the axis, ascending or descending

    Arrays:
        x (...): input
        y (...): output

    VJP:
        dL/dx[σ(i)] = dy[i]

    Source:
        Blondel, Teboul, Berthet, Djolonga, Fast Differentiable Sorting and Ranking (2020)
    """

    name: ClassVar[str] = "sort"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"axis": 0, "descending": True}, {"x": (5,)}),
        Example({"axis": 1}, {"x": (2, 3, 4)}),
    )

    axis: int = -1
    descending: bool = False

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return _input(given.get("x"), self.axis, empty=True)

    def forward(self, x: Array) -> Array:
        return np.take_along_axis(x, self._order(x, self.axis), axis=self.axis)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        gradient = np.empty_like(dy)
        np.put_along_axis(gradient, self._order(x, self.axis), dy, axis=self.axis)
        return {"x": gradient}

    def forward_stacked(self, x: Array) -> Array:
        axis = _behind_stack(self.axis, x)[0]
        return np.take_along_axis(x, self._order(x, axis), axis=axis)

    def _order(self, x: Array, axis: int) -> Array:
        return np.argsort(-x.real if self.descending else x.real, axis=axis, kind="stable")

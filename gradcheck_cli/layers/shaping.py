"""Layers that move elements and compute nothing: concat, transpose, reshape, slice, where."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, Mask, OptionError, Shape
from gradcheck_cli.layers.matrices import lift, sum_to
from gradcheck_cli.layers.reduction import default_shape, resolve_axes

FAMILY = "shape and reduction"


@dataclass(frozen=True)
class Concat:
    """Join two arrays along an axis.

    Formula:
        y = [a, b], b behind a along the axis

    Arrays:
        a (..., n, ...): first part
        b (..., m, ...): second part, of any size along the axis and of a's sizes elsewhere
        y (..., n + m, ...): output

    VJP:
        dL/da = the first n of dy along the axis
        dL/db = the last m of dy along the axis

    Source:
        Griewank, Walther, Evaluating Derivatives (2008), section 3.2
    """

    name: ClassVar[str] = "concat"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"a": (3, 2), "b": (3, 4)}),
        Example({"axis": 0}, {"a": (2, 3)}),
        Example({"axis": 1}, {"a": (2, 3, 4), "b": (2, 2, 4)}),
        Example({}, {"a": (3,), "b": (2,)}),
    )

    axis: int = -1

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        a, b = given.get("a"), given.get("b")
        base = a if a is not None else b if b is not None else default_shape(self.axis)
        (axis,) = resolve_axes(self.axis, len(base))
        other = (*base[:axis], base[axis] + 1, *base[axis + 1 :])
        a, b = (base if a is None and b is None else other if a is None else a), other if b is None else b
        if len(b) != len(a) or b[:axis] + b[axis + 1 :] != a[:axis] + a[axis + 1 :]:
            must = ", ".join("any" if place == axis else str(size) for place, size in enumerate(a))
            raise ArrayError("b", f"shape {b}", f"must be ({must}{',' if len(a) == 1 else ''}), as a is {a}")
        return {"a": ArraySpec(a), "b": ArraySpec(b)}

    def forward(self, a: Array, b: Array) -> Array:
        return np.concatenate((a, b), axis=self.axis)

    def vjp(self, dy: Array, a: Array, b: Array) -> dict[str, Array]:  # noqa: ARG002 - b is the rest
        first, second = np.split(dy, [a.shape[self.axis]], axis=self.axis)
        return {"a": first.copy(), "b": second.copy()}

    def forward_stacked(self, a: Array, b: Array) -> Array:
        stack = max(len(a), len(b))
        parts = (np.broadcast_to(part, (stack, *part.shape[1:])) for part in (a, b))
        return np.concatenate(tuple(parts), axis=resolve_axes(self.axis, a.ndim - 1)[0] + 1)


@dataclass(frozen=True)
class Transpose:
    """Put the axes in another order.

    Formula:
        y[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...]

    Arrays:
        x (...): input
        y (...), axis k of y being axis axes[k] of x; reversed without the option: output

    VJP:
        dL/dx = dy with its axes in the inverse order

    Source:
        Griewank, Walther, Evaluating Derivatives (2008), section 3.2
    """

    name: ClassVar[str] = "transpose"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"axes": (1, 2, 0)}, {"x": (2, 3, 4)}),
        Example({"axes": (0, -1, 1)}),
    )

    axes: tuple[int, ...] | None = None

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = given.get("x")
        x = default_shape(self.axes, None if self.axes is None else len(self.axes) - 1) if x is None else x
        if self.axes is not None and len(self.axes) != len(x):
            raise OptionError("axes", self.axes, f"must name all {len(x)} axes of x")
        resolve_axes(self.axes, len(x), "axes")
        return {"x": ArraySpec(x)}

    def forward(self, x: Array) -> Array:
        return x.transpose(self._order(x.ndim))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy.transpose(np.argsort(self._order(x.ndim)))}

    def forward_stacked(self, x: Array) -> Array:
        return x.transpose(0, *(axis + 1 for axis in self._order(x.ndim - 1)))

    def _order(self, ndim: int) -> Shape:
        return tuple(reversed(range(ndim))) if self.axes is None else resolve_axes(self.axes, ndim, "axes")


@dataclass(frozen=True)
class Reshape:
    """Give the elements, in row-major order, another shape.

    Formula:
        y = x with its elements in the same row-major order

    Arrays:
        x (...): input
        y (shape): output; a size of -1, of which there may be one, stands for what is left over

    VJP:
        dL/dx = dy with the shape of x

    Source:
        Griewank, Walther, Evaluating Derivatives (2008), section 3.2
    """

    name: ClassVar[str] = "reshape"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"shape": (4, 3)}, {"x": (2, 3, 2)}),
        Example({"shape": (2, -1, 3)}),
    )

    shape: tuple[int, ...] = (-1,)

    def __post_init__(self) -> None:
        if any(size < -1 for size in self.shape):
            raise OptionError("shape", self.shape, "must hold sizes of at least 0, or one -1")
        if self.shape.count(-1) > 1:
            raise OptionError("shape", self.shape, "must hold at most one -1")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = given.get("x")
        fixed, open_ended = math.prod(size for size in self.shape if size != -1), -1 in self.shape
        if x is None:
            x = (2, 3 * fixed) if open_ended else self.shape[::-1]
        count = math.prod(x)
        if open_ended and (not fixed or count % fixed):
            raise OptionError("shape", self.shape, f"must divide the {count} elements of x {x}")
        if not open_ended and count != fixed:
            raise OptionError("shape", self.shape, f"must hold the {count} elements of x {x}")
        return {"x": ArraySpec(x)}

    def forward(self, x: Array) -> Array:
        return x.reshape(self.shape)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy.reshape(x.shape)}

    def forward_stacked(self, x: Array) -> Array:
        return x.reshape(len(x), *self.shape)


@dataclass(frozen=True)
class Slice:
    """Every step-th element from start to before stop along an axis, as in numpy.

    Formula:
        y = x[..., start:stop:step, ...]

    Arrays:
        x (..., n, ...): input
        y (..., m, ...), m the length of range(n)[start:stop:step]: output

    VJP:
        dL/dx = dy where x was taken, 0 elsewhere

    Source:
        Griewank, Walther, Evaluating Derivatives (2008), section 3.2
    """

    name: ClassVar[str] = "slice"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"start": 1}, {"x": (3, 4)}),
        Example({"axis": 0, "start": 1, "stop": -1, "step": 2}, {"x": (7, 2)}),
        Example({"axis": 1, "start": -1, "stop": 0, "step": -2}, {"x": (2, 6, 3)}),
    )

    axis: int = -1
    start: int | None = None
    stop: int | None = None
    step: int = 1

    def __post_init__(self) -> None:
        if self.step == 0:
            raise OptionError("step", self.step, "must not be 0")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = given.get("x")
        if x is None:
            shape, axis = default_shape(self.axis), self.axis
            reach = max(abs(end) for end in (self.start or 0, self.stop or 0)) + 2 * abs(self.step) + 1
            x = tuple(reach if place == axis % len(shape) else size for place, size in enumerate(shape))
        (axis,) = resolve_axes(self.axis, len(x))
        if not range(x[axis])[slice(self.start, self.stop, self.step)]:
            option = "start" if self.start is not None else "stop"
            raise OptionError(
                option, getattr(self, option), f"must leave an element of the {x[axis]} along axis {axis}"
            )
        return {"x": ArraySpec(x)}

    def forward(self, x: Array) -> Array:
        return x[self._index(resolve_axes(self.axis, x.ndim)[0])]

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        gradient = np.zeros(x.shape, dy.dtype)
        gradient[self._index(resolve_axes(self.axis, x.ndim)[0])] = dy
        return {"x": gradient}

    def forward_stacked(self, x: Array) -> Array:
        return x[self._index(resolve_axes(self.axis, x.ndim - 1)[0] + 1)]

    def _index(self, axis: int) -> tuple[slice, ...]:
        return (*(slice(None),) * axis, slice(self.start, self.stop, self.step))


@dataclass(frozen=True)
class Where:
    """Take from one array where a condition holds, else from another; the three broadcast.

    Formula:
        y = a where condition, else b

    Arrays:
        a (...): taken where the condition holds
        b (...): taken elsewhere
        condition (...): booleans
        y (...), the shape to which the three broadcast: output

    VJP:
        dL/da = dy where condition, else 0, summed over the axes along which a was repeated
        dL/db = dy where not condition, else 0, summed over the axes along which b was repeated

    Source:
        Griewank, Walther, Evaluating Derivatives (2008), section 3.2
    """

    name: ClassVar[str] = "where"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"a": (3, 4)}),
        Example({}, {"a": (2, 3, 4), "b": (3, 4), "condition": (4,)}),
        Example({}, {"a": (4,), "b": (2, 4), "condition": (3, 2, 4)}),
        Example({}, {"a": (2, 3, 4), "b": (3, 1), "condition": (4,)}),
        Example({}, {"a": (1, 4), "b": (), "condition": (3, 4)}),
    )

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        default = max(given.values(), key=len, default=(3, 4))
        a, b, condition = (given.get(name, default) for name in ("a", "b", "condition"))
        shape: Shape = ()
        for name, each in (("a", a), ("b", b), ("condition", condition)):
            try:
                shape = np.broadcast_shapes(shape, each)
            except ValueError:
                raise ArrayError(name, f"shape {each}", f"must broadcast with {shape}") from None
        return {"a": ArraySpec(a), "b": ArraySpec(b), "condition": ArraySpec(condition, "boolean", Mask(0.5))}

    def forward(self, a: Array, b: Array, condition: Array) -> Array:
        return np.where(condition, a, b)

    def vjp(self, dy: Array, a: Array, b: Array, condition: Array) -> dict[str, Array]:
        nothing = np.zeros((), dy.dtype)
        return {
            "a": sum_to(np.where(condition, dy, nothing), a.shape),
            "b": sum_to(np.where(condition, nothing, dy), b.shape),
        }

    def forward_stacked(self, a: Array, b: Array, condition: Array) -> Array:
        rank = max(a.ndim, b.ndim, condition.ndim)
        return np.where(lift(condition, rank), lift(a, rank), lift(b, rank))

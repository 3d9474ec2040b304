"""The rules by which functions of formulas compute whole stacks: axes move up by one, and never reach the first.

Each takes the computation for one point, and the arguments by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from gradcheck_cli.adapters.expressions.limits import as_shape
from gradcheck_cli.adapters.expressions.stacks import (
    Rule,
    Stack,
    aligned,
    at,
    depth,
    elementwise,
    height,
    lifted,
    matmul,
    settled,
    spread,
)

Compute = Callable[..., Any]


def shifted(axis: Any, axes: int) -> Any:
    """An axis, or several, of a value with so many axes as those of its stack."""
    if np.ndim(axis):
        return tuple(one + 1 for one in normalize_axis_tuple(tuple(axis), axes))
    return normalize_axis_index(axis, axes) + 1


def along(default: int | None = None) -> Rule:
    """The rule for what works along an axis; None, which counts the axes as one, where there is no axis -1."""

    def rule(compute: Compute, x: Any, axis: Any = default, **named: Any) -> Any:
        x = settled(x)
        if not isinstance(x, Stack) or height((axis, *named.values())) is not None:
            return NotImplemented
        if axis is not None:
            return Stack(compute(x.values, axis=shifted(axis, depth(x)), **named))
        if default is not None:
            return NotImplemented
        rows = len(x.values)
        made = compute(x.values.reshape(rows, -1), axis=-1, **named)
        return Stack(made.reshape(rows, *(1,) * depth(x)) if named.get("keepdims") else made)

    return rule


def first(compute: Compute, **named: Any) -> Any:
    """The rule for what only looks at shapes."""
    return compute(**{name: at(one, 0) for name, one in named.items()})


def joined(new: int) -> Rule:
    """The rule for what joins several arrays along an axis, `new` or there already."""

    def rule(compute: Compute, arrays: Any, axis: Any = 0) -> Any:
        rows = height((arrays,))
        if rows is None or isinstance(arrays, Stack) or axis is None or height((axis,)) is not None:
            return NotImplemented
        parts = [spread(one, rows) for one in arrays]
        return Stack(compute(parts, axis=shifted(axis, parts[0].ndim - 1 + new)))

    return rule


def matrices(compute: Compute, **named: Any) -> Any:
    """The rule for what numpy applies to the last two axes of one array."""
    ((name, x),) = named.items()
    x = settled(x)
    return Stack(compute(**{name: x.values})) if depth(x) >= 2 else NotImplemented


def dot(_: Compute, a: Any, b: Any) -> Any:
    """The rule for dot: of vectors and matrices it is `@`."""
    axes = sorted((depth(settled(a)), depth(settled(b))))
    if axes[0] == 0:
        return elementwise(np.multiply, a, b)
    return matmul(np.matmul, a, b) if axes[1] <= 2 else NotImplemented


def inner(_: Compute, a: Any, b: Any) -> Any:
    """The rule for inner: of vectors it is `@`."""
    axes = sorted((depth(settled(a)), depth(settled(b))))
    if axes[0] == 0:
        return elementwise(np.multiply, a, b)
    return matmul(np.matmul, a, b) if axes[1] == 1 else NotImplemented


def outer(_: Compute, a: Any, b: Any) -> Any:
    """The rule for outer, which counts the axes of each as one."""
    rows = height((a, b)) or 1
    left, right = (spread(one, rows).reshape(rows, -1) for one in (a, b))
    return Stack(left[:, :, None] * right[:, None, :])


def solve(compute: Compute, a: Any, b: Any) -> Any:
    """The rule for solve, with a vector or a matrix on the right."""
    left, right = settled(a), settled(b)
    if depth(left) < 2 or not depth(right):
        return NotImplemented
    vector = depth(right) == 1
    right = lifted(right, -1) if vector else right
    axes = max(depth(left), depth(right))
    made = compute(aligned(left, axes), aligned(right, axes))
    return Stack(made[..., 0] if vector else made)


def trace(_: Compute, a: Any) -> Any:
    """The rule for trace, over the first two axes."""
    a = settled(a)
    return Stack(np.trace(a.values, axis1=1, axis2=2)) if depth(a) >= 2 else NotImplemented


def diag(_: Compute, x: Any) -> Any:
    """The rule for diag: the diagonal of a matrix, or a matrix with this diagonal."""
    x = settled(x)
    if depth(x) == 2:
        return Stack(np.diagonal(x.values, axis1=1, axis2=2))
    if depth(x) != 1:
        return NotImplemented
    rows, length = x.values.shape
    made = np.zeros((rows, length, length), x.values.dtype)
    made[:, np.arange(length), np.arange(length)] = x.values
    return Stack(made)


def shaping(change: Callable[..., Any]) -> Rule:
    """The rule for what gives one array another shape, as its second argument says, when there is one."""

    def rule(_: Compute, x: Any, *options: Any, **named: Any) -> Any:
        x = settled(x)
        if not isinstance(x, Stack) or height((*options, *named.values())) is not None:
            return NotImplemented
        return Stack(change(x, *options, **named))

    return rule


def _reshaped(x: Stack, shape: Any) -> Any:
    return x.values.reshape(len(x.values), *(shape if np.ndim(shape) else (shape,)))


def _raveled(x: Stack) -> Any:
    return x.values.reshape(len(x.values), -1)


def _transposed(x: Stack, axes: Sequence[int] | None = None) -> Any:
    order = range(depth(x))[::-1] if axes is None else axes
    return x.values.transpose(0, *shifted(tuple(order), depth(x)))


def _swapped(x: Stack, first: int, second: int) -> Any:
    return x.values.swapaxes(shifted(first, depth(x)), shifted(second, depth(x)))


def _expanded(x: Stack, axis: Any) -> Any:
    return np.expand_dims(x.values, shifted(axis, depth(x) + np.size(axis)))


def _squeezed(x: Stack, axis: Any = None) -> Any:
    ones = tuple(k for k, length in enumerate(x.values.shape) if k and length == 1)
    return x.values.squeeze(axis=ones if axis is None else shifted(axis, depth(x)))


def _flipped(x: Stack, axis: Any = None) -> Any:
    return np.flip(x.values, tuple(range(1, x.values.ndim)) if axis is None else shifted(axis, depth(x)))


def _broadcast(x: Stack, shape: Any) -> Any:
    whole = as_shape(shape)
    if depth(x) > len(whole):
        raise ValueError(f"an array with {depth(x)} axes does not broadcast to shape {whole}")
    return np.broadcast_to(aligned(x, len(whole)), (len(x.values), *whole))


reshape, ravel = shaping(_reshaped), shaping(_raveled)
transpose, swapaxes = shaping(_transposed), shaping(_swapped)
expand_dims, squeeze = shaping(_expanded), shaping(_squeezed)
flip, broadcast_to = shaping(_flipped), shaping(_broadcast)

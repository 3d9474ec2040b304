"""Many points at once: a value that differs from point to point is a `Stack`, with the points on a leading axis.

What is the same at all points is computed once, as ever. An operation has a rule that computes it for a whole stack,
each row as if it were alone; without one, or where the rule declines, it is computed row by row: slower, and as right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.adapters.expressions.limits import size
from gradcheck_cli.layer import Array
from gradcheck_cli.values import dataclass

Rule = Callable[..., Any]  # of the computation and its operands; NotImplemented where it declines


@dataclass(frozen=True)
class Stack:
    """A value at several points, which run along the first axis."""

    values: Array


def plainly(compute: Callable[..., Any], rule: Rule | None, operands: Sequence[Any]) -> Any:  # noqa: ARG001 - for stacks
    """One operation at one point."""
    return compute(*operands)


def together(compute: Callable[..., Any], rule: Rule | None, operands: Sequence[Any]) -> Any:
    """One operation at all points, where operands differ between them."""
    rows = height(operands)
    if rows is None:
        return compute(*operands)
    try:
        found = NotImplemented if rule is None else rule(compute, *operands)
    except np.exceptions.AxisError:  # most often it is an error at one point, too, but not for every number
        found = NotImplemented
    return found if found is not NotImplemented else each(compute, operands, rows)


@dataclass
class Widest:
    """Computes at one point, and keeps the size of the largest value on the way."""

    elements: int = 1

    def __call__(self, compute: Callable[..., Any], rule: Rule | None, operands: Sequence[Any]) -> Any:  # noqa: ARG002 - for stacks
        value = compute(*operands)
        self.elements = max(self.elements, size(value))
        return value


def height(operands: Iterable[Any]) -> int | None:
    """How many points there are; None if no operand, or part of one, differs between them."""
    for one in operands:
        if isinstance(one, Stack):
            return len(one.values)
        if isinstance(one, slice):
            one = (one.start, one.stop, one.step)
        if isinstance(one, (list, tuple)) and (rows := height(one)) is not None:
            return rows
    return None


def each(compute: Callable[..., Any], operands: Sequence[Any], rows: int) -> Any:
    """The operation at one point after the other. Rows of different shapes are no stack: an error."""
    return Stack(np.stack([np.asarray(compute(*(at(one, k) for one in operands))) for k in range(rows)]))


def at(operand: Any, row: int) -> Any:
    """An operand at one point, a number rather than an array without axes."""
    if isinstance(operand, Stack):
        return operand.values[row]
    if isinstance(operand, slice):
        return slice(at(operand.start, row), at(operand.stop, row), at(operand.step, row))
    return type(operand)(at(one, row) for one in operand) if isinstance(operand, (list, tuple)) else operand


def settled(operand: Any) -> Any:
    """An operand with a list of stacks in it turned into one stack, as numpy turns a list of arrays into one array."""
    rows = height((operand,))
    if rows is None or isinstance(operand, Stack):
        return operand
    return Stack(np.stack([spread(one, rows) for one in operand], axis=1))


def spread(operand: Any, rows: int) -> Array:
    """The values of an operand at so many points, the same ones again where they do not differ."""
    operand = settled(operand)
    if isinstance(operand, Stack):
        return operand.values
    return np.broadcast_to(operand, (rows, *np.shape(operand)))


def depth(operand: Any) -> int:
    """The number of axes at one point."""
    return operand.values.ndim - 1 if isinstance(operand, Stack) else np.ndim(operand)


def aligned(operand: Any, axes: int) -> Any:
    """What broadcasts as it does at one point against values of up to so many axes."""
    if not isinstance(operand, Stack):
        return operand
    rows, *shape = operand.values.shape
    return operand.values.reshape(rows, *(1,) * (axes - len(shape)), *shape)


def keep(compute: Callable[..., Any], *operands: Any) -> Any:
    """The rule for what only puts its operands together."""
    return compute(*operands)


def elementwise(compute: Callable[..., Any], *operands: Any, **named: Any) -> Any:
    """The rule for what treats all elements alike and broadcasts."""
    every = [settled(one) for one in (*operands, *named.values())]
    axes = max(map(depth, every))
    ready = [aligned(one, axes) for one in every]
    count = len(operands)
    return Stack(compute(*ready[:count], **dict(zip(named, ready[count:], strict=True))))


def matmul(compute: Callable[..., Any], a: Any, b: Any) -> Any:
    """The rule for `@`: a vector becomes a row or a column of a matrix and is turned back after."""
    left, right = settled(a), settled(b)
    sides = depth(left), depth(right)
    if not all(sides):
        return NotImplemented
    left = lifted(left, -2) if sides[0] == 1 else left
    right = lifted(right, -1) if sides[1] == 1 else right
    axes = max(depth(left), depth(right))
    made = compute(aligned(left, axes), aligned(right, axes))
    return Stack(made.squeeze(axis=tuple(axis for axis, side in zip((-2, -1), sides, strict=True) if side == 1)))


def lifted(operand: Any, axis: int) -> Any:
    """A vector as a matrix of one row (-2) or one column (-1)."""
    return Stack(np.expand_dims(operand.values, axis)) if isinstance(operand, Stack) else np.expand_dims(operand, axis)


def item(compute: Callable[..., Any], value: Any, index: Any) -> Any:
    """The rule for `value[index]`, when the index is the same at all points."""
    if isinstance(value, tuple) and isinstance(index, (int, slice)):
        return compute(value, index)
    value = settled(value)
    items = index if isinstance(index, tuple) else (index,)
    if not isinstance(value, Stack) or height(items) is not None or not _in_place(items):
        return NotImplemented
    return Stack(compute(value.values, (slice(None), *items)))


def _in_place(items: Sequence[Any]) -> bool:
    """Whether the axes that arrays of indices make stay where the arrays are, an axis in front or not."""
    chosen = [k for k, one in enumerate(items) if not (one is None or one is ... or isinstance(one, slice))]
    if any(isinstance(items[k], (bool, np.bool_)) for k in chosen):
        return False
    arrays = any(isinstance(items[k], (list, np.ndarray)) for k in chosen)
    return not arrays or chosen == list(range(chosen[0], chosen[-1] + 1))

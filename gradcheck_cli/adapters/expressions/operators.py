"""The operators of expressions, each refusing a result that would be too large."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck_cli.adapters.expressions.limits import (
    LimitError,
    bounded,
    broadcast_elements,
    index_elements,
    integer,
    matmul_elements,
    size,
)
from gradcheck_cli.layer import Array


def as_array(value: Any) -> Array:
    """A number, array or list of them as an array of numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{value!r} is not a number")
    return array


def operand(value: Any) -> Any:
    """An operand as a Python number or an array."""
    return value if isinstance(value, (bool, int, float)) else as_array(value)


def _broadcast(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def operate(a: Any, b: Any) -> Any:
        a, b = operand(a), operand(b)
        bounded(broadcast_elements(a, b))
        return integer(compute(a, b))

    return operate


def _power(a: Any, b: Any) -> Any:
    # a Python integer to an integer power has unlimited digits; estimated before it is computed
    if isinstance(a, int) and isinstance(b, int) and b > 0 and a.bit_length() * b > 128:
        raise LimitError("the integer power is too large; write a float, as in 2.0 ** 100")
    return a**b


def _matmul(a: Any, b: Any) -> Any:
    a, b = as_array(a), as_array(b)
    bounded(matmul_elements(a, b))
    return a @ b


def _compare(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return _broadcast(lambda a, b: compute(np.real(a), np.real(b)))


def item(value: Any, index: Any) -> Any:
    """`value[index]`; the shape of an array gives plain integers."""
    if isinstance(value, tuple) and isinstance(index, (int, slice)):
        return value[index]
    array = as_array(value)
    bounded(index_elements(array, index))
    return array[index]


def sequence(*values: Any) -> list[Any]:
    """A list, unless the arrays in it are too large together."""
    bounded(sum(map(size, values)))
    return list(values)


def chain(*comparisons: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """`a < b < c`, which for arrays means that both hold at each element."""

    def compare(*values: Any) -> Any:
        held = [one(a, b) for one, a, b in zip(comparisons, values[:-1], values[1:], strict=True)]
        return held[0] if len(held) == 1 else _broadcast_all(held)

    return compare


def _broadcast_all(held: list[Any]) -> Any:
    result = held[0]
    for other in held[1:]:
        result = _broadcast(np.logical_and)(result, other)
    return result


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": _broadcast(operator.add),
    "BitAnd": _broadcast(operator.and_),
    "BitOr": _broadcast(operator.or_),
    "Div": _broadcast(operator.truediv),
    "FloorDiv": _broadcast(operator.floordiv),
    "MatMult": _matmul,
    "Mod": _broadcast(operator.mod),
    "Mult": _broadcast(operator.mul),
    "Pow": _broadcast(_power),
    "Sub": _broadcast(operator.sub),
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "Invert": lambda a: np.logical_not(as_array(a)),
    "UAdd": lambda a: operator.pos(operand(a)),
    "USub": lambda a: operator.neg(operand(a)),
}
COMPARISON: dict[str, Callable[[Any, Any], Any]] = {
    "Eq": _compare(np.equal),
    "Gt": _compare(np.greater),
    "GtE": _compare(np.greater_equal),
    "Lt": _compare(np.less),
    "LtE": _compare(np.less_equal),
    "NotEq": _compare(np.not_equal),
}

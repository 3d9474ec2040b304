"""Real numbers with many digits that remember how they were made: gradients without any difference quotient.

A forward pass over object arrays of `Exact` numbers records every operation; one sweep back over the record gives the
derivative of a contraction of the outputs with respect to every input. numpy calls the methods below by the names of
its functions (`np.exp` on an object array calls `exp` on each element).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import mpmath
import numpy as np

from gradcheck_cli.layer import Array

_order = itertools.count()


def _unary(f: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Callable[[Exact], Exact]:
    return lambda self: Exact(f(self.value), ((self, slope(self.value)),))


class Exact:
    """One number: its value, the numbers it was computed from, and the partial derivative by each of them."""

    __slots__ = ("order", "parents", "value")

    def __init__(self, value: Any, parents: tuple[tuple[Exact, Any], ...] = ()) -> None:
        self.value, self.parents, self.order = mpmath.mpf(value), parents, next(_order)

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Exact):
            return Exact(self.value + other.value, ((self, 1), (other, 1)))
        if isinstance(other, np.ndarray):
            return NotImplemented
        return Exact(self.value + _plain(other), ((self, 1),))

    def __neg__(self) -> Exact:
        return Exact(-self.value, ((self, -1),))

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Exact):
            return Exact(self.value * other.value, ((self, other.value), (other, self.value)))
        if isinstance(other, np.ndarray):
            return NotImplemented
        factor = _plain(other)
        return Exact(self.value * factor, ((self, factor),))

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return self * (other.reciprocal() if isinstance(other, Exact) else 1 / _plain(other))

    def __rtruediv__(self, other: Any) -> Any:
        return self.reciprocal() * other

    def __pow__(self, power: Any) -> Exact:
        p = _plain(power)
        return Exact(self.value**p, ((self, p * self.value ** (p - 1)),))

    def __abs__(self) -> Exact:
        return -self if self.value < 0 else self

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < _value(other))

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= _value(other))

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > _value(other))

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= _value(other))

    def __eq__(self, other: object) -> bool:
        return bool(self.value == _value(other))

    def __hash__(self) -> int:
        return self.order

    reciprocal = _unary(lambda v: 1 / v, lambda v: -1 / v**2)
    exp = _unary(mpmath.exp, mpmath.exp)
    log = _unary(mpmath.log, lambda v: 1 / v)
    log1p = _unary(mpmath.log1p, lambda v: 1 / (1 + v))
    expm1 = _unary(mpmath.expm1, mpmath.exp)
    sqrt = _unary(mpmath.sqrt, lambda v: mpmath.inf if v == 0 else 1 / (2 * mpmath.sqrt(v)))
    sin = _unary(mpmath.sin, mpmath.cos)
    cos = _unary(mpmath.cos, lambda v: -mpmath.sin(v))
    tanh = _unary(mpmath.tanh, lambda v: mpmath.sech(v) ** 2)
    arctan = _unary(mpmath.atan, lambda v: 1 / (1 + v**2))
    erf = _unary(mpmath.erf, lambda v: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-(v**2)))
    cbrt = _unary(
        lambda v: mpmath.sign(v) * mpmath.cbrt(abs(v)),
        lambda v: mpmath.inf if v == 0 else 1 / (3 * mpmath.cbrt(abs(v)) ** 2),
    )
    rint = _unary(mpmath.nint, lambda v: 0)
    fabs = __abs__


def _plain(value: Any) -> Any:
    """A number that no derivative is taken by."""
    return mpmath.mpf(float(value)) if not isinstance(value, (int, mpmath.mpf)) else value


def _value(other: Any) -> Any:
    return other.value if isinstance(other, Exact) else _plain(other)


def exact(array: Array) -> Array:
    """The array with every element an `Exact` number of the same value."""
    numbers = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        numbers[index] = Exact(float(array[index]))
    return numbers


def sweep_back(outputs: Sequence[Any], weights: Sequence[Any]) -> dict[Exact, Any]:
    """The derivative of Σ weight·output by every number the outputs were computed from."""
    slopes: dict[int, Any] = {}
    for output, weight in zip(outputs, weights, strict=True):
        if isinstance(output, Exact):
            slopes[output.order] = slopes.get(output.order, 0) + _plain(weight)
    found: dict[Exact, Any] = {}
    for number in _latest_first(number for number in outputs if isinstance(number, Exact)):
        found[number] = slope = slopes.get(number.order, 0)
        for parent, partial in number.parents:
            slopes[parent.order] = slopes.get(parent.order, 0) + slope * partial
    return found


def _latest_first(roots: Iterable[Exact]) -> list[Exact]:
    """Every number that the roots were computed from, each before those it was computed from."""
    seen: dict[int, Exact] = {}
    waiting = list(roots)
    while waiting:
        number = waiting.pop()
        if number.order not in seen:
            seen[number.order] = number
            waiting.extend(parent for parent, _ in number.parents)
    return sorted(seen.values(), key=lambda number: -number.order)

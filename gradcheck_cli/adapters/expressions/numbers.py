"""Functions of numbers and reductions, each analytic where the complex step needs it.

With a complex argument, comparisons, maxima and signs look at the real part, and nothing takes a conjugate: then
f(x + ih) carries the derivative in its imaginary part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck_cli.adapters.expressions.function import Function
from gradcheck_cli.adapters.expressions.limits import broadcast_elements
from gradcheck_cli.adapters.expressions.stacked_functions import along
from gradcheck_cli.adapters.expressions.stacks import elementwise

Axis = int | tuple[int, ...] | None


def _of_one(ufunc: Callable[[Any], Any]) -> Function:
    return Function(lambda x: ufunc(x), stacked=elementwise)


def _reduction(reduce: Callable[..., Any]) -> Function:
    def compute(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
        return reduce(x, axis=axis, keepdims=keepdims)

    return Function(compute, stacked=along())


def _along(reorder: Callable[..., Any]) -> Function:
    return Function(lambda x, axis=-1: reorder(x, axis=axis), stacked=along(-1))


def absolute(x: Any) -> Any:
    """|x|, with the sign of the real part when x is complex."""
    return np.where(np.real(x) < 0, np.negative(x), x) if np.iscomplexobj(x) else np.abs(x)


def _relu(x: Any) -> Any:
    return np.where(np.real(x) > 0, x, 0)


def _sigmoid(x: Any) -> Any:
    z = np.exp(-absolute(x))
    return np.where(np.real(x) >= 0, 1 / (1 + z), z / (1 + z))


def _softplus(x: Any) -> Any:
    return _relu(x) + np.log1p(np.exp(-absolute(x)))


def _logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    top = np.max(np.real(x), axis=axis, keepdims=True)
    y = top + np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True))
    return y if keepdims else np.squeeze(y, axis)


def _softmax(x: Any, axis: Axis = -1) -> Any:
    powers = np.exp(x - np.max(np.real(x), axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def _log_softmax(x: Any, axis: Axis = -1) -> Any:
    return x - _logsumexp(x, axis, keepdims=True)


def _mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    if not np.size(x):
        raise ValueError("there is nothing to take the mean of")
    return np.mean(x, axis=axis, keepdims=keepdims)


def _var(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    squares = (x - _mean(x, axis, keepdims=True)) ** 2
    total = np.sum(squares, axis=axis, keepdims=keepdims)
    return total / (np.size(x) // max(np.size(total), 1) - ddof)


def _std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    return np.sqrt(_var(x, axis, keepdims, ddof))


def _norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    return np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims))


def _where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(condition, a, b)


def _clip(x: Any, low: Any = None, high: Any = None) -> Any:
    return np.clip(x, low, high)


FUNCTIONS: dict[str, Function] = {
    "abs": Function(lambda x: absolute(x), stacked=elementwise),
    "all": _reduction(np.all),
    "any": _reduction(np.any),
    "arccos": _of_one(np.arccos),
    "arcsin": _of_one(np.arcsin),
    "arctan": _of_one(np.arctan),
    "argmax": _reduction(lambda x, **named: np.argmax(np.real(x), **named)),
    "argmin": _reduction(lambda x, **named: np.argmin(np.real(x), **named)),
    "argsort": _along(lambda x, axis: np.argsort(np.real(x), axis=axis)),
    "clip": Function(_clip, broadcast_elements, elementwise),
    "cos": _of_one(np.cos),
    "cosh": _of_one(np.cosh),
    "cumsum": Function(lambda x, axis=None: np.cumsum(x, axis=axis), stacked=along()),
    "exp": _of_one(np.exp),
    "expm1": _of_one(np.expm1),
    "log": _of_one(np.log),
    "log1p": _of_one(np.log1p),
    "log_softmax": Function(_log_softmax, stacked=along(-1)),
    "logsumexp": Function(_logsumexp, stacked=along()),
    "max": _reduction(np.max),
    "maximum": Function(lambda a, b: np.maximum(a, b), broadcast_elements, elementwise),
    "mean": Function(_mean, stacked=along()),
    "min": _reduction(np.min),
    "minimum": Function(lambda a, b: np.minimum(a, b), broadcast_elements, elementwise),
    "norm": Function(_norm, stacked=along()),
    "prod": _reduction(np.prod),
    "relu": Function(_relu, stacked=elementwise),
    "sigmoid": Function(_sigmoid, stacked=elementwise),
    "sign": Function(lambda x: np.sign(np.real(x)), stacked=elementwise),
    "sin": _of_one(np.sin),
    "sinh": _of_one(np.sinh),
    "softmax": Function(_softmax, stacked=along(-1)),
    "softplus": Function(_softplus, stacked=elementwise),
    "sort": _along(np.sort),
    "sqrt": _of_one(np.sqrt),
    "std": Function(_std, stacked=along()),
    "sum": _reduction(np.sum),
    "tan": _of_one(np.tan),
    "tanh": _of_one(np.tanh),
    "var": Function(_var, stacked=along()),
    "where": Function(_where, broadcast_elements, elementwise),
}

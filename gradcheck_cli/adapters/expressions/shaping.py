"""Functions that make, join and reorder arrays, and those of linear algebra."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.adapters.expressions import stacked_functions as stacked
from gradcheck_cli.adapters.expressions.function import Function
from gradcheck_cli.adapters.expressions.limits import (
    ELEMENTS,
    as_shape,
    broadcast_elements,
    einsum_elements,
    matmul_elements,
    size,
    whole,
)
from gradcheck_cli.adapters.expressions.stacks import elementwise
from gradcheck_cli.layer import Array


def _rows(a: Any, axis: int) -> int:
    """Elements of an array without one of its axes."""
    return size(a) // max(int(np.shape(a)[axis]), 1)


def _dot_elements(a: Any, b: Any) -> int:
    if not np.ndim(a) or not np.ndim(b):
        return broadcast_elements(a, b)
    return _rows(a, -1) * _rows(b, max(-2, -np.ndim(b)))


def _inner_elements(a: Any, b: Any) -> int:
    return _rows(a, -1) * _rows(b, -1) if np.ndim(a) and np.ndim(b) else broadcast_elements(a, b)


def _pair_elements(a: Any, b: Any) -> int:
    return size(a) * size(b)


def _square_elements(x: Any) -> int:
    return size(x) ** 2 if np.ndim(x) == 1 else size(x)


def _eye(rows: int, columns: int | None = None, *, _dtype: Any) -> Array:
    return np.eye(whole(rows), None if columns is None else whole(columns), dtype=_dtype)


def _eye_elements(rows: int, columns: int | None = None) -> int:
    return whole(rows) * whole(rows if columns is None else columns)


def _filled(make: Callable[..., Array]) -> Function:
    def compute(shape: Any, *, _dtype: Any) -> Array:
        return make(as_shape(shape), dtype=_dtype)

    return Function(compute, lambda shape: math.prod(as_shape(shape)))


def _ends(start: Any, stop: Any) -> tuple[Any, Any]:
    if np.iscomplexobj(start) or np.iscomplexobj(stop):
        raise TypeError("the ends of a range must be real")
    return (0, start) if stop is None else (start, stop)


def _arange(start: Any, stop: Any = None, step: Any = 1) -> Array:
    return np.arange(*_ends(start, stop), step)


def _arange_elements(start: Any, stop: Any = None, step: Any = 1) -> int:
    low, high = _ends(start, stop)
    return max(0, math.ceil(float(high - low) / float(step)))


def _one_hot(indices: Any, classes: int, *, _dtype: Any) -> Array:
    return np.asarray(np.expand_dims(indices, -1) == np.arange(whole(classes)), dtype=_dtype)


def _reshape(x: Any, shape: Any) -> Array:
    return np.reshape(x, tuple(shape) if np.ndim(shape) else shape)


def _einsum(spec: str, *operands: Any) -> Any:
    # pairwise where that is cheaper, but never by an intermediate array above the limit
    return np.einsum(spec, *operands, optimize=("greedy", float(ELEMENTS)))


def _logdet(a: Any) -> Any:
    phase, logarithm = np.linalg.slogdet(a)
    # log |det a|, continued analytically: the phase of a nearly real determinant holds the derivative
    return logarithm + np.log(np.where(np.real(phase) < 0, -phase, phase)) if np.iscomplexobj(a) else logarithm


def _concatenate(arrays: Sequence[Any], axis: int = 0) -> Array:
    return np.concatenate(arrays, axis=axis)


def _stack(arrays: Sequence[Any], axis: int = 0) -> Array:
    return np.stack(arrays, axis=axis)


FUNCTIONS: dict[str, Function] = {
    "arange": Function(_arange, _arange_elements),
    "broadcast_to": Function(
        lambda x, shape: np.broadcast_to(x, as_shape(shape)),
        lambda x, shape: math.prod(as_shape(shape)),  # noqa: ARG005 - the arguments of the function
        stacked.broadcast_to,
    ),
    "concatenate": Function(_concatenate, stacked=stacked.joined(0)),
    "det": Function(lambda a: np.linalg.det(a), stacked=stacked.matrices),
    "diag": Function(lambda x: np.diag(x), _square_elements, stacked.diag),
    "dot": Function(lambda a, b: np.dot(a, b), _dot_elements, stacked.dot),
    "einsum": Function(_einsum, einsum_elements),
    "expand_dims": Function(lambda x, axis: np.expand_dims(x, axis), stacked=stacked.expand_dims),
    "eye": Function(_eye, _eye_elements),
    "flip": Function(lambda x, axis=None: np.flip(x, axis), stacked=stacked.flip),
    "inner": Function(lambda a, b: np.inner(a, b), _inner_elements, stacked.inner),
    "inv": Function(lambda a: np.linalg.inv(a), stacked=stacked.matrices),
    "kron": Function(lambda a, b: np.kron(a, b), _pair_elements),
    "len": Function(lambda x: len(x), stacked=stacked.first),
    "logdet": Function(_logdet, stacked=stacked.matrices),
    "one_hot": Function(_one_hot, lambda indices, classes: size(indices) * whole(classes), elementwise),
    "ones": _filled(np.ones),
    "ones_like": Function(lambda x: np.ones_like(x), stacked=elementwise),
    "outer": Function(lambda a, b: np.outer(a, b), _pair_elements, stacked.outer),
    "ravel": Function(lambda x: np.ravel(x), stacked=stacked.ravel),
    "reshape": Function(_reshape, stacked=stacked.reshape),
    "shape": Function(lambda x: np.shape(x), stacked=stacked.first),
    "size": Function(lambda x, axis=None: int(np.size(x, axis)), stacked=stacked.first),
    "solve": Function(lambda a, b: np.linalg.solve(a, b), matmul_elements, stacked.solve),
    "squeeze": Function(lambda x, axis=None: np.squeeze(x, axis), stacked=stacked.squeeze),
    "stack": Function(_stack, stacked=stacked.joined(1)),
    "swapaxes": Function(lambda x, first, second: np.swapaxes(x, first, second), stacked=stacked.swapaxes),
    "trace": Function(lambda a: np.trace(a), stacked=stacked.trace),
    "transpose": Function(lambda x, axes=None: np.transpose(x, axes), stacked=stacked.transpose),
    "tril": Function(lambda x: np.tril(x), _square_elements, stacked.matrices),
    "triu": Function(lambda x: np.triu(x), _square_elements, stacked.matrices),
    "zeros": _filled(np.zeros),
    "zeros_like": Function(lambda x: np.zeros_like(x), stacked=elementwise),
}

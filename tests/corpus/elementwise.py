"""Functions of one number: smooth, kinked, steep, tiny, huge and discontinuous ones."""

from __future__ import annotations

import math

import numpy as np

from gradcheck_cli.layer import Array
from tests.corpus.case import Elementwise


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1.0) / (1.0 + e))


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[float])(x).astype(x.dtype))


def _gelu_slope(x: Array) -> Array:
    return 0.5 * (1 + _erf(x / math.sqrt(2))) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _elu_slope(x: Array) -> Array:
    return np.where(x > 0, 1.0, np.exp(-np.abs(x)))


def _cbrt_slope(x: Array) -> Array:
    with np.errstate(divide="ignore"):
        return 1 / (3 * np.cbrt(x) ** 2)


def _sqrt_slope(x: Array) -> Array:
    with np.errstate(divide="ignore"):
        return 0.5 / np.sqrt(x)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


ELEMENTWISE = {
    "exp": Elementwise(np.exp, np.exp),
    "log": Elementwise(np.log, lambda x: 1 / x),
    "sqrt": Elementwise(np.sqrt, _sqrt_slope),
    "square": Elementwise(lambda x: x * x, lambda x: 2 * x),
    "cube": Elementwise(lambda x: x * x * x, lambda x: 3 * x * x),
    "cbrt": Elementwise(np.cbrt, _cbrt_slope),
    "reciprocal": Elementwise(lambda x: 1 / x, lambda x: -1 / (x * x)),
    "tanh": Elementwise(np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "arctan": Elementwise(np.arctan, lambda x: 1 / (1 + x * x)),
    "sigmoid": Elementwise(sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "softplus": Elementwise(_softplus, sigmoid),
    "silu": Elementwise(lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "gelu": Elementwise(
        lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
        _gelu_slope,
        lambda x: 0.5 * x * (1 + np.vectorize(lambda v: (v / math.sqrt(2)).erf(), otypes=[object])(x)),
    ),
    "relu": Elementwise(lambda x: np.maximum(x, 0.0), lambda x: np.where(x > 0, 1.0, 0.0).astype(x.dtype)),
    "leaky_relu": Elementwise(
        lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1.0, 0.01).astype(x.dtype)
    ),
    "elu": Elementwise(lambda x: np.where(x > 0, x, np.expm1(np.where(x > 0, -x, x))), _elu_slope),
    "abs": Elementwise(np.abs, np.sign),
    "hardtanh": Elementwise(
        lambda x: np.minimum(np.maximum(x, -1.0), 1.0), lambda x: np.where(np.abs(x) < 1, 1.0, 0.0).astype(x.dtype)
    ),
    "softsign": Elementwise(lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "fast_sine": Elementwise(lambda x: np.sin(1000.0 * x), lambda x: 1000.0 * np.cos(1000.0 * x)),
    "offset_sine": Elementwise(lambda x: 1e8 + np.sin(x), np.cos),
    "tiny_tanh": Elementwise(lambda x: 1e-9 * np.tanh(x), lambda x: 1e-9 / np.cosh(x) ** 2),
    "huge_tanh": Elementwise(lambda x: 1e6 * np.tanh(x), lambda x: 1e6 / np.cosh(x) ** 2),
    "triple": Elementwise(lambda x: 3.0 * x, lambda x: np.full_like(x, 3.0)),
    "round": Elementwise(np.rint, np.zeros_like),
    "square_and_abs": Elementwise(lambda x: x * x + 0.1 * np.abs(x), lambda x: 2 * x + 0.1 * np.sign(x)),
}

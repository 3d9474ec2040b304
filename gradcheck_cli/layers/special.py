"""Special functions that numpy lacks: elementwise, in the dtype given, without overflow, and analytic.

They take complex arguments near the real axis, where they continue the real function: complex steps work through them.
Where a case is told by comparison, the real part is compared.
"""

from __future__ import annotations

import numpy as np

from gradcheck_cli.layer import Array

_TERMS = 15  # of the sum and of the series in normal_cdf: the terms beyond are below 1e-20 of the result
_NODES = 0.65  # distance of the nodes; the sum's own error is exp(-2π²/_NODES²) < 1e-20


def clipped(x: Array, bound: float) -> Array:
    """x where its real part lies in [-bound, bound], else the nearer bound."""
    return np.where(x.real > bound, bound, np.where(x.real < -bound, -bound, x))


def away_from_zero(x: Array) -> Array:
    """x or -x, whichever has the real part that is not negative: |x| continued from the real axis."""
    return np.where(x.real < 0, -x, x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)). With sigmoid(-x) for 1 - sigmoid(x), both keep all digits."""
    e = np.exp(-away_from_zero(x))
    return np.asarray(np.where(x.real < 0, e, 1.0) / (1.0 + e))


def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    return np.asarray(np.where(x.real < 0, 0.0, x) + np.log1p(np.exp(-away_from_zero(x))))


def normal_pdf(x: Array) -> Array:
    """exp(-x²/2) / √(2π). The square is split, so that its rounding costs no digits in the tails."""
    x = clipped(x, 200.0)
    coarse = np.rint(x.real * 16.0) / 16.0
    fine = (x - coarse) * (x + coarse)
    return np.asarray(np.exp(-0.5 * coarse * coarse) * np.exp(-0.5 * fine) / np.sqrt(2.0 * _pi(x)))


def normal_cdf(x: Array) -> Array:
    """Φ(x) = (1 + erf(x/√2)) / 2, the normal distribution function, to a few ulp in both tails.

    Near 0 the series 1/2 + φ(x) Σ x^(2n+1) / (2n+1)!!. Beyond, the trapezoidal rule for
    Φ(-x) = x φ(x)/√(2π) ∫ exp(-t²/2) / (x² + t²) dt with the pole's residue put right, which converges geometrically.

    Source: Hunter, Regan, A note on the evaluation of the complementary error function, Math. Comp. 26 (1972)
    """
    wide = x.astype(np.result_type(x.dtype, np.float32), copy=False)
    a = clipped(away_from_zero(wide), 200.0)
    near = a.real < 0.5
    lower = np.where(near, 0.5 - _central_mass(np.where(near, a, 0.0)), _tail(np.where(near, 1.0, a)))
    return np.where(x.real < 0, lower, 1.0 - lower).astype(x.dtype, copy=False)


def _pi(x: Array) -> Array:
    """π in the precision of x."""
    return np.arccos(-np.ones((), x.real.dtype))


def _central_mass(x: Array) -> Array:
    """Φ(x) - 1/2 by its series, for small x."""
    total = np.ones_like(x)
    for n in range(_TERMS, 0, -1):
        total = 1.0 + total * (x * x) / (2 * n + 1)
    return normal_pdf(x) * x * total


def _tail(x: Array) -> Array:
    """Φ(-x) by the trapezoidal rule, for x away from 0."""
    square, pi = x * x, _pi(x)
    nodes = (np.arange(1, _TERMS + 1, dtype=pi.dtype) * _NODES) ** 2
    total = 0.5 / square
    for node in nodes:
        total = total + np.exp(-0.5 * node) / (square + node)
    turn = 2.0 * pi / _NODES  # the contour crosses the pole below this x only
    residue = np.where(x.real < turn, np.exp(-turn * x), 0.0)
    return np.asarray(normal_pdf(x) * np.sqrt(2.0 / pi) * _NODES * x * total - residue / (1.0 - residue))

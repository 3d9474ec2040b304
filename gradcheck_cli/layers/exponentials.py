"""Exponentials normalised along one axis: softmax, its logarithm, its normaliser, and sampling by Gumbel noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape, strata

FAMILY = "normalised exponentials"
SHORT = 32


def normalised_exp(z: Array, axis: int) -> Array:
    """exp(z) / Σ exp(z) along the axis, without overflow. The shift cancels, so it counts as a constant."""
    e = np.subtract(z, z.real.max(axis=axis, keepdims=True))
    np.exp(e, out=e)  # in place: fresh memory costs as much again
    e /= e.sum(axis=axis, keepdims=True)
    return np.asarray(e)


def log_sum_exp(z: Array, axis: int) -> Array:
    """log Σ exp(z) along the axis, which is kept with length one, without overflow."""
    shift = z.real.max(axis=axis, keepdims=True)
    return np.asarray(shift + np.log(np.exp(z - shift).sum(axis=axis, keepdims=True)))


def log_normalised_exp(z: Array, axis: int) -> Array:
    """z - log Σ exp(z) along the axis: shifted first, so that large z cost no digits."""
    shifted, log_sum = shifted_log_sum(z, axis)
    shifted -= log_sum  # in place: fresh memory costs as much again
    return np.asarray(shifted)


def shifted_log_sum(z: Array, axis: int) -> tuple[Array, Array]:
    """z without its maximum along the axis, and log Σ exp of it, with the axis kept."""
    z = _laid_out(z, axis)
    shifted = np.subtract(z, z.real.max(axis=axis, keepdims=True))
    return shifted, np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _laid_out(z: Array, axis: int) -> Array:
    """z, with a short axis outermost in memory: along an inner one numpy takes its few entries one by one."""
    if z.shape[axis] > SHORT or z.ndim < 2:
        return z
    axis %= z.ndim
    return np.rollaxis(np.ascontiguousarray(np.rollaxis(z, axis)), 0, axis + 1)


def _shape_along(axis: int, x: Shape | None) -> Shape:
    """Return the shape of x, or a small one that has the axis."""
    if x is None:
        return (5,) if axis in (0, -1) else tuple(range(2, 2 + (axis + 1 if axis >= 0 else -axis)))
    if len(x) == 0:
        raise ArrayError("x", "shape ()", "must have at least one axis")
    if not -len(x) <= axis < len(x):
        raise OptionError("axis", axis, f"must be in [{-len(x)}, {len(x)}) for x of shape {x}")
    if x[axis] == 0:
        raise ArrayError("x", f"shape {x}", f"must have at least one element along axis {axis}")
    return x


def _behind_stack(axis: int) -> int:
    """Return the number of the same axis when one more leads."""
    return axis + 1 if axis >= 0 else axis


def _check_finite(option: str, value: float) -> None:
    if not math.isfinite(value):
        raise OptionError(option, value, "must be finite")


@dataclass(frozen=True)
class Softmax:
    """Probabilities proportional to the exponential of the input, along one axis.

    Formula:
        y_i = exp(β x_i) / Σ_k exp(β x_k), with β = beta

    Arrays:
        x (n,) or (..., n, ...): scores, n along the axis
        y (n,) or (..., n, ...): probabilities, in the shape of x

    VJP:
        ∂y_j/∂x_i = β y_i (δ_ij − y_j)
        dL/dx_i = β y_i (dy_i − Σ_k dy_k y_k)

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.2.2.3
    """

    name: ClassVar[str] = "softmax"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"beta": 2.0}, {"x": (3, 4)}),
        Example({"beta": -0.7, "axis": 1}, {"x": (2, 5, 3)}),
        Example({"beta": 0.5, "axis": -3}, {"x": (3, 4, 2)}),
    )

    beta: float = 1.0
    axis: int = -1

    def __post_init__(self) -> None:
        _check_finite("beta", self.beta)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(_shape_along(self.axis, given.get("x")))}

    def forward(self, x: Array) -> Array:
        return normalised_exp(self.beta * x, self.axis)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        y = self.forward(x)
        return {"x": self.beta * y * (dy - (dy * y).sum(axis=self.axis, keepdims=True))}

    def jvp(self, tangents: Mapping[str, Array], x: Array) -> Array:
        return self.vjp(tangents["x"], x)["x"]  # the Jacobian is symmetric

    def forward_stacked(self, x: Array) -> Array:
        return normalised_exp(self.beta * x, _behind_stack(self.axis))


@dataclass(frozen=True)
class LogSoftmax:
    """Logarithm of the softmax along one axis.

    Formula:
        y_i = β x_i − log Σ_k exp(β x_k), with β = beta

    Arrays:
        x (n,) or (..., n, ...): scores, n along the axis
        y (n,) or (..., n, ...): log-probabilities, in the shape of x

    VJP:
        dL/dx_i = β (dy_i − exp(y_i) Σ_k dy_k)

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.2.2.3
    """

    name: ClassVar[str] = "log_softmax"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"beta": 2.0}, {"x": (3, 4)}),
        Example({"beta": -0.7, "axis": 1}, {"x": (2, 5, 3)}),
    )

    beta: float = 1.0
    axis: int = -1

    def __post_init__(self) -> None:
        _check_finite("beta", self.beta)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(_shape_along(self.axis, given.get("x")))}

    def forward(self, x: Array) -> Array:
        return log_normalised_exp(self.beta * x, self.axis)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        p = normalised_exp(self.beta * x, self.axis)
        return {"x": self.beta * (dy - p * dy.sum(axis=self.axis, keepdims=True))}

    def forward_stacked(self, x: Array) -> Array:
        return log_normalised_exp(self.beta * x, _behind_stack(self.axis))


@dataclass(frozen=True)
class LogSumExp:
    """Logarithm of the summed exponentials along one axis: a smooth maximum.

    Formula:
        y = log Σ_k exp(x_k)

    Arrays:
        x (n,) or (..., n, ...): input, n along the axis
        y () or (...): output; without the axis, or with length 1 there with keepdims

    VJP:
        dL/dx_i = dy softmax(x)_i

    Source:
        Boyd, Vandenberghe, Convex Optimization (2004), section 3.1.5
    """

    name: ClassVar[str] = "logsumexp"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"keepdims": True}, {"x": (3, 4)}),
        Example({"axis": 1}, {"x": (2, 5, 3)}),
    )

    axis: int = -1
    keepdims: bool = False

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(_shape_along(self.axis, given.get("x")))}

    def forward(self, x: Array) -> Array:
        return self._reduce(x, self.axis)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": normalised_exp(x, self.axis) * (dy if self.keepdims else np.expand_dims(dy, self.axis))}

    def forward_stacked(self, x: Array) -> Array:
        return self._reduce(x, _behind_stack(self.axis))

    def _reduce(self, x: Array, axis: int) -> Array:
        y = log_sum_exp(x, axis)
        return y if self.keepdims else np.asarray(y.squeeze(axis))


@dataclass(frozen=True)
class GumbelNoise:
    """Standard Gumbel values, −log(−log u), no two alike."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        return np.asarray(-np.log(-np.log(strata(rng, math.prod(shape))))).reshape(shape)


@dataclass(frozen=True)
class GumbelSoftmax:
    """Relaxed sample of a categorical variable: softmax of scores and given Gumbel noise.

    The noise has no gradient.

    Formula:
        y_i = exp((x_i + g_i) / τ) / Σ_k exp((x_k + g_k) / τ), with τ = temperature

    Arrays:
        x (n,) or (..., n, ...): scores, n along the axis
        noise (n,) or (..., n, ...): g, the Gumbel noise, in the shape of x
        y (n,) or (..., n, ...): relaxed one-hot sample, in the shape of x

    VJP:
        dL/dx_i = y_i (dy_i − Σ_k dy_k y_k) / τ

    Source:
        Jang, Gu, Poole, Categorical Reparameterization with Gumbel-Softmax (2017), equation 2
    """

    name: ClassVar[str] = "gumbel_softmax"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"temperature": 0.5}, {"x": (3, 4)}),
        Example({"temperature": 2.5, "axis": 1}, {"noise": (2, 5, 3)}),
    )

    temperature: float = 1.0
    axis: int = -1

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise OptionError("temperature", self.temperature, "must be positive and finite")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = _shape_along(self.axis, given.get("x", given.get("noise")))
        if given.get("noise", x) != x:
            raise ArrayError("noise", f"shape {given['noise']}", f"must be the shape of x = {x}")
        return {"x": ArraySpec(x), "noise": ArraySpec(x, draw=GumbelNoise(), differentiable=False)}

    def forward(self, x: Array, noise: Array) -> Array:
        return normalised_exp((x + noise) / self.temperature, self.axis)

    def vjp(self, dy: Array, x: Array, noise: Array) -> dict[str, Array]:
        y = self.forward(x, noise)
        return {"x": y * (dy - (dy * y).sum(axis=self.axis, keepdims=True)) / self.temperature}

    def forward_stacked(self, x: Array, noise: Array) -> Array:
        return normalised_exp((x + noise) / self.temperature, _behind_stack(self.axis))

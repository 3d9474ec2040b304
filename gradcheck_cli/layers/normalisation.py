"""Layers that bring groups of values to mean 0 and variance 1, then scale and shift them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Positive, Shape
from gradcheck_cli.layers.matrices import lift
from gradcheck_cli.layers.rescaling import (
    Axes,
    check_eps,
    check_normalized_shape,
    rescale,
    rescale_vjp,
    trailing_specs,
)


def standardise(x: Array, axes: Axes, eps: float) -> tuple[Array, Array]:
    """Return (x - mean) / r and r = sqrt(variance + eps), mean and variance over `axes`."""
    return rescale(x - x.mean(axis=axes, keepdims=True), axes, eps)


def standardise_vjp(dy: Array, y: Array, r: Array, axes: Axes) -> Array:
    """Gradient through `standardise`, from what it returned."""
    centred = rescale_vjp(dy, y, r, axes)
    return np.asarray(centred - centred.mean(axis=axes, keepdims=True))


def per_channel(parameter: Array, ndim: int) -> Array:
    """(C,) as (1, C, 1, ...), or a stack (K, C) as (K, 1, C, 1, ...), with `ndim` axes."""
    *stack, channels = parameter.shape
    return parameter.reshape(*stack, 1, channels, *(1,) * (ndim - parameter.ndim - 1))


def channel_specs(
    channels: int | None, given: Mapping[str, Shape], parameters: tuple[str, ...], least: Shape
) -> dict[str, ArraySpec]:
    """Specs of x (N, C, *S) and of parameters (C,); `least` is the default shape of x and gives its number of axes."""
    if channels is not None and channels < 1:
        raise OptionError("channels", channels, "must be at least 1")
    x = given.get("x")
    if x is not None and len(x) < len(least):
        raise ArrayError("x", f"shape {x}", "must be (N, C, *S)" + (" with S not empty" if len(least) > 2 else ""))
    if x is not None and min(x) < 1:
        raise ArrayError("x", f"shape {x}", "must not be empty")
    found = [given[name][0] for name in parameters if given.get(name)]
    c = channels or (x[1] if x else found[0] if found else least[1])
    if x is not None and x[1] != c:
        raise ArrayError("x", f"shape {x}", f"must be (N, C, *S) with C = {c}")
    for name in parameters:
        if given.get(name, (c,)) != (c,):
            raise ArrayError(name, f"shape {given[name]}", f"must be (C,) = {(c,)}")
    return {"x": ArraySpec(x or (least[0], c, *least[2:])), **{name: ArraySpec((c,)) for name in parameters}}


def check_values(x: Shape, values: int, over: str) -> None:
    """Refuse to normalise over fewer than two values."""
    if values < 2:
        raise ArrayError("x", f"shape {x}", f"must hold two or more values {over}: their variance is zero otherwise")


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation of each channel, in training or in evaluation.

    Formula:
        n = (x − m) / √(s + eps)
        y = gamma n + beta
        training: true     m and s are the mean and the variance of x over N and S, for each channel
        training: false    m = running_mean, s = running_var
        a variance is the mean of the squared distances from the mean

    Arrays:
        x (N, C, *S): input, C = channels; S are the spatial axes, if any
        gamma (C,): gain
        beta (C,): shift
        running_mean (C,): mean, only in evaluation; differentiable
        running_var (C,): variance, positive, only in evaluation; differentiable
        y (N, C, *S): output

    VJP:
        with g = gamma dy, and means and sums over N and S
        training: true     dL/dx = (g − mean(g) − n mean(g n)) / √(s + eps)
        training: false    dL/dx = g / √(s + eps)
        dL/dgamma = Σ dy n
        dL/dbeta = Σ dy
        dL/drunning_mean = −Σ g / √(s + eps)
        dL/drunning_var = −½ Σ g n / (s + eps)

    Source:
        Ioffe, Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift
            (2015), section 3
    """

    name: ClassVar[str] = "batch_norm"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5, 3)}),
        Example({"eps": 0.1}, {"x": (2, 3, 4, 3)}),
        Example({"channels": 2, "eps": 0.0}, {"x": (3, 2, 5)}),
        Example({"training": False}, {"x": (4, 3)}),
        Example({"training": False, "eps": 0.1}, {"x": (2, 3, 4)}),
    )

    channels: int | None = None
    eps: float = 1e-5
    training: bool = True

    def __post_init__(self) -> None:
        check_eps(self.eps)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        running = () if self.training else ("running_mean", "running_var")
        specs = channel_specs(self.channels, given, ("gamma", "beta", *running), (5, 3))
        x = specs["x"].shape
        if self.training:
            check_values(x, math.prod(x) // x[1], "for each channel")
        else:
            specs["running_var"] = ArraySpec(specs["running_var"].shape, draw=Positive())
        return specs

    def _normal(
        self, x: Array, mean: Array | None, var: Array | None, lead: int
    ) -> tuple[Array, Array, tuple[int, ...]]:
        """Return n, r = sqrt(s + eps), and the axes N and S, behind `lead` stack axes."""
        axes = (lead, *range(lead + 2, x.ndim))
        if mean is None or var is None:
            return *standardise(x, axes, self.eps), axes
        r = np.sqrt(per_channel(var, x.ndim) + self.eps)
        return (x - per_channel(mean, x.ndim)) / r, r, axes

    def forward(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        running_mean: Array | None = None,
        running_var: Array | None = None,
    ) -> Array:
        n = self._normal(x, running_mean, running_var, gamma.ndim - 1)[0]
        return np.asarray(per_channel(gamma, x.ndim) * n + per_channel(beta, x.ndim))

    def vjp(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        beta: Array,  # noqa: ARG002 - linear in beta
        running_mean: Array | None = None,
        running_var: Array | None = None,
    ) -> dict[str, Array]:
        n, r, axes = self._normal(x, running_mean, running_var, 0)
        g = per_channel(gamma, x.ndim) * dy
        gradients = {"gamma": (dy * n).sum(axis=axes), "beta": dy.sum(axis=axes)}
        if running_mean is None:
            return {"x": standardise_vjp(g, n, r, axes), **gradients}
        gradients["running_mean"] = -(g / r).sum(axis=axes)
        gradients["running_var"] = -0.5 * (g * n / r / r).sum(axis=axes)
        return {"x": g / r, **gradients}

    def forward_stacked(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        running_mean: Array | None = None,
        running_var: Array | None = None,
    ) -> Array:
        return self.forward(x, gamma, beta, running_mean, running_var)


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalisation over the last axes.

    Formula:
        n = (x − m) / √(s + eps), with m and s the mean and variance of x over the axes in F
        y = gamma n + beta

    Arrays:
        x (..., *F): input; F is normalized_shape, by default the last axis
        gamma (*F): gain
        beta (*F): shift
        y (..., *F): output

    VJP:
        dL/dx = (g − mean(g) − n mean(g n)) / √(s + eps), with g = gamma dy, and means over the axes in F
        dL/dgamma = Σ dy n, over the leading axes
        dL/dbeta = Σ dy, over the leading axes

    Source:
        Ba, Kiros, Hinton, Layer Normalization (2016), section 3; the gain and shift of its section 3.1
    """

    name: ClassVar[str] = "layer_norm"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (4, 5)}),
        Example({"normalized_shape": (3, 4), "eps": 0.1}, {"x": (2, 3, 4)}),
        Example({"eps": 0.0}, {"x": (7,)}),
    )

    normalized_shape: tuple[int, ...] | None = None
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_normalized_shape(self.normalized_shape)
        check_eps(self.eps)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return trailing_specs(self.normalized_shape, given, ("gamma", "beta"))

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        return np.asarray(gamma * standardise(x, tuple(range(-gamma.ndim, 0)), self.eps)[0] + beta)

    def vjp(self, dy: Array, x: Array, gamma: Array, beta: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in beta
        axes, leading = tuple(range(-gamma.ndim, 0)), tuple(range(x.ndim - gamma.ndim))
        n, r = standardise(x, axes, self.eps)
        d_gamma, d_beta = np.asarray((dy * n).sum(axis=leading)), np.asarray(dy.sum(axis=leading))
        return {"x": standardise_vjp(gamma * dy, n, r, axes), "gamma": d_gamma, "beta": d_beta}

    def forward_stacked(self, x: Array, gamma: Array, beta: Array) -> Array:
        n = standardise(x, tuple(range(1 - gamma.ndim, 0)), self.eps)[0]
        return np.asarray(lift(gamma, x.ndim) * n + lift(beta, x.ndim))

"""Layers that bring the channels of one sample, alone or in groups, to mean 0 and variance 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Example, OptionError, Shape
from gradcheck_cli.layers.normalisation import channel_specs, check_values, per_channel, standardise, standardise_vjp
from gradcheck_cli.layers.rescaling import check_eps

FAMILY = "normalisation"


def _grouped(x: Array, groups: int, lead: int) -> Array:
    """(..., N, C, *S) as (..., N, groups, values), behind `lead` stack axes."""
    return x.reshape(*x.shape[: lead + 1], groups, -1)


def _group_forward(x: Array, gamma: Array, beta: Array, groups: int, eps: float) -> Array:
    n = standardise(_grouped(x, groups, gamma.ndim - 1), -1, eps)[0].reshape(x.shape)
    return np.asarray(per_channel(gamma, x.ndim) * n + per_channel(beta, x.ndim))


def _group_vjp(dy: Array, x: Array, gamma: Array, groups: int, eps: float) -> dict[str, Array]:
    normal, r = standardise(_grouped(x, groups, 0), -1, eps)
    g = _grouped(per_channel(gamma, x.ndim) * dy, groups, 0)
    dx = standardise_vjp(g, normal, r, -1).reshape(x.shape)
    axes = (0, *range(2, x.ndim))
    return {"x": dx, "gamma": (dy * normal.reshape(x.shape)).sum(axis=axes), "beta": dy.sum(axis=axes)}


@dataclass(frozen=True)
class GroupNorm:
    """Group normalisation: mean and variance of each sample over a group of channels.

    Formula:
        n = (x − m) / √(s + eps), with m and s the mean and variance of x over S and the C / groups channels of a
            group, for each sample
        y = gamma n + beta

    Arrays:
        x (N, C, *S): input, C = channels; S are the spatial axes, if any
        gamma (C,): gain
        beta (C,): shift
        y (N, C, *S): output

    VJP:
        dL/dx = (g − mean(g) − n mean(g n)) / √(s + eps), with g = gamma dy, and means over the group
        dL/dgamma = Σ dy n, over N and S
        dL/dbeta = Σ dy, over N and S

    Source:
        Wu, He, Group Normalization (2018), section 3
    """

    name: ClassVar[str] = "group_norm"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"groups": 2}, {"x": (3, 4, 5)}),
        Example({"groups": 3, "eps": 0.1}, {"x": (2, 6, 2, 3)}),
        Example({"groups": 1}, {"x": (3, 5)}),
        Example({"groups": 2, "channels": 6}),
    )

    groups: int = 2
    channels: int | None = None
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_eps(self.eps)
        if self.groups < 1:
            raise OptionError("groups", self.groups, "must be at least 1")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        specs = channel_specs(self.channels, given, ("gamma", "beta"), (2, 3 * self.groups))
        x = specs["x"].shape
        if x[1] % self.groups:
            raise OptionError("groups", self.groups, f"must divide the {x[1]} channels")
        check_values(x, math.prod(x[1:]) // self.groups, "in each group")
        return specs

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        return _group_forward(x, gamma, beta, self.groups, self.eps)

    def vjp(self, dy: Array, x: Array, gamma: Array, beta: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in beta
        return _group_vjp(dy, x, gamma, self.groups, self.eps)

    def forward_stacked(self, x: Array, gamma: Array, beta: Array) -> Array:
        return _group_forward(x, gamma, beta, self.groups, self.eps)


@dataclass(frozen=True)
class InstanceNorm:
    """Instance normalisation: mean and variance of each channel of each sample.

    Formula:
        n = (x − m) / √(s + eps), with m and s the mean and variance of x over S, for each channel of each sample
        y = gamma n + beta

    Arrays:
        x (N, C, *S): input, C = channels; S are one or more spatial axes
        gamma (C,): gain
        beta (C,): shift
        y (N, C, *S): output

    VJP:
        dL/dx = (g − mean(g) − n mean(g n)) / √(s + eps), with g = gamma dy, and means over S
        dL/dgamma = Σ dy n, over N and S
        dL/dbeta = Σ dy, over N and S

    Source:
        Ulyanov, Vedaldi, Lempitsky, Instance Normalization: The Missing Ingredient for Fast Stylization (2016),
            section 2
    """

    name: ClassVar[str] = "instance_norm"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (2, 3, 5)}),
        Example({"eps": 0.1}, {"x": (3, 2, 2, 3)}),
        Example({"channels": 4}),
    )

    channels: int | None = None
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_eps(self.eps)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        specs = channel_specs(self.channels, given, ("gamma", "beta"), (2, 3, 4))
        check_values(specs["x"].shape, math.prod(specs["x"].shape[2:]), "for each channel of a sample")
        return specs

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        return _group_forward(x, gamma, beta, gamma.shape[-1], self.eps)

    def vjp(self, dy: Array, x: Array, gamma: Array, beta: Array) -> dict[str, Array]:  # noqa: ARG002 - linear in beta
        return _group_vjp(dy, x, gamma, gamma.shape[0], self.eps)

    def forward_stacked(self, x: Array, gamma: Array, beta: Array) -> Array:
        return _group_forward(x, gamma, beta, gamma.shape[-1], self.eps)

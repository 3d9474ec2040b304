"""Layers that divide by a norm and leave the mean alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape
from gradcheck_cli.layers.matrices import lift

FAMILY = "normalisation"

Axes = int | tuple[int, ...]


def magnitude(x: Array, axes: Axes, floor: float) -> Array:
    """Power of two at or below max(|x|, floor) over `axes`, which stay with size 1; 1 where that is zero.

    Dividing by it is exact, and the squares of what remains neither overflow nor vanish.
    """
    largest = np.asarray(np.maximum(np.max(np.abs(x.real), axis=axes, keepdims=True), floor))
    exponent = np.where(largest > 0, np.frexp(largest)[1] - 1, 0)
    return np.asarray(np.ldexp(np.ones_like(largest), exponent))


def rescale(x: Array, axes: Axes, eps: float) -> tuple[Array, Array]:
    """Return x / r and r = sqrt(mean(x²) + eps), the mean over `axes`."""
    root = math.sqrt(eps)
    size = magnitude(x, axes, root)
    z = x / size
    r = np.sqrt((z * z).mean(axis=axes, keepdims=True) + (root / size) ** 2)
    return z / r, r * size


def rescale_vjp(dy: Array, y: Array, r: Array, axes: Axes) -> Array:
    """Gradient through `rescale`, from what it returned."""
    return np.asarray((dy - y * (dy * y).mean(axis=axes, keepdims=True)) / r)


def check_eps(eps: float) -> None:
    """Refuse an eps that no variance can take."""
    if not 0 <= eps < math.inf:
        raise OptionError("eps", eps, "must be at least 0 and finite")


def check_normalized_shape(shape: Shape | None) -> None:
    """Refuse a normalised shape with no axis, an empty axis, or a single element."""
    if shape is not None and (min(shape, default=0) < 1 or math.prod(shape) < 2):
        raise OptionError("normalized_shape", shape, "must be sizes of at least 1 that hold two or more elements")


def trailing_specs(
    normalized_shape: Shape | None, given: Mapping[str, Shape], parameters: Sequence[str]
) -> dict[str, ArraySpec]:
    """Specs of x and of `parameters` that cover its last axes."""
    x = given.get("x")
    blamed = next((name for name in parameters if name in given), "x")
    shape = normalized_shape
    if shape is None:
        shape = given[blamed] if blamed != "x" else x[-1:] if x is not None else (4,)
        if min(shape, default=0) < 1 or math.prod(shape) < 2:
            raise ArrayError(blamed, f"shape {given[blamed]}", "must hold two or more elements to normalise over")
    for name in parameters:
        if given.get(name, shape) != shape:
            raise ArrayError(name, f"shape {given[name]}", f"must be normalized_shape = {shape}")
    if x is not None and x[len(x) - len(shape) :] != shape:
        raise ArrayError("x", f"shape {x}", f"must end in normalized_shape = {shape}")
    return {"x": ArraySpec(x or (3, *shape)), **{name: ArraySpec(shape) for name in parameters}}


@dataclass(frozen=True)
class RmsNorm:
    """Root mean square normalisation over the last axes, with a gain.

    Formula:
        n = x / √(mean(x²) + eps), with the mean over the axes in F
        y = gamma n

    Arrays:
        x (..., *F): input; F is normalized_shape, by default the last axis
        gamma (*F): gain
        y (..., *F): output

    VJP:
        dL/dx = (g − n mean(g n)) / √(mean(x²) + eps), with g = gamma dy, and means over the axes in F
        dL/dgamma = Σ dy n, over the leading axes

    Source:
        Zhang, Sennrich, Root Mean Square Layer Normalization (2019), there with eps = 0
    """

    name: ClassVar[str] = "rms_norm"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (4, 5)}),
        Example({"normalized_shape": (3, 4), "eps": 0.1}, {"x": (2, 3, 4)}),
        Example({"eps": 0.0}, {"x": (7,)}),
    )

    normalized_shape: tuple[int, ...] | None = None
    eps: float = 1e-6

    def __post_init__(self) -> None:
        check_normalized_shape(self.normalized_shape)
        check_eps(self.eps)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return trailing_specs(self.normalized_shape, given, ("gamma",))

    def forward(self, x: Array, gamma: Array) -> Array:
        return np.asarray(gamma * rescale(x, tuple(range(-gamma.ndim, 0)), self.eps)[0])

    def vjp(self, dy: Array, x: Array, gamma: Array) -> dict[str, Array]:
        axes = tuple(range(-gamma.ndim, 0))
        n, r = rescale(x, axes, self.eps)
        d_gamma = (dy * n).sum(axis=tuple(range(x.ndim - gamma.ndim)))
        return {"x": rescale_vjp(gamma * dy, n, r, axes), "gamma": np.asarray(d_gamma)}

    def forward_stacked(self, x: Array, gamma: Array) -> Array:
        return np.asarray(lift(gamma, x.ndim) * rescale(x, tuple(range(1 - gamma.ndim, 0)), self.eps)[0])


@dataclass(frozen=True)
class L2Normalize:
    """Division by the Euclidean norm along one axis.

    eps is raised to the smallest normal number of the dtype where it is below that (6.1e-5 for float16).

    Formula:
        y = x / max(‖x‖, eps), with ‖x‖ = √(Σ x²) along the axis

    Arrays:
        x (...): input; `axis` counts from its first axis, or from its last if negative
        y (...): output, same shape as x

    VJP:
        dL/dx = (dy − y Σ dy y) / ‖x‖ where ‖x‖ > eps, with the sum along the axis
        dL/dx = dy / eps elsewhere

    Source:
        Petersen, Pedersen, The Matrix Cookbook (2012), section 2.6
    """

    name: ClassVar[str] = "l2_normalize"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"axis": 0}, {"x": (5, 2)}),
        Example({"axis": 1, "eps": 100.0}, {"x": (2, 3, 4)}),
        Example({}, {"x": (5,)}),
    )

    axis: int = -1
    eps: float = 1e-12

    def __post_init__(self) -> None:
        if not 0 < self.eps < math.inf:
            raise OptionError("eps", self.eps, "must be positive and finite")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        default = max(2, self.axis + 1, -self.axis)
        x = given.get("x", (3,) * (default - 1) + (4,))
        if not -len(x) <= self.axis < len(x):
            raise OptionError("axis", self.axis, f"must be an axis of x, whose shape is {x}")
        if x[self.axis] < 1:
            raise ArrayError("x", f"shape {x}", f"must not be empty along axis {self.axis}")
        return {"x": ArraySpec(x)}

    def _scaled(self, x: Array, axis: int) -> tuple[Array, Array, Array, Array]:
        """Return y, the divisor as a product of two factors, and where the norm is above eps."""
        limit = max(self.eps, float(np.finfo(x.real.dtype).smallest_normal))
        size = magnitude(x, axis, limit)
        z = x / size
        norm = np.sqrt((z * z).sum(axis=axis, keepdims=True))
        above = norm.real > limit / size
        divisor = np.where(above, norm, limit / size)
        return z / divisor, divisor, size, above

    def forward(self, x: Array) -> Array:
        return self._scaled(x, self.axis)[0]

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        y, divisor, size, above = self._scaled(x, self.axis)
        radial = np.where(above, y * (dy * y).sum(axis=self.axis, keepdims=True), 0)
        return {"x": np.asarray((dy - radial) / divisor / size)}

    def forward_stacked(self, x: Array) -> Array:
        return self._scaled(x, self.axis + 1 if self.axis >= 0 else self.axis)[0]


@dataclass(frozen=True)
class WeightNorm:
    """Weights from a direction and one length per output.

    Formula:
        w = g v / ‖v‖, with ‖v‖ = √(Σ v²) over all axes but `dim`

    Arrays:
        v (...): direction, not zero; `dim` is the axis of the outputs
        g (out,): length, one for each index along `dim`
        w (...): weights, same shape as v

    VJP:
        dL/dv = g (dy − u Σ dy u) / ‖v‖, with u = v / ‖v‖, and the sum over all axes but `dim`
        dL/dg = Σ dy u, over all axes but `dim`

    Source:
        Salimans, Kingma, Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural
            Networks (2016), section 2
    """

    name: ClassVar[str] = "weight_norm"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"v": (3, 4)}),
        Example({"dim": 1}, {"v": (2, 3, 4)}),
        Example({"dim": -1}, {"v": (5, 2)}),
    )

    dim: int = 0

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        v, g = given.get("v"), given.get("g")
        if v is None:
            sizes = [3] * max(1, self.dim, -self.dim - 1) + [4]
            sizes[self.dim] = g[0] if g else 2
            v = tuple(sizes)
        if not -len(v) <= self.dim < len(v):
            raise OptionError("dim", self.dim, f"must be an axis of v, whose shape is {v}")
        if len(v) < 2 or math.prod(v) < 1:
            raise ArrayError("v", f"shape {v}", "must have two or more axes, none of them empty")
        if g is not None and g != (v[self.dim],):
            raise ArrayError("g", f"shape {g}", f"must be (out,) = {(v[self.dim],)}")
        return {"v": ArraySpec(v), "g": ArraySpec((v[self.dim],))}

    def _split(self, v: Array, g: Array) -> tuple[Array, Array, Array, Array, tuple[int, ...]]:
        """Return the unit direction, ‖v‖ as a product of two factors, g in line with v, and the axes of the norm."""
        ndim = v.ndim - g.ndim + 1
        dim = self.dim - ndim if self.dim >= 0 else self.dim
        axes = tuple(axis for axis in range(-ndim, 0) if axis != dim)
        size = magnitude(v, axes, 0.0)
        z = v / size
        norm = np.sqrt((z * z).sum(axis=axes, keepdims=True))
        ones = (1,) * ndim
        length = g.reshape(*g.shape[:-1], *ones[:dim], g.shape[-1], *ones[ndim + dim + 1 :])
        return z / norm, norm, size, length, axes

    def forward(self, v: Array, g: Array) -> Array:
        u, _, _, length, _ = self._split(v, g)
        return np.asarray(length * u)

    def vjp(self, dy: Array, v: Array, g: Array) -> dict[str, Array]:
        u, norm, size, length, axes = self._split(v, g)
        along = (dy * u).sum(axis=axes, keepdims=True)
        return {"v": np.asarray(length * (dy - u * along) / norm / size), "g": along.reshape(g.shape)}

    def forward_stacked(self, v: Array, g: Array) -> Array:
        return self.forward(v, g)

"""Losses of regression: functions of the residual x − target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape, strata
from gradcheck_cli.layers.special import away_from_zero

Reduction: TypeAlias = Literal["mean", "sum", "none"]


def check_reduction(reduction: str) -> None:
    """Refuse a reduction that is none of the three."""
    if reduction not in ("mean", "sum", "none"):
        raise OptionError("reduction", reduction, "must be 'mean', 'sum' or 'none'")


def reduced(terms: Array, reduction: Reduction, count: Array | int | None = None) -> Array:
    """Reduce a stack of losses, all but the leading axis. A mean divides by count, by default the number of terms."""
    if reduction == "none":
        return terms
    total = np.asarray(terms.sum(axis=tuple(range(1, terms.ndim))))
    if reduction == "sum":
        return total
    return np.asarray(total / (max(math.prod(terms.shape[1:]), 1) if count is None else count))


def spread(dy: Array, shape: Shape, reduction: Reduction, count: Array | int | None = None) -> Array:
    """Give each term, in an array of the shape, its share of dy: the VJP of `reduced` at one point."""
    if reduction == "mean":
        dy = dy / (max(math.prod(shape), 1) if count is None else count)
    return np.broadcast_to(dy, shape)


@dataclass(frozen=True)
class Comb:
    """Values around scale (k + offset), k = -1, 0, 1, no farther than a tenth of the scale.

    Two arrays with the offsets 0.25 and 0.75 differ by at least 0.3 scale, and by anything but about 1 scale.
    """

    offset: float
    scale: float = 1.0

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        size = math.prod(shape)
        tooth = rng.permutation(size) % 3 - 1
        return np.asarray(self.scale * (tooth + self.offset + 0.2 * (strata(rng, size) - 0.5))).reshape(shape)


@dataclass(frozen=True)
class ResidualLoss:
    """A loss that sums a function of each residual r = x − target."""

    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = given.get("x", given.get("target", (3, 4)))
        if given.get("target", x) != x:
            raise ArrayError("target", f"shape {given['target']}", f"must be the shape of x = {x}")
        scale = self._scale()
        target = ArraySpec(x, draw=Comb(0.75, scale), differentiable=False)
        return {"x": ArraySpec(x, draw=Comb(0.25, scale)), "target": target}

    def forward(self, x: Array, target: Array) -> Array:
        return np.asarray(self.forward_stacked(x[None], target[None])[0])

    def vjp(self, dy: Array, x: Array, target: Array) -> dict[str, Array]:
        return {"x": spread(dy, x.shape, self.reduction) * self._slope(x - target)}

    def forward_stacked(self, x: Array, target: Array) -> Array:
        return reduced(self._term(x - target), self.reduction)

    def _scale(self) -> float:
        """Return the residual at which the loss changes its form."""
        return 1.0

    def _term(self, r: Array) -> Array:
        raise NotImplementedError

    def _slope(self, r: Array) -> Array:
        raise NotImplementedError


@dataclass(frozen=True)
class MSE(ResidualLoss):
    """Squared error.

    Formula:
        y_i = (x_i − target_i)²
        reduction: mean over all i, sum, or none

    Arrays:
        x (...): prediction
        target (...): what should have come, in the shape of x
        y (): loss, or with reduction none (...): the y_i

    VJP:
        dL/dx_i = 2 (x_i − target_i) d_i
        d_i = dy / N for mean over the N elements, dy for sum, dy_i for none

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 5.1.4
    """

    name: ClassVar[str] = "mse"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"reduction": "sum"}, {"x": (5,)}),
        Example({"reduction": "none"}, {"x": (2, 4, 3)}),
    )

    def _term(self, r: Array) -> Array:
        return r * r

    def _slope(self, r: Array) -> Array:
        return 2.0 * r


@dataclass(frozen=True)
class MAE(ResidualLoss):
    """Absolute error.

    Formula:
        y_i = |x_i − target_i|
        reduction: mean over all i, sum, or none

    Arrays:
        x (...): prediction
        target (...): what should have come, in the shape of x
        y (): loss, or with reduction none (...): the y_i

    VJP:
        dL/dx_i = sign(x_i − target_i) d_i, and 0 where x_i = target_i, which is a subgradient
        d_i = dy / N for mean over the N elements, dy for sum, dy_i for none

    Source:
        Bishop, Pattern Recognition and Machine Learning (2006), section 1.5.5, the Minkowski loss with q = 1
    """

    name: ClassVar[str] = "mae"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"reduction": "sum"}, {"x": (5,)}),
        Example({"reduction": "none"}, {"x": (2, 4, 3)}),
    )

    def _term(self, r: Array) -> Array:
        return away_from_zero(r)

    def _slope(self, r: Array) -> Array:
        return np.asarray(np.sign(r))


@dataclass(frozen=True)
class Huber(ResidualLoss):
    """Squared error for small residuals, absolute error for large ones.

    Formula:
        y_i = r_i² / 2 where |r_i| ≤ δ, else δ (|r_i| − δ / 2)
        r_i = x_i − target_i, δ = delta
        reduction: mean over all i, sum, or none

    Arrays:
        x (...): prediction
        target (...): what should have come, in the shape of x
        y (): loss, or with reduction none (...): the y_i

    VJP:
        dL/dx_i = min(max(r_i, −δ), δ) d_i
        d_i = dy / N for mean over the N elements, dy for sum, dy_i for none

    Source:
        Hastie, Tibshirani, Friedman, The Elements of Statistical Learning (2009), section 10.6, there
            twice as large
    """

    name: ClassVar[str] = "huber"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"delta": 0.3, "reduction": "sum"}, {"x": (5,)}),
        Example({"delta": 2.5, "reduction": "none"}, {"x": (2, 4, 3)}),
    )

    delta: float = 1.0

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        if not 0 < self.delta < math.inf:
            raise OptionError("delta", self.delta, "must be positive and finite")

    def _scale(self) -> float:
        return self.delta

    def _term(self, r: Array) -> Array:
        size = away_from_zero(r)
        small = np.where(size.real <= self.delta, size, self.delta)
        return np.asarray(small * (size - 0.5 * small))

    def _slope(self, r: Array) -> Array:
        return np.asarray(np.clip(r, -self.delta, self.delta))

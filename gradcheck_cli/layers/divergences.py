"""Losses against target probabilities: binary cross-entropy and Kullback-Leibler divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape, Simplex, Uniform
from gradcheck_cli.layers.losses import Reduction, check_reduction, reduced, spread
from gradcheck_cli.layers.special import sigmoid, softplus

FAMILY = "losses"


def _fit(given: Mapping[str, Shape]) -> Shape:
    """Return the one shape of x and target."""
    x = given.get("x", given.get("target", (3, 4)))
    if given.get("target", x) != x:
        raise ArrayError("target", f"shape {given['target']}", f"must be the shape of x = {x}")
    return x


@dataclass(frozen=True)
class BinaryCrossEntropyWithLogits:
    """Cross-entropy of the sigmoid of scores against probabilities or labels 0 and 1.

    Formula:
        y_i = −w t_i log σ(x_i) − (1 − t_i) log(1 − σ(x_i))
        evaluated as w t_i softplus(−x_i) + (1 − t_i) softplus(x_i), which does not overflow
        t is the target, w pos_weight
        reduction: mean over all i, sum, or none

    Arrays:
        x (...): scores
        target (...): t, probabilities, in the shape of x
        y (): loss, or with reduction none (...): the y_i

    VJP:
        dL/dx_i = ((1 − t_i) σ(x_i) − w t_i σ(−x_i)) d_i
        d_i = dy / N for mean over the N elements, dy for sum, dy_i for none

    Source:
        Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.2
    """

    name: ClassVar[str] = "binary_cross_entropy_with_logits"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"pos_weight": 2.5, "reduction": "sum"}, {"x": (5,)}),
        Example({"pos_weight": 0.4, "reduction": "none"}, {"target": (2, 4, 3)}),
    )

    pos_weight: float = 1.0
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        if not 0 < self.pos_weight < math.inf:
            raise OptionError("pos_weight", self.pos_weight, "must be positive and finite")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = _fit(given)
        return {"x": ArraySpec(x), "target": ArraySpec(x, draw=Uniform(), differentiable=False)}

    def forward(self, x: Array, target: Array) -> Array:
        return np.asarray(self.forward_stacked(x[None], target[None])[0])

    def vjp(self, dy: Array, x: Array, target: Array) -> dict[str, Array]:
        slope = (1.0 - target) * sigmoid(x) - self.pos_weight * target * sigmoid(-x)
        return {"x": spread(dy, x.shape, self.reduction) * slope}

    def forward_stacked(self, x: Array, target: Array) -> Array:
        terms = self.pos_weight * target * softplus(-x) + (1.0 - target) * softplus(x)
        return reduced(terms, self.reduction)


@dataclass(frozen=True)
class KLDivergence:
    """Kullback-Leibler divergence of log-probabilities from target probabilities, over the last axis.

    Formula:
        y_n = Σ_c t_nc (log t_nc − x_nc), with t the target and 0 log 0 = 0
        reduction: mean over the rows n, sum, or none

    Arrays:
        x (C,) or (..., C): log-probabilities
        target (C,) or (..., C): t, probabilities, in the shape of x
        y (): divergence, or with reduction none (...): the y_n

    VJP:
        dL/dx_nc = −t_nc d_n
        d_n = dy / N for mean over the N rows, dy for sum, dy_n for none

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 3.13
    """

    name: ClassVar[str] = "kl_divergence"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"reduction": "sum"}, {"x": (5,)}),
        Example({"reduction": "none"}, {"target": (2, 3, 4)}),
    )

    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x = _fit(given)
        if len(x) < 1:
            raise ArrayError("x", "shape ()", "must be (C,) or (..., C)")
        draw = Uniform(-3.0, -0.2)
        return {"x": ArraySpec(x, draw=draw), "target": ArraySpec(x, draw=Simplex(), differentiable=False)}

    def forward(self, x: Array, target: Array) -> Array:
        return np.asarray(self.forward_stacked(x[None], target[None])[0])

    def vjp(self, dy: Array, x: Array, target: Array) -> dict[str, Array]:
        return {"x": spread(dy, x.shape[:-1], self.reduction)[..., None] * -target}

    def forward_stacked(self, x: Array, target: Array) -> Array:
        possible = target > 0
        distance = np.log(np.where(possible, target, 1.0)) - np.where(possible, x, 0.0)
        return reduced((target * distance).sum(axis=-1), self.reduction)

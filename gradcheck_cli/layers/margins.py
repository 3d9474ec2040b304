"""Losses that ask for a margin between scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape
from gradcheck_cli.layers.classification import Classes, fit_classes, one_hot
from gradcheck_cli.layers.losses import Comb, Reduction, check_reduction, reduced, spread

FAMILY = "losses"


@dataclass(frozen=True)
class Signs:
    """-1 or 1, at random."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        return 2 * np.asarray(rng.integers(0, 2, shape)) - 1


@dataclass(frozen=True)
class Hinge:
    """Hinge loss: of every wrong class against the right one, or of one score against a sign.

    Formula:
        targets: classes    y_n = Σ_{j ≠ c} max(0, x_nj − x_nc + Δ), with c = target_n
        targets: signs      y_i = max(0, Δ − target_i x_i)
        Δ is the margin
        reduction: mean over all y, sum, or none

    Arrays:
        x (C,) or (..., C): scores; with targets: signs, any shape
        target () or (...): integer class of each row; with targets: signs, −1 or 1 in the shape of x
        y (): loss, or with reduction none (...): the y_n or y_i

    VJP:
        targets: classes    dL/dx_nj = [x_nj − x_nc + Δ > 0] d_n for j ≠ c, dL/dx_nc = −Σ_{j ≠ c} dL/dx_nj
        targets: signs      dL/dx_i = −target_i [Δ − target_i x_i > 0] d_i
        d_n or d_i = dy / N for mean over the N values y, dy for sum, dy_n or dy_i for none

    Source:
        classes: Weston, Watkins, Support Vector Machines for Multi-Class Pattern Recognition (1999), there with Δ = 2
        signs: Bishop, Pattern Recognition and Machine Learning (2006), section 7.1.2, there with Δ = 1
    """

    name: ClassVar[str] = "hinge"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (4, 3)}),
        Example({"margin": 0.4, "reduction": "sum"}, {"x": (2, 3, 5)}),
        Example({"targets": "signs"}, {"x": (3, 4)}),
        Example({"targets": "signs", "margin": 2.5, "reduction": "none"}, {"target": (5,)}),
    )

    targets: Literal["classes", "signs"] = "classes"
    margin: float = 1.0
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        if self.targets not in ("classes", "signs"):
            raise OptionError("targets", self.targets, "must be 'classes' or 'signs'")
        if not 0 < self.margin < math.inf:
            raise OptionError("margin", self.margin, "must be positive and finite")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        if self.targets == "classes":
            x, rows = fit_classes(given)
            scores = Comb(0.0, self.margin * 2.0 / 3.0)  # no two differ by about the margin
            return {"x": ArraySpec(x, draw=scores), "target": ArraySpec(rows, "integer", Classes(x[-1]))}
        x = given.get("x", given.get("target", (3, 4)))
        if given.get("target", x) != x:
            raise ArrayError("target", f"shape {given['target']}", f"must be the shape of x = {x}")
        return {"x": ArraySpec(x, draw=Comb(0.5, self.margin)), "target": ArraySpec(x, "integer", Signs())}

    def forward(self, x: Array, target: Array) -> Array:
        return np.asarray(self.forward_stacked(x[None], target[None])[0])

    def vjp(self, dy: Array, x: Array, target: Array) -> dict[str, Array]:
        active = (self._gaps(x, target) > 0).astype(x.dtype)
        if self.targets == "signs":
            return {"x": spread(dy, x.shape, self.reduction) * -active * target.astype(x.dtype)}
        slope = active - one_hot(target, x.shape[-1]) * active.sum(axis=-1, keepdims=True)
        return {"x": spread(dy, x.shape[:-1], self.reduction)[..., None] * slope}

    def forward_stacked(self, x: Array, target: Array) -> Array:
        gaps = self._gaps(x, target)
        terms = np.where(gaps.real <= 0, 0.0, gaps)
        return reduced(terms if self.targets == "signs" else terms.sum(axis=-1), self.reduction)

    def _gaps(self, x: Array, target: Array) -> Array:
        """By how much each score misses the margin; the right class misses it by 0."""
        if self.targets == "signs":
            if np.any(np.abs(target) != 1):
                raise ArrayError("target", f"value {target[np.abs(target) != 1].flat[0]}", "must be -1 or 1")
            return self.margin - target.astype(x.real.dtype) * x
        right = one_hot(target, x.shape[-1])
        score = np.where(right, x, 0.0).sum(axis=-1, keepdims=True)
        return np.where(right, 0.0, x - score + self.margin)

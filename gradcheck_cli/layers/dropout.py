"""Dropout: some elements are set to zero, the others scaled up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, Mask, OptionError, Shape


@dataclass(frozen=True)
class Dropout:
    """Inverted dropout, with a mask that is given, or drawn anew and alike from a seed at every evaluation.

    Formula:
        y = x ⊙ mask / (1 − p), with p the probability of being dropped

    Arrays:
        x (...): input
        mask (...): true where x is kept; its axes are those of x or of length 1; with a seed, there is none
        y (...): output, in the shape of x

    VJP:
        dL/dx = dy ⊙ mask / (1 − p)

    Source:
        Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, Dropout: A Simple Way to Prevent Neural Networks from
            Overfitting (2014), section 10, where p is the probability of being kept
    """

    name: ClassVar[str] = "dropout"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (3, 4)}),
        Example({"p": 0.2}, {"x": (2, 5, 3), "mask": (2, 1, 3)}),
        Example({"p": 0.3, "seed": 7}, {"x": (4, 3)}),
        Example({"p": 0.1, "seed": 1}, {"x": (5,)}),
    )

    p: float = 0.5
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise OptionError("p", self.p, "must be in [0, 1)")
        if self.seed is not None and self.seed < 0:
            raise OptionError("seed", self.seed, "must not be negative")

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        mask = given.get("mask")
        x = given.get("x", mask if mask is not None else (3, 4))
        if self.seed is not None:
            if mask is not None:
                raise ArrayError("mask", f"shape {mask}", f"must be left out: the mask comes from seed = {self.seed}")
            return {"x": ArraySpec(x)}
        if mask is None:
            mask = x
        if len(mask) != len(x) or any(m not in (1, n) for m, n in zip(mask, x, strict=True)):
            raise ArrayError("mask", f"shape {mask}", f"must be the shape of x = {x}, or 1 in some of its axes")
        return {"x": ArraySpec(x), "mask": ArraySpec(mask, "boolean", Mask(1.0 - self.p))}

    def forward(self, x: Array, mask: Array | None = None) -> Array:
        return np.asarray(x * self._factor(x, x.shape, mask))

    def vjp(self, dy: Array, x: Array, mask: Array | None = None) -> dict[str, Array]:
        return {"x": dy * self._factor(x, x.shape, mask)}

    def forward_stacked(self, x: Array, mask: Array | None = None) -> Array:
        return np.asarray(x * self._factor(x, x.shape[1:], mask))

    def _factor(self, x: Array, shape: Shape, mask: Array | None) -> Array:
        """Return what multiplies x: mask / (1 − p), in the precision of x."""
        if mask is None:
            if self.seed is None:
                raise ArrayError("mask", "none given", "must be given, or the option seed set")
            mask = np.random.default_rng(self.seed).random(shape) >= self.p
        return np.asarray(mask, x.real.dtype) / (1.0 - self.p)

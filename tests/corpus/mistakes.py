"""A wrong gradient beside a correct forward pass, and the mistakes that many layers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Outputs, Shape

Gradient: TypeAlias = dict[str, Array]
Mistake: TypeAlias = Callable[..., Mapping[str, Any]]  # (right gradient, dy, **arrays) -> wrong gradient


@dataclass(frozen=True)
class Mistaken:
    """A correct layer whose gradient goes through a mistake."""

    right: Any
    mistake: Mistake

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        specs: Mapping[str, ArraySpec] = self.right.arrays(**given)
        return specs

    def forward(self, **arrays: Array) -> Outputs:
        outputs: Outputs = self.right.forward(**arrays)
        return outputs

    def vjp(self, dy: Any, **arrays: Array) -> Mapping[str, Any]:
        return self.mistake(dict(self.right.vjp(dy, **arrays)), dy, **arrays)


def times(array: str, factor: Any) -> Mistake:
    """One array's gradient times a factor."""
    return lambda g, dy, **arrays: g | {array: factor * g[array]}


def changed(array: str, change: Callable[[Array], Any]) -> Mistake:
    """One array's gradient, changed."""
    return lambda g, dy, **arrays: g | {array: change(g[array])}


def transposed(array: str) -> Mistake:
    """One array's gradient, transposed."""
    return changed(array, lambda v: v.T.copy())


def detached(array: str) -> Mistake:
    """One array gets no gradient at all."""
    return changed(array, np.zeros_like)


def swapped(one: str, other: str) -> Mistake:
    """Two arrays get each other's gradient."""
    return lambda g, dy, **arrays: g | {one: g[other], other: g[one]}


def slope(right_or_wrong: Callable[[Array], Any]) -> Mistake:
    """An elementwise layer with another slope."""
    return lambda g, dy, x: {"x": dy * right_or_wrong(x)}


def of(layer: Any) -> Mistake:
    """The gradient of another layer at the same arrays."""
    return lambda g, dy, **arrays: dict(layer.vjp(dy, **arrays))


def upstream_ignored(layer: Any) -> Mistake:
    """The gradient for a cotangent of ones, whatever came from above."""
    return lambda g, dy, **arrays: dict(layer.vjp(np.ones_like(dy), **arrays))


def one_element(array: str, relative: float, which: int = -1) -> Mistake:
    """One element off by a relative error: the one with the `which`-th largest magnitude of the array."""

    def mistake(g: Gradient, dy: Any, **arrays: Array) -> Gradient:
        value = g[array].copy()
        value.flat[np.argsort(np.abs(value), axis=None, kind="stable")[which]] *= 1.0 + relative
        return g | {array: value}

    return mistake

"""Known mistakes that can be made in the gradient of any layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Outputs, Shape

Gradient: TypeAlias = Mapping[str, Array]
Mutator: TypeAlias = Callable[[dict[str, Array]], Gradient]


def scaled(g: dict[str, Array]) -> Gradient:
    """Every gradient a thousandth too large."""
    return {name: (1.001 * value).astype(value.dtype) for name, value in g.items()}


def halved(g: dict[str, Array]) -> Gradient:
    """A factor of two lost."""
    return {name: value / 2 for name, value in g.items()}


def sign_flipped(g: dict[str, Array]) -> Gradient:
    """Descent becomes ascent."""
    return {name: -value for name, value in g.items()}


def first_array_detached(g: dict[str, Array]) -> Gradient:
    """The first array with a gradient gets none."""
    name = _first(g)
    return g | {name: np.zeros_like(g[name])}


def reversed_along_last_axis(g: dict[str, Array]) -> Gradient:
    """Elements in the wrong order."""
    return {name: value[..., ::-1].copy() if value.ndim else value for name, value in g.items()}


def transposed(g: dict[str, Array]) -> Gradient:
    """Matrices transposed: where they are not square, of the wrong shape."""
    return {name: np.swapaxes(value, -1, -2).copy() if value.ndim > 1 else value for name, value in g.items()}


def one_wrong_element(g: dict[str, Array]) -> Gradient:
    """The largest element of the first array with a gradient, off by a thousandth."""
    name = _first(g)
    value = g[name].copy()
    value.flat[np.abs(value).argmax()] *= 1.001
    return g | {name: value}


def one_nan(g: dict[str, Array]) -> Gradient:
    """One element is not a number."""
    name = _first(g)
    value = g[name].copy()
    value.flat[0] = np.nan
    return g | {name: value}


def extra_axis(g: dict[str, Array]) -> Gradient:
    """An axis too many."""
    return {name: np.stack([value, value]) for name, value in g.items()}


MUTATORS: Mapping[str, Mutator] = {
    mutator.__name__: mutator
    for mutator in (
        *(scaled, halved, sign_flipped, first_array_detached, reversed_along_last_axis),
        *(transposed, one_wrong_element, one_nan, extra_axis),
    )
}


def _first(g: Gradient) -> str:
    """The first array whose gradient is not zero everywhere, else the first."""
    return next((name for name, value in g.items() if np.any(value)), next(iter(g)))


def changes(right: Gradient, wrong: Gradient) -> bool:
    """Whether a mutator did anything that rounding would not."""
    return any(
        wrong[name].shape != value.shape or not np.allclose(wrong[name], value, rtol=1e-9, atol=0.0)
        for name, value in right.items()
    )


@dataclass(frozen=True)
class Wrong:
    """A layer with its own forward pass, stacked where it is, and a gradient that its subclasses get wrong."""

    right: Any

    def __post_init__(self) -> None:
        if hasattr(self.right, "forward_stacked"):
            object.__setattr__(self, "forward_stacked", self.right.forward_stacked)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        specs: Mapping[str, ArraySpec] = self.right.arrays(**given)
        return specs

    def forward(self, **arrays: Array) -> Outputs:
        outputs: Outputs = self.right.forward(**arrays)
        return outputs

    def vjp(self, dy: Any, **arrays: Array) -> Gradient:
        raise NotImplementedError


@dataclass(frozen=True)
class Mutated(Wrong):
    """A layer whose gradient goes through a mutator."""

    mutator: Mutator

    def vjp(self, dy: Any, **arrays: Array) -> Gradient:
        return self.mutator({name: np.array(value) for name, value in self.right.vjp(dy, **arrays).items()})


@dataclass(frozen=True)
class WithoutOneOutput(Wrong):
    """A layer whose gradient lacks a term: what the last of its outputs sends back."""

    def vjp(self, dy: Any, **arrays: Array) -> Gradient:
        parts = list(dy) if isinstance(dy, tuple) else [dy]
        parts[-1] = np.array(parts[-1])
        parts[-1].flat[-1] = 0.0
        gradient: Gradient = self.right.vjp(tuple(parts) if isinstance(dy, tuple) else parts[0], **arrays)
        return gradient


def mistaken(right: Any, mistake: str) -> Wrong:
    """The layer with the mistake of that name."""
    return WithoutOneOutput(right) if mistake == WITHOUT_ONE_OUTPUT else Mutated(right, MUTATORS[mistake])


WITHOUT_ONE_OUTPUT = "one_output_forgotten"
MISTAKES = (*MUTATORS, WITHOUT_ONE_OUTPUT)

"""The contract of a layer: named arrays in, outputs out, and the vector-Jacobian product beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from gradcheck_cli.values import dataclass, field

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Outputs: TypeAlias = Array | tuple[Array, ...]
Draw: TypeAlias = Callable[[np.random.Generator, Shape], Array]
Kind: TypeAlias = Literal["float", "integer", "boolean"]


class ArrayError(ValueError):
    """A given array does not fit its layer: which one, what came, what must hold."""

    def __init__(self, array: str, came: str, must: str) -> None:
        super().__init__(f"array {array!r}: {came}; {must}")
        self.array, self.came, self.must = array, came, must

    def __reduce__(self) -> tuple[type[ArrayError], tuple[str, str, str]]:
        return type(self), (self.array, self.came, self.must)


class OptionError(ValueError):
    """An option of a layer is impossible: which one, its value, what must hold."""

    def __init__(self, option: str, value: object, must: str) -> None:
        super().__init__(f"option {option!r}: {value!r}; {must}")
        self.option, self.value, self.must = option, value, must

    def __reduce__(self) -> tuple[type[OptionError], tuple[str, object, str]]:
        return type(self), (self.option, self.value, self.must)


def strata(rng: np.random.Generator, size: int) -> Array:
    """Draw `size` numbers in (0, 1), one in the middle half of each of `size` equal cells, in random order.

    No two are closer than half a cell, so nothing drawn from them is tied by accident.
    """
    return (rng.permutation(size) + rng.uniform(0.25, 0.75, size)) / max(size, 1)


@dataclass(frozen=True)
class Generic:
    """Values with nothing special about them: random signs, magnitudes in [0.15, 0.9] or [1.1, 1.9], no ties.

    As many are negative as positive, so that both sides of a kink are seen. They keep their distance from 0 and ±1,
    where kinks sit and where wrong formulas happen to be right. `scale` multiplies them.
    """

    scale: float = 1.0

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        size = int(np.prod(shape))
        cell = strata(rng, size)
        magnitude = np.where(cell < 0.5, 0.15 + 1.5 * cell, 1.1 + 1.6 * (cell - 0.5))
        signs = rng.permutation(np.where(np.arange(size) % 2, -1.0, 1.0))
        return np.asarray(self.scale * magnitude * signs).reshape(shape)


@dataclass(frozen=True)
class Normal:
    """Independent normal values."""

    mean: float = 0.0
    scale: float = 1.0

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        return np.asarray(rng.normal(self.mean, self.scale, shape))


@dataclass(frozen=True)
class Uniform:
    """Values spread evenly over [low, high), no two alike."""

    low: float = 0.0
    high: float = 1.0

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        return (self.low + (self.high - self.low) * strata(rng, int(np.prod(shape)))).reshape(shape)


@dataclass(frozen=True)
class Positive:
    """Values in [0.3, 0.9] or [1.1, 2]: positive, away from 0 and 1, no ties."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        cell = strata(rng, int(np.prod(shape)))
        return np.where(cell < 0.5, 0.3 + 1.2 * cell, 1.1 + 1.8 * (cell - 0.5)).reshape(shape)


@dataclass(frozen=True)
class Integers:
    """Integers in [low, high)."""

    low: int
    high: int

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        return np.asarray(rng.integers(self.low, self.high, shape))


@dataclass(frozen=True)
class Fill:
    """One value everywhere."""

    value: float = 0.0

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:  # noqa: ARG002 - the signature of a draw
        return np.full(shape, self.value)


@dataclass(frozen=True)
class Spd:
    """Symmetric positive definite matrices over the last two axes, eigenvalues in [0.5, 2.5], well apart."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        *batch, n, _ = shape
        q = np.linalg.qr(rng.normal(size=(*batch, n, n)))[0]
        eigenvalues = 0.5 + 2.0 * (np.arange(n) + rng.uniform(0.25, 0.75, (*batch, n))) / n
        a = (q * eigenvalues[..., None, :]) @ np.swapaxes(q, -1, -2)
        return np.asarray((a + np.swapaxes(a, -1, -2)) / 2)


@dataclass(frozen=True)
class Simplex:
    """Positive weights that sum to one over the last axis."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        weights = rng.uniform(0.2, 1.2, shape)
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Mask:
    """Booleans, true with probability `keep`; at least one is true along the last axis."""

    keep: float = 0.7

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        mask = rng.random(shape) < self.keep
        if shape:
            mask[..., 0] |= ~mask.any(axis=-1)
        return np.asarray(mask)


@dataclass(frozen=True)
class ArraySpec:
    """One array of a layer: its shape, its kind, how to draw it, and whether it has a gradient.

    `draw` stays away from degenerate points (zeros, ties, identity parameters). Integer and boolean arrays, targets and
    masks are passed on and never differentiated.
    """

    shape: Shape
    kind: Kind = "float"
    draw: Draw = field(default_factory=Generic)
    differentiable: bool = True

    def __post_init__(self) -> None:
        if self.kind != "float":
            object.__setattr__(self, "differentiable", False)


@dataclass(frozen=True)
class Example:
    """A set of options, and shapes of some arrays, at which a layer is listed, shown and tested."""

    options: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)


@runtime_checkable
class Differentiable(Protocol):
    """What every layer, foreign ones too, can do."""

    def forward(self, **arrays: Array) -> Outputs:
        """Compute the output, or a tuple of outputs, from the named arrays. Pure."""

    def vjp(self, dy: Any, **arrays: Array) -> Mapping[str, Array]:
        """Turn dL/dy (a tuple for several outputs) into dL/d(array) for every differentiable array."""


@runtime_checkable
class Layer(Differentiable, Protocol):
    """A differentiable function of named arrays with a hand-written derivative.

    Optional members, used when present: `forward_stacked(**arrays)` (every array and output has one extra leading axis
    of size K or 1; called by several threads at a time where these are asked for, unless `one_at_a_time` is true),
    `jvp(tangents, **arrays)`, `jacobian(**arrays)`.
    """

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        """Name and describe every array, the one that flows through a chain first, fitted to the given shapes.

        Raises `ArrayError` naming the array that does not fit.
        """


def as_outputs(value: Outputs) -> tuple[Array, ...]:
    """Outputs as a tuple, whether the layer returned one array or several."""
    return tuple(np.asarray(part) for part in value) if isinstance(value, tuple) else (np.asarray(value),)

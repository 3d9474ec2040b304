"""What the corpus is made of: layers in a few lines, points at which they are checked, and wrong gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from gradcheck_cli.draws import draw_arrays, draw_cotangent, given_shapes
from gradcheck_cli.layer import Array, ArraySpec, Outputs, Shape, as_outputs
from gradcheck_cli.spec import Given

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11}


@dataclass(frozen=True)
class Plain:
    """A layer whose arrays are fixed in `SPECS`; a given shape replaces the one named there."""

    SPECS: ClassVar[Mapping[str, ArraySpec]]

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {name: replace(spec, shape=given.get(name, spec.shape)) for name, spec in self.SPECS.items()}


@dataclass(frozen=True)
class Elementwise(Plain):
    """y = f(x), element by element, with its slope; `clean` is f without rounding where f itself hides some."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"x": ArraySpec((5,))}

    f: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    clean: Callable[[Array], Array] | None = None

    def forward(self, x: Array) -> Array:
        return np.asarray(self.f(x))

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy * self.slope(x)}

    def reference(self, x: Array) -> Array:
        return np.asarray((self.clean or self.f)(x))


@dataclass(frozen=True, eq=False)
class Point:
    """A correct layer at one point: its arrays, the cotangent, and what is known about it.

    `undecidable` is the reason why no difference quotient can settle every element there. `edge` says that the
    point sits exactly on a kink or jump: there is no single true gradient, and what must come out is `expected`.
    `accuracy` bounds the error of the layer's own gradient, relative to the natural slope of each element, or to the
    largest of the point where the layer `cancels` digits. `coarse` is the relative error that the forward pass's own
    noise can hide.
    """

    name: str
    layer: Any
    arrays: Mapping[str, Array]
    cotangent: tuple[Array, ...]
    hard: bool = False
    dtype: str = "float64"
    undecidable: str | None = None
    edge: bool = False
    accuracy: float = 1e-12
    cancels: bool = False
    coarse: float = 3e-7
    digits: int = 40

    @property
    def wrt(self) -> tuple[str, ...]:
        """The arrays that have a gradient."""
        specs = self.layer.arrays(**{name: value.shape for name, value in self.arrays.items()})
        return tuple(name for name, spec in specs.items() if spec.differentiable)


@dataclass(frozen=True)
class Options:
    """What a point says about itself beside its arrays."""

    arrays: Mapping[str, Any] = field(default_factory=dict)
    cotangent: Any = None
    upstream: float = 1.0
    seed: int = 0
    known: Mapping[str, Any] = field(default_factory=dict)


def easy(*, seed: int = 0, **arrays: Any) -> Options:
    """A point with nothing special about it; arrays not given are drawn."""
    return Options(arrays, seed=seed)


def hard(
    *,
    known: Mapping[str, Any] | None = None,
    seed: int = 0,
    cotangent: Any = None,
    upstream: float = 1.0,
    **arrays: Any,
) -> Options:
    """A point at which something is difficult; `known` holds further fields of the point.

    The cotangent is drawn and multiplied by `upstream`, or given.
    """
    return Options(arrays, cotangent, upstream, seed, {"hard": True} | dict(known or {}))


def points(name: str, layer: Any, **where: Options) -> list[Point]:
    """The layer at every point named; `name-where` is the name of each."""
    return [_point(f"{name}-{place}", layer, options) for place, options in where.items()]


def _point(name: str, layer: Any, options: Options) -> Point:
    dtype = options.known.get("dtype", "float64")
    given = {
        array: Given(draw=value) if callable(value) else Given(values=np.asarray(value))
        for array, value in options.arrays.items()
    }
    arrays = draw_arrays(layer.arrays(**given_shapes(given)), given, dtype, options.seed, 0)
    outputs = as_outputs(layer.forward(**{array: value.copy() for array, value in arrays.items()}))
    cotangent = tuple((options.upstream * part).astype(part.dtype) for part in draw_cotangent(outputs, options.seed, 0))
    if options.cotangent is not None:
        parts = options.cotangent if isinstance(options.cotangent, tuple) else (options.cotangent,)
        cotangent = tuple(np.broadcast_to(p, y.shape).astype(y.dtype) for p, y in zip(parts, outputs, strict=True))
    return Point(name, layer, arrays, cotangent, **options.known)


def as_given(parts: tuple[Array, ...], outputs: Outputs) -> Any:
    """Cotangents in the form that the layer returns its outputs in: one array, or a tuple."""
    return parts if isinstance(outputs, tuple) else parts[0]

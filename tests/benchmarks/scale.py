"""Works of growing size: linear layers up to millions of weights, some of whose gradients are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.registry import LAYERS
from tests.benchmarks.works import Work

RELATIVE_ERROR = 1e-2
BATCH = 8


def mixing(y: Array) -> Array:
    """The discrete Hartley transform over both axes, orthogonal and its own inverse: each output feels every entry."""
    z = np.fft.fft2(y)
    return np.asarray((z.real - z.imag) / np.sqrt(y.size))


@dataclass(frozen=True)
class Behind:
    """A linear layer with something behind it, as somebody's code that tells nothing of its structure."""

    what: str

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        specs: Mapping[str, ArraySpec] = LAYERS["linear"]().arrays(**given)
        return specs

    def forward(self, x: Array, W: Array, b: Array) -> Array:
        z = x @ W.T + b
        return np.tanh(z) if self.what == "tanh" else mixing(z)

    def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:
        dz = dy * (1 - np.tanh(x @ W.T + b) ** 2) if self.what == "tanh" else mixing(dy)
        return {"x": dz @ W, "W": dz.T @ x, "b": dz.sum(axis=0)}


@dataclass(frozen=True, eq=False)
class Spoiled:
    """A layer whose gradient is wrong in some entries of W."""

    layer: Any
    wrong: Array

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        specs: Mapping[str, ArraySpec] = self.layer.arrays(**given)
        return specs

    def forward(self, **arrays: Array) -> Array:
        return np.asarray(self.layer.forward(**arrays))

    def vjp(self, dy: Array, **arrays: Array) -> dict[str, Array]:
        gradients = dict(self.layer.vjp(dy, **arrays))
        gradients["W"].reshape(-1)[self.wrong] *= 1 + RELATIVE_ERROR
        return gradients


def square(n: int, name: str, what: str = "", wrong: int = 0) -> Work:
    """A linear layer n to n; `what` is behind it, and so many of its weights have a wrong gradient."""
    rng = np.random.default_rng(n)
    arrays = {"x": rng.normal(size=(BATCH, n)), "W": rng.normal(size=(n, n)) / np.sqrt(n), "b": rng.normal(size=n)}
    dy = rng.normal(size=(BATCH, n))
    layer = Behind(what) if what else LAYERS["linear"]()
    places = np.sort(rng.choice(n * n, wrong, replace=False))

    def forward(x: Array, W: Array, b: Array) -> Array:
        return np.asarray(layer.forward(x=x, W=W, b=b))

    def gradient() -> dict[str, Array]:
        return dict(layer.vjp(dy, **arrays))

    whole = Spoiled(layer, places) if wrong else layer
    return Work(name, arrays, dy, forward, gradient, whole)


def _large(n: int, what: str, wrong: int) -> Callable[[], Work]:
    return lambda: square(n, large_name(what, wrong), what, wrong)


def large_name(what: str, wrong: int) -> str:
    """What a large work is called."""
    return f"large{f', {what} behind' if what else ''}, {wrong} wrong"


def growth_name(n: int) -> str:
    """What a growing work is called."""
    return f"growth, {n * n + n + BATCH * n} elements"


def _growing(n: int) -> Callable[[], Work]:
    return lambda: square(n, growth_name(n))


CASES = [(what, wrong) for what in ("", "mixing", "tanh") for wrong in (1, 5, 50)]
LARGE = {large_name(*case): _large(4096, *case) for case in CASES}
LARGE_QUICK = {large_name(*case): _large(12, *case) for case in CASES}
GROWTH = {growth_name(n): _growing(n) for n in (28, 96, 312, 996)}
GROWTH_QUICK = {growth_name(n): _growing(n) for n in (4, 8)}

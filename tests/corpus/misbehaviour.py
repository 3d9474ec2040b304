"""Backward passes that break the contract: wrong shape, dtype or keys, NaN, and state that leaks between calls."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Outputs, Shape
from tests.corpus import dense
from tests.corpus.mistakes import Mistake, changed


def _poked(value: float) -> Mistake:
    """The first element of every gradient replaced."""

    def mistake(g: dict[str, Array], dy: Any, **arrays: Array) -> dict[str, Array]:
        for part in g.values():
            part.flat[0] = value
        return g

    return mistake


def _mutates_array(g: dict[str, Array], dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:
    W *= 1.5
    return g


def _mutates_cotangent(g: dict[str, Array], dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:
    dy *= 2.0
    return g


@dataclass
class _Stateful:
    """A linear layer that remembers something between calls."""

    right: Any = field(default_factory=dense.Linear)
    kept: dict[str, Any] = field(default_factory=dict)
    calls: Any = field(default_factory=itertools.count)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        specs: Mapping[str, ArraySpec] = self.right.arrays(**given)
        return specs

    def forward(self, **arrays: Array) -> Outputs:
        outputs: Outputs = self.right.forward(**arrays)
        return outputs

    def vjp(self, dy: Array, **arrays: Array) -> Mapping[str, Array]:
        gradient: Mapping[str, Array] = self.right.vjp(dy, **arrays)
        return gradient


class StaleCache(_Stateful):
    """The gradient of W uses the x of whatever forward call came last, not the x it is given."""

    def forward(self, **arrays: Array) -> Outputs:
        self.kept["x"] = arrays["x"]
        return super().forward(**arrays)

    def vjp(self, dy: Array, **arrays: Array) -> Mapping[str, Array]:
        return super().vjp(dy, **arrays | {"x": self.kept.get("x", arrays["x"])})


class StaleForward(_Stateful):
    """The forward pass keeps its first result for W x and never computes it again."""

    def forward(self, **arrays: Array) -> Outputs:
        x = self.kept.setdefault("x", arrays["x"])
        return super().forward(**arrays | {"x": x})


class Accumulating(_Stateful):
    """The gradient of W is added to what earlier calls left."""

    def vjp(self, dy: Array, **arrays: Array) -> Mapping[str, Array]:
        gradient = dict(super().vjp(dy, **arrays))
        self.kept["W"] = gradient["W"] + self.kept.get("W", 0.0)
        return gradient | {"W": self.kept["W"]}


class Alternating(_Stateful):
    """Every second call of the backward pass is a tenth off."""

    def vjp(self, dy: Array, **arrays: Array) -> Mapping[str, Array]:
        factor = 1.1 if next(self.calls) % 2 else 1.0
        return {name: factor * value for name, value in super().vjp(dy, **arrays).items()}


class FreshMask(_Stateful):
    """A dropout whose backward pass draws a mask of its own."""

    def __init__(self) -> None:
        super().__init__(dense.Dropout())
        self.rng = np.random.default_rng(5)

    def vjp(self, dy: Array, **arrays: Array) -> Mapping[str, Array]:
        return {"x": np.where(self.rng.random(dy.shape) < 0.6, dy / 0.6, 0.0)}


class RandomForward(_Stateful):
    """A dropout that draws its mask anew at every forward call."""

    def __init__(self) -> None:
        super().__init__(dense.Dropout())
        self.rng = np.random.default_rng(6)

    def forward(self, **arrays: Array) -> Outputs:
        return np.where(self.rng.random(arrays["x"].shape) < 0.6, arrays["x"] / 0.6, 0.0)


MISTAKES: Mapping[str, Mapping[str, Mistake]] = {
    "linear-plain": {
        "nan": _poked(np.nan),
        "infinite": _poked(np.inf),
        "shape_flat": changed("W", np.ravel),
        "shape_longer": changed("b", lambda v: np.append(v, 0.0)),
        "shape_row": changed("b", lambda v: v[None, :].repeat(2, axis=0)),
        "dtype_float32": changed("W", lambda v: v.astype(np.float32)),
        "dtype_integer": changed("W", lambda v: v.astype(np.int64)),
        "key_missing": lambda g, dy, x, W, b: {"x": g["x"], "W": g["W"]},
        "none": changed("b", lambda v: None),
        "mutates_array": _mutates_array,
        "mutates_cotangent": _mutates_cotangent,
    },
    "softmax-plain": {"nan": _poked(np.nan)},
    "tiny_tanh-plain": {"nan": _poked(np.nan)},
}

STATEFUL: Mapping[str, tuple[str, type[_Stateful]]] = {
    "linear-stale_cache": ("linear-plain", StaleCache),
    "linear-stale_forward": ("linear-plain", StaleForward),
    "linear-accumulating": ("linear-plain", Accumulating),
    "linear-alternating": ("linear-plain", Alternating),
    "dropout-fresh_mask": ("dropout-plain", FreshMask),
    "dropout-random_forward": ("dropout-plain", RandomForward),
}

"""A layer on the bench: called on copies, watched for what it does to them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array, Differentiable, as_outputs
from gradcheck_cli.numeric.objective import Ledger, kept, quiet
from gradcheck_cli.values import dataclass, field


class NotAFunctionError(ValueError):
    """Forward returned something that cannot be differentiated."""


@dataclass
class Bench:
    """A layer on the bench: calls it on copies, watches what it does to them, and keeps what it says.

    `seconds` is what the quickest evaluation took.
    """

    layer: Differentiable
    arrays: Mapping[str, Array]
    wrt: Sequence[str]
    ledger: Ledger
    outputs: tuple[Array, ...] = ()
    again: tuple[Array, ...] = ()
    cotangent: tuple[Array, ...] = ()
    gradients: Mapping[str, Any] = field(default_factory=dict)
    second: Mapping[str, Any] = field(default_factory=dict)
    touched: set[tuple[str, str]] = field(default_factory=set)
    several: bool = False
    seconds: float = math.inf

    def forward(self, arrays: Mapping[str, Array]) -> tuple[Array, ...]:
        """Call forward on copies; note which of them it changed."""
        self.ledger.evaluations["plumbing"] += 1
        start = time.perf_counter()
        copies = {name: array.copy() for name, array in arrays.items()}
        with quiet:
            value = self.layer.forward(**copies)
        self.seconds = min(self.seconds, time.perf_counter() - start)
        self._watch("forward", arrays, copies)
        self.several = isinstance(value, tuple)
        return numeric_outputs(value)

    def vjp(self, cotangent: Sequence[Array], arrays: Mapping[str, Array]) -> Mapping[str, Any]:
        """Call the VJP on copies; note which of them it changed."""
        self.ledger.vjp_calls += 1
        copies = {name: array.copy() for name, array in arrays.items()}
        parts = tuple(part.copy() for part in cotangent)
        with quiet:
            gradients = self.layer.vjp(parts if self.several else parts[0], **copies)
        self._watch("the VJP", arrays, copies)
        if any(not _equal(before, after) for before, after in zip(cotangent, parts, strict=True)):
            self.touched.add(("the VJP", "dy"))
        if not isinstance(gradients, Mapping):
            came = type(gradients).__name__
            raise NotAFunctionError(f"the VJP returned {came}; it must return a mapping from array names to gradients")
        return kept(gradients)

    def _watch(self, who: str, before: Mapping[str, Array], after: Mapping[str, Array]) -> None:
        self.touched |= {(who, name) for name in before if not _equal(before[name], after[name])}

    def elsewhere(self) -> dict[str, Array]:
        """The same arrays at another point: floats reversed and negated."""
        return {
            name: np.ascontiguousarray(-array[tuple([slice(None, None, -1)] * array.ndim)])
            if array.dtype.kind == "f"
            else array
            for name, array in self.arrays.items()
        }

    def disturb(self) -> None:
        """Call forward at another point, for what it leaves behind; its result and its exceptions do not matter."""
        for arrays in (self.elsewhere(), {n: a * 1.37 if a.dtype.kind == "f" else a for n, a in self.arrays.items()}):
            try:
                self.forward(
                    {name: array.astype(self.arrays[name].dtype, copy=False) for name, array in arrays.items()}
                )
            except Exception:  # noqa: BLE001 - the other point may lie outside the domain
                continue
            return


def _equal(a: Array, b: Array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool((a == b).all()) or np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def numeric_outputs(value: Any) -> tuple[Array, ...]:
    """The outputs as arrays of floats, or an error that says what came."""
    parts = as_outputs(value) if value is not None else ()
    for part in parts:
        if part.dtype.kind not in "fc":
            raise NotAFunctionError(
                f"forward returned {part.dtype} values; the output must be a float array, or a tuple of them"
            )
    if not parts or sum(part.size for part in parts) == 0:
        raise NotAFunctionError(f"forward returned {_named(value)}; it must return at least one float")
    return parts


def _named(value: Any) -> str:
    return "None" if value is None else "nothing" if isinstance(value, tuple) else "an empty array"


def first_look(bench: Bench) -> Bench:
    """Forward twice at the point with a call elsewhere between."""
    bench.outputs = bench.forward(bench.arrays)
    bench.disturb()
    bench.again = bench.forward(bench.arrays)
    return bench


def first_vjp(bench: Bench, cotangent: Sequence[Array]) -> None:
    """The VJP twice at the point, with a call of forward elsewhere between."""
    bench.cotangent = tuple(cotangent)
    bench.gradients = bench.vjp(cotangent, bench.arrays)
    bench.disturb()
    bench.second = bench.vjp(cotangent, bench.arrays)

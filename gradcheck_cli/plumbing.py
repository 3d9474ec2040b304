"""What must hold before any number is compared: each test is small, names its own bug, and costs a handful of calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array, Differentiable, as_outputs
from gradcheck_cli.numeric.noise import AnalyticNoise
from gradcheck_cli.numeric.objective import Ledger, Objective, fitted, flatten, quiet
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.results import Finding

NOISE = 1e-3  # two calls at one point that differ by less, relatively, are noisy; by more, forward is no function
REPEAT = 1e-6  # two VJP calls at one point may differ by this, relatively


class NotAFunctionError(ValueError):
    """Forward returned something that cannot be differentiated."""


@dataclass
class Bench:
    """A layer on the bench: calls it on copies, watches what it does to them, and keeps what it says."""

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

    def forward(self, arrays: Mapping[str, Array]) -> tuple[Array, ...]:
        """Call forward on copies; note which of them it changed."""
        self.ledger.evaluations["plumbing"] += 1
        copies = {name: array.copy() for name, array in arrays.items()}
        with quiet():
            value = self.layer.forward(**copies)
        self._watch("forward", arrays, copies)
        self.several = isinstance(value, tuple)
        return numeric_outputs(value)

    def vjp(self, cotangent: Sequence[Array], arrays: Mapping[str, Array]) -> Mapping[str, Any]:
        """Call the VJP on copies; note which of them it changed."""
        self.ledger.vjp_calls += 1
        copies = {name: array.copy() for name, array in arrays.items()}
        parts = tuple(part.copy() for part in cotangent)
        with quiet():
            gradients = self.layer.vjp(parts if self.several else parts[0], **copies)
        self._watch("the VJP", arrays, copies)
        if any(not _equal(before, after) for before, after in zip(cotangent, parts, strict=True)):
            self.touched.add(("the VJP", "dy"))
        if not isinstance(gradients, Mapping):
            came = type(gradients).__name__
            raise NotAFunctionError(f"the VJP returned {came}; it must return a mapping from array names to gradients")
        return dict(gradients)

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
                self.forward({name: array.astype(self.arrays[name].dtype) for name, array in arrays.items()})
            except Exception:  # noqa: BLE001 - the other point may lie outside the domain
                continue
            return


def _equal(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


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


def _error(rule: str, array: str | None, sentence: str) -> Finding:
    return Finding(rule, "error", array, sentence)


def forward_is_finite(bench: Bench) -> Iterator[Finding]:
    """NaN and infinities in the output at the point itself."""
    bad = sum(int((~np.isfinite(part)).sum()) for part in bench.outputs)
    if bad:
        total = sum(part.size for part in bench.outputs)
        yield _error(
            "forward-nonfinite", None, f"forward is not finite here: {bad} of {total} outputs are NaN or infinite"
        )


def forward_is_pure(bench: Bench) -> Iterator[Finding]:
    """The same arrays give the same outputs, whatever was computed between."""
    if [part.shape for part in bench.outputs] != [part.shape for part in bench.again]:
        yield _error("not-a-function", None, "forward returned another shape when called again at the same point")
        return
    one, two = flatten(bench.outputs), flatten(bench.again)
    with np.errstate(invalid="ignore"):
        change = float(np.max(np.abs(one - two), initial=0.0))
    scale = float(np.max(np.abs(one), initial=0.0))
    if change > NOISE * scale:
        yield _error(
            "not-a-function",
            None,
            f"forward is not a function of its inputs: called twice at the same point, with another call between, its "
            f"outputs differ by {change:.2g} (outputs up to {scale:.2g}); look for random numbers, caches or state",
        )
    elif change > 0:
        yield Finding(
            "noisy-forward", "note", None, f"forward is noisy: two calls at the same point differ by {change:.2g}"
        )


def nothing_is_mutated(bench: Bench) -> Iterator[Finding]:
    """Forward and the VJP leave what they are given alone."""
    for who, name in sorted(bench.touched):
        yield _error("mutates-input", name if name != "dy" else None, f"{who} changes its input {name!r} in place")


def keys_fit(bench: Bench) -> Iterator[Finding]:
    """There is a gradient for every differentiable array and none for unknown names."""
    for name in bench.wrt:
        if bench.gradients.get(name) is None:
            got = ", ".join(bench.gradients) or "nothing"
            yield _error("missing-gradient", name, f"the VJP returns no gradient for {name!r}; it returns {got}")
    for name in bench.gradients:
        if name not in bench.arrays:
            hint = did_you_mean(str(name), bench.arrays)
            yield _error("unknown-gradient", None, f"the VJP returns a gradient for {name!r}, which is no array{hint}")


def _returned(bench: Bench) -> Iterator[tuple[str, Array]]:
    for name in bench.wrt:
        if bench.gradients.get(name) is not None:
            yield name, np.asarray(bench.gradients[name])


def shapes_fit(bench: Bench) -> Iterator[Finding]:
    """Every gradient has the shape of its array."""
    for name, gradient in _returned(bench):
        shape = bench.arrays[name].shape
        if gradient.shape != shape:
            hint = ""
            if gradient.size > np.prod(shape) and gradient.shape[gradient.ndim - len(shape) :] == shape:
                hint = "; the sum over the leading axes (the batch) is missing"
            elif gradient.shape == shape[::-1]:
                hint = "; it is transposed"
            elif gradient.ndim == 0:
                hint = "; it is one number for the whole array"
            yield _error(
                "shape", name, f"the gradient of {name!r} has shape {gradient.shape}, {name!r} has {shape}{hint}"
            )


def dtypes_fit(bench: Bench) -> Iterator[Finding]:
    """Every gradient is a float array at least as precise as its array."""
    for name, gradient in _returned(bench):
        dtype = bench.arrays[name].dtype
        if gradient.dtype.kind != "f":
            yield _error(
                "dtype", name, f"the gradient of {name!r} is {gradient.dtype}; it must be {dtype} like {name!r}"
            )
        elif np.finfo(gradient.dtype).eps > np.finfo(dtype).eps:
            yield _error(
                "dtype", name, f"the gradient of {name!r} is {gradient.dtype}, {name!r} is {dtype}: digits are lost"
            )
        elif gradient.dtype != dtype:
            yield Finding("dtype", "note", name, f"the gradient of {name!r} is {gradient.dtype}, {name!r} is {dtype}")


def gradients_are_finite(bench: Bench) -> Iterator[Finding]:
    """NaN in a gradient is never right."""
    for name, gradient in _returned(bench):
        if gradient.dtype.kind == "f" and np.isnan(gradient).any():
            bad = int(np.isnan(gradient).sum())
            yield _error("nan-gradient", name, f"the gradient of {name!r} is NaN in {bad} of {gradient.size} elements")


def vjp_repeats(bench: Bench) -> Iterator[Finding]:
    """The VJP gives the same gradients again after a call elsewhere."""
    for name, gradient in _returned(bench):
        if gradient.dtype.kind != "f" or bench.second.get(name) is None:
            continue
        one, two = gradient, np.asarray(bench.second[name])
        if one.shape != two.shape:
            yield _error(
                "hidden-state", name, f"the gradient of {name!r} has another shape when the VJP is called again"
            )
            continue
        with np.errstate(invalid="ignore"):
            change, scale = np.max(np.abs(one - two), initial=0.0), np.max(np.abs(one), initial=0.0)
            doubled = bool(scale > 0 and np.allclose(two, 2 * one, rtol=REPEAT, atol=0))
        if doubled:
            sentence = f"the gradient of {name!r} accumulates: a second call of the VJP returns twice the first"
            yield _error("accumulates", name, sentence)
        elif change > max(REPEAT, float(100 * np.finfo(one.dtype).eps)) * scale:
            sentence = (
                f"the gradient of {name!r} changes by {change:.2g} (size {scale:.2g}) when the VJP is called again at "
                f"the same point after another call of forward; look for caches, state or fresh random numbers"
            )
            yield _error("hidden-state", name, sentence)


def forward_inside_vjp(bench: Bench) -> Iterator[Finding]:
    """The output that the backward pass computed for itself is forward's."""
    look = getattr(bench.layer, "output_in_vjp", None)
    if look is None:
        return
    inner = look(
        bench.cotangent if bench.several else bench.cotangent[0], **{n: a.copy() for n, a in bench.arrays.items()}
    )
    if inner is None:
        return
    one, two = flatten(bench.outputs), flatten(as_outputs(inner))
    if one.shape != two.shape or not np.allclose(one, two, rtol=NOISE, atol=NOISE * float(np.abs(one).max(initial=0))):
        yield _error(
            "forward-in-vjp", None, "the forward pass inside the backward pass gives another output than forward"
        )


STRUCTURE: tuple[Callable[[Bench], Iterator[Finding]], ...] = (
    keys_fit,
    shapes_fit,
    dtypes_fit,
    gradients_are_finite,
    vjp_repeats,
    forward_inside_vjp,
    nothing_is_mutated,
)
PURITY: tuple[Callable[[Bench], Iterator[Finding]], ...] = (forward_is_finite, forward_is_pure)


def examine(bench: Bench, tests: Sequence[Callable[[Bench], Iterator[Finding]]]) -> list[Finding]:
    """Run tests in order."""
    return [finding for test in tests for finding in test(bench)]


def linearity(
    objective: Objective, wrt: Sequence[str], gradients: Mapping[str, Any], rounding: AnalyticNoise, other: Array
) -> list[Finding]:
    """The VJP is linear in dy: at 2 dy, at 0, and at a sum; 4 VJP calls. Skipped where there is no dy."""
    if getattr(objective.layer, "ignores_dy", False):
        sentence = "the function returns its gradient together with its loss and takes no dy: linearity is not tested"
        return [Finding("no-dy", "note", None, sentence)]
    dy = objective.cotangent
    calls = {"twice": 2 * dy, "zero": 0 * dy, "other": other, "sum": dy + other}
    found = {key: objective.vjp(cotangent) for key, cotangent in calls.items()}
    findings = []
    for name in wrt:
        shape = objective.arrays[name].shape
        one = fitted(gradients.get(name), shape)
        if not np.isfinite(one).all():
            continue
        columns = {key: fitted(value.get(name), shape) for key, value in found.items()}
        largest = max(np.abs(one).max(initial=0.0), np.abs(columns["other"]).max(initial=0.0))
        allowed = np.max(rounding.bound[name], axis=1) + 64 * rounding.unit * largest
        findings += _nonlinear(name, one, columns, allowed, bool(np.abs(dy).any()))
    return findings


def _nonlinear(name: str, one: Array, columns: Mapping[str, Array], allowed: Array, nonzero: bool) -> Iterator[Finding]:
    size = np.abs(one).max(initial=0.0)
    if nonzero and size > 0 and np.array_equal(columns["twice"], one) and np.array_equal(columns["zero"], one):
        sentence = (
            f"the gradient of {name!r} ignores the upstream gradient: it is the same for dy, 2 dy and 0; "
            f"multiply by dy (dL/dy) in the backward pass"
        )
        yield _error("dy-ignored", name, sentence)
    elif (np.abs(columns["zero"]) > 0).any() or np.isnan(columns["zero"]).any():
        worst = np.nanmax(np.abs(columns["zero"]), initial=0.0)
        yield _error("dy-nonzero", name, f"for dy = 0 the gradient of {name!r} is not 0 but up to {worst:.2g}")
    elif (~(np.abs(columns["twice"] - 2 * one) <= 4 * allowed)).any():
        yield _error(
            "dy-nonlinear", name, f"for 2 dy the gradient of {name!r} does not double: dy is used non-linearly"
        )
    else:
        total, parts = columns["sum"], one + columns["other"]
        slack = 8 * allowed + 1e-9 * np.abs(columns["other"]).max(initial=0.0)
        if (~(np.abs(total - parts) <= slack)).any():
            sentence = f"for a sum of two dy the gradient of {name!r} is not the sum of both: dy is used non-linearly"
            yield _error("dy-nonlinear", name, sentence)

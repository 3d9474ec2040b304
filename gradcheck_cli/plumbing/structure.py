"""Structural tests, in order: purity, keys, shapes, dtypes, finiteness, repetition, mutation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gradcheck_cli.layer import Array, as_outputs
from gradcheck_cli.numeric.objective import flatten
from gradcheck_cli.plumbing.bench import Bench
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.results import Finding

NOISE = 1e-3  # two calls at one point that differ by less, relatively, are noisy; by more, forward is no function
REPEAT = 1e-6  # two VJP calls at one point may differ by this, relatively


def problem(rule: str, array: str | None, sentence: str) -> Finding:
    """A finding that makes the check fail."""
    return Finding(rule, "error", array, sentence)


def forward_is_finite(bench: Bench) -> Iterator[Finding]:
    """NaN and infinities in the output at the point itself."""
    bad = sum(int((~np.isfinite(part)).sum()) for part in bench.outputs)
    if bad:
        total = sum(part.size for part in bench.outputs)
        yield problem(
            "forward-nonfinite", None, f"forward is not finite here: {bad} of {total} outputs are NaN or infinite"
        )


def forward_is_pure(bench: Bench) -> Iterator[Finding]:
    """The same arrays give the same outputs, whatever was computed between."""
    if [part.shape for part in bench.outputs] != [part.shape for part in bench.again]:
        yield problem("not-a-function", None, "forward returned another shape when called again at the same point")
        return
    one, two = flatten(bench.outputs), flatten(bench.again)
    with np.errstate(invalid="ignore"):
        change = float(np.max(np.abs(one - two), initial=0.0))
    scale = float(np.max(np.abs(one), initial=0.0))
    if change > NOISE * scale:
        yield problem(
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
        yield problem("mutates-input", name if name != "dy" else None, f"{who} changes its input {name!r} in place")


def keys_fit(bench: Bench) -> Iterator[Finding]:
    """There is a gradient for every differentiable array and none for unknown names."""
    for name in bench.wrt:
        if bench.gradients.get(name) is None:
            got = ", ".join(bench.gradients) or "nothing"
            yield problem("missing-gradient", name, f"the VJP returns no gradient for {name!r}; it returns {got}")
    for name in bench.gradients:
        if name not in bench.arrays:
            hint = did_you_mean(str(name), bench.arrays)
            yield problem("unknown-gradient", None, f"the VJP returns a gradient for {name!r}, which is no array{hint}")


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
            yield problem(
                "shape", name, f"the gradient of {name!r} has shape {gradient.shape}, {name!r} has {shape}{hint}"
            )


def dtypes_fit(bench: Bench) -> Iterator[Finding]:
    """Every gradient is a float array at least as precise as its array."""
    for name, gradient in _returned(bench):
        dtype = bench.arrays[name].dtype
        if gradient.dtype.kind != "f":
            yield problem(
                "dtype", name, f"the gradient of {name!r} is {gradient.dtype}; it must be {dtype} like {name!r}"
            )
        elif np.finfo(gradient.dtype).eps > np.finfo(dtype).eps:
            yield problem(
                "dtype", name, f"the gradient of {name!r} is {gradient.dtype}, {name!r} is {dtype}: digits are lost"
            )
        elif gradient.dtype != dtype:
            yield Finding("dtype", "note", name, f"the gradient of {name!r} is {gradient.dtype}, {name!r} is {dtype}")


def gradients_are_finite(bench: Bench) -> Iterator[Finding]:
    """NaN in a gradient is never right."""
    for name, gradient in _returned(bench):
        if gradient.dtype.kind == "f" and np.isnan(gradient).any():
            bad = int(np.isnan(gradient).sum())
            yield problem("nan-gradient", name, f"the gradient of {name!r} is NaN in {bad} of {gradient.size} elements")


def vjp_repeats(bench: Bench) -> Iterator[Finding]:
    """The VJP gives the same gradients again after a call elsewhere."""
    for name, gradient in _returned(bench):
        if gradient.dtype.kind != "f" or bench.second.get(name) is None:
            continue
        one, two = gradient, np.asarray(bench.second[name])
        if one.shape != two.shape:
            yield problem(
                "hidden-state", name, f"the gradient of {name!r} has another shape when the VJP is called again"
            )
            continue
        if np.array_equal(one, two):
            continue
        with np.errstate(invalid="ignore"):
            change, scale = np.max(np.abs(one - two), initial=0.0), np.max(np.abs(one), initial=0.0)
        if change == 0:
            continue
        doubled = bool(0 < scale < np.inf and np.allclose(two, 2 * one, rtol=REPEAT, atol=0))
        if doubled:
            sentence = f"the gradient of {name!r} accumulates: a second call of the VJP returns twice the first"
            yield problem("accumulates", name, sentence)
        elif change > max(REPEAT, float(100 * np.finfo(one.dtype).eps)) * scale:
            sentence = (
                f"the gradient of {name!r} changes by {change:.2g} (size {scale:.2g}) when the VJP is called again at "
                f"the same point after another call of forward; look for caches, state or fresh random numbers"
            )
            yield problem("hidden-state", name, sentence)


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
        yield problem(
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

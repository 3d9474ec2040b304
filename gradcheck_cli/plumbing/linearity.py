"""Is the VJP linear in dy? Each way in which it is not names its own bug."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.noise import AnalyticNoise
from gradcheck_cli.numeric.objective import Objective, fitted
from gradcheck_cli.numeric.scales import lengths
from gradcheck_cli.plumbing.structure import problem
from gradcheck_cli.results import Finding


def linearity(
    objective: Objective,
    wrt: Sequence[str],
    gradients: Mapping[str, Any],
    rounding: AnalyticNoise,
    other: Array,
    centre: Array,
) -> list[Finding]:
    """The VJP is linear in dy: at 2 dy, at 0, and at a sum; 4 VJP calls. Skipped where there is no dy."""
    if getattr(objective.layer, "ignores_dy", False):
        sentence = "the function returns its gradient together with its loss and takes no dy: linearity is not tested"
        return [Finding("no-dy", "note", None, sentence)]
    dy = objective.cotangent
    calls = {"twice": 2 * dy, "zero": 0 * dy, "other": other, "sum": dy + other}
    found = {key: objective.vjp(cotangent) for key, cotangent in calls.items()}
    findings: list[Finding] = []
    for name in wrt:
        shape = objective.arrays[name].shape
        one = fitted(gradients.get(name), shape)
        if not np.isfinite(one).all() or np.asarray(gradients[name]).dtype.kind != "f":
            continue  # which is a finding of its own
        columns = {key: fitted(value.get(name), shape) for key, value in found.items()}
        largest = max(np.abs(one).max(initial=0.0), np.abs(columns["other"]).max(initial=0.0))
        shortest = float(np.min(lengths(objective.arrays[name].reshape(-1)), initial=1.0))
        unit = max(rounding.unit, float(np.finfo(np.asarray(gradients[name]).dtype).eps) / 2)
        natural = 64 * unit * float(np.abs(objective.cotangent * centre).sum()) / shortest
        allowed = np.max(rounding.bound[name], axis=1) + 64 * unit * largest + natural
        findings += _nonlinear(name, one, columns, allowed, bool(np.abs(dy).any()))
    return findings


def _nonlinear(name: str, one: Array, columns: Mapping[str, Array], allowed: Array, nonzero: bool) -> Iterator[Finding]:
    size = np.abs(one).max(initial=0.0)
    if nonzero and size > 0 and np.array_equal(columns["twice"], one) and np.array_equal(columns["zero"], one):
        sentence = (
            f"the gradient of {name!r} ignores the upstream gradient: it is the same for dy, 2 dy and 0; "
            f"multiply by dy (dL/dy) in the backward pass"
        )
        yield problem("dy-ignored", name, sentence)
    elif (np.abs(columns["zero"]) > 0).any() or np.isnan(columns["zero"]).any():
        worst = np.nanmax(np.abs(columns["zero"]), initial=0.0)
        yield problem("dy-nonzero", name, f"for dy = 0 the gradient of {name!r} is not 0 but up to {worst:.2g}")
    elif (~(np.abs(columns["twice"] - 2 * one) <= 4 * allowed)).any():
        yield problem(
            "dy-nonlinear", name, f"for 2 dy the gradient of {name!r} does not double: dy is used non-linearly"
        )
    else:
        total, parts = columns["sum"], one + columns["other"]
        slack = 8 * allowed + 1e-9 * np.abs(columns["other"]).max(initial=0.0)
        if (~(np.abs(total - parts) <= slack)).any():
            sentence = f"for a sum of two dy the gradient of {name!r} is not the sum of both: dy is used non-linearly"
            yield problem("dy-nonlinear", name, sentence)

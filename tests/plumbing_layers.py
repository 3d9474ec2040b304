"""A clean layer for the plumbing tests, which are run with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.results import CheckResult
from tests.judging import check

X = np.array([[0.3, -0.7], [1.1, 0.4], [-1.6, 0.9]])
W = np.array([[0.5, -1.2], [0.8, 0.3]])


class Clean:
    """y = tanh(x W) by rows, with its VJP; the wrong layers below change one thing."""

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec((3, 2)), "W": ArraySpec((2, 2))}

    def forward(self, x: Array, W: Array) -> Any:
        return np.tanh(x @ W)

    def vjp(self, dy: Any, x: Array, W: Array) -> Any:
        inner = dy / np.cosh(x @ W) ** 2
        return {"x": inner @ W.T, "W": x.T @ inner}


def judged(layer: Any, **asked: Any) -> CheckResult:
    return check(layer, {"x": X, "W": W}, **asked)


def told(result: CheckResult) -> list[tuple[str, str, str | None, str]]:
    """The findings of the plumbing; the diagnosis adds its own."""
    plumbing = {
        *("not-a-function", "noisy-forward", "mutates-input", "missing-gradient", "unknown-gradient", "shape", "dtype"),
        *("nan-gradient", "accumulates", "hidden-state", "forward-in-vjp", "dy-ignored", "dy-nonzero", "dy-nonlinear"),
        *("no-dy", "jvp", "jvp-vjp", "jvp-difference", "jacobian", "forward-nonfinite"),
    }
    return [(f.rule, f.severity, f.array, f.sentence) for f in result.findings if f.rule in plumbing]

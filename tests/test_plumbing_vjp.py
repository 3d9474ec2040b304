"""The VJP must be linear in dy, and optional members must agree with it: each breach has its own finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array
from gradcheck_cli.results import Verdict
from tests.plumbing_layers import Clean, W, X, judged, told


class Unlike(Clean):
    """Its backward pass computes its own, possibly other, output."""

    def __init__(self, factor: float, shape: tuple[int, ...] = (3, 2), given: bool = True) -> None:
        self.factor, self.shape, self.given = factor, shape, given

    def output_in_vjp(self, dy: Any, x: Array, W: Array) -> Any:
        return self.factor * np.tanh(x @ W).reshape(self.shape) if self.given else None


def test_forward_inside_the_backward_pass() -> None:
    sentence = "the forward pass inside the backward pass gives another output than forward"
    assert told(judged(Unlike(1.01))) == [("forward-in-vjp", "error", None, sentence)]
    assert told(judged(Unlike(1.0))) == []
    assert told(judged(Unlike(1.01, given=False))) == []


class Upstream(Clean):
    """Uses dy in its own way."""

    def __init__(self, use: Callable[[Array], Array]) -> None:
        self.use = use

    def vjp(self, dy: Any, x: Array, W: Array) -> Any:
        return super().vjp(self.use(dy), x, W)


def test_upstream_gradient_ignored() -> None:
    end = "ignores the upstream gradient: it is the same for dy, 2 dy and 0"
    remedy = "multiply by dy (dL/dy) in the backward pass"
    assert told(judged(Upstream(np.ones_like))) == [
        ("dy-ignored", "error", name, f"the gradient of {name!r} {end}; {remedy}") for name in ("x", "W")
    ]


def test_gradient_that_is_not_zero_for_no_upstream_gradient() -> None:
    result = judged(Upstream(lambda dy: dy + 0.5))
    assert [rule for rule, *_ in told(result)] == ["dy-nonzero", "dy-nonzero"]
    size = float(np.abs(Clean().vjp(np.full((3, 2), 0.5), X, W)["x"]).max())
    assert told(result)[0] == (
        *("dy-nonzero", "error", "x"),
        f"for dy = 0 the gradient of 'x' is not 0 but up to {size:.2g}",
    )


@pytest.mark.parametrize("use", [lambda dy: dy * np.abs(dy), lambda dy: dy**3], ids=["dy |dy|", "dy³"])
def test_upstream_gradient_used_twice(use: Callable[[Array], Array]) -> None:
    assert told(judged(Upstream(use))) == [
        ("dy-nonlinear", "error", name, f"for 2 dy the gradient of {name!r} does not double: dy is used non-linearly")
        for name in ("x", "W")
    ]


@pytest.mark.parametrize("use", [np.abs, lambda dy: np.sort(dy, axis=0)], ids=["|dy|", "sorted dy"])
def test_upstream_gradient_that_scales_but_does_not_add(use: Callable[[Array], Array]) -> None:
    assert told(judged(Upstream(use))) == [
        (
            *("dy-nonlinear", "error", name),
            f"for a sum of two dy the gradient of {name!r} is not the sum of both: dy is used non-linearly",
        )
        for name in ("x", "W")
    ]


class Loss(Clean):
    """Returns a loss; its gradient comes with it and takes no dy."""

    ignores_dy = True

    def forward(self, x: Array, W: Array) -> Any:
        return np.asarray(super().forward(x, W).sum())

    def vjp(self, dy: Any, x: Array, W: Array) -> Any:
        return super().vjp(np.ones((3, 2)), x, W)


def test_linearity_is_not_tested_where_there_is_no_dy() -> None:
    result = judged(Loss())
    sentence = "the function returns its gradient together with its loss and takes no dy: linearity is not tested"
    assert told(result) == [("no-dy", "note", None, sentence)]
    assert result.verdict is Verdict.PASS


class Pushing(Clean):
    """With the optional members, each times a factor."""

    def __init__(self, jvp: float = 1.0, jacobian: float = 1.0, keys: tuple[str, ...] = ("x", "W")) -> None:
        self.factor, self.table, self.keys = jvp, jacobian, keys

    def jvp(self, tangents: Mapping[str, Array], x: Array, W: Array) -> Any:
        return self.factor * (tangents["x"] @ W + x @ tangents["W"]) / np.cosh(x @ W) ** 2

    def jacobian(self, x: Array, W: Array) -> Mapping[str, Array]:
        rows = [super(Pushing, self).vjp(row.reshape(3, 2), x, W) for row in np.eye(6)]
        return {name: self.table * np.stack([row[name] for row in rows]) for name in self.keys}


def test_right_optional_members() -> None:
    result = judged(Pushing())
    assert result.findings == ()
    assert result.evaluations_by_tier["plumbing"] == judged(Clean()).evaluations_by_tier["plumbing"] + 4


def test_wrong_jvp_disagrees_with_the_vjp_and_with_differences() -> None:
    result = judged(Pushing(jvp=1.01))
    assert [(rule, severity) for rule, severity, *_ in told(result)] == [
        ("jvp-vjp", "error"),
        ("jvp-difference", "error"),
    ]
    first, second = (sentence for *_, sentence in told(result))
    assert first.startswith("jvp and vjp disagree: <dy, J v> = ")
    assert second.startswith("jvp differs from finite differences: output ")
    assert result.verdict is Verdict.FAIL


def test_jvp_of_another_shape() -> None:
    class Short(Pushing):
        def jvp(self, tangents: Mapping[str, Array], x: Array, W: Array) -> Any:
            return super().jvp(tangents, x, W)[:2]

    sentence = "jvp returns 4 values; forward has 6 outputs"
    assert told(judged(Short())) == [("jvp", "error", None, sentence)]


def test_wrong_jacobian() -> None:
    assert told(judged(Pushing(jacobian=1.01))) == [
        ("jacobian", "error", name, f"jacobian and vjp disagree for {name!r}: dy' J is not the VJP of dy")
        for name in ("x", "W")
    ]


def test_incomplete_jacobian() -> None:
    assert told(judged(Pushing(keys=("x",)))) == [
        ("jacobian", "error", "W", "jacobian returns nothing for 'W'"),
    ]

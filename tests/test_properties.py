"""Random smooth formulas at random points and scales: never a fail, and the uncertainty covers the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.layer import Array
from gradcheck_cli.results import CheckResult, Outcome, Verdict
from tests.judging import Map, check

LEAVES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sin": (np.sin, np.cos),
    "exp": (lambda t: np.exp(0.5 * t), lambda t: 0.5 * np.exp(0.5 * t)),
    "tanh": (np.tanh, lambda t: 1 - np.tanh(t) ** 2),
    "square": (lambda t: t * t, lambda t: 2 * t),
    "softplus": (lambda t: np.log(1 + np.exp(t)), lambda t: 1 / (1 + np.exp(-t))),
}
PRECISE: dict[str, Callable[[Any], Any]] = {
    "sin": mpmath.sin,
    "exp": lambda t: mpmath.exp(t / 2),
    "tanh": mpmath.tanh,
    "square": lambda t: t * t,
    "softplus": lambda t: mpmath.log(1 + mpmath.exp(t)),
}


@dataclass(frozen=True)
class Formula:
    """y = s (f(g(M x)) + c h(M x)), from three functions, a fixed matrix and two scales."""

    outer: str
    inner: str
    beside: str
    seed: int
    scale: float
    reach: float

    @property
    def matrix(self) -> Array:
        return np.random.default_rng(self.seed).uniform(0.2, 0.9, (2, 3)) * np.array([1.0, -1.0, 1.0]) / self.reach

    @property
    def x(self) -> Array:
        rng = np.random.default_rng(self.seed + 1)
        return np.asarray(self.reach * rng.uniform(0.2, 1.2, 3) * rng.choice([-1.0, 1.0], 3))

    def forward(self, x: Array) -> Array:
        t = self.matrix @ x.reshape(3, -1)
        y = LEAVES[self.outer][0](LEAVES[self.inner][0](t)) + 0.5 * LEAVES[self.beside][0](t)
        return np.asarray((self.scale * y).ravel())

    def pull(self, dy: Any, x: Array) -> Array:
        t = self.matrix @ x
        inside = LEAVES[self.inner][0](t)
        slope = LEAVES[self.outer][1](inside) * LEAVES[self.inner][1](t) + 0.5 * LEAVES[self.beside][1](t)
        return np.asarray((dy * self.scale * slope) @ self.matrix)

    def truth(self, dy: Array) -> list[float]:
        """The gradient by mpmath's own differentiation with 40 digits."""
        with mpmath.workdps(40):
            m, x = self.matrix.tolist(), [mpmath.mpf(v) for v in self.x.tolist()]

            def value(*point: Any) -> Any:
                total = mpmath.mpf(0)
                for j, row in enumerate(m):
                    t = sum(mpmath.mpf(w) * v for w, v in zip(row, point, strict=True))
                    y = PRECISE[self.outer](PRECISE[self.inner](t)) + PRECISE[self.beside](t) / 2
                    total += mpmath.mpf(float(dy[j])) * y
                return total * mpmath.mpf(self.scale)

            return [float(mpmath.diff(value, x, tuple(int(k == i) for k in range(3)))) for i in range(3)]


names = st.sampled_from(sorted(LEAVES))
formulas = st.builds(
    Formula,
    names,
    names,
    names,
    st.integers(0, 10**6),
    st.sampled_from([1e-9, 1e-3, 1.0, 1e6]),
    st.sampled_from([1e-6, 1.0, 1e4]),
)
bounded = settings(max_examples=40, deadline=None, derandomize=True, database=None)
DY = np.array([0.8, -1.3])


def judged(formula: Formula, pull: Callable[[Any, Array], Array] | None = None) -> CheckResult:
    layer = Map(formula.forward, pull or formula.pull)
    return check(layer, {"x": formula.x}, cotangent=(DY,))


@bounded
@given(formulas)
def test_right_gradients_pass_and_the_uncertainty_covers_the_truth(formula: Formula) -> None:
    result = judged(formula)
    assert result.verdict is Verdict.PASS, str(result)
    truth = formula.truth(DY)
    for element in result.arrays[0].worst:
        assert abs(element.numeric - truth[element.index[0]]) <= element.uncertainty, str(result)


@bounded
@given(formulas, st.integers(0, 2), st.floats(-8, 0), st.sampled_from([-1.0, 1.0]))
def test_no_error_above_the_printed_resolution_passes(formula: Formula, which: int, digits: float, sign: float) -> None:
    def wrong(dy: Any, x: Array) -> Array:
        gradient = formula.pull(dy, x)
        gradient[which] *= 1 + sign * 10**digits
        return gradient

    result, truth = judged(formula, wrong), formula.truth(DY)
    for element in result.arrays[0].worst:
        error = abs(element.analytic - truth[element.index[0]])
        if element.outcome is Outcome.PASS:
            assert error <= element.resolution, str(result)
    assert all(e.outcome is Outcome.PASS for e in result.arrays[0].worst if e.index[0] != which), str(result)


@bounded
@given(formulas, st.integers(0, 2), st.sampled_from([-1.0, 1e-5, -1e-3, 0.5, 1.0]))
def test_errors_of_a_hundred_thousandth_fail(formula: Formula, which: int, error: float) -> None:
    def wrong(dy: Any, x: Array) -> Array:
        gradient = formula.pull(dy, x)
        gradient[which] *= 1 + error
        return gradient

    right = formula.pull(DY, formula.x)
    terms = np.abs(DY) @ np.abs(formula.matrix) * formula.scale
    if abs(error * right[which]) < 1e-7 * terms[which]:
        return  # cancelled to almost nothing
    (found,) = (element for element in judged(formula, wrong).arrays[0].worst if element.index[0] == which)
    assert found.outcome is Outcome.FAIL, found

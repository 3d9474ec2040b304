"""Each difference method at known steps: value with its closed-form truncation, bounds, step made, evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.differences.method import Estimate, Samples, Scales
from gradcheck_cli.differences.richardson import tableau
from gradcheck_cli.evidence import UNIT64
from gradcheck_cli.layer import Array
from gradcheck_cli.registry import METHODS
from gradcheck_cli.spec import Difference, Tolerance
from tests.judging import check, entrywise

POWERS: dict[str, tuple[Callable[[Any], Any], Callable[[float], float]]] = {
    "square": (lambda x: x * x, lambda x: 2 * x),
    "cube": (lambda x: x**3, lambda x: 3 * x * x),
    "fifth": (lambda x: x**5, lambda x: 5 * x**4),
    "exp": (np.exp, math.exp),
}
X, H = 0.75, 2.0**-8
TRUNCATION = {
    "central": {"square": 0.0, "cube": H**2, "fifth": 10 * X**2 * H**2 + H**4},
    "forward": {"square": H, "cube": 3 * X * H + H**2},
    "backward": {"square": -H, "cube": -3 * X * H + H**2},
    "richardson": {"square": 0.0, "cube": 0.0, "fifth": -(H**4) / 16},
    "complex_step": {"square": 0.0, "cube": 0.0, "fifth": 0.0, "exp": 0.0},
}
EXP = {
    "central": math.exp(X) * math.sinh(H) / H,
    "forward": math.exp(X) * math.expm1(H) / H,
    "backward": math.exp(X) * math.expm1(-H) / -H,
    "richardson": math.exp(X) * (16 * math.sinh(H / 4) / (H / 4) - math.sinh(H) / H) / 15,
}
EVALUATIONS = {"central": 2, "forward": 2, "backward": 2, "richardson": 4, "complex_step": 1}


def summed(terms: Array, weights: Array) -> Array:
    return np.asarray((terms * weights).sum(axis=-1, keepdims=True))


def estimate(name: str, f: Callable[[Any], Any], x: float = X, h: float = H, noise: float = 0.0) -> Estimate:
    """A method's estimate of f' at x from exactly its points at step h."""
    method = METHODS[name]()
    step = 1e-30 if name == "complex_step" else h
    places = [x + offset * step for offset in method.offsets]
    made = [place.imag if isinstance(place, complex) else place - x for place in places]
    values = np.array([[[f(place)]] for place in places])
    samples = Samples(
        made=np.array(made)[:, None, None],
        values=values,
        centre=np.array([f(x)]),
        weights=np.ones(1),
        gather=summed,
        noise=np.array([noise]),
        relative=np.array([UNIT64]),
        unit=UNIT64,
    )
    return METHODS[name]().combine(samples)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("method", "function"), [(method, function) for method, rows in TRUNCATION.items() for function in rows]
)
def test_polynomials_have_the_truncation_of_the_closed_form(method: str, function: str) -> None:
    f, slope = POWERS[function]
    found = estimate(method, f).value[0, 0]
    assert found == pytest.approx(slope(X) + TRUNCATION[method][function], rel=2e-13)  # rounding: u f/(h f')


@pytest.mark.parametrize("method", EXP)
def test_exp_has_the_truncation_of_the_closed_form(method: str) -> None:
    assert estimate(method, np.exp).value[0, 0] == pytest.approx(EXP[method], rel=2e-13)


@pytest.mark.parametrize("function", POWERS)
@pytest.mark.parametrize("method", EVALUATIONS)
def test_uncertainty_covers_the_truth(method: str, function: str) -> None:
    f, slope = POWERS[function]
    found = estimate(method, f, noise=UNIT64 * f(X))
    assert abs(found.value[0, 0] - slope(X)) <= found.uncertainty[0, 0]


@pytest.mark.parametrize("method", ["central", "forward", "backward", "richardson"])
def test_the_step_that_counts_is_the_one_really_made(method: str) -> None:
    x, h = 1e8, 1e-7  # x + h is a multiple of 1.49e-8 away from x, so h becomes 1.04e-7
    made = h / 4 if method == "richardson" else h
    actual = {"forward": (x + made) - x, "backward": x - (x - made)}.get(method, ((x + made) - (x - made)) / 2)
    found = estimate(method, lambda x: x, x, h)
    assert actual != made
    assert found.step[0, 0] == actual
    assert found.value[0, 0] == pytest.approx(1.0, abs=1e-15)


def test_a_nominal_step_in_the_denominator_would_be_wrong() -> None:
    x, h = 1e8, 1e-7
    assert ((x + h) - (x - h)) / (2 * h) == pytest.approx(1.043, abs=1e-3)


def test_noise_of_each_quotient() -> None:
    sigma = 1e-9
    central = math.sqrt(2) * sigma / (2 * H)
    expected = {"central": central, "forward": 2 * central, "backward": 2 * central, "richardson": 4.2672 * central}
    for method, roundoff in expected.items():
        found = estimate(method, lambda x: x, noise=sigma)
        assert found.roundoff[0, 0] == pytest.approx(roundoff, rel=1e-4), method
        assert found.uncertainty[0, 0] >= 6 * found.roundoff[0, 0]


def test_central_uncertainty_is_noise_rounding_and_curvature() -> None:
    found = estimate("central", lambda x: x * x, noise=1e-12)
    mismatch = 2 * H  # (2x + h) - (2x - h)
    assert found.mismatch[0, 0] == pytest.approx(mismatch, rel=1e-12)
    assert found.slope[0, 0] == pytest.approx(2 * X, rel=1e-12)
    expected = 6 * math.sqrt(2) * 1e-12 / (2 * H) + 8 * UNIT64 * 2 * X + 8 * mismatch**2 / (2 * X)
    assert found.uncertainty[0, 0] == pytest.approx(expected, rel=1e-12)


def test_one_sided_uncertainty_is_more_than_the_first_order_term() -> None:
    found = estimate("forward", lambda x: x * x)
    assert found.uncertainty[0, 0] == pytest.approx(3 * H / 2 + 8 * UNIT64 * (2 * X + H), rel=1e-9)


def test_richardson_uncertainty_is_the_whole_change() -> None:
    found = estimate("richardson", lambda x: x**3)
    assert found.uncertainty[0, 0] == pytest.approx(H**2 * 15 / 16, rel=1e-9)


def test_complex_step_keeps_its_digits_at_a_tiny_step() -> None:
    found = estimate("complex_step", np.exp)
    assert found.value[0, 0] == pytest.approx(math.exp(X), rel=2e-16)
    assert found.uncertainty[0, 0] <= 100 * UNIT64 * math.exp(X)


def test_outputs_are_differenced_before_they_are_contracted() -> None:
    centre, h = np.array([1e16, 0.25]), 2.0**-10
    values = np.array([[[1e16, 0.25 + h]], [[1e16, 0.25 - h]]])
    both = np.array([UNIT64])
    samples = Samples(np.array([[[h]], [[-h]]]), values, centre, np.ones(2), summed, both * 0, both, UNIT64)
    assert METHODS["central"]().combine(samples).value[0, 0] == 1.0  # the sum 1e16 + 0.25 has lost it


def test_tableau_is_exact_for_even_powers() -> None:
    steps = [0.5, 1.0, 2.0]
    table = tableau(steps, [3.0 + 2 * h**2 - 5 * h**4 for h in steps])
    assert [len(row) for row in table] == [3, 2, 1]
    assert table[0][2] == pytest.approx(3.0, rel=1e-14)
    assert table[0][1] == pytest.approx(3.0 + 5 * 0.5**4 * 4, rel=1e-14)  # the h² term is gone


@pytest.mark.parametrize(("method", "order"), [("central", 2), ("forward", 1), ("backward", 1)])
def test_steps_balance_noise_and_truncation(method: str, order: int) -> None:
    noise, slope, length = 1e-12, 2.0, 8.0
    scales = Scales(np.array([length]), np.array([slope]), np.array([noise]), UNIT64)
    (step,) = METHODS[method]().steps(scales)
    balance = 0.5 * length * (noise / (2 * slope * length)) ** (1 / (order + 1))
    assert math.log2(step) == int(math.log2(step))  # a power of two
    assert balance / math.sqrt(2) <= step <= balance * math.sqrt(2)


def test_steps_stay_between_their_bounds() -> None:
    length = np.array([1.0, 1.0, 1.0])
    scales = Scales(length, np.array([1e300, 1e-300, 0.0]), np.array([1e-17, 1.0, 0.0]), UNIT64)
    steps = METHODS["central"]().steps(scales)
    assert steps[0] == pytest.approx(UNIT64 ** (1 / 3) / 8, rel=0.42)
    assert steps[1] == steps[2] == 2.0**-6


@pytest.mark.parametrize("method", EVALUATIONS)
def test_evaluations_of_each_method(method: str) -> None:
    square = entrywise(lambda x: x * x, lambda x: 2 * x)
    result = check(square, difference=Difference(method), tolerance=Tolerance(rtol=1e-4))
    assert result
    assert result.evaluations_by_tier["tier1"] == 3 * EVALUATIONS[method]
    assert result.evaluations_by_tier.keys() == {"plumbing", "noise", "tier1"}
    assert {element.method for element in result.arrays[0].worst} == {method}


def test_the_methods_are_these() -> None:
    assert list(METHODS) == sorted(EVALUATIONS)
    assert {name: len(METHODS[name].offsets) for name in METHODS} == EVALUATIONS

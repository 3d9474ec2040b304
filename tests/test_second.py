"""Second opinions: the complex step where it can be trusted, long double where the platform has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import second
from gradcheck_cli.numeric.noise import Noise, measure
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.scales import lengths
from gradcheck_cli.results import Outcome
from gradcheck_cli.tiers import last
from tests.judging import Map, at, check, entrywise

X = np.array([0.3, -0.7, 1.1, 0.45])
HAS_WIDE = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
wide_only = pytest.mark.skipif(not HAS_WIDE, reason="long double is no wider than float64 here")


def prepared(f: Callable[[Array], Array], x: Array = X, dy: Array | None = None) -> tuple[Objective, Noise, Array]:
    one = Objective(Map(f, lambda dy, x: dy), {"x": x}, (np.ones(np.shape(f(x))) if dy is None else dy,))
    centre = one.at(one.arrays)
    return one, measure(one, ["x"], centre), centre


def opinion(f: Callable[[Array], Array], rows: list[int] | None = None) -> tuple[second.Opinion | None, int]:
    one, noise, centre = prepared(f)
    before = sum(one.ledger.evaluations.values())
    indices = np.array(range(4) if rows is None else rows, int)
    found = second.complex_step(one, noise, centre, "x", indices, lengths(X)[indices])
    return found, sum(one.ledger.evaluations.values()) - before


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (np.exp, np.exp),
        (np.sin, np.cos),
        (lambda x: x**3, lambda x: 3 * x**2),
        (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    ],
)
def test_complex_step_is_exact_to_the_last_places(f: Callable[[Array], Array], slope: Callable[[Array], Array]) -> None:
    found, evaluations = opinion(f)
    assert found is not None
    np.testing.assert_allclose(found.value[:, 0], slope(X), rtol=1e-15)
    assert (np.abs(found.value[:, 0] - slope(X)) <= found.uncertainty[:, 0]).all()
    assert (found.uncertainty[:, 0] <= 1e-13 * np.abs(slope(X))).all()
    assert evaluations == 4  # one for each element


BROKEN: dict[str, Callable[[Array], Array]] = {
    "another function of complex numbers": lambda x: np.exp(x) * (1 + np.iscomplexobj(x)),
    "raises": lambda x: np.exp(x) if not np.iscomplexobj(x) else np.exp(x)[99],
    "overflows": lambda x: np.exp(x) if not np.iscomplexobj(x) else np.exp(1e9 * np.abs(x)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_complex_step_is_not_asked_where_complex_input_breaks_forward(name: str) -> None:
    assert opinion(BROKEN[name])[0] is None


def test_no_elements_need_no_evaluations() -> None:
    found, evaluations = opinion(np.exp, rows=[])
    assert found is not None
    assert found.value.shape == (0, 1)
    assert evaluations == 0


@wide_only
def test_long_double_has_finer_noise() -> None:
    one, noise, centre = prepared(np.exp)
    found = second.widened(one, noise, centre, ["x"])
    assert found is not None
    wide, values, finer = found
    assert values.dtype == np.longdouble
    assert finer.unit == 2.0**-64
    assert (64 * finer.total <= noise.total).all()
    assert wide.arrays["x"].dtype == np.longdouble
    assert wide.ledger is one.ledger


@wide_only
@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.exp(x).astype(np.float64),
        lambda x: np.exp(x.astype(np.float64)).astype(x.dtype),
        lambda x: np.exp(x) * (2 if x.dtype == np.longdouble else 1),
    ],
    ids=["float64 returned", "float64 inside", "another function"],
)
def test_long_double_is_not_asked_where_the_layer_does_not_keep_it(f: Callable[[Array], Array]) -> None:
    one, noise, centre = prepared(f)
    assert second.widened(one, noise, centre, ["x"]) is None


def test_single_precision_is_not_widened() -> None:
    one, noise, centre = prepared(lambda x: np.exp(x.astype(np.float32)).astype(x.dtype))
    assert second.widened(one, noise, centre, ["x"]) is None


def cancelling(x: Array) -> Array:
    """1e12 + exp x: nearly all digits are lost to a large constant."""
    return np.asarray(1e12 + np.exp(x))


def test_complex_step_acquits_what_noise_hides() -> None:
    def float_only(x: Array) -> Array:
        return cancelling(x) if np.iscomplexobj(x) else cancelling(x).astype(np.float64)

    layer = entrywise(float_only, np.exp)
    result = check(layer, {"x": [*X, -9.0]})
    found = at(result, 4)
    assert found.outcome in (Outcome.PASS, Outcome.INCONCLUSIVE)
    assert all(element.tier in (1, 2, 3) for element in result.arrays[0].worst)


def test_complex_step_never_accuses(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    real = second.complex_step

    def lying(*args: Any) -> second.Opinion | None:
        found = real(*args)
        calls.append(found)
        return found and second.Opinion(found.value + 1e3, found.uncertainty, found.step)

    monkeypatch.setattr(second, "complex_step", lying)
    result = check(entrywise(cancelling, np.exp), {"x": [*X, -9.0]})
    assert not any(element.outcome is Outcome.FAIL for element in result.arrays[0].worst)


def absorbed_tail(x: Array) -> Array:
    return np.asarray(1 + np.exp(x))


def lost_tail(x: Array) -> Array:
    """The slope, but 0 where the function is all but flat."""
    return np.where(x < -20, 0.0, np.exp(x))


def test_a_zero_that_hides_a_tiny_slope_iscross_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"x": [0.3, -0.7, 1.1, -33.0]}
    result = check(entrywise(absorbed_tail, lost_tail), arrays)
    found = at(result, 3)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, "below the noise")
    assert found.uncertainty >= np.exp(-33.0)
    monkeypatch.setattr(last, "cross_examine", lambda scene: None)
    assert at(check(entrywise(absorbed_tail, lost_tail), arrays), 3).outcome is Outcome.PASS


def test_a_true_zero_stands_up_to_the_examination() -> None:
    result = check(
        entrywise(lambda x: np.where(x < -20, 1.0, 1 + np.exp(x)), lost_tail), {"x": [0.3, -0.7, 1.1, -33.0]}
    )
    assert [element.outcome for element in result.arrays[0].worst] == [Outcome.PASS] * 4


@pytest.mark.parametrize("hidden", [(), (4,), (0, 7)])
def test_of_many_zeros_those_that_hide_a_slope_are_found(
    hidden: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = second.complex_step

    def counted(*args: Any) -> second.Opinion | None:
        asked.append(args[4].size)
        return real(*args)

    monkeypatch.setattr(second, "complex_step", counted)
    flat = np.where(np.isin(np.arange(8), hidden), -33.0, -36.0)
    layer = entrywise(lambda x: np.where(x < -35, 1.0, 1 + np.exp(x)), lost_tail)
    result = check(layer, {"x": [0.3, -0.7, 1.1, 0.8, *flat]})
    outcomes = [element.outcome for element in sorted(result.arrays[0].worst, key=lambda one: one.index)]
    zeros = [Outcome.INCONCLUSIVE if k in hidden else Outcome.PASS for k in range(8)]
    assert outcomes == [Outcome.PASS] * 4 + zeros
    assert bool(asked) is bool(hidden)  # one question for all of them was enough, or not


def test_one_complex_step_gives_the_slope_along_a_direction() -> None:
    direction = np.array([1.0, -2.0, 0.0, 1e6])
    one, noise, centre = prepared(np.exp)
    found = second.complex_slope(one, noise, centre, "x", direction)
    assert found == pytest.approx(direction @ np.exp(X), rel=1e-14)
    assert second.complex_slope(one, noise, centre, "x", np.zeros(4)) == 0
    for broken in BROKEN.values():
        assert second.complex_slope(*prepared(broken), "x", direction) is None

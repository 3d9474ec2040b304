"""Measured noise against noise that was put in, of forward and of the VJP, and what measuring it costs."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.evidence import UNIT32, UNIT64, K
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.analytic import analytic_values
from gradcheck_cli.numeric.fine import displacement
from gradcheck_cli.numeric.noise import Noise, deviation, is_single, measure
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.rounding import AnalyticNoise, measure_analytic
from tests.judging import Map, entrywise

X = np.array([0.3, -0.7, 1.1, 0.05, -1.9, 0.4, 0.62, -0.21])
SINGLE_OR_DOUBLE = [np.dtype(np.float32), np.dtype(np.float64)]


def objective(layer: Map, x: Array = X, view: str = "vjp") -> Objective:
    y = np.asarray(layer.f(x))
    cotangent = np.where(np.arange(y.size) % 2, -0.75, 1.25).reshape(y.shape).astype(y.dtype)
    return Objective(layer, {"x": x}, (cotangent,), view)


def measured(f: Callable[[Array], Array], x: Array = X, view: str = "vjp") -> tuple[Noise, int]:
    """The noise of a function, and the evaluations that measuring it took."""
    one = objective(Map(f, lambda dy, x: dy), x, view)
    y0 = one.at(one.arrays)
    before = sum(one.ledger.evaluations.values())
    noise = measure(one, ["x"], y0)
    return noise, sum(one.ledger.evaluations.values()) - before


def rough(x: Array) -> Array:
    """Standard normal numbers drawn from the bits of x."""
    return np.random.default_rng(zlib.crc32(x.tobytes())).normal(size=x.shape)


@pytest.mark.parametrize("level", [1e-7, 1e-12])
def test_injected_noise_is_recovered_within_a_factor_of_3(level: float) -> None:
    noise, evaluations = measured(lambda x: np.exp(x) + level * rough(x))
    assert noise.unit == UNIT64
    assert ((level / 3 <= noise.sigma) & (noise.sigma <= 3 * level)).all(), noise.sigma / level
    whole = level * np.sqrt(4 * 0.75**2 + 4 * 1.25**2)
    assert whole / 3 <= noise.total[0] <= 3 * whole
    assert noise.relative[0] == noise.total[0] / noise.magnitude[0]
    assert evaluations == 12


def test_quiet_function_has_the_rounding_of_its_outputs() -> None:
    noise, evaluations = measured(lambda x: 2 * x)
    np.testing.assert_array_equal(noise.sigma, 0.29 * np.spacing(np.abs(2 * X)))
    np.testing.assert_array_equal(noise.ulp, np.spacing(np.abs(2 * X)))
    assert noise.total[0] == pytest.approx(float(np.sqrt((noise.weighted**2).sum())), rel=1e-12)
    np.testing.assert_array_equal(noise.relative, [UNIT64])
    assert evaluations == 12


@pytest.mark.parametrize("f", [np.sin, np.exp, np.tanh, lambda x: x**3, lambda x: 1 / (1 + x * x)])
def test_smooth_functions_are_no_noisier_than_a_few_last_places(f: Callable[[Array], Array]) -> None:
    noise, _ = measured(f)
    assert (noise.sigma <= 4 * np.spacing(np.abs(f(X)))).all()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.exp(x.astype(np.float32)).astype(np.float64),
        lambda x: np.exp(x.astype(np.float32)),
    ],
    ids=["hidden inside", "returned"],
)
def test_float32_is_detected(f: Callable[[Array], Array]) -> None:
    noise, evaluations = measured(f)
    assert noise.unit == UNIT32
    ulp = np.spacing(np.exp(X).astype(np.float32)).astype(float)
    np.testing.assert_array_equal(noise.ulp, ulp)
    assert ((0.29 * ulp <= noise.sigma) & (noise.sigma <= 3 * ulp)).all()
    assert evaluations == 24


def test_whole_numbers_are_not_taken_for_float32() -> None:
    double = [np.dtype(np.float64)]
    assert not is_single(np.array([1.0, 2.0, -7.0]), double)
    assert is_single(np.array([1.0, 2.5, -7.0]), double)
    assert not is_single(np.array([1.0, 2.1, -7.0]), double)
    assert is_single(np.array([1.0, 2.1, -7.0]), SINGLE_OR_DOUBLE)


def test_noise_of_a_kink_on_the_line_is_that_of_its_clean_side() -> None:
    noise, _ = measured(lambda x: np.abs(x - X) + 1.0)  # every line crosses the kink in its middle
    assert (noise.sigma <= 100 * np.spacing(1.0)).all()
    slope_times_step = 2.0**15 * np.spacing(np.abs(X))
    assert (noise.sigma < slope_times_step).all()


def test_outputs_of_the_jacobian_view_have_noise_of_their_own() -> None:
    noise, _ = measured(lambda x: np.array([1e8, 1.0]) * x[:2], view="jacobian")
    assert noise.total.shape == noise.magnitude.shape == (2,)
    assert noise.total[0] / noise.total[1] > 1e7
    assert noise.of_unit(1).total.tolist() == [noise.total[1]]


def test_points_that_forward_refuses_leave_the_floor() -> None:
    def picky(x: Array) -> Array:
        if not np.array_equal(x, X):
            raise ValueError("only here")
        return np.exp(x)

    noise, evaluations = measured(picky)
    np.testing.assert_array_equal(noise.sigma, 0.29 * np.spacing(np.exp(X)))
    assert evaluations == 12


def test_deviation_of_seven_values() -> None:
    rows = 1e-6 * np.random.default_rng(0).normal(size=(7, 2000))
    smooth = np.linspace(0, 1, 7)[:, None]
    found = deviation(rows + 3 * smooth + smooth**2, np.full(2000, 1e-16))
    assert 0.7e-6 < np.median(found) < 1.2e-6
    assert np.mean((found > 1e-6 / 4) & (found < 4e-6)) > 0.9
    assert deviation(2.0**-10 * np.arange(7.0)[:, None] ** 2, np.array([1e-16]))[0] == 0.0


@pytest.mark.parametrize("scale", [2**12, 2**15])
def test_displacement_is_exact_and_keeps_ties_and_zeros(scale: int) -> None:
    x = np.array([0.3, -0.3, 0.3, 0.0, 1e-9, 1e9, 0.7])
    d = displacement(x, scale, np.dtype(np.float64))
    assert d[0] == -d[1] == d[2]
    assert d[3] == 0.0
    moved = d != 0
    count = np.abs(d[moved]) / np.spacing(np.abs(x[moved]))
    assert ((count % 2 == 1) & (scale <= count) & (count <= 2 * scale)).all()
    assert (np.sign(d[moved]) == np.sign(x[moved])).all()
    for k in (-3, -1, 2, 3):
        np.testing.assert_array_equal((x + k * d) - x, k * d)


def analytic_noise(layer: Map, x: Array = X, view: str = "vjp") -> tuple[AnalyticNoise, int, Array]:
    one = objective(layer, x, view)
    values = analytic_values(one, ["x"])
    before = one.ledger.vjp_calls
    found = measure_analytic(one, ["x"], values, UNIT64)
    return found, one.ledger.vjp_calls - before, np.abs(values["x"])


def test_exact_vjp_has_the_rounding_of_its_precision() -> None:
    found, calls, size = analytic_noise(entrywise(lambda x: 2 * x, lambda x: 2.0))
    np.testing.assert_array_equal(found.bound["x"], 8 * UNIT64 * size)
    assert found.unit == UNIT64
    assert calls == 6


def test_a_closer_look_takes_more_lines_and_finds_no_less() -> None:
    one = objective(entrywise(lambda x: x, lambda x: 1 + 1e-8 * rough(x)), np.linspace(0.5, 2.0, 400), "vjp")
    values = analytic_values(one, ["x"])
    usual = measure_analytic(one, ["x"], values, UNIT64).bound["x"]
    before = one.ledger.vjp_calls
    close = measure_analytic(one, ["x"], values, UNIT64, closely=True).bound["x"]
    assert one.ledger.vjp_calls - before == 14
    assert (close >= usual).mean() > 0.95
    assert close.min() > 1.5 * usual.min()


@pytest.mark.parametrize("level", [1e-6, 1e-10])
def test_noise_of_the_vjp_is_six_standard_deviations_within_a_factor_of_4(level: float) -> None:
    def slope(x: Array) -> Array:
        return 1 + level * rough(x)

    found, calls, size = analytic_noise(entrywise(lambda x: x, slope))
    ratio = found.bound["x"] / (K * level * size)
    assert ((ratio > 0.25) & (ratio < 4)).all(), ratio
    assert calls == 6


def test_drift_of_the_vjp_is_no_noise() -> None:
    found, _, size = analytic_noise(entrywise(lambda x: np.exp(30 * x) / 30, lambda x: np.exp(30 * x)))
    assert (found.bound["x"] <= 100 * 57 * UNIT64 * size).all()  # exp(30 x) itself rounds to 30 |x| u


def test_kink_on_the_line_is_no_noise_of_the_vjp() -> None:
    found, _, _ = analytic_noise(entrywise(lambda x: np.abs(x - X), lambda x: np.where(x >= X, 1.0, -1.0)))
    assert (found.bound["x"] < 1e-12).all()


def test_jacobian_view_measures_one_cotangent_for_all_rows() -> None:
    def pull(dy: Any, x: Array) -> Array:
        return np.asarray(dy * (1 + 1e-8 * rough(x)))

    found, calls, size = analytic_noise(Map(lambda x: x, pull), view="jacobian")
    assert found.bound["x"].shape == (8, 8)
    assert calls == 7
    assert (np.diag(found.bound["x"]) > K * 1e-9 * np.diag(size)).all()


def test_nan_of_the_vjp_leaves_the_others_their_bounds() -> None:
    def pull(dy: Any, x: Array) -> Array:
        return np.where(np.arange(8) == 3, np.nan, dy)

    found, _, _ = analytic_noise(Map(lambda x: x, pull))
    assert np.isnan(found.bound["x"][3, 0])
    assert np.isfinite(np.delete(found.bound["x"], 3)).all()

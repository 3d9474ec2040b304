"""float32 and float16: the formula is judged in float64 where the layer keeps it, the rounding against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Outcome, Verdict
from tests.judging import Map, at, check, entrywise, outcomes

LOW = ["float32", "float16"]
X = {"x": [0.5, -0.75, 1.25, 0.3]}


def kinds(result: CheckResult) -> set[tuple[Outcome, str]]:
    return {(element.outcome, element.precision) for element in result.arrays[0].worst}


@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("name", ["linear", "softmax", "tanh", "layer_norm", "mse", "sigmoid"])
def test_right_layers_pass_in_low_precision(name: str, dtype: str) -> None:
    result = check(LAYERS[name](), dtype=dtype)
    assert result.verdict is Verdict.PASS, str(result)
    assert result.dtype == dtype
    note = f"{dtype}: the formula is judged in float64, the rounding of {dtype} against it"
    assert note in result.notes


@pytest.mark.parametrize("dtype", LOW)
def test_the_formula_is_judged_with_the_digits_of_float64(dtype: str) -> None:
    result = check(entrywise(np.exp, lambda x: np.exp(x) * x.dtype.type(1)), X, dtype=dtype)
    assert all(element.uncertainty < 1e-8 for element in result.arrays[0].worst)
    wrong = check(entrywise(np.exp, lambda x: np.exp(x) * (1 + 1e-5 * (x.dtype == np.float64))), X, dtype=dtype)
    assert kinds(wrong) == {(Outcome.FAIL, "formula")}


@pytest.mark.parametrize("dtype", LOW)
def test_rounding_is_judged_apart_and_both_numbers_are_reported(dtype: str) -> None:
    def coarse(x: Array) -> Array:
        factor = 1.0 if x.dtype == np.float64 else 1.5
        return np.asarray(np.exp(x) * x.dtype.type(factor))

    result = check(entrywise(np.exp, coarse), X, dtype=dtype)
    assert result.verdict is Verdict.FAIL
    assert kinds(result) == {(Outcome.FAIL, "rounding")}
    found = at(result, 0)
    assert found.reason == f"{dtype} rounding"
    assert found.analytic / found.numeric == pytest.approx(1.5, rel=2e-3)


def test_digits_lost_to_cancellation_in_float32_are_found() -> None:
    def unstable(x: Array) -> Array:
        big = x.dtype.type(1e5)
        return np.asarray((x + big) - big)  # 2 x, with an error of 4e-3 in float32 and of 1e-11 in float64

    result = check(entrywise(lambda x: x * x, lambda x: 2 * unstable(x)), X, dtype="float32")
    assert {element.precision for element in result.arrays[0].worst if element.outcome is Outcome.FAIL} <= {"rounding"}


@pytest.mark.parametrize("dtype", LOW)
def test_a_gradient_that_overflows_in_low_precision_is_not_finite(dtype: str) -> None:
    logistic = entrywise(lambda x: np.logaddexp(0, x), lambda x: np.exp(x) / (1 + np.exp(x)))
    result = check(logistic, {"x": [0.5, 100.0, -0.3]}, dtype=dtype)
    overflowed = at(result, 1)
    assert (overflowed.outcome, overflowed.precision) == (Outcome.NONFINITE, "rounding")
    assert overflowed.reason == f"not finite in {dtype}"
    assert np.isnan(overflowed.analytic)
    assert np.isfinite(overflowed.numeric)
    assert outcomes(result).count(Outcome.PASS) == 2


SMALL = {"x": [1e-4, -2e-4, 3e-5]}


def single(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: f(x.astype(np.float32))


@pytest.mark.parametrize("dtype", LOW)
def test_a_layer_that_does_not_keep_float64_is_judged_in_single_precision(dtype: str) -> None:
    layer = Map(single(np.exp), lambda dy, x: (dy * np.exp(x)).astype(x.dtype))
    result = check(layer, X, dtype=dtype)
    assert result.verdict is Verdict.PASS, str(result)
    assert f"the layer does not keep float64: formula and rounding are judged together in {dtype}" in result.notes


def test_a_wrong_layer_that_does_not_keep_float64_fails() -> None:
    layer = Map(single(np.exp), lambda dy, x: (1.1 * dy * np.exp(x)).astype(x.dtype))
    assert outcomes(check(layer, X, dtype="float32")) == [Outcome.FAIL] * 4


def test_a_layer_that_refuses_float64_is_judged_in_its_own_precision() -> None:
    def picky(x: Array) -> Array:
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.sin(x)

    result = check(Map(picky, lambda dy, x: dy * np.cos(x)), X, dtype="float32")
    assert result.verdict is Verdict.PASS, str(result)
    assert result.notes == ("the layer does not keep float64: formula and rounding are judged together in float32",)


def test_an_output_that_loses_its_digits_in_float32_does_not_keep_the_formula_from_float64() -> None:
    layer = Map(lambda x: np.log(np.cosh(x)), lambda dy, x: dy * np.tanh(x))  # 1 + 1e-8 is 1 in float32
    result = check(layer, SMALL, dtype="float32")
    assert result.verdict is Verdict.PASS, str(result)
    assert result.notes == ("float32: the formula is judged in float64, the rounding of float32 against it",)
    wrong = Map(layer.f, lambda dy, x: 1.1 * dy * np.tanh(x))
    assert check(wrong, SMALL, dtype="float32").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "f",
    [lambda x: x * (1.5 if x.dtype == np.float32 else 1.0), lambda x: (x + x.dtype.type(1e8)) - x.dtype.type(1e8)],
)
def test_outputs_that_are_something_else_in_float32_are_not_judged_in_float64(f: Callable[[Array], Array]) -> None:
    result = check(Map(f, lambda dy, x: dy), X, dtype="float32")
    assert result.verdict is not Verdict.PASS
    assert check(Map(f, lambda dy, x: dy), X).verdict is Verdict.PASS


def test_float32_hidden_inside_a_float64_layer_is_found_and_told() -> None:
    layer = Map(lambda x: np.sin(x.astype(np.float32)).astype(np.float64), lambda dy, x: np.asarray(dy * np.cos(x)))
    result = check(layer, X)
    assert result.verdict is Verdict.PASS, str(result)
    assert result.notes == ("the layer computes in float32 inside: judged at that precision",)
    assert all(element.step == np.float32(element.step) for element in result.arrays[0].worst)
    wrong = Map(layer.f, lambda dy, x: np.asarray(1.1 * dy * np.cos(x)))
    assert outcomes(check(wrong, X)) == [Outcome.FAIL] * 4


def test_a_vjp_in_float32_beside_a_float64_forward_is_a_finding() -> None:
    layer = Map(np.sin, lambda dy, x: (dy * np.cos(x)).astype(np.float32))
    result = check(layer, X)
    sentence = "the gradient of 'x' is float32, 'x' is float64: digits are lost"
    assert [(f.rule, f.sentence) for f in result.findings] == [("dtype", sentence)]
    assert outcomes(result) == [Outcome.PASS] * 4


@pytest.mark.parametrize("dtype", LOW)
def test_low_precision_is_never_differenced_in_half(dtype: str) -> None:
    seen: set[Any] = set()

    def watch(x: Array) -> Array:
        seen.add(x.dtype)
        return np.sin(x)

    check(entrywise(watch, np.cos), X, dtype=dtype)
    assert seen == {np.dtype(dtype), np.dtype(np.float64)}


@pytest.mark.parametrize("dtype", LOW)
def test_wrong_built_in_layers_fail_in_low_precision(dtype: str) -> None:
    from tests.wrong_layers import MUTATORS, Mutated

    for name in ("linear", "softmax", "tanh"):
        for mutator in ("halved", "sign_flipped", "one_wrong_element"):
            wrong = Mutated(LAYERS[name](), MUTATORS[mutator])
            if mutator == "one_wrong_element" and dtype == "float16":
                continue  # a thousandth is about the last place of float16
            assert check(wrong, dtype=dtype).verdict is Verdict.FAIL, (name, mutator)

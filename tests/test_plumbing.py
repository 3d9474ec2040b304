"""Each test before the numbers has a layer that triggers it, and it alone; a clean layer triggers none."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.numeric.objective import Ledger
from gradcheck_cli.plumbing.bench import Bench, NotAFunctionError, numeric_outputs
from gradcheck_cli.results import Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from tests.judging import check
from tests.plumbing_layers import Clean, W, X, judged, told


def test_clean_layer_triggers_nothing() -> None:
    result = judged(Clean())
    assert result.verdict is Verdict.PASS
    assert result.findings == ()


class Mutating(Clean):
    def __init__(self, who: str, what: str) -> None:
        self.who, self.what = who, what

    def forward(self, x: Array, W: Array) -> Any:
        y = super().forward(x, W)
        if self.who == "forward":
            {"x": x, "W": W}[self.what] += 1.0
        return y

    def vjp(self, dy: Any, x: Array, W: Array) -> Any:
        gradients = super().vjp(dy.copy(), x, W)
        if self.who == "the VJP":
            {"x": x, "W": W, "dy": dy}[self.what] *= 2.0
        return gradients


@pytest.mark.parametrize(
    ("who", "what"), [("forward", "x"), ("forward", "W"), ("the VJP", "x"), ("the VJP", "W"), ("the VJP", "dy")]
)
def test_mutated_input(who: str, what: str) -> None:
    result = judged(Mutating(who, what))
    array = None if what == "dy" else what
    assert told(result) == [("mutates-input", "error", array, f"{who} changes its input {what!r} in place")]
    assert result.verdict is Verdict.FAIL
    assert all(one.failed == 0 for one in result.arrays)  # every call gets copies: the numbers are right


def changed_dtype(x: Array) -> Array:
    return x.astype(np.float32).astype(np.float64)


class Shaped(Clean):
    """Gradients through a function."""

    def __init__(self, change: Callable[[dict[str, Array]], Any]) -> None:
        self.change = change

    def vjp(self, dy: Any, x: Array, W: Array) -> Any:
        return self.change(super().vjp(dy, x, W))


BATCH = "the sum over the leading axes (the batch) is missing"
STRUCTURAL: dict[str, tuple[Callable[[dict[str, Array]], Any], tuple[str, str, str | None, str]]] = {
    "missing": (
        lambda g: {"x": g["x"]},
        ("missing-gradient", "error", "W", "the VJP returns no gradient for 'W'; it returns x"),
    ),
    "none": (
        lambda g: {"x": g["x"], "W": None},
        ("missing-gradient", "error", "W", "the VJP returns no gradient for 'W'; it returns x, W"),
    ),
    "unknown": (
        lambda g: g | {"w": g["W"]},
        ("unknown-gradient", "error", None, "the VJP returns a gradient for 'w', which is no array"),
    ),
    "misspelt": (
        lambda g: g | {"xx": g["W"]},
        (
            "unknown-gradient",
            "error",
            None,
            "the VJP returns a gradient for 'xx', which is no array; did you mean 'x'?",
        ),
    ),
    "transposed": (
        lambda g: g | {"x": g["x"].T},
        ("shape", "error", "x", "the gradient of 'x' has shape (2, 3), 'x' has (3, 2); it is transposed"),
    ),
    "batch": (
        lambda g: g | {"W": np.stack([g["W"] / 3] * 3)},
        ("shape", "error", "W", f"the gradient of 'W' has shape (3, 2, 2), 'W' has (2, 2); {BATCH}"),
    ),
    "scalar": (
        lambda g: g | {"W": g["W"].sum()},
        (
            "shape",
            "error",
            "W",
            "the gradient of 'W' has shape (), 'W' has (2, 2); it is one number for the whole array",
        ),
    ),
    "other shape": (
        lambda g: g | {"x": g["x"].ravel()},
        ("shape", "error", "x", "the gradient of 'x' has shape (6,), 'x' has (3, 2)"),
    ),
    "integers": (
        lambda g: g | {"W": g["W"].astype(int)},
        ("dtype", "error", "W", "the gradient of 'W' is int64; it must be float64 like 'W'"),
    ),
    "complex": (
        lambda g: g | {"W": g["W"] + 0j},
        ("dtype", "error", "W", "the gradient of 'W' is complex128; it must be float64 like 'W'"),
    ),
    "single": (
        lambda g: g | {"W": g["W"].astype(np.float32)},
        ("dtype", "error", "W", "the gradient of 'W' is float32, 'W' is float64: digits are lost"),
    ),
    "long double": (
        lambda g: g | {"W": g["W"].astype(np.longdouble)},
        ("dtype", "note", "W", f"the gradient of 'W' is {np.dtype(np.longdouble)}, 'W' is float64"),
    ),
    "NaN": (
        lambda g: g | {"x": np.where(X == 1.1, np.nan, g["x"])},
        ("nan-gradient", "error", "x", "the gradient of 'x' is NaN in 1 of 6 elements"),
    ),
}


@pytest.mark.parametrize("name", STRUCTURAL)
def test_structure_of_the_gradients(name: str) -> None:
    change, finding = STRUCTURAL[name]
    result = judged(Shaped(change))
    assert told(result) == [finding]
    assert result.verdict is (Verdict.PASS if finding[1] == "note" else Verdict.FAIL)


@pytest.mark.parametrize("came", [None, [1.0], np.ones((3, 2))])
def test_a_vjp_must_return_a_mapping(came: Any) -> None:
    result = run_check(CheckSpec("id", "name", Shaped(lambda g: came), "layer"))
    assert result.verdict is Verdict.ERROR
    assert result.error is not None
    kind = type(came).__name__
    assert (result.error.type, result.error.message) == (
        "NotAFunctionError",
        f"the VJP returned {kind}; it must return a mapping from array names to gradients",
    )


def test_a_gradient_that_broadcasts_is_compared_all_the_same() -> None:
    class Bias(Clean):
        def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
            return {"b": ArraySpec((3,))}

        def forward(self, b: Array) -> Any:  # type: ignore[override]
            return b.sum()

        def vjp(self, dy: Any, b: Array) -> Any:  # type: ignore[override]
            return {"b": dy}

    result = check(Bias())
    sentence = "the gradient of 'b' has shape (), 'b' has (3,); it is one number for the whole array"
    assert told(result) == [("shape", "error", "b", sentence)]
    assert [(one.passed, one.failed) for one in result.arrays] == [(3, 0)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_forward_that_is_not_finite(value: float) -> None:
    class Undefined(Clean):
        def forward(self, x: Array, W: Array) -> Any:
            return np.where(x == 1.1, value, super().forward(x, W))

    result = judged(Undefined())
    sentence = "forward is not finite here: 1 of 6 outputs are NaN or infinite"
    assert told(result) == [("forward-nonfinite", "error", None, sentence)]
    assert (result.verdict, result.arrays) == (Verdict.FAIL, ())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "forward returned None; it must return at least one float"),
        ((), "forward returned nothing; it must return at least one float"),
        (np.zeros(0), "forward returned an empty array; it must return at least one float"),
        (3, "forward returned int64 values; the output must be a float array, or a tuple of them"),
        (np.array(["a"]), "forward returned <U1 values; the output must be a float array, or a tuple of them"),
        ((np.ones(2), True), "forward returned bool values; the output must be a float array, or a tuple of them"),
    ],
)
def test_outputs_must_be_floats(value: Any, message: str) -> None:
    with pytest.raises(NotAFunctionError) as caught:
        numeric_outputs(value)
    assert str(caught.value) == message


def test_outputs_are_taken_one_or_several() -> None:
    assert [part.shape for part in numeric_outputs((np.ones(2), 1.0))] == [(2,), ()]
    assert [part.shape for part in numeric_outputs(2.5)] == [()]


def test_elsewhere_is_another_point_of_the_same_kinds() -> None:
    arrays = {"x": X, "mask": np.array([True, False]), "k": np.array([1, 2])}
    other = Bench(Clean(), arrays, ("x",), Ledger()).elsewhere()
    np.testing.assert_array_equal(other["x"], -X[::-1, ::-1])
    assert other["mask"] is arrays["mask"]
    assert other["k"] is arrays["k"]


def test_the_point_between_may_lie_outside_the_domain() -> None:
    class Positive(Clean):
        def forward(self, x: Array, W: Array) -> Any:
            if W[0, 0] < 0 or x[0, 0] < 0:
                raise ValueError("out of the domain")
            return super().forward(x, W)

    result = judged(Positive())
    assert (result.verdict, result.findings) == (Verdict.PASS, ())


def test_plumbing_costs_a_handful_of_calls() -> None:
    calls = {"forward": 0, "vjp": 0}

    class Counted(Clean):
        def forward(self, x: Array, W: Array) -> Any:
            calls["forward"] += 1
            return super().forward(x, W)

        def vjp(self, dy: Any, x: Array, W: Array) -> Any:
            calls["vjp"] += 1
            return super().vjp(dy, x, W)

    result = judged(Counted())
    assert result.evaluations_by_tier["plumbing"] <= 6
    assert result.evaluations_by_tier["noise"] == 12
    assert result.evaluations == sum(result.evaluations_by_tier.values()) == calls["forward"]
    assert result.vjp_calls == calls["vjp"] == 2 + 6 + 4


def test_noise_drawn_from_the_bits_of_the_input_is_pure() -> None:
    class Rough(Clean):
        def forward(self, x: Array, W: Array) -> Any:
            seed = zlib.crc32(x.tobytes() + W.tobytes())
            return super().forward(x, W) * (1 + 1e-9 * np.random.default_rng(seed).normal(size=(3, 2)))

    result = judged(Rough())
    assert told(result) == []
    assert result.verdict is Verdict.PASS


def test_given_arrays_are_left_alone() -> None:
    mine = X.copy()
    judged(Mutating("forward", "x"))
    check(Mutating("the VJP", "x"), {"x": Given(values=mine), "W": W})
    np.testing.assert_array_equal(mine, X)

"""Each test before the numbers has a layer that triggers it, and it alone; a clean layer triggers none."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.numeric.objective import Ledger
from gradcheck_cli.plumbing.bench import Bench, NotAFunctionError, first_look, first_vjp, numeric_outputs
from gradcheck_cli.plumbing.structure import PURITY, STRUCTURE, examine
from gradcheck_cli.results import CheckResult, Finding, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from tests.judging import check, rules

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
        ("unknown-gradient", "error", None, "the VJP returns a gradient for 'xx', which is no array; did you mean 'x'?"),
    ),
    "transposed": (
        lambda g: g | {"x": g["x"].T},
        ("shape", "error", "x", "the gradient of 'x' has shape (2, 3), 'x' has (3, 2); it is transposed"),
    ),
    "batch": (
        lambda g: g | {"W": np.stack([g["W"] / 3] * 3)},
        (
            *("shape", "error", "W"),
            "the gradient of 'W' has shape (3, 2, 2), 'W' has (2, 2); the sum over the leading axes (the batch) is missing",
        ),
    ),
    "scalar": (
        lambda g: g | {"W": g["W"].sum()},
        ("shape", "error", "W", "the gradient of 'W' has shape (), 'W' has (2, 2); it is one number for the whole array"),
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


class Stateful(Clean):
    """Reads what an earlier call left behind."""

    def __init__(self, mode: str) -> None:
        self.mode, self.calls, self.pulls, self.cache = mode, 0, 0, np.zeros((3, 2))
        self.total: dict[str, Array] = {}

    def forward(self, x: Array, W: Array) -> Any:
        self.calls += 1
        before, self.cache = self.cache, np.tanh(x @ W)
        if self.mode == "stale forward" and self.calls > 1:
            return before
        if self.mode == "random":
            return self.cache + 0.1 * np.random.default_rng(self.calls).normal(size=(3, 2))
        if self.mode == "noisy":
            return self.cache * (1 + 1e-8 * np.random.default_rng(self.calls).normal(size=(3, 2)))
        if self.mode == "growing":
            return np.tile(self.cache, (self.calls, 1))
        return self.cache

    def vjp(self, dy: Any, x: Array, W: Array) -> Any:
        if self.mode == "stale cache":
            inner = dy * (1 - self.cache**2)
            return {"x": inner @ W.T, "W": x.T @ inner}
        gradients = super().vjp(dy, x, W)
        if self.mode == "fresh mask":
            self.calls += 1
            return {name: g * np.random.default_rng(self.calls).normal(size=g.shape) for name, g in gradients.items()}
        if self.mode == "accumulates":
            for name, g in gradients.items():
                self.total[name] = self.total.get(name, 0) + g
            return {name: total.copy() for name, total in self.total.items()}
        if self.mode == "shape changes":
            self.pulls += 1
            return {name: g[: 2 - self.pulls % 2] for name, g in gradients.items()}
        return gradients


def findings_of(mode: str) -> list[Finding]:
    bench = Bench(Stateful(mode), {"x": X, "W": W}, ("x", "W"), Ledger())
    findings = examine(first_look(bench), PURITY)
    if not findings or findings[0].severity == "note":
        first_vjp(bench, (np.array([[0.5, -1.2], [0.9, 1.4], [-0.6, 0.7]]),))
        findings += examine(bench, STRUCTURE)
    return findings


def found(mode: str) -> Finding:
    return findings_of(mode)[0]


@pytest.mark.parametrize(
    ("mode", "size"), [("stale forward", r"1\.2"), ("random", r"\d\.\d+")], ids=["stale forward", "random"]
)
def test_forward_is_no_function(mode: str, size: str) -> None:
    finding = found(mode)
    assert (finding.rule, finding.severity, finding.array) == ("not-a-function", "error", None)
    start = "forward is not a function of its inputs: called twice at the same point, with another call between, its "
    assert finding.sentence.startswith(f"{start}outputs differ by ")
    assert finding.sentence.endswith("; look for random numbers, caches or state")
    result = judged(Stateful(mode))
    assert (result.verdict, rules(result), result.arrays) == (Verdict.FAIL, ["not-a-function"], ())


def test_forward_that_changes_its_shape_is_no_function() -> None:
    sentence = "forward returned another shape when called again at the same point"
    assert found("growing") == Finding("not-a-function", "error", None, sentence)


def test_slightly_random_forward_is_a_note() -> None:
    finding = found("noisy")
    assert (finding.rule, finding.severity) == ("noisy-forward", "note")
    difference = finding.sentence.removeprefix("forward is noisy: two calls at the same point differ by ")
    assert 1e-9 < float(difference) < 1e-7
    result = judged(Stateful("noisy"))
    assert rules(result) == ["noisy-forward"]
    assert result.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE)


def test_accumulating_gradient() -> None:
    for number, name in enumerate(("x", "W")):
        sentence = f"the gradient of {name!r} accumulates: a second call of the VJP returns twice the first"
        assert findings_of("accumulates")[number] == Finding("accumulates", "error", name, sentence)
    assert judged(Stateful("accumulates")).verdict is Verdict.FAIL


@pytest.mark.parametrize("mode", ["stale cache", "fresh mask"])
def test_hidden_state(mode: str) -> None:
    finding = found(mode)
    assert (finding.rule, finding.severity, finding.array) == ("hidden-state", "error", "x")
    assert finding.sentence.startswith("the gradient of 'x' changes by ")
    end = (
        " when the VJP is called again at the same point after another call of forward; "
        "look for caches, state or fresh random numbers"
    )
    assert finding.sentence.endswith(end)
    assert judged(Stateful(mode)).verdict is Verdict.FAIL


def test_gradient_that_changes_its_shape_is_hidden_state() -> None:
    findings = findings_of("shape changes")
    sentence = "the gradient of 'x' has another shape when the VJP is called again"
    assert Finding("hidden-state", "error", "x", sentence) in findings


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
    expected = [
        (
            *("dy-ignored", "error", name),
            f"the gradient of {name!r} ignores the upstream gradient: it is the same for dy, 2 dy and 0; "
            "multiply by dy (dL/dy) in the backward pass",
        )
        for name in ("x", "W")
    ]
    assert told(judged(Upstream(np.ones_like))) == expected


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
    assert result.vjp_calls == calls["vjp"] == 2 + 1 + 7 + 4


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

"""Formulas on stacks: each row comes out as if it were alone, whatever they do, whichever arrays are stacked."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.adapters import formula
from gradcheck_cli.adapters.expressions.calls import FUNCTIONS
from gradcheck_cli.adapters.formula import Formula
from gradcheck_cli.layer import Array
from gradcheck_cli.results import CheckResult, Outcome, Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given

ROWS = 3  # as many as some axes have: an axis that is taken for another one shows
FAILURES = (ValueError, TypeError, IndexError, ArithmeticError)
SHAPES: dict[str, tuple[int, ...]] = {
    "s": (),
    "x": (3,),
    "v": (1,),
    "m": (2, 3),
    "q": (3, 3),
    "r": (3, 1),
    "t": (2, 3, 3),
    "u": (2, 1, 3),
}

OF_ONE = [
    *(f"{name}(_)" for name in ("abs", "arctan", "cos", "cosh", "det", "diag", "exp", "expm1", "inv", "len", "logdet")),
    *(f"{name}(_)" for name in ("ones_like", "ravel", "relu", "shape", "sigmoid", "sign", "sin", "sinh", "size")),
    *(f"{name}(_)" for name in ("softplus", "tan", "tanh", "trace", "transpose", "tril", "triu", "zeros_like")),
    *(f"{name}(abs(_) / 9)" for name in ("arccos", "arcsin", "log", "log1p", "sqrt")),
    *("_.T", "-_", "+_", "~(_ > 0)", "_ ** 2", "2 ** _", "_ // 1 % 2", "_ / 3 - 1", "0 < _ < 1", "_ == _"),
    *("(_ > 0) & (_ < 1)", "(_ > 0) | (_ < -1)", "(_ != 0) * _", "(_ <= 0) + (_ >= 1)"),
    *(
        "_[0]",
        "_[-1:]",
        "_[..., 0]",
        "_[None]",
        "_[::-1]",
        "_[[0, 2]]",
        "_[:, [1, 0]]",
        "_[0, [1, 0]]",
        "_[0, :, [1, 0]]",
    ),
    *("_[[0, 1], :, [2, 0]]", "_[[0, 1], [2, 0]]", "_[_ > 9]", "_[_ > 0]", "_[[0, 1], None]", "_[argmax(_) % 2]"),
    *("_[sign(_[0]) > 2]", "_[:len(_)]", "_[:argmin(_) * 0 + 1]", "_[:argmin(_)]", "_[[True, False, True]]"),
    *("_[arange(2), arange(2)]", "_[True]", "_[0 == 0, 0]", "[1, 2, 3][argmax(_) % 3]", "ones(3)[[argmax(_) % 3, 0]]"),
    *("[_, _][1]", "[_, 2 * _]", "[[sum(_), 1], [2, 3]]", "(_, 2 * _)[0]", "(_, _)[1:][0]", "[_, [1, 2, 3]]"),
    *("maximum([sum(_), 1], 0)", "[_, _][::-1]", "shape(_)[0] * _", "shape(_)[1:]", "(_, 3 * _)[argmax(_) % 2]"),
    *("concatenate([_, _])", "concatenate([_, 2 * _], axis=-1)", "concatenate([_, _], axis=1)", "concatenate(_)"),
    *("concatenate([_, ones(shape(_))], axis=None)", "concatenate((_, zeros((1, 3))))", "concatenate([[sum(_)], [1]])"),
    *("stack([_, _])", "stack([_, -_], axis=-1)", "stack((_, _), axis=1)", "stack([_, zeros(3)])", "stack(_)"),
    *("expand_dims(_, 0)", "expand_dims(_, -1)", "expand_dims(_, (0, 2))", "expand_dims(_, 3)", "squeeze(_)"),
    *("squeeze(_, 0)", "squeeze(_, -1)", "squeeze(_, (1,))", "flip(_)", "flip(_, 0)", "flip(_, (0, -1))"),
    *("swapaxes(_, 0, 1)", "swapaxes(_, 0, -1)", "swapaxes(_, -2, -1)", "swapaxes(_, 0, -3)"),
    *("transpose(_, (1, 0))", "transpose(_, (-1, 0, 1))", "transpose(_, axes=[0])", "transpose(_, (0, 0))"),
    *("reshape(_, -1)", "reshape(_, (3, -1))", "reshape(_, size(_))", "reshape(_, [1, -1])", "reshape(_, 2)"),
    *("broadcast_to(_, (3, 3))", "broadcast_to(_, 3)", "broadcast_to(_, (2, 3, 3))", "broadcast_to(_, [])"),
    *("eye(len(_)) + sum(_)", "arange(size(_)) * sum(_)", "zeros(shape(_)) + _", "ones(2) * sum(_)"),
    *("one_hot(argmax(_), size(_))", "one_hot(argsort(_), 3)", "arange(3 + argmax(_) * 0) + sum(_)", "eye(2)"),
    *("clip(_, -0.5, 0.5)", "clip(_, low=0)", "clip(_, high=sum(_))", "where(_ > 0, _, 2)", "ones(argmax(_) * 0 + 2)"),
    *("einsum('...->...', _)", "einsum('ij->ji', _)", "einsum('i,i->', _, _)", "kron(_, [1, 2])", "size(_, 0)"),
    *("var(_, ddof=1)", "std(_, 0, ddof=1)", "sum(_, keepdims=sum(_) > 99)", "reshape(_, argmax(_) * 0 + size(_))"),
]
ALONG = (
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "cumsum",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
)
ALONG += ("prod", "softmax", "sort", "std", "sum", "var")
AXES = ("", "0", "axis=-1", "axis=-2", "axis=1", "axis=-3", "axis=None", "axis=(0, 1)", "axis=(0, -1)", "axis=()")
AXES += ("axis=argmax(_) * 0", "axis=0.5", "axis=[0, 1]")
KEPT = ("keepdims=True", "0, True", "axis=(0, 1), keepdims=True")
REDUCING = tuple(name for name in ALONG if name not in ("argsort", "cumsum", "log_softmax", "softmax", "sort"))
OF_ONE += [f"{name}(_{axis and ', '}{axis})" for name in ALONG for axis in AXES]
OF_ONE += [f"{name}(_, {kept})" for name in REDUCING for kept in KEPT]

OF_TWO = ["_ + $", "_ - 2 * $", "_ * $", "_ / $", "abs(_) ** $", "_ @ $", "_ < $", "0 < _ < $", "_ // $", "_ % $"]
OF_TWO += ["maximum(_, $)", "minimum(_, $)", "where(_ > 0, _, $)", "clip(_, $, 1)", "sum(_) + $.T", "_[argmax($) % 2]"]
OF_TWO += [f"{name}(_, $)" for name in ("dot", "inner", "kron", "outer", "solve")]
OF_TWO += ["[_, $]", "concatenate([_, $])", "stack([_, $], axis=1)", "_ @ $.T", "_.T @ (_ @ $)", "$ @ [_, _]"]
OF_TWO += ["einsum('ij,j->i', _, $)", "einsum('ij,jk', _, $)", "einsum('...i,i->...', _, $)", "[1, 2, 3] @ _ + $"]
OF_TWO += [
    "solve(_, [1, 2, 3]) + $",
    "outer([1, 2], _) + $",
    "dot(_, eye(3)) + $",
    "solve(eye(3), _) + $",
    "inner(2, _) * $",
]


def points(*names: str) -> dict[str, Array]:
    rng = np.random.default_rng(5)
    return {name: rng.normal(size=(ROWS, *SHAPES[name])) for name in names}


def compare(text: str, stacked: dict[str, Array], fixed: dict[str, Array]) -> None:
    """Each row is what a single call gives; where one fails, or rows differ in shape, the stack fails."""
    point = {name: array[0] for name, array in stacked.items()} | fixed
    layer = Formula(text, gradients=dict.fromkeys(point, "0")).build(point, {}, 0)
    together = stacked | {name: array[None] for name, array in fixed.items()}
    try:
        single = [layer.forward(**fixed, **{name: array[k] for name, array in stacked.items()}) for k in range(ROWS)]
        expected = np.stack(single)
    except FAILURES:
        with pytest.raises(FAILURES):
            layer.forward_stacked(**together)
        return
    rows = layer.forward_stacked(**together)
    assert rows.shape == expected.shape, f"{text} {point}"
    assert rows.dtype == expected.dtype
    if re.match("log|norm|prod|std|softmax|sum|var|mean|.*@|dot|inner", text):  # sums may take another order
        np.testing.assert_allclose(rows, expected, rtol=3e-15, atol=1e-15, err_msg=text)
    else:
        np.testing.assert_array_equal(rows, expected, err_msg=text)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("text", OF_ONE)
def test_a_function_of_one_array(text: str) -> None:
    for name in SHAPES:
        written = re.sub(r"\b_\b", name, text)
        compare(written, points(name), {})


@pytest.mark.parametrize("text", OF_TWO)
def test_a_function_of_two_arrays(text: str) -> None:
    for one, two in itertools.permutations(SHAPES, 2):
        written, both = re.sub(r"\b_\b", one, text).replace("$", two), points(one, two)
        compare(written, both, {})
        compare(written, {one: both[one]}, {two: both[two][0]})
        compare(written, {two: both[two]}, {one: both[one][0]})


def test_every_function_is_stacked() -> None:
    written = " ".join(OF_ONE + OF_TWO)
    assert [name for name in FUNCTIONS if not re.search(rf"\b{name}\(", written)] == []


CROSS_ENTROPY = Formula(
    "-mean(z[arange(len(x)), t])",
    {"z": "log_softmax(x @ W.T + b)", "d": "dy * (exp(z) - one_hot(t, shape(z)[1])) / len(x)"},
    {"x": "d @ W", "W": "d.T @ x", "b": "sum(d, axis=0)"},
)


def classified(batch: int = 6, features: int = 5, classes: int = 4) -> dict[str, Array]:
    rng = np.random.default_rng(2)
    floats = {"x": rng.normal(size=(batch, features)), "W": rng.normal(size=(classes, features))}
    return floats | {"b": rng.normal(size=classes), "t": rng.integers(0, classes, batch)}


def test_arrays_that_are_not_stacked_serve_all_rows() -> None:
    arrays = classified()
    layer = CROSS_ENTROPY.build(arrays, {}, 0)
    for name in ("x", "W", "b"):
        stack = np.stack([arrays[name], 1.1 * arrays[name], arrays[name]])
        found = layer.forward_stacked(**{other: array[None] for other, array in arrays.items()} | {name: stack})
        np.testing.assert_allclose(found, [layer.forward(**arrays | {name: row}) for row in stack], rtol=3e-15)
        assert found[0] == found[2]
    np.testing.assert_array_equal(
        layer.forward_stacked(**{name: array[None] for name, array in arrays.items()}), [layer.forward(**arrays)]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stacks_keep_the_dtype(dtype: Any) -> None:
    x = np.ones((4, 3), dtype)
    layer = Formula("zeros(2) + sum(x) * 0.5 + 1", gradients={"x": "dy"}).build({"x": x[0]}, {}, 0)
    found = layer.forward_stacked(x=x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.full((4, 2), 2.5))


def test_a_result_that_nothing_moves_has_all_rows() -> None:
    layer = Formula("ones(2)", gradients={"x": "0"}).build({"x": np.ones(3)}, {}, 0)
    np.testing.assert_array_equal(layer.forward_stacked(x=np.ones((4, 3))), np.ones((4, 2)))


@pytest.mark.parametrize("room", [1, 40, 200])
def test_stacks_are_as_tall_as_the_largest_value_on_the_way_allows(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formula, "STACK", room)
    x = np.random.default_rng(0).normal(size=(7, 6))
    layer = Formula("sum(outer(x, x), axis=0)", gradients={"x": "dy"}).build({"x": x[0]}, {}, 0)
    heights: list[int] = []
    piece = formula.FormulaLayer._piece
    monkeypatch.setattr(
        formula.FormulaLayer, "_piece", lambda *args: heights.append(args[-1] - args[-2]) or piece(*args)
    )
    found = layer.forward_stacked(x=x)
    np.testing.assert_array_equal(found, [layer.forward(x=row) for row in x])
    assert heights == {1: [1] * 7, 40: [1] * 7, 200: [5, 2]}[room]  # the outer product has 36 elements


def test_a_row_that_cannot_be_computed_fails_the_stack() -> None:
    A = np.stack([np.eye(2), np.zeros((2, 2))])
    layer = Formula("inv(A)", gradients={"A": "dy"}).build({"A": A[0]}, {}, 0)
    with pytest.raises(ValueError, match="Singular matrix"):
        layer.forward_stacked(A=A)


def judged(description: Formula, arrays: dict[str, Array]) -> CheckResult:
    given = {name: Given(values=array, dtype=str(array.dtype)) for name, array in arrays.items()}
    return run_check(CheckSpec("f", "f", description, "formula", given), Rows(None))


def test_checks_are_the_same_with_and_without_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Formula(CROSS_ENTROPY.forward, CROSS_ENTROPY.let, {**CROSS_ENTROPY.gradients, "W": "1.01 * d.T @ x"})
    together = [judged(one, classified()) for one in (CROSS_ENTROPY, wrong)]
    monkeypatch.delattr(formula.FormulaLayer, "forward_stacked")
    alone = [judged(one, classified()) for one in (CROSS_ENTROPY, wrong)]
    assert [one.verdict for one in together] == [one.verdict for one in alone] == [Verdict.PASS, Verdict.FAIL]
    for one, other in zip(together, alone, strict=True):
        for array, twin in zip(one.arrays, other.arrays, strict=True):
            outcomes = {element.index: element.outcome for element in array.worst}
            assert outcomes == {element.index: element.outcome for element in twin.worst}
    assert {element.outcome for array in together[1].arrays for element in array.worst if array.name == "W"} == {
        Outcome.FAIL
    }

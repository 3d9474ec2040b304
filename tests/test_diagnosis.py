"""Each rule explains the mistake it is named after, on constructed sheets, and none explains by accident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.diagnosis.rules import Evidence, explain
from gradcheck_cli.layer import Array
from gradcheck_cli.results import Finding, Outcome

PASS, INCONCLUSIVE, FAIL, NONFINITE = (
    outcome.severity for outcome in (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL, Outcome.NONFINITE)
)
RNG = np.random.default_rng(7)
SQUARE = RNG.uniform(0.5, 2.0, (3, 3)) * RNG.choice([-1, 1], (3, 3))
TALL = RNG.uniform(0.5, 2.0, (5, 3)) * RNG.choice([-1, 1], (5, 3))
LINE = np.array([0.5, -1.25, 2.0, 0.75, -3.0, 1.5])
POINT = np.array([-1.5, 0.25, 1.75, -0.5, 0.625, -2.25])  # of an array beside LINE


@dataclass(frozen=True)
class Scaled:
    """A layer with options; the rules that ask it for more find that it says something else, and give up."""

    beta: float = 7.0
    steps: int = 5

    def forward(self, **arrays: Array) -> Array:
        raise ValueError("not today")

    def vjp(self, dy: Array, **arrays: Array) -> Mapping[str, Array]:
        raise ValueError("not today")


def sheet_of(name: str, right: Array, wrong: Array, doubt: float = 1e-10, units: int = 1, **columns: Any) -> Any:
    """A sheet whose numeric values are right to within a tenth of the doubt."""
    analytic = np.asarray(wrong, dtype=float).reshape(-1, units)
    true = np.asarray(right, dtype=float).reshape(-1, units)
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(analytic - true) <= doubt)
    outcome = np.where(bad, np.where(np.isfinite(analytic), FAIL, NONFINITE), PASS)
    everything = {
        "analytic": analytic,
        "numeric": true + 0.1 * doubt,
        "uncertainty": np.full(analytic.shape, doubt),
        "resolution": np.full(analytic.shape, doubt),
        "outcome": outcome.astype(np.int8),
        "rounded": np.zeros(analytic.shape, bool),
        "reason": np.full(analytic.shape, None, object),
    }
    return SimpleNamespace(name=name, **(everything | columns))


@dataclass(frozen=True)
class Case:
    """What a rule must say of a wrong gradient beside the right one."""

    rule: str
    right: Array
    wrong: Array
    says: str
    arrays: Mapping[str, Array] = field(default_factory=dict)
    outputs: Sequence[Array] = (np.zeros(2),)
    cotangent: Sequence[Array] = (np.ones(2),)
    layer: Any = None
    view: str = "vjp"
    units: int = 1
    columns: Mapping[str, Any] = field(default_factory=dict)
    known: Sequence[Finding] = ()


def findings_of(case: Case, value: Array | None = None) -> list[Finding]:
    shape = np.shape(case.right) if case.units == 1 else np.shape(case.right)[:-1]
    arrays = {"W": np.full(shape, 0.5) if value is None else value} | dict(case.arrays)
    sheet = sheet_of("W", case.right, case.wrong, units=case.units, **case.columns)
    evidence = Evidence(case.layer, arrays, case.outputs, case.cotangent, case.view, (sheet,))
    return list(explain(evidence, case.known))


def column(shape: tuple[int, ...], *indices: int) -> Array:
    mask = np.zeros(shape, bool)
    mask[..., list(indices)] = True
    return mask


SPOILT = SQUARE * RNG.uniform(1.1, 1.9, SQUARE.shape)
DY = np.array([1.5, -0.5, 0.75, -1.25, 0.625, 2.5])
PROBABILITIES = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
DY2 = np.array([[1.0, -2.0, 0.5], [-0.75, 1.5, 0.25]])
INNER = (DY2 * PROBABILITIES).sum(axis=1, keepdims=True)
SLICE = np.array([[2.0], [0.25]])

CASES = {
    "sign": Case("sign", SQUARE, -SQUARE, "has the wrong sign everywhere"),
    "zero": Case("zero", SQUARE, 0 * SQUARE, "is 0 in every element, the right one is not"),
    "half": Case("factor", SQUARE, SQUARE / 2, "is 0.5 times the right one in every element"),
    "half, one element": Case("factor", LINE[:1], LINE[:1] / 2, "the factor 2 is missing"),
    "one row too few": Case("factor", TALL, TALL / 5, "a factor 1/5 too many (5 is the size of axis 0 of W: a mean where"),
    "one size too many": Case("factor", TALL, TALL * 3, "the factor 1/3 is missing (3 is the size of axis 1 of W: a sum"),
    "all elements": Case("factor", TALL, TALL * 15, "the factor 1/15 is missing (15 is the number of elements of W"),
    "root of a size": Case("factor", TALL, TALL * 3**0.5, "the factor 1/√3 is missing (3 is the size of axis 1 of W)"),
    "n - 1": Case("factor", TALL, TALL * 1.25, "divided by 5 - 1 where 5 is needed (5 is the size of axis 0 of W)"),
    "option": Case("factor", TALL, TALL / 7, "the factor beta = 7 is missing", layer=Scaled()),
    "option squared": Case("factor", TALL, TALL * 49, "a factor beta = 7 twice too many", layer=Scaled()),
    "1 - option": Case("factor", TALL, TALL * 0.8, "a factor 1 - beta = 0.8 too many", layer=Scaled(beta=0.2)),
    "scalar array": Case("factor", TALL, TALL * 0.3, "a factor t = 0.3 too many", {"t": np.array(0.3)}),
    "sign and size": Case("factor", TALL, TALL / -5, "the wrong sign, and a factor 1/5 too many"),
    "logarithm": Case("factor", TALL, TALL / np.log(10), "the factor ln 10 is missing"),
    "fraction": Case("factor", SQUARE, SQUARE * 6 / 11, "is 0.5455 (6/11) times the right one"),
    "any factor": Case("factor", SQUARE, SQUARE * 1.37, "look for a constant factor that is missing or there twice"),
    "small factor": Case("factor", SQUARE, SQUARE * 1.00001, "is 1.00001 times the right one"),
    "transposed": Case("transposed", SQUARE, SQUARE.T, "is transposed"),
    "axes": Case("transposed", TALL.reshape(5, 3, 1) * np.ones(3), (TALL.reshape(5, 1, 3) * np.ones((3, 1))), "axes 1 and 2"),
    "flipped": Case("axis-flipped", TALL, TALL[::-1], "is reversed along axis 0"),
    "flipped twice": Case("axis-flipped", TALL, TALL[::-1, ::-1], "is reversed along axes 0 and 1"),
    "rolled": Case("shifted", TALL, np.roll(TALL, 1, 0), "comes one place too late along axis 0"),
    "shifted in a 0": Case("shifted", LINE, np.array([*LINE[1:], 0.0]), "comes one place too early along axis 0"),
    "permuted": Case("permuted", TALL, TALL[[0, 3, 2, 4, 1]], "wrong order: the one at 1 belongs to 3"),
    "sum of all": Case("one-number", LINE, np.full(6, LINE.sum()), "0.5, the sum of the right ones: one value for each"),
    "mean of all": Case("one-number", LINE, np.full(6, LINE.mean()), "the mean of the right ones"),
    "mean along": Case("one-number", TALL, TALL.mean(1, keepdims=True) * np.ones(3), "the same all along axis 1, the mean"),
    "a constant": Case("one-number", LINE, np.full(6, 1.75), "is one number for all elements, 1.75, where the right ones"),
    "dy itself": Case("dy-itself", LINE, DY, "is dy itself", cotangent=(DY,), outputs=(DY,)),
    "dy missing": Case("dy-missing", LINE * DY, LINE, "the factor dy is missing", cotangent=(DY,), outputs=(DY,)),
    "dy twice": Case("dy-twice", LINE, LINE * DY, "a factor dy too many", cotangent=(DY,), outputs=(DY,)),
    "times v": Case("scaled-by", LINE, LINE * POINT, "is the right one times v, element by element", {"v": POINT}),
    "over v": Case("scaled-by", TALL, TALL / SQUARE[0], "is the right one divided by v", {"v": SQUARE[0]}),
    "mask": Case("inverted", LINE * (POINT > 0), LINE * (POINT < 0), "an inverted mask or condition"),
    "skip": Case("missing-term", LINE, LINE - DY, "smaller than the right one by exactly dy", cotangent=(DY,)),
    "too many": Case("extra-term", LINE, LINE + POINT, "larger than the right one by exactly v", {"v": POINT}),
    "softmax": Case(
        "missing-term",
        PROBABILITIES * (DY2 - INNER),
        PROBABILITIES * DY2,
        "lacks the term -y Σ(y dy), summed along axis 1",
        outputs=(PROBABILITIES,),
        cotangent=(DY2,),
    ),
    "softmax, mean": Case(
        "missing-term",
        PROBABILITIES * (DY2 - INNER),
        PROBABILITIES * (DY2 - INNER / 3),
        "lacks 0.6667 times the term -y Σ(y dy), summed along axis 1",
        outputs=(PROBABILITIES,),
        cotangent=(DY2,),
    ),
    "mean": Case(
        "missing-term", TALL - TALL.mean(1, keepdims=True), TALL, "its mean along axis 1 is not subtracted"
    ),
    "constant along": Case(
        "missing-term", TALL, TALL + np.arange(1, 4) / 7, "by a term that is constant along axis 0 (W[4, 1]: "
    ),
    "factor along": Case("factor-along", DY2, DY2 * SLICE, "the same along axis 1 (2, 0.25 times)"),
    "dy times y": Case(
        "dy-times", DY * LINE * (1 - LINE), DY * LINE, "is dy times y", cotangent=(DY,), outputs=(LINE,), layer=Scaled()
    ),
    "one of many": Case("single-element", LINE, LINE + [0, 0, 0.25, 0, 0, 0], "in one element of 6: W[2]: 2.25 instead of 2 (1.125"),
    "two of many": Case("single-element", LINE, LINE + [0, 0, 0.25, 0, 0, 1.5], "in 2 elements of 6: W[2]: 2.25 instead of 2 (1.125 times), W[5]"),
    "row": Case("somewhere", TALL, TALL * (1 + 0.5 * (np.arange(5) == 1))[:, None], "only in row 1 (3 of 15 elements"),
    "column": Case("somewhere", TALL, TALL * ~column((5, 3), 2), "is wrong only in column 2 (5 of 15 elements"),
    "diagonal": Case("somewhere", SQUARE, SQUARE * ~np.eye(3, dtype=bool), "only on the diagonal (3 of 9 elements"),
    "border": Case("somewhere", np.tile(LINE, (4, 1)), np.tile(LINE, (4, 1)) * ~column((4, 6), 0, 5), "it is 0 there"),
    "repeated": Case(
        "somewhere",
        TALL,
        TALL * (1 + 0.5 * np.isin(np.arange(5), (0, 2)))[:, None] * (1 + 0.25 * column((5, 3), 0)[0] * np.isin(np.arange(5), (0, 2))[:, None]),
        "only in the rows that i names more than once (6 of 15 elements",
        {"i": np.array([2, 2, 0, 4, 0])},
    ),
    "picked": Case(
        "somewhere",
        TALL,
        TALL + (np.array([0, 2, 1, 1, 0])[:, None] == np.arange(3)) * np.arange(1, 6)[:, None] ** 2,
        "only at the elements that t picks (5 of 15 elements",
        {"t": np.array([0, 2, 1, 1, 0])},
    ),
    "unexplained": Case("mismatch", SQUARE, SPOILT, "is wrong in 9 of 9 elements, worst W["),
    "scalar": Case("mismatch", np.array(2.0), np.array(2.5), "is wrong: W: 2.5 instead of 2 (1.25 times)"),
    "infinite": Case("nan", LINE, LINE + [0, np.inf, 0, 0, 0, 0], "is infinite in 1 of 6 elements, first W[1]: inf, where W is 0.5"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rule_names_its_mistake(name: str) -> None:
    case = CASES[name]
    (finding,) = findings_of(case)
    assert (finding.rule, finding.severity, finding.array) == (case.rule, "error", "W"), finding.sentence
    assert case.says in finding.sentence
    assert finding.sentence.startswith("dL/dW ")


def test_sum_of_dy_for_a_bias() -> None:
    dy = np.array([0.5, -1.0, 4.0])
    case = Case("one-number", dy, np.full(3, 3.5), "", cotangent=(dy,), outputs=(dy,))
    sentence = "dL/dW is one number for all elements, 3.5, the sum of the right ones: it is sum(dy) where dy is needed"
    assert findings_of(case) == [Finding("one-number", "error", "W", sentence)]


def test_sum_of_dy_for_a_bias_of_a_batch() -> None:
    dy = np.array([[0.5, -1.0, 4.0], [1.0, 2.0, 3.0]])
    case = Case("one-number", dy.sum(axis=0), np.full(3, 9.5), "", cotangent=(dy,), outputs=(dy,))
    sentence = "dL/dW is one number for all elements, 9.5, the sum of the right ones: the sum of dy along axis 0 alone is needed"
    assert findings_of(case) == [Finding("one-number", "error", "W", sentence)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: np.where(x < 0, 0.0, LINE), "is wrong only where W < 0 (3 of 6 elements, W[0]: 0 instead of 0.5): it is 0"),
        (lambda x: np.where(x > 0, -LINE, LINE), "it has the wrong sign there"),
        (lambda x: np.where(np.abs(x) > 1, 2 * LINE, LINE), "only where |W| > 1 (3 of 6 elements, W[4]: -6 instead of -3)"),
    ],
)  # fmt: skip
def test_place_is_named_by_the_value_there(change: Any, says: str) -> None:
    (finding,) = findings_of(Case("somewhere", LINE, change(POINT), ""), POINT)
    assert finding.rule == "somewhere"
    assert says in finding.sentence


def test_mask_is_named() -> None:
    mask = np.array([True, False, True, False, False, True])
    case = Case("somewhere", LINE * mask, LINE, "", {"mask": mask})
    sentence = "dL/dW is wrong only where mask is false (3 of 6 elements, W[4]: -3 instead of 0): it must be 0 there"
    assert findings_of(case) == [
        Finding("somewhere", "error", "W", sentence.replace("instead of 0)", "instead of 1e-11)"))
    ]


def test_lost_digits_are_no_wrong_formula() -> None:
    rounded = np.array([[False], [True], [False], [False], [False], [False]])
    reason = np.where(rounded, "float32 rounding", None)
    case = Case(
        "rounding", LINE, LINE * np.where(rounded[:, 0], 1.25, 1.0), "", columns={"rounded": rounded, "reason": reason}
    )
    sentence = (
        "dL/dW loses digits in 1 of 6 elements (float32 rounding; W[1]: -1.562 instead of -1.25), though its formula is "
        "right: look for a difference of large numbers, an overflow, or a part that is computed in lower precision"
    )
    assert findings_of(case) == [Finding("rounding", "error", "W", sentence)]


def test_wrong_formula_is_named_beside_lost_digits() -> None:
    rounded = np.arange(6)[:, None] == 3
    (finding,) = findings_of(Case("sign", LINE, -LINE + 5 * rounded[:, 0], "", columns={"rounded": rounded}))
    assert finding.rule == "sign"


def test_inconclusive_elements_are_left_out() -> None:
    outcome = np.array([FAIL, INCONCLUSIVE, FAIL, FAIL, FAIL, FAIL]).reshape(-1, 1)
    wrong = -LINE
    wrong[1] = 12.5
    (finding,) = findings_of(Case("sign", LINE, wrong, "", columns={"outcome": outcome}))
    assert finding.rule == "sign"


def test_kink_is_named() -> None:
    reason = np.where(np.arange(6)[:, None] == 2, "no subgradient", None)
    (finding,) = findings_of(Case("kink", LINE, LINE + [0, 0, 1, 0, 0, 0], "", columns={"reason": reason}), POINT)
    sentence = (
        "dL/dW is no subgradient at a kink in 1 of 6 elements (W[2]: 3 instead of 2, where W is 1.75): it must lie "
        "between the slopes on both sides"
    )
    assert finding == Finding("kink", "error", "W", sentence)


@pytest.mark.parametrize(
    "rule", ["shape", "dy-ignored", "accumulates", "hidden-state", "nan-gradient", "missing-gradient"]
)
def test_what_plumbing_explained_is_not_explained_again(rule: str) -> None:
    case = CASES["sign"]
    known = Finding(rule, "error", "W", "it is wrong")
    assert findings_of(Case(case.rule, case.right, case.wrong, "", known=(known,))) == []
    assert len(findings_of(Case(case.rule, case.right, case.wrong, "", known=(Finding(rule, "error", "b", ""),)))) == 1


def test_nothing_is_said_of_an_array_that_passes() -> None:
    assert findings_of(Case("", LINE, LINE, "")) == []


def test_swapped_arrays_are_both_named() -> None:
    arrays = {"A": np.full(6, 0.5), "B": np.full(6, 0.25)}
    sheets = (sheet_of("A", LINE, POINT), sheet_of("B", POINT, LINE))
    found = list(explain(Evidence(None, arrays, (np.zeros(2),), (np.ones(2),), "vjp", sheets), ()))
    assert [(finding.rule, finding.array) for finding in found] == [("swapped", "A"), ("swapped", "B")]
    sentence = "dL/dA is the right dL/dB, and dL/dB is the right dL/dA (A[4]: 0.625 instead of -3): the two are swapped"
    assert found[0].sentence == sentence


def test_gradient_of_another_array_is_named() -> None:
    arrays = {"A": np.full(6, 0.5), "B": np.full(6, 0.25)}
    sheets = (sheet_of("A", LINE, POINT), sheet_of("B", POINT, POINT))
    (found,) = explain(Evidence(None, arrays, (np.zeros(2),), (np.ones(2),), "vjp", sheets), ())
    sentence = "dL/dA is the right dL/dB (A[4]: 0.625 instead of -3): the gradient of B is returned for A"
    assert found == Finding("swapped", "error", "A", sentence)


def test_jacobian_without_its_off_diagonal() -> None:
    case = Case("diagonal-only", SQUARE, np.diag(np.diag(SQUARE)), "", view="jacobian", units=3)
    (finding,) = findings_of(case)
    assert finding.rule == "diagonal-only"
    assert finding.sentence.startswith("∂y/∂W has only a diagonal (W[")
    assert finding.sentence.endswith("the elements off the diagonal of the Jacobian are missing")


def test_transposed_jacobian() -> None:
    (finding,) = findings_of(Case("transposed", SQUARE, SQUARE.T, "", view="jacobian", units=3))
    assert finding.rule == "transposed"
    assert finding.sentence.endswith("the Jacobian has ∂y_j/∂x_i at [j, i]")


@pytest.mark.parametrize("shape", [(), (1,), (2,), (3,), (5,), (2, 2), (3, 4), (4, 4), (2, 3, 2)])
def test_nothing_is_explained_by_accident(shape: tuple[int, ...]) -> None:
    """Of 150 gradients with unrelated errors none gets an explanation, doubtful or exact."""
    for seed in range(150):
        rng = np.random.default_rng([seed, *shape])
        right = rng.normal(size=shape)
        wrong = right * rng.uniform(1.05, 3.0, shape)
        dy, y, v = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=shape[-1:])
        sheet = sheet_of("W", right, wrong, doubt=10.0 ** rng.uniform(-12, -5))
        arrays = {"W": rng.normal(size=shape), "v": v, "t": np.array(0.7)}
        found = list(explain(Evidence(Scaled(), arrays, (y,), (dy,), "vjp", (sheet,)), ()))
        assert [finding.rule for finding in found] == ["mismatch"], (seed, found)


def test_large_doubt_explains_nothing() -> None:
    """Half of the right one, within a tenth: as well 0.45 or 0.55 of it."""
    wide = np.full((1, 1), 0.05)
    (finding,) = findings_of(
        Case("mismatch", np.array([1.0]), np.array([0.5]), "", columns={"uncertainty": wide, "resolution": wide})
    )
    assert finding.rule == "mismatch"

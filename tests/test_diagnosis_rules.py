"""Each rule explains the mistake that it is named after."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli.layer import Array
from tests.constructed_sheets import LINE, POINT, RNG, SQUARE, TALL, Case, Scaled, findings_of


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
CUBE = np.tile(TALL[:, :, None], 3)
AT_2 = np.arange(6) == 2
TWO = np.array([[0, 0.25, 0], [0, 0, 0], [1.5, 0, 0]])

CASES = {
    "sign": Case("sign", SQUARE, -SQUARE, "has the wrong sign everywhere"),
    "zero": Case("zero", SQUARE, 0 * SQUARE, "is 0 in every element, the right one is not"),
    "half": Case("factor", SQUARE, SQUARE / 2, "is 0.5 times the right one in every element"),
    "half, one element": Case("factor", LINE[:1], LINE[:1] / 2, "the factor 2 is missing"),
    "one row too few": Case("factor", TALL, TALL / 5, "a factor 1/5 too many (5 is the size of axis 0 of W: a mean"),
    "one size too many": Case("factor", TALL, TALL * 3, "factor 1/3 is missing (3 is the size of axis 1 of W: a sum"),
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
    "axes": Case("transposed", CUBE, CUBE.swapaxes(1, 2), "has axes 1 and 2 exchanged"),
    "flipped": Case("axis-flipped", TALL, TALL[::-1], "is reversed along axis 0"),
    "flipped twice": Case("axis-flipped", TALL, TALL[::-1, ::-1], "is reversed along axes 0 and 1"),
    "rolled": Case("shifted", TALL, np.roll(TALL, 1, 0), "comes one place too late along axis 0"),
    "shifted in a 0": Case("shifted", LINE, np.array([*LINE[1:], 0.0]), "comes one place too early along axis 0"),
    "permuted": Case("permuted", TALL, TALL[[0, 3, 2, 4, 1]], "wrong order: the one at 1 belongs to 3"),
    "sum of all": Case("one-number", LINE, np.full(6, LINE.sum()), "0.5, the sum of the right ones: one value for"),
    "mean of all": Case("one-number", LINE, np.full(6, LINE.mean()), "the mean of the right ones"),
    "mean along": Case("one-number", TALL, TALL.mean(1, keepdims=True) * np.ones(3), "the same all along axis 1"),
    "a constant": Case("one-number", LINE, np.full(6, 1.75), "is one number for all elements, 1.75, where"),
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
        "missing-term", TALL, TALL + np.arange(1, 4) / 7, "by a term that is constant along axis 0 (W[0, 2]: "
    ),
    "factor along": Case("factor-along", DY2, DY2 * SLICE, "the same along axis 1 (2, 0.25 times)"),
    "dy times y": Case(
        "dy-times", DY * LINE * (1 - LINE), DY * LINE, "is dy times y", cotangent=(DY,), outputs=(LINE,), layer=Scaled()
    ),
    "one of many": Case("single-element", LINE, LINE + 0.25 * AT_2, "one element of 6: W[2]: 2.25 instead of 2 (1.125"),
    "two of many": Case("single-element", SQUARE, SQUARE + TWO, "in 2 elements of 9: W[0, 1]: "),
    "row": Case("somewhere", TALL, TALL * (1 + 0.5 * (np.arange(5) == 1))[:, None], "only in row 1 (3 of 15 elements"),
    "column": Case("somewhere", TALL, TALL * ~column((5, 3), 2), "is wrong only in column 2 (5 of 15 elements"),
    "diagonal": Case("somewhere", SQUARE, SQUARE * ~np.eye(3, dtype=bool), "only on the diagonal (3 of 9 elements"),
    "border": Case("somewhere", np.tile(LINE, (4, 1)), np.tile(LINE, (4, 1)) * ~column((4, 6), 0, 5), "it is 0 there"),
    "repeated": Case(
        "somewhere",
        TALL,
        TALL + np.array([1, 0, 2, 0, 0])[:, None] * np.array([0.5, 0.75, 0.8]),
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
    "scalar": Case("mismatch", np.array(2.0), np.array(2.4), "is wrong: W: 2.4 instead of 2 (1.2 times)"),
    "infinite": Case("nan", LINE, LINE + np.where(AT_2, np.inf, 0), "infinite in 1 of 6 elements, first W[2]: inf, "),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rule_names_its_mistake(name: str) -> None:
    case = CASES[name]
    (finding,) = findings_of(case)
    assert (finding.rule, finding.severity, finding.array) == (case.rule, "error", "W"), finding.sentence
    assert case.says in finding.sentence
    assert finding.sentence.startswith("dL/dW ")

"""What is explained, what is left alone, and that nothing is explained by accident."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.diagnosis.explain import explain
from gradcheck_cli.diagnosis.suspect import Evidence
from gradcheck_cli.results import Finding
from tests.constructed_sheets import FAIL, INCONCLUSIVE, LINE, POINT, SQUARE, Case, Scaled, findings_of, sheet_of


def test_sum_of_dy_for_a_bias() -> None:
    dy = np.array([0.5, -1.0, 4.0])
    case = Case("one-number", dy, np.full(3, 3.5), "", cotangent=(dy,), outputs=(dy,))
    sentence = "dL/dW is one number for all elements, 3.5, the sum of the right ones: it is sum(dy) where dy is needed"
    assert findings_of(case) == [Finding("one-number", "error", "W", sentence)]


def test_sum_of_dy_for_a_bias_of_a_batch() -> None:
    dy = np.array([[0.5, -1.0, 4.0], [1.0, 2.0, 3.0]])
    case = Case("one-number", dy.sum(axis=0), np.full(3, 9.5), "", cotangent=(dy,), outputs=(dy,))
    numbers = "dL/dW is one number for all elements, 9.5, the sum of the right ones"
    sentence = f"{numbers}: the sum of dy along axis 0 alone is needed"
    assert findings_of(case) == [Finding("one-number", "error", "W", sentence)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: np.where(x < 0, 0, LINE), "only where W < 0 (3 of 6 elements, W[5]: 0 instead of 1.5): it is 0"),
        (lambda x: np.where(x > 0, -LINE, LINE), "it has the wrong sign there"),
        (lambda x: np.where(abs(x) > 1, 2 * LINE, LINE), "only where |W| > 1 (3 of 6 elements, W[2]: 4 instead of 2)"),
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
    assert findings_of(case) == [Finding("somewhere", "error", "W", sentence)]


def test_lost_digits_are_no_wrong_formula() -> None:
    rounded = np.array([[False], [True], [False], [False], [False], [False]])
    reason = np.where(rounded, "float32 rounding", None)
    case = Case(
        "rounding", LINE, LINE * np.where(rounded[:, 0], 1.25, 1.0), "", columns={"rounded": rounded, "reason": reason}
    )
    sentence = (
        "dL/dW loses digits in 1 of 6 elements (float32 rounding; W[1]: -1.562 instead of -1.25), though its formula "
        "is right: look for a difference of large numbers, an overflow, or a part that is computed in lower precision"
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
    (finding,) = findings_of(Case("kink", LINE, LINE + (LINE == 2), "", columns={"reason": reason}), POINT)
    sentence = (
        "dL/dW is no subgradient at a kink in 1 of 6 elements (W[2]: 3 instead of 2, where W is 1.75): it must lie "
        "between the slopes on both sides"
    )
    assert finding == Finding("kink", "error", "W", sentence)


@pytest.mark.parametrize(
    "rule", ["shape", "dy-ignored", "accumulates", "hidden-state", "nan-gradient", "missing-gradient"]
)
def test_what_plumbing_explained_is_not_explained_again(rule: str) -> None:
    known, another = (Finding(rule, "error", name, "it is wrong") for name in ("W", "b"))
    assert findings_of(Case("sign", SQUARE, -SQUARE, "", known=(known,))) == []
    assert len(findings_of(Case("sign", SQUARE, -SQUARE, "", known=(another,)))) == 1


def test_nothing_is_said_of_an_array_that_passes() -> None:
    assert findings_of(Case("", LINE, LINE, "")) == []


def test_swapped_arrays_are_both_named() -> None:
    arrays = {"A": np.full(6, 0.5), "B": np.full(6, 0.25)}
    sheets = (sheet_of("A", LINE, POINT), sheet_of("B", POINT, LINE))
    found = list(explain(Evidence(None, arrays, (np.zeros(2),), (np.ones(2),), "vjp", sheets), ()))
    assert [(finding.rule, finding.array) for finding in found] == [("swapped", "A"), ("swapped", "B")]
    sentence = (
        "dL/dA is the right dL/dB, and dL/dB is the right dL/dA (A[5]: -2.25 instead of 1.5): the two are swapped"
    )
    assert found[0].sentence == sentence


def test_gradient_of_another_array_is_named() -> None:
    arrays = {"A": np.full(6, 0.5), "B": np.full(6, 0.25)}
    sheets = (sheet_of("A", LINE, POINT), sheet_of("B", POINT, POINT))
    (found,) = explain(Evidence(None, arrays, (np.zeros(2),), (np.ones(2),), "vjp", sheets), ())
    sentence = "dL/dA is the right dL/dB (A[5]: -2.25 instead of 1.5): the gradient of B is returned for A"
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
    """Of 80 gradients with unrelated errors none gets an explanation, doubtful or exact."""
    for seed in range(80):
        rng = np.random.default_rng([seed, *shape])
        right = rng.normal(size=shape)
        wrong = right * rng.uniform(1.05, 3.0, shape)
        dy, y, v = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=shape[-1:])
        sheet = sheet_of("W", right, wrong, doubt=10.0 ** rng.uniform(-12, -5))
        arrays = {"W": rng.normal(size=shape), "v": v, "t": np.array(0.7)}
        found = list(explain(Evidence(Scaled(), arrays, (y,), (dy,), "vjp", (sheet,)), ()))
        assert [finding.rule for finding in found] == ["mismatch"], (seed, found)


@pytest.mark.parametrize("shape", [(5,), (2, 2), (3, 4), (2, 3, 2)])
def test_some_wrong_elements_are_only_located(shape: tuple[int, ...]) -> None:
    for seed in range(80):
        rng = np.random.default_rng([seed, *shape])
        right = rng.normal(size=shape)
        wrong = right * np.where(rng.random(shape) < 0.4, rng.uniform(1.05, 3.0, shape), 1.0)
        arrays, dy = {"W": rng.normal(size=shape)}, rng.normal(size=shape)
        sheet = sheet_of("W", right, wrong, doubt=10.0 ** rng.uniform(-12, -5))
        found = list(explain(Evidence(Scaled(), arrays, (np.zeros(shape),), (dy,), "vjp", (sheet,)), ()))
        located = {"mismatch", "single-element", "somewhere"} if (wrong != right).any() else set()
        assert len(found) == len(located) / 3, (seed, found)
        assert {finding.rule for finding in found} <= located, (seed, found)


def test_large_doubt_explains_nothing() -> None:
    """Half of the right one, within a tenth: as well 0.45 or 0.55 of it."""
    wide = np.full((1, 1), 0.05)
    (finding,) = findings_of(
        Case("mismatch", np.array([1.0]), np.array([0.5]), "", columns={"uncertainty": wide, "resolution": wide})
    )
    assert finding.rule == "mismatch"

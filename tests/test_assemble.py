"""From judged elements to counts, the worst rows, resolution, notes and verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.assemble import Judged, array_results, locate, resolution_of, verdict_of, worst_first
from gradcheck_cli.layer import Array, Fill
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import ArrayResult, Finding, Outcome, Rows, Verdict
from gradcheck_cli.spec import Given
from gradcheck_cli.tiers.sheet import CODES, FAIL, INCONCLUSIVE, KINK, NONFINITE, PASS, Sheet
from tests.judging import Map, check, entrywise


def sheet(outcomes: list[int], **columns: Any) -> Sheet:
    """A sheet of one array in the VJP view."""
    size = len(outcomes)
    made = Sheet.blank("x", np.ones((size, 1)), "central")
    made.outcome[:, 0] = outcomes
    made.numeric[:], made.uncertainty[:], made.resolution[:], made.step[:] = 1.0, 1e-10, 2e-10, 1e-5
    for column, values in columns.items():
        getattr(made, column)[:, 0] = values
    return made


def judged(*sheets: Sheet, findings: tuple[Finding, ...] = ()) -> list[Judged]:
    """One point for each sheet."""
    return [Judged(k, (one,), findings, (), {"x": (one.outcome.size,)}, ((3,),)) for k, one in enumerate(sheets)]


def one_array(*sheets: Sheet, rows: Rows | None = None) -> ArrayResult:
    (found,) = array_results(judged(*sheets), "vjp", rows or Rows())
    return found


def test_every_outcome_is_counted() -> None:
    found = one_array(sheet([PASS, PASS, KINK, INCONCLUSIVE, FAIL, FAIL, NONFINITE]))
    assert (found.elements, found.visited, found.shape) == (7, 7, (7,))
    counts = (found.passed, found.kinks, found.inconclusive, found.failed, found.nonfinite)
    assert counts == (2, 1, 1, 2, 1)
    assert CODES[NONFINITE] is Outcome.NONFINITE


def test_the_worst_come_first() -> None:
    found = one_array(
        sheet(
            [PASS, FAIL, INCONCLUSIVE, FAIL, PASS, KINK, NONFINITE],
            numeric=[1 + 1e-10, 1.1, 1.0, 1.2, 1.0, 1.0, 1.0],
        )
    )
    assert [element.index for element in found.worst] == [(6,), (3,), (1,), (2,), (5,), (0,), (4,)]


def test_of_one_outcome_the_largest_excess_comes_first_however_small_the_element() -> None:
    found = one_array(sheet([FAIL] * 3, numeric=[1.1, 1 + 1e-6, 1.0], resolution=[1e-3, 1e-12, 1e-10]))
    assert [element.index for element in found.worst] == [(1,), (0,), (2,)]


def test_rows_are_limited_over_all_points() -> None:
    found = one_array(sheet([PASS] * 20), sheet([FAIL] + [PASS] * 19), rows=Rows(24, 10))
    assert (found.elements, found.failed, len(found.worst)) == (40, 1, 10)
    assert (found.worst[0].point, found.worst[0].index) == (1, (0,))


def test_largest_errors() -> None:
    found = one_array(sheet([PASS] * 3, numeric=[1.0, 1.5, 0.8]))
    assert found.max_abs_error == 0.5
    assert found.max_rel_error == pytest.approx(0.5 / 1.5)
    lost = one_array(sheet([PASS, NONFINITE], numeric=[1.0, np.nan]))
    assert np.isnan(lost.max_abs_error)
    assert np.isnan(lost.max_rel_error)


def test_an_array_without_elements() -> None:
    found = one_array(sheet([]))
    assert (found.elements, found.worst, found.max_abs_error, found.max_rel_error) == (0, (), 0.0, 0.0)
    assert array_results([], "vjp", Rows()) == ()
    assert resolution_of([], "vjp") is None
    assert resolution_of(judged(sheet([])), "vjp") is None


def test_resolution_is_the_median_and_the_worst_with_its_place() -> None:
    found = resolution_of(judged(sheet([PASS] * 3, resolution=[1e-9, 5e-9, 3e-9])), "vjp")
    assert found is not None
    assert (found.median, found.worst, found.at) == (3e-9, 5e-9, "x[1]")


def test_resolution_of_what_could_not_be_decided_is_infinite() -> None:
    found = resolution_of(judged(sheet([PASS, INCONCLUSIVE], resolution=[1e-9, np.inf])), "vjp")
    assert found is not None
    assert (found.worst, found.at) == (np.inf, "x[1]")
    nan = resolution_of(judged(sheet([NONFINITE], resolution=[np.nan])), "vjp")
    assert nan is not None
    assert nan.worst == np.inf


def test_a_kink_takes_no_power_away() -> None:
    found = resolution_of(judged(sheet([PASS, KINK], resolution=[1e-9, 2.0])), "vjp")
    assert found is not None
    assert found.worst == 1e-9


def result_of(outcomes: list[int]) -> tuple[ArrayResult, ...]:
    return (one_array(sheet(outcomes)),)


ERROR, NOTE = Finding("shape", "error", "x", "wrong"), Finding("no-dy", "note", None, "so it is")


@pytest.mark.parametrize(
    ("outcomes", "findings", "verdict"),
    [
        ([PASS, KINK], (), Verdict.PASS),
        ([PASS, KINK], (NOTE,), Verdict.PASS),
        ([PASS], (NOTE, ERROR), Verdict.FAIL),
        ([PASS, INCONCLUSIVE], (NOTE,), Verdict.INCONCLUSIVE),
        ([INCONCLUSIVE, FAIL], (), Verdict.FAIL),
        ([INCONCLUSIVE, NONFINITE], (), Verdict.FAIL),
        ([INCONCLUSIVE], (ERROR,), Verdict.FAIL),
    ],
)
def test_verdict(outcomes: list[int], findings: tuple[Finding, ...], verdict: Verdict) -> None:
    assert verdict_of(result_of(outcomes), findings) is verdict


def test_a_point_passes_unless_something_is_wrong_for_sure() -> None:
    assert judged(sheet([PASS, INCONCLUSIVE, KINK]), findings=(NOTE,))[0].passed
    assert not judged(sheet([PASS, FAIL]))[0].passed
    assert not judged(sheet([NONFINITE]))[0].passed
    assert not judged(sheet([PASS]), findings=(ERROR,))[0].passed


def test_flat_outputs_are_located() -> None:
    shapes = ((2, 3), (), (4,))
    assert locate(shapes, 0) == (0, (0, 0))
    assert locate(shapes, 5) == (0, (1, 2))
    assert locate(shapes, 6) == (1, ())
    assert locate(shapes, 10) == (2, (3,))
    assert locate(shapes, 11) == (0, ())


CONSTANT = "the given cotangent is constant: the gradient of softmax and of norm layers vanishes there"


def alike(name: str, value: str) -> str:
    return f"all entries of {name!r} are {value}: mistakes that only show at unequal values are hidden"


def test_a_forced_degenerate_point_is_noted() -> None:
    softmax = LAYERS["softmax"]()
    assert check(softmax).notes == ()
    assert check(softmax, {"x": [0.1, 0.5, 0.2]}, cotangent=(np.ones(3),)).notes == (CONSTANT,)
    assert check(softmax, {"x": [0.5, 0.5, 0.5]}).notes == (alike("x", "0.5"),)
    drawn = {"x": Given(shape=(3,), draw=Fill(0.25))}
    assert check(softmax, drawn).notes == (alike("x", "0.25"),)


def test_a_single_number_is_no_degenerate_point() -> None:
    square = entrywise(lambda x: x * x, lambda x: 2 * x)
    assert check(square, {"x": [0.5]}, cotangent=(np.ones(1),)).notes == ()


def test_kinks_are_noted() -> None:
    relu = entrywise(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float))
    assert check(relu, {"x": [0.0, 0.5]}).notes == ("1 element sits exactly on a kink; any subgradient is right",)


def test_scalar_arrays_have_empty_indices() -> None:
    def f(x: Array) -> Array:
        return np.asarray(np.exp(x))

    (element,) = check(Map(f, lambda dy, x: dy * np.exp(x), ())).arrays[0].worst
    assert element.index == ()
    assert element.label("x") == "x"


@pytest.mark.parametrize("count", [1, 7, 50, 300])
def test_the_worst_are_those_of_a_full_sort(count: int) -> None:
    rng = np.random.default_rng(count)
    codes = rng.choice([PASS, PASS, PASS, KINK, FAIL], 300).astype(np.int8)
    excess = rng.choice([0.0, 0.5, 2.0, np.inf, *rng.uniform(size=20)], 300)
    order = np.lexsort((-excess, -codes.astype(int)))[:count]
    np.testing.assert_array_equal(worst_first(codes, excess, count), order)

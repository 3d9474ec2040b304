"""What the checker must reach on the corpus: no false alarm, nothing wrong passes, honest and tight uncertainty."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli.results import Verdict
from tests.corpus import measure
from tests.corpus.case import Point, hard, points
from tests.corpus.elementwise import ELEMENTWISE
from tests.corpus.measure import check, measured, measured_wrong
from tests.corpus.points import POINTS
from tests.corpus.wrong import CONTRACT, WRONG, Wrong

DECIDABLE = [point for point in POINTS if point.undecidable is None]
EASY = [point for point in POINTS if not point.hard]
MUST_FAIL = [wrong for wrong in WRONG if wrong.undecidable is None]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_correct_never_fails(point: Point) -> None:
    assert measured(point).result.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE), str(measured(point).result)


@pytest.mark.parametrize("point", EASY, ids=lambda point: point.name)
def test_easy_points_pass(point: Point) -> None:
    assert measured(point).result.verdict is Verdict.PASS, str(measured(point).result)


@pytest.mark.parametrize("point", [p for p in DECIDABLE if p.edge], ids=lambda point: point.name)
def test_kinks_are_counted_and_pass(point: Point) -> None:
    result = measured(point).result
    assert result.verdict is Verdict.PASS, str(result)
    assert sum(array.kinks for array in result.arrays) > 0


def test_a_thousand_kinks_are_counted() -> None:
    (point,) = points("relu", ELEMENTWISE["relu"], thousand=hard(x=np.zeros(1000)))
    result = check(point.name, point.layer, point)
    assert result.verdict is Verdict.PASS
    assert [array.kinks for array in result.arrays] == [1000]


@pytest.mark.parametrize("wrong", MUST_FAIL, ids=lambda wrong: wrong.name)
def test_wrong_is_caught(wrong: Wrong) -> None:
    allowed = (Verdict.FAIL, Verdict.ERROR) if wrong.name in CONTRACT else (Verdict.FAIL,)
    assert measured_wrong(wrong).result.verdict in allowed, str(measured_wrong(wrong).result)


@pytest.mark.parametrize("wrong", [w for w in WRONG if w.undecidable], ids=lambda wrong: wrong.name)
def test_undecidable_wrong_does_not_pass(wrong: Wrong) -> None:
    assert measured_wrong(wrong).result.verdict is not Verdict.PASS, str(measured_wrong(wrong).result)


def test_no_wrong_element_passes() -> None:
    missed = [
        (one.name, judged.array, judged.element)
        for one in map(measured_wrong, WRONG)
        for judged in one.judged
        if judged.missed
    ]
    assert missed == []


def test_inconclusive_is_rare_where_a_decision_is_possible() -> None:
    assert measure.inconclusive_share([measured(point) for point in DECIDABLE]) < 0.01


def test_uncertainty_covers_the_truth() -> None:
    everything = [*map(measured, POINTS), *map(measured_wrong, WRONG)]
    assert measure.coverage(everything) >= 0.995


def test_uncertainty_is_tight() -> None:
    assert measure.tightness([*map(measured, POINTS), *map(measured_wrong, WRONG)]) < 100


def test_power_at_easy_points() -> None:
    median, worst = measure.power([measured(point) for point in EASY])
    assert median <= 1e-7
    assert worst <= 1e-4


def test_cost_at_easy_points() -> None:
    mean, _ = measure.cost([measured(point) for point in EASY])
    assert mean < 2.2


def test_overhead_of_every_check() -> None:
    assert measure.cost([measured(point) for point in POINTS])[1] < 60

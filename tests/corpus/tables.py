"""The two tables of the corpus, as lines of text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from gradcheck_cli.results import Verdict
from tests.corpus import measure
from tests.corpus.measure import Measured, measured, measured_wrong
from tests.corpus.peers import RULES, accepts
from tests.corpus.points import POINTS
from tests.corpus.wrong import WRONG

HEAD = (
    f"{'point':34}{'verdict':14}{'elements':>9}{'incon.':>7}{'kinks':>6}{'per el.':>8}{'fixed':>6}"
    f"{'covered':>8}{'tight':>8}{'median':>9}{'worst':>9}  {'wrong: caught of, not':22}reasons"
)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"


def _median(values: Sequence[float]) -> float:
    kept = [value for value in values if not math.isnan(value)]
    return statistics.median(kept) if kept else math.nan


def _row(one: Measured, wrong: Sequence[Measured]) -> str:
    powers = [judged.power for judged in one.judged if not math.isnan(judged.power)]
    covered = sum(judged.covered for judged in one.judged)
    missed = [each.name for each in wrong if not measure.called_wrong(each)]
    caught = f"{len(wrong) - len(missed)} of {len(wrong)}" if wrong else "-"
    return (
        f"{one.name:34}{one.result.verdict:14}{one.visited:9}{one.inconclusive:7}"
        f"{sum(array.kinks for array in one.result.arrays):6}{one.per_element:8.2f}{one.overhead:6}"
        f"{covered:5}/{len(one.judged):<3}{_number(_median([judged.tightness for judged in one.judged])):>7}"
        f"{_number(_median(powers)):>9}{_number(max(powers, default=math.nan)):>9}  {caught:22}{one.reasons}"
    ).rstrip()


def first_table() -> Iterator[str]:
    """The checker on every point, and what it says of the wrong gradients there."""
    yield HEAD
    for point in POINTS:
        yield _row(measured(point), [measured_wrong(wrong) for wrong in WRONG if wrong.point is point])
    yield ""
    yield from _totals()


def _totals() -> Iterator[str]:
    right, wrong = [measured(point) for point in POINTS], [measured_wrong(one) for one in WRONG]
    decidable = [one for one in right if one.point.undecidable is None]
    easy = [one for one in right if not one.point.hard]
    mean, _ = measure.cost(easy)
    median, worst = measure.power(easy)
    everything = right + wrong
    yield f"correct: {len(right)} points, {sum(one.visited for one in right)} elements"
    yield from _list("false alarms", [one.name for one in right if measure.called_wrong(one)])
    yield f"wrong: {len(wrong)} gradients, {sum(map(measure.called_wrong, wrong))} caught"
    yield from _list("passed", [one.name for one in wrong if one.result.verdict is Verdict.PASS])
    open_ones = [f"{one.name} ({one.reasons})" for one in wrong if one.result.verdict is Verdict.INCONCLUSIVE]
    yield from _list("inconclusive", open_ones)
    yield from _list("wrong elements that passed", [name for one in wrong for name in _missed(one)])
    yield f"inconclusive elements at decidable points: {100 * measure.inconclusive_share(decidable):.2f} %"
    yield f"uncertainty: covers {100 * measure.coverage(everything):.3f} % of the elements"
    yield f"uncertainty: median {measure.tightness(everything):.0f} times the true error"
    yield f"easy points: {mean:.2f} evaluations per element"
    yield f"easy points: relative resolution median {median:.1e}, worst {worst:.1e}"
    yield f"overhead: at most {measure.cost(right)[1]} evaluations per check"
    unsettled = [(point.name, point.undecidable) for point in POINTS if point.undecidable]
    unsettled += [(one.name, one.undecidable) for one in WRONG if one.undecidable]
    yield from _list("undecidable", [f"{name}: {reason}" for name, reason in unsettled])


def _missed(one: Measured) -> list[str]:
    return [f"{one.name} {each.array}{list(each.element.index)}" for each in one.judged if each.missed]


def _list(title: str, names: Sequence[str]) -> Iterator[str]:
    yield f"{title}: {len(names)}"
    yield from (f"    {name}" for name in names)


def second_table() -> Iterator[str]:
    """The rules of other checkers on the same corpus; points on a kink and undecidable ones are left out for all."""
    points = [point for point in POINTS if not point.edge and point.undecidable is None]
    wrongs = [one for one in WRONG if not one.point.edge and one.undecidable is None]
    yield f"{'':26}{'false alarms':>18}{'wrong accepted':>18}"
    alarms = sum(measure.called_wrong(measured(point)) for point in points)
    passed = sum(measured_wrong(one).result.verdict is Verdict.PASS for one in wrongs)
    yield _peer("gradcheck", alarms, len(points), passed, len(wrongs))
    for name, rule in RULES.items():
        alarms = sum(not accepts(rule, point.layer, point) for point in points)
        passed = sum(accepts(rule, one.make(), one.point) for one in wrongs)
        yield _peer(name, alarms, len(points), passed, len(wrongs))


def _peer(name: str, alarms: int, points: int, passed: int, wrongs: int) -> str:
    return f"{name:26}{f'{alarms} of {points}':>18}{f'{passed} of {wrongs}':>18}"

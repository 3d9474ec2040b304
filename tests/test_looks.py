"""Longer steps where a look at a few elements allows them, and nothing that was decided changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Outcome, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import Difference, Given
from gradcheck_cli.tiers import first, looks
from tests.benchmarks.measure import largest_error
from tests.benchmarks.peers import BY_NAME, OURS, check_spec
from tests.benchmarks.works import WORKS
from tests.corpus.measure import check as check_point
from tests.corpus.points import POINTS
from tests.judging import Map, at, check, entrywise

X = Given(shape=(40, 10))


def median_step(result: CheckResult) -> float:
    return float(np.median([element.step for array in result.arrays for element in array.worst]))


def usual(monkeypatch: pytest.MonkeyPatch, layer: Any, **asked: Any) -> CheckResult:
    """The result without a look."""
    with monkeypatch.context() as patched:
        patched.setattr(looks, "MANY", 10**9)
        return check(layer, {"x": X}, **asked)


@pytest.mark.parametrize("work", ["W1", "W2", "W3", "W4"])
def test_numeric_values_are_as_good_as_those_of_a_plain_loop(work: str) -> None:
    made = WORKS[work]()
    errors = []
    for who in (OURS, "naive numpy loop"):
        prepared = BY_NAME[who].prepare(made)
        errors.append(largest_error(made, prepared.look(prepared.run())))
    assert errors[0] <= errors[1]  # type: ignore[operator]


@pytest.mark.parametrize("work", ["W1", "W2", "W3", "W4"])
def test_a_look_costs_little(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = check_spec(WORKS[work]())
    learned = run_check(spec).evaluations
    monkeypatch.setattr(looks, "MANY", 10**9)
    assert learned <= 1.08 * run_check(spec).evaluations


def test_linear_layers_take_much_longer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = entrywise(lambda x: 3 * x, lambda x: 3.0)
    learned = check(layer, {"x": X})
    assert learned.verdict is Verdict.PASS
    assert median_step(learned) > 8 * median_step(usual(monkeypatch, layer))
    assert median_step(learned) <= looks.FAR * 2


def test_steps_of_curved_functions_stay_short_of_their_truncation() -> None:
    result = check(entrywise(np.tanh, lambda x: 1 - np.tanh(x) ** 2), {"x": X})
    assert median_step(result) < 2e-4
    for element in result.arrays[0].worst:
        assert abs(element.analytic - element.numeric) <= element.uncertainty < 1e-7


def test_no_element_is_much_less_sure_for_longer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(0.1, 0.2, 400)
    x[100] = 9.0  # far more curved than those looked at
    mixing = np.random.default_rng(0).uniform(0.5, 1.5, (3, 400))
    layer = Map(lambda x: mixing @ np.exp(x), lambda dy, x: (dy @ mixing) * np.exp(x))
    learned = check(layer, {"x": Given(values=x)})
    with monkeypatch.context() as patched:
        patched.setattr(looks, "MANY", 10**9)
        before = check(layer, {"x": Given(values=x)})
    for one in before.arrays[0].worst:
        assert at(learned, *one.index).uncertainty <= 2 * first.COARSER[1] * one.uncertainty


def test_kinks_within_the_longer_steps_are_met_by_the_usual_ones() -> None:
    x = np.linspace(-1, 1, 401)[:400]
    x[[199, 200]] = [-0.5, 0.5]  # those looked at see nothing of the kink
    x[[120, 240]] = [3e-5, -3e-5]  # nearer to the kink than the longer steps, farther than the usual
    mixing = np.random.default_rng(0).uniform(0.5, 1.5, (3, 400))
    layer = Map(lambda x: mixing @ np.maximum(x, 0), lambda dy, x: (dy @ mixing) * (x > 0))
    learned = check(layer, {"x": Given(values=x)})
    tier1 = [element.step for element in learned.arrays[0].worst if element.index in ((120,), (240,))]
    assert learned.verdict is Verdict.PASS
    assert median_step(learned) > 1e-4
    assert max(tier1) < 3e-5
    assert {element.tier for element in learned.arrays[0].worst if element.index in ((120,), (240,))} == {1}


def test_kinks_in_a_look_at_elements_that_share_evaluations_keep_the_usual_steps() -> None:
    layer = entrywise(lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0)
    x = Given(values=np.linspace(-1, 1, 400))
    assert median_step(check(layer, {"x": x})) < 1e-4


def test_a_kink_within_the_far_look_keeps_the_usual_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def sawtooth(x: Array) -> Array:
        return np.abs((64 * x) % 1 - 0.5)

    layer = entrywise(sawtooth, lambda x: 64 * np.sign((64 * x) % 1 - 0.5))
    assert median_step(check(layer, {"x": X})) == pytest.approx(median_step(usual(monkeypatch, layer)))


@pytest.mark.parametrize(
    "difference", [Difference(step=1e-5), Difference("forward"), Difference("richardson"), Difference("complex_step")]
)
def test_other_methods_and_given_steps_are_not_touched(difference: Difference, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = LAYERS["sigmoid"]()
    learned = check(layer, {"x": X}, difference=difference)
    before = usual(monkeypatch, layer, difference=difference)
    assert learned.evaluations == before.evaluations
    assert median_step(learned) == median_step(before)


def test_what_is_decided_stays_and_is_covered_with_longer_steps_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [point for point in POINTS if point.dtype == "float64"][::6]
    before = [check_point(point.name, point.layer, point) for point in some]
    monkeypatch.setattr(looks, "MANY", 0)
    for point, old in zip(some, before, strict=True):
        new = check_point(point.name, point.layer, point)
        assert new.verdict == old.verdict, point.name
        for one, other in zip(new.arrays, old.arrays, strict=True):
            assert (one.failed, one.nonfinite) == (other.failed, other.nonfinite)


def test_a_wrong_gradient_is_caught_with_longer_steps() -> None:
    layer = entrywise(lambda x: 3 * x, lambda x: 3.0 + 1e-6 * (x == x.flat[7]))
    result = check(layer, {"x": X})
    wrong = [element for element in result.arrays[0].worst if element.outcome is Outcome.FAIL]
    assert [element.index for element in wrong] == [(0, 7)]

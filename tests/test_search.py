"""The search of large arrays: what is wrong is found and nothing else is named, whatever the structure looks like."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gradcheck_cli import as_json
from gradcheck_cli.draws import draw_cotangent
from gradcheck_cli.layer import Array
from gradcheck_cli.results import CheckResult, Verdict
from gradcheck_cli.spec import Tolerance
from tests.benchmarks.scale import mixing, square
from tests.searching import BEHIND, Dense, Spoiled, adds_up, array, dense, named, scaled, search

SIDE = 32
SIZE = SIDE * SIDE
LIVE = ["nothing", "tanh", "mixing", "batch norm", "softmax over the batch"]  # behind which no weight is dead
CASES = [(what, count) for what in LIVE for count in (1, 5, 50)]


def spoiled(what: str, places: Sequence[int] | Array, factor: float = 1.01) -> Spoiled:
    return Spoiled(Dense(*BEHIND[what]), scaled(places, factor))


@pytest.mark.parametrize("what", BEHIND)
def test_right_layers_pass_fully_covered(what: str) -> None:
    result = search(Dense(*BEHIND[what]), dense(SIDE))
    assert result.verdict is Verdict.PASS, str(result)
    found = array(result)
    assert (found.visited, found.covered) == (0, SIZE)
    assert found.covered_resolution is not None
    assert 0 < found.covered_resolution < 1e-5
    assert adds_up(result)
    stated = f"which cover 1024; an error above {found.covered_resolution:.1e} of one of these would have been seen"
    assert any(note.startswith("W: 1024 elements") and stated in note for note in result.notes)


@pytest.mark.parametrize(("what", "count"), CASES)
def test_wrong_weights_are_all_found_and_no_other_is_named(what: str, count: int) -> None:
    places = np.sort(np.random.default_rng(count).choice(SIZE, count, replace=False)).tolist()
    result = search(spoiled(what, places), dense(SIDE))
    assert result.verdict is Verdict.FAIL
    assert named(result) == places
    assert array(result).covered == SIZE - count
    assert adds_up(result)


def test_evaluations_are_few_where_rows_are_apart_and_bounded_where_nothing_is() -> None:
    for what, most in (("", 60), ("tanh", 60), ("mixing", 400)):
        work = square(256, "5 wrong", what, wrong=5)
        result = search(work.layer, work.arrays)
        assert named(result) == work.layer.wrong.tolist()
        assert result.evaluations <= most


@pytest.mark.parametrize("what", ["nothing", "tanh", "mixing"])
@pytest.mark.parametrize("places", [[333], [333, 334, 335, 336], list(range(320, 352))])
def test_small_errors_and_those_beside_each_other_are_found(what: str, places: list[int]) -> None:
    factor = 1 + 1e-6 if len(places) == 1 else 1.01
    assert named(search(spoiled(what, places, factor), dense(SIDE))) == places


@pytest.mark.parametrize("what", LIVE)
def test_an_error_just_above_the_stated_power_is_seen_in_any_element(what: str) -> None:
    layer, arrays, rng = Dense(*BEHIND[what]), dense(SIDE), np.random.default_rng(1)
    power = array(search(layer, arrays)).covered_resolution
    dy = draw_cotangent([layer.forward(**arrays)], 0, 0)[0]
    slopes = layer.vjp(dy, **arrays)["W"].reshape(-1)
    assert power is not None
    for place in rng.choice(SIZE, 12, replace=False).tolist():
        factor = 1 + rng.choice([-1, 1]) * 1.05 * power / abs(slopes[place])
        result = search(spoiled(what, [place], factor), arrays)
        assert [element.index for element in array(result).worst] == [divmod(place, SIDE)]
        assert result.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)


@dataclass(frozen=True)
class Leaking:
    """A linear layer in which an entry of one row of W leaks into the output of another."""

    pairs: tuple[tuple[int, int], ...]
    strength: float
    right: bool

    def forward(self, x: Array, W: Array, b: Array) -> Array:
        y = x @ W.T + b
        for row, other in self.pairs:
            y[:, other] += self.strength * np.sin(W[row, 4])
        return np.asarray(y)

    def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:
        gradients = Dense().vjp(dy, x, W, b)
        for row, other in self.pairs if self.right else ():
            gradients["W"][row, 4] += self.strength * np.cos(W[row, 4]) * dy[:, other].sum()
        return gradients


@pytest.mark.parametrize("strength", [1e-3, 1e-6])
@pytest.mark.parametrize("seed", range(6))
def test_crosstalk_neither_hides_what_is_wrong_nor_accuses_what_is_right(seed: int, strength: float) -> None:
    p = np.random.default_rng(seed).permutation(SIDE).tolist()
    pairs = ((p[0], p[1]), (p[2], p[3]))
    right = search(Leaking(pairs, strength, right=True), dense(SIDE))
    assert right.verdict is Verdict.PASS, str(right)
    wrong = search(Leaking(pairs, strength, right=False), dense(SIDE))
    assert wrong.verdict is Verdict.FAIL
    assert set(named(wrong)) <= {SIDE * row + 4 for row, _ in pairs}


@pytest.mark.parametrize("what", ["nothing", "mixing"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_gradients_that_are_not_finite_are_visited_and_hide_nothing(what: str, value: float) -> None:
    def spoil(gradients: dict[str, Array]) -> None:
        gradients["W"].reshape(-1)[[77, 500]] *= value
        gradients["W"].reshape(-1)[321] *= 1.01

    result = search(Spoiled(Dense(*BEHIND[what]), spoil), dense(SIDE))
    assert named(result) == [77, 321, 500]
    assert (array(result).nonfinite, array(result).failed, array(result).covered) == (2, 1, SIZE - 3)
    assert adds_up(result)


@pytest.mark.parametrize("what", ["nothing", "mixing"])
@pytest.mark.parametrize(("step", "factor"), [(1, 1.01), (1, 0.0), (2, 1.01), (1, np.nan)])
def test_mistakes_everywhere_end_the_search_with_a_few_of_them(what: str, step: int, factor: float) -> None:
    result = search(spoiled(what, range(0, SIZE, step), factor), dense(SIDE))
    found = array(result)
    assert result.verdict is Verdict.FAIL
    assert 0 < found.failed + found.nonfinite <= 32
    assert found.inconclusive > SIZE // 2
    assert adds_up(result)
    assert result.evaluations < 300
    if not found.covered:
        assert found.covered_resolution == np.inf


@pytest.mark.parametrize("what", ["nothing", "mixing"])
@pytest.mark.parametrize(("factor", "rule"), [(2.0, "factor"), (-1.0, "sign"), (0.0, "zero")])
def test_a_mistake_everywhere_is_named_from_the_few_elements_seen(what: str, factor: float, rule: str) -> None:
    result = search(spoiled(what, range(SIZE), factor), dense(SIDE))
    found = next(finding for finding in result.findings if finding.array == "W")
    assert found.rule == rule
    seen = array(result).failed
    assert found.sentence.endswith(f"; seen in {seen} elements of {SIZE}, {SIZE - seen} are not covered")
    assert any("which cover none" in note for note in result.notes)


def test_many_mistakes_beside_covered_elements_are_listed() -> None:
    result = search(spoiled("nothing", range(4 * SIDE), 2.0), dense(SIDE))
    found = next(finding for finding in result.findings if finding.array == "W")
    assert array(result).covered >= SIZE - 4 * SIDE - 1
    assert "in every element" not in found.sentence
    assert f"elements of {SIZE}: W[0, " in found.sentence


def test_nothing_covered_is_strict_json() -> None:
    result = search(spoiled("mixing", range(SIZE)), dense(SIDE))
    plain: Any = json.loads(json.dumps(as_json.of_check(result), allow_nan=False))
    assert {one["name"]: one["covered_resolution"] for one in plain["arrays"]}["W"] == "inf"


def test_a_cheap_sweep_that_finds_mistakes_everywhere_ends_early() -> None:
    result = search(spoiled("nothing", range(SIZE)), dense(SIDE), budget=200)
    found = array(result)
    assert found.visited == SIZE
    assert found.covered == 0
    assert 0 < found.failed <= 256
    assert found.inconclusive == SIZE - found.failed


def test_where_the_budget_allows_more_sweeps_all_mistakes_are_told() -> None:
    result = search(spoiled("nothing", range(SIZE)), dense(SIDE), budget=1000)
    assert (array(result).visited, array(result).failed) == (SIZE, SIZE)
    assert result.evaluations < 1000


def test_all_mistakes_are_not_told_at_once_by_an_explicit_tolerance() -> None:
    result = search(spoiled("nothing", range(SIZE), 2.0), dense(SIDE), budget=1000, tolerance=Tolerance(atol=1e-6))
    assert result.verdict is Verdict.FAIL
    assert 0 < array(result).failed <= 256


def test_a_cheap_sweep_visits_every_element_and_names_the_wrong_ones() -> None:
    result = search(spoiled("nothing", [3, 77, 900]), dense(SIDE), budget=200)
    assert named(result) == [3, 77, 900]
    assert array(result).visited == SIZE


def test_right_and_wrong_zero_gradients_are_told_apart() -> None:
    class Unused:
        def forward(self, x: Array, W: Array, b: Array) -> Array:
            return np.asarray(x.sum(axis=1) + 0 * W.sum())

        def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:
            return {"x": dy[:, None] * np.ones_like(x), "W": 0 * W, "b": 0 * b}

    assert search(Unused(), dense(SIDE)).verdict is Verdict.PASS
    assert search(spoiled("tanh", range(SIZE), 0.0), dense(SIDE)).verdict is Verdict.FAIL


@dataclass(frozen=True)
class One:
    """A layer of one array x."""

    f: Callable[[Array], Any]
    pull: Callable[[Any, Array], Array]

    def forward(self, x: Array) -> Any:
        return self.f(x)

    def vjp(self, dy: Any, x: Array) -> dict[str, Array]:
        return {"x": self.pull(dy, x)}


def route(x: Array) -> Array:
    at = np.arange(len(x)), np.argmax(x, axis=1)
    y = np.zeros_like(x)
    y[at] = x[at] ** 2
    return y


def routed(dy: Array, x: Array) -> Array:
    at = np.arange(len(x)), np.argmax(x, axis=1)
    gradient = np.zeros_like(x)
    gradient[at] = 2 * x[at] * dy[at]
    return gradient


X = np.random.default_rng(0).normal(size=(16, 20))
P = np.abs(X) + 1e-3
LAYERS_OF_ONE: dict[str, tuple[One, Array]] = {
    "routing": (One(route, routed), X),
    "log": (One(lambda x: mixing(np.log(x)), lambda dy, x: mixing(dy) / x), P),
    "root": (One(lambda x: mixing(np.sqrt(x)), lambda dy, x: mixing(dy) / 2 / np.sqrt(x)), P),
    "two outputs": (
        One(lambda x: (np.tanh(x), (x**2).sum(axis=0)), lambda dy, x: dy[0] / np.cosh(x) ** 2 + 2 * x * dy[1]),
        X,
    ),
    "three axes": (
        One(lambda x: np.tanh(x).sum(axis=1), lambda dy, x: dy[:, None] / np.cosh(x) ** 2),
        np.random.default_rng(0).normal(size=(6, 7, 8)),
    ),
}


@pytest.mark.parametrize("what", LAYERS_OF_ONE)
def test_layers_of_other_shapes_and_domains(what: str) -> None:
    layer, x = LAYERS_OF_ONE[what]
    right = search(layer, {"x": x}, budget=6)
    assert right.verdict is Verdict.PASS, str(right)
    assert adds_up(right)
    place = int(np.argmax(np.abs(x)))
    wrong = search(Spoiled(layer, scaled([place], 1.02, "x")), {"x": x}, budget=6)
    assert named(wrong, "x") in ([place], []) if what == "routing" else named(wrong, "x") == [place]


def test_where_joint_moves_raise_nothing_is_granted() -> None:
    def picky(x: Array) -> Array:
        if ((x != X) & (x != -X[::-1, ::-1])).sum() > 1:
            raise ValueError("one at a time")
        return np.tanh(x)

    result = search(One(picky, lambda dy, x: dy / np.cosh(x) ** 2), {"x": X})
    assert result.verdict is Verdict.INCONCLUSIVE
    assert (array(result, "x").covered, array(result, "x").covered_resolution) == (0, np.inf)


@pytest.mark.parametrize("what", ["nothing", "tanh", "mixing"])
def test_low_precision_is_searched_in_double_precision(what: str) -> None:
    low = {name: values.astype(np.float32) for name, values in dense(SIDE).items()}
    assert search(Dense(*BEHIND[what]), low, dtype="float32").verdict is Verdict.PASS
    assert named(search(spoiled(what, [3, 77]), low, dtype="float32")) == [3, 77]


def test_rounding_that_is_wrong_in_a_covered_element_is_found() -> None:
    def spoil(gradients: dict[str, Array]) -> None:
        if gradients["W"].dtype == np.float32:
            gradients["W"].reshape(-1)[77] *= np.float32(1.5)

    low = {name: values.astype(np.float32) for name, values in dense(SIDE).items()}
    result = search(Spoiled(Dense(), spoil), low, dtype="float32")
    assert named(result) == [77]
    assert [element.precision for element in array(result).worst] == ["rounding"]
    assert adds_up(result)


def test_points_and_chosen_arrays_are_counted() -> None:
    result = search(Dense(), dense(SIDE), wrt=("W",), points=2)
    assert [(one.name, one.elements, one.covered) for one in result.arrays] == [("W", 2 * SIZE, 2 * SIZE)]


def test_an_interruption_ends_the_threads() -> None:
    calls = 0

    class Interrupted(Spoiled):
        def forward(self, **arrays: Array) -> Any:
            nonlocal calls
            calls += 1
            if calls == 40:
                raise KeyboardInterrupt
            return self.layer.forward(**arrays)

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        search(Interrupted(Dense(), scaled([3, 77, 500])), dense(SIDE))
    assert threading.active_count() == before


def test_the_same_is_found_with_other_threads() -> None:
    def told(result: CheckResult) -> Any:
        return [element for one in result.arrays for element in one.worst], result.evaluations

    results = [search(spoiled("tanh", [3, 500]), dense(SIDE), threads=threads) for threads in (1, 2)]
    assert told(results[0]) == told(results[1])

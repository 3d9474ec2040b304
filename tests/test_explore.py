"""The walk over the steps of one element: where it starts, what it tries next, and that it ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.evidence import UNIT32, UNIT64, Status
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.estimate import estimate, trace
from gradcheck_cli.numeric.explore import Explorer
from gradcheck_cli.numeric.levels import JITTER, MOST, Ladder, Line
from gradcheck_cli.numeric.noise import Noise

Function = Callable[[Any], Array | None]


class Counted:
    """A scalar function that counts its calls."""

    def __init__(self, f: Callable[[float], float]) -> None:
        self.f, self.calls, self.places = f, 0, list[float]()

    def __call__(self, x: Any) -> Array | None:
        self.calls += 1
        self.places.append(float(x))
        with np.errstate(all="ignore"):
            value = np.array([self.f(x)])
        return value if np.isfinite(value).all() else None


def ladder(f: Callable[[float], float], x: float = 0.75, first: float = 2.0**-17, **more: float) -> Ladder:
    centre = np.array([f(x)])
    ulp = np.spacing(np.abs(centre))
    sigma = more.get("sigma", 0.29 * float(ulp[0])) * np.ones(1)
    noise = Noise(sigma, sigma, sigma, np.abs(centre), ulp, more.get("unit", UNIT64))
    length = more.get("length", max(abs(x), 1.0))
    return Ladder(Line(Counted(f), np.float64(x), centre, np.ones(1), noise, length, length), first)


def calls(one: Ladder) -> int:
    assert isinstance(one.line.function, Counted)
    return one.line.function.calls


def test_level_of_a_cube() -> None:
    one, h = ladder(lambda x: x**3), 2.0**-8
    assert one.add(h)
    (level,) = one.levels
    assert level.step == h
    assert level.value == pytest.approx(3 * 0.75**2 + h**2, rel=1e-13)
    assert level.mismatch == pytest.approx(6 * 0.75 * h, rel=1e-10)
    assert level.slope == pytest.approx(level.value, rel=1e-13)
    assert level.right[0] - level.left[0] == pytest.approx(level.mismatch)
    assert not level.same
    assert calls(one) == 2


def test_level_where_nothing_moves() -> None:
    one = ladder(lambda x: 1.0 + 0 * x)
    assert one.add(2.0**-8)
    assert one.levels[0].same
    assert one.levels[0].value == one.levels[0].mismatch == 0.0
    assert not one.reached.any()


def test_levels_too_near_tell_nothing_and_cost_nothing() -> None:
    one = ladder(np.exp)
    assert one.add(1e-3)
    assert not one.add(1.005e-3)
    assert (len(one.levels), calls(one)) == (1, 2)


def test_a_level_outside_the_domain_is_none() -> None:
    one = ladder(np.log1p, x=-0.75)
    assert not one.add(0.5)
    assert one.add(0.125)
    assert len(one.levels) == 1


def test_no_step_is_below_the_resolution_of_x() -> None:
    one = ladder(np.exp, x=0.75)
    assert one.lowest >= 8 * np.spacing(0.75)
    one.add(1e-30)
    assert one.levels[0].step == pytest.approx(one.lowest, rel=0.5)
    assert ladder(np.exp, x=0.0).lowest == 2.0**-46


def test_steps_of_single_precision_are_exact_in_it() -> None:
    one = ladder(np.exp, unit=UNIT32)
    one.add(1e-3)
    assert isinstance(one.line.function, Counted)
    assert all(place == np.float32(place) for place in one.line.function.places)
    assert one.lowest >= 8 * np.spacing(np.float32(0.75))


def test_rungs_are_a_factor_of_4_apart_and_never_exactly() -> None:
    one = ladder(np.exp)
    ratios = [one.rung(k + 1) / one.rung(k) for k in range(-6, 6)]
    assert all(4 * 0.7 < ratio < 4 * 1.3 for ratio in ratios)
    assert len(set(JITTER)) == 5
    assert one.rung(0) == one.first


def test_probe_sees_which_outputs_depend() -> None:
    one = ladder(lambda x: float(x > 30))
    assert not one.reached.any()
    one.probe()
    assert one.reached.all()
    assert calls(one) == 2
    one.probe()
    assert calls(one) == 2


def test_outputs_that_never_moved_can_hide_their_last_bit() -> None:
    one = ladder(lambda x: 1e20 + 0 * x)
    assert one.hidden == 0.0
    one.probe()
    assert one.hidden == np.spacing(1e20) / 64
    moving = ladder(np.exp, length=1.0)
    moving.probe()
    assert moving.hidden == 0.0


def test_noise_of_a_level_is_that_of_its_outputs_where_they_are_larger() -> None:
    one = ladder(lambda x: math.exp(20 * x), sigma=1e-16)
    one.add(0.5)
    large = 0.29 * np.spacing(math.exp(25))
    assert one.noise_of(one.levels[0]) == pytest.approx(math.sqrt(2) * large / (2 * 0.5), rel=1e-6)
    assert one.noise_at(0.5) == pytest.approx(math.sqrt(2) * 1e-16)


def test_start_takes_three_levels() -> None:
    one = ladder(np.exp)
    assert Explorer(one).start()
    assert [level.step for level in one.levels] == pytest.approx([one.rung(k) for k in (-1, 0, 1)])
    assert calls(one) == 6


def test_start_outside_the_domain_comes_in_towards_x() -> None:
    one = ladder(lambda x: math.log(x) if x > 0 else math.nan, x=1e-9, first=2.0**-10)
    assert Explorer(one).start()
    assert all(level.step < 1e-9 for level in one.levels)
    assert len(one.levels) >= 2
    assert one.tried <= MOST


@pytest.mark.parametrize("x", [0.0, 0.5, -1e-9])
def test_start_gives_up_where_there_is_no_domain(x: float) -> None:
    one = ladder(lambda y: 1.0 if y == x else math.nan, x=x)
    assert not Explorer(one).start()
    assert one.tried <= MOST
    assert calls(one) <= 2 * MOST


def walk(one: Ladder, analytic: float, mismatch: bool = False) -> int:
    """Advance as long as there is anything to try; the number of steps taken."""
    explorer, taken = Explorer(one), 0
    assert explorer.start()
    while True:
        found = estimate(trace(one))
        if not explorer.advance(found, abs(analytic - found.value), mismatch):
            return taken
        taken += 1
        assert taken < 100


HARD: dict[str, Callable[[float], float]] = {
    "smooth": math.exp,
    "kink": lambda x: abs(x - 0.75),
    "kink nearby": lambda x: abs(x - 0.7500001),
    "jump": lambda x: float(x > 0.75),
    "staircase": lambda x: math.floor(1e5 * x) / 1e5,
    "fast": lambda x: math.sin(1e7 * x),
    "constant": lambda x: 1.0,
    "noise": lambda x: math.exp(x) + 1e-6 * math.sin(1e15 * x),
    "root": lambda x: math.sqrt(abs(x - 0.75)),
    "steep": lambda x: float(np.exp(300 * x)),
}


@pytest.mark.parametrize("mismatch", [False, True])
@pytest.mark.parametrize("name", HARD)
def test_every_walk_is_bounded(name: str, mismatch: bool) -> None:
    one = ladder(HARD[name])
    walk(one, 3.0, mismatch)
    assert one.tried <= MOST
    assert calls(one) <= 2 * MOST + 4  # the levels and the probe


def test_a_mismatch_is_looked_at_from_far_and_near() -> None:
    one = ladder(math.exp)
    explorer = Explorer(one)
    explorer.start()
    found = estimate(trace(one))
    assert not explorer.explored(found, 0.1)
    while explorer.advance(found := estimate(trace(one)), 0.1, True) and not explorer.explored(found, 0.1):
        pass
    assert explorer.explored(estimate(trace(one)), 0.1)
    assert one.probed
    assert one.levels[-1].step >= one.line.length / 8
    found = estimate(trace(one))
    assert found.base >= 2 or explorer.below >= 2


def test_noise_asks_for_larger_steps() -> None:
    one = ladder(lambda x: math.exp(x), sigma=1e-9, first=2.0**-20)
    walk(one, math.exp(0.75))
    assert one.levels[-1].step > 100 * one.first


def test_a_kink_is_followed_down() -> None:
    one = ladder(HARD["kink nearby"], first=2.0**-10)
    walk(one, 1.0)
    assert one.levels[0].step < 1e-7
    assert estimate(trace(one)).status is Status.SMOOTH


def test_descend_goes_down_until_there_are_enough_levels() -> None:
    one = ladder(math.exp)
    explorer = Explorer(one)
    explorer.start()
    explorer.descend(8)
    assert len(one.levels) >= 6
    assert one.tried <= MOST
    assert one.levels[0].step < 1e-9

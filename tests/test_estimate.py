"""From the levels of a ladder, made by hand, to status, value and uncertainty."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradcheck_cli.evidence import UNIT64, K, Status
from gradcheck_cli.numeric.estimate import disagreement, estimate, extrapolate, grow
from tests.ladders import SIGMA, STEPS, ladder, level, seen

SLOPE = 2.0


def test_smooth_ladder() -> None:
    found = estimate(seen(ladder(lambda h: SLOPE + 3 * h**2 + h**4, lambda h: h)))
    assert found.status is Status.SMOOTH
    assert found.block == tuple(range(8))
    assert (found.inflation, found.flat, found.ended_by_break) == (1.0, False, False)
    assert abs(found.value - SLOPE) <= found.uncertainty < 2e-6
    assert abs(found.value - SLOPE) < 1e-10
    assert found.step == STEPS[found.base]
    assert found.roundoff == pytest.approx(math.sqrt(2) * SIGMA / (2 * found.step))


def test_smooth_ladder_without_any_second_difference() -> None:
    found = estimate(seen(ladder(lambda h: SLOPE, lambda h: 0.0)))
    assert found.status is Status.SMOOTH
    assert found.value == SLOPE
    assert found.uncertainty <= 20 * UNIT64 * SLOPE + 3 * K * SIGMA / STEPS[-1]


def test_kink_ladder() -> None:
    found = estimate(seen(ladder(lambda h: SLOPE, lambda h: 0.5)))
    assert found.status is Status.KINK
    assert found.block == (0,)
    assert found.uncertainty >= 0.5


def test_jump_ladder() -> None:
    found = estimate(seen(ladder(lambda h: SLOPE + 0.05 / h, lambda h: 0.1 / h)))
    assert found.status is Status.JUMP
    assert found.block == (0,)
    assert found.uncertainty >= 0.1 / STEPS[0]


def test_tiny_jump_counts_as_noise() -> None:
    jump = 1e-9  # beside outputs of size 1
    found = estimate(seen(ladder(lambda h: SLOPE + jump / (2 * h), lambda h: jump / h)))
    assert found.status is Status.SMOOTH
    assert found.inflation >= jump / (2 * SIGMA)
    assert abs(found.value - SLOPE) <= found.uncertainty


def test_jump_that_only_large_steps_see_is_a_staircase() -> None:
    found = estimate(seen(ladder(lambda h: 0.1 * (h > 1e-3), lambda h: 0.1 / h * (h > 1e-3))))
    assert found.status is Status.SMOOTH
    assert found.flat
    assert max(found.block) < 4


def test_curved_ladder() -> None:
    found = estimate(seen([level(0.1, SLOPE, 1.0)]))
    assert found.status is Status.CURVED
    assert not math.isfinite(found.uncertainty)


def test_one_faintly_curved_level_is_smooth() -> None:
    assert estimate(seen([level(0.1, SLOPE, 0.01)])).status is Status.SMOOTH


def test_curved_top_level_is_dropped() -> None:
    levels = [*ladder(lambda h: SLOPE, lambda h: 0.0, STEPS[:5]), level(STEPS[5], SLOPE + 0.2, 1.0)]
    found = estimate(seen(levels))
    assert found.status is Status.SMOOTH
    assert max(found.block) <= 4
    assert abs(found.value - SLOPE) <= found.uncertainty < 1e-9


def test_kink_beside_the_point_leaves_the_levels_below_it() -> None:
    far = 1e-3  # no kink is seen by smaller steps
    found = estimate(seen(ladder(lambda h: SLOPE + (h > far) * 0.25, lambda h: (h > far) * (1 - far / h) * 0.5)))
    assert found.status is Status.SMOOTH
    assert STEPS[max(found.block)] <= far
    assert abs(found.value - SLOPE) <= found.uncertainty < 1e-8


def test_kink_that_enters_a_smooth_ladder_ends_it() -> None:
    levels = ladder(lambda h: SLOPE + h**2 + (h > 5e-3) * 0.3, lambda h: h + (h > 5e-3) * 0.6)
    found = estimate(seen(levels))
    assert found.status is Status.SMOOTH
    assert STEPS[max(found.block)] <= 0.011
    assert abs(found.value - SLOPE) <= found.uncertainty < 1e-8


def test_scatter_inflates_the_noise() -> None:
    rng = np.random.default_rng(0)
    true_sigma = 1e-10  # a million times what was measured
    levels = [level(h, SLOPE + h**2 + rng.normal() * true_sigma / h, 0.0) for h in STEPS]
    found = estimate(seen(levels))
    assert found.inflation > 1e3
    assert abs(found.value - SLOPE) <= found.uncertainty


def test_measured_noise_needs_no_inflation() -> None:
    rng = np.random.default_rng(1)
    sigma = 1e-10
    levels = [level(h, SLOPE + h**2 + rng.normal() * sigma / (math.sqrt(2) * h), 0.0) for h in STEPS]
    found = estimate(seen(levels, sigma=sigma))
    assert found.inflation == 1.0
    assert abs(found.value - SLOPE) <= found.uncertainty < 1e-5


def test_levels_out_of_range_of_the_expansion_are_left_out() -> None:
    levels = ladder(lambda h: SLOPE + math.sin(h / 1e-3) * 0.1 - 0.1 * h / 1e-3 * (h < 1e-3), lambda h: 0.0)
    found = estimate(seen(levels))
    assert STEPS[max(found.block)] < 1e-2


def test_sudden_break_is_told() -> None:
    levels = ladder(lambda h: SLOPE + h**2 + 0.5 * (h > 2e-3), lambda h: 0.0)
    block, flat, broken = grow(seen(levels), range(8), [1e-15] * 8)
    assert broken
    assert flat  # the one-sided slopes agree: a staircase that both sides climb alike
    assert STEPS[block[-1]] <= 2e-3


def test_break_at_large_steps_is_nothing_sudden() -> None:
    levels = ladder(lambda h: SLOPE + h**2 + 0.5 * (h > 0.1), lambda h: 0.0)
    assert grow(seen(levels), range(8), [1e-15] * 8)[1:] == (False, False)


def test_bits_that_all_keep_are_flat_when_the_levels_end_early() -> None:
    levels = [level(h, 0.0, 0.0, same=True) for h in STEPS[:4]] + [level(h, 0.3, 0.6) for h in STEPS[4:]]
    assert grow(seen(levels), range(4), [1e-15] * 8)[1]


def test_extrapolation_takes_the_entry_of_least_error() -> None:
    levels = ladder(lambda h: SLOPE + 3 * h**2, lambda h: h)
    noise = [1e-12 / one.step for one in levels]
    value, error, base = extrapolate(levels, range(8), noise)
    assert value == pytest.approx(SLOPE, abs=1e-14)
    assert base >= 4  # the expansion is exact, so the noise decides
    assert 1.1 * noise[base] <= error < 1e-9


def test_lone_level_is_off_by_its_one_sided_mismatch() -> None:
    value, error, base = extrapolate([level(0.1, SLOPE, 0.3)], range(1), [1e-3])
    assert (value, base) == (SLOPE, 0)
    assert error == math.inf  # nothing tells how far it is off


def test_levels_below_the_base_that_disagree_widen_the_uncertainty() -> None:
    levels = [level(h, value, 0.0) for h, value in zip(STEPS[:3], (2.5, 2.0, 2.0), strict=True)]
    assert disagreement(levels, range(3), 1, SLOPE, [0.1] * 3) == pytest.approx(0.4)
    assert disagreement(levels, range(3), 0, SLOPE, [0.1] * 3) == 0.0


@pytest.mark.parametrize("curvature", [0.0, 1.0, 30.0])
def test_intercept_of_a_kink_is_its_jump(curvature: float) -> None:
    trace = seen(ladder(lambda h: SLOPE, lambda h: 0.5 + curvature * h))
    assert trace.intercept == pytest.approx(0.5)
    assert seen(ladder(lambda h: SLOPE, lambda h: curvature * h)).intercept == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("order", [3, 5])
def test_uncertainty_covers_the_truth_at_every_length_of_ladder(order: int) -> None:
    for count in range(2, 9):
        levels = ladder(lambda h: SLOPE + (7 * h) ** (order - 1), lambda h: h, STEPS[:count])
        found = estimate(seen(levels))
        assert abs(found.value - SLOPE) <= found.uncertainty

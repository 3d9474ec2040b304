"""Plain fails: elements whose error is the same over far apart steps, told without a ladder for each.

An element fails plainly if differences over steps far apart give one slope, each sure to a small part of the error.
What could excuse a mismatch (noise, a kink, a staircase, another scale) sets them apart, unless it is finer than the
shortest of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from gradcheck_cli.compare import FLOOR, Decision, Numbers
from gradcheck_cli.differences.method import Estimate
from gradcheck_cli.evidence import UNIT64, K
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.shared import Shared
from gradcheck_cli.tiers import first
from gradcheck_cli.tiers.first import At
from gradcheck_cli.tiers.scene import Scene
from gradcheck_cli.tiers.sheet import FAIL

APART = (1 / 256, 1 / 16, 1.0, 16.0)  # times the step at which ladders begin
SPAN = 128.0  # by how much the longest step must be longer than the shortest that noise allows
PART = 1 / 16  # of the error to which every difference must be sure, and they must agree
LEAST = 1e-6  # of the element: smaller errors have a ladder each
SCATTER = 8.0  # times their uncertainties two neighbours may differ, which follow even growth of the derivatives


def fail(scene: Scene, left: list[At], known: Sequence[At] = ()) -> list[At]:
    """Let fail what fails plainly, and return the others; nothing if few of those `known` to fail do so plainly."""
    return first.put_alike(scene, left, known, _plain)


def _plain(scene: Scene, rows: Array) -> tuple[Array, dict[str, Array]]:
    """Which elements of some rows fail plainly, and what is known of them."""
    levels = [first.table(scene, rows, np.minimum(far * scene.start, scene.length / 8)) for far in APART]
    found = reduce(_sharper, _wider([level.found for level in levels]))
    natural = np.minimum.reduce([level.moved for level in levels]) / scene.length[rows][:, None]
    slope = np.maximum.reduce([level.found.slope for level in levels])
    numbers = scene.numbers(rows, found.value, found.uncertainty, slope, natural)
    columns = {
        "outcome": np.asarray(FAIL),
        "numeric": found.value,
        "uncertainty": found.uncertainty,
        "resolution": numbers.resolution,
        "step": found.step,
        "slope": slope,
        "natural": natural,
    }
    return _is_plain(scene, rows, numbers, found, levels), columns


def _wider(levels: list[Estimate]) -> Iterator[Estimate]:
    """Each difference, less sure by 1/16 of its change to that over the next longer step; the longest by all of it."""
    for below, one, above in zip([None, *levels], levels, [*levels[1:], None], strict=False):
        other = above or below
        change = 0.0 if other is None else np.abs(one.value - other.value)
        yield replace(one, uncertainty=one.uncertainty + (PART * change if above else change))


def _sharper(one: Estimate, other: Estimate) -> Estimate:
    """Of two differences of each element the one with the smaller uncertainty."""
    better = other.uncertainty < one.uncertainty
    return Estimate(*(np.where(better, b, a) for a, b in zip(vars(one).values(), vars(other).values(), strict=True)))


def _is_plain(scene: Scene, rows: Array, numbers: Numbers, found: Estimate, levels: list[Shared]) -> Array:
    """Where the error is beyond everything that could excuse it at every level; the shortest may be lost in noise."""
    error, noise, length = numbers.error, scene.point.noise, scene.length[rows][:, None]
    small = PART * error
    plain = (scene.point.rule.decide(numbers) == Decision.MISMATCH) & np.isfinite(error)
    plain &= error > np.maximum(LEAST, numbers.rho) * np.maximum(np.abs(numbers.analytic), np.abs(numbers.numeric))
    lost = K * levels[0].found.roundoff > small / 2
    plain &= levels[-1].found.step >= SPAN * np.where(lost, levels[1].found.step, levels[0].found.step)
    for k, (level, other) in enumerate(zip(levels, [*levels[1:], levels[-1]], strict=True)):
        seen, change = level.found, np.abs(level.found.value - other.found.value)
        fits = (np.abs(seen.value - found.value) <= small) & (seen.uncertainty <= small) & (seen.slope > 0)
        fits &= change <= SCATTER * (seen.uncertainty + other.found.uncertainty)  # what scatters more has a ladder
        bent = small if level is other else other.found.mismatch / 4  # that of a smooth function shrinks with the step
        fits &= ~level.missing[:, None] & (seen.mismatch <= np.maximum(bent, scene.faint(rows) / seen.step))
        plain &= fits | lost if k == 0 else fits
    # as if no output had moved but those that were seen, and with what cancels on the way to them
    hidden = scene.objective.gather(np.abs(scene.objective.weights) * noise.ulp) / levels[-1].found.step
    rounding = max(noise.unit, UNIT64) * length * np.maximum(8 * numbers.slope, FLOOR * numbers.natural) / found.step
    return np.asarray(plain & (error > 2 * (numbers.resolution + 128 * hidden)) & (error > rounding))

"""Plain fails: elements whose error is the same over far apart steps, told without a ladder for each.

An element fails plainly if differences over steps far apart give one slope, each sure to a small part of the error:
what could excuse a mismatch (noise, a kink, a staircase, another scale) would set them apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce

import numpy as np

from gradcheck_cli.compare import FLOOR, Decision, Numbers
from gradcheck_cli.differences.method import Estimate
from gradcheck_cli.evidence import UNIT64
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.shared import Shared
from gradcheck_cli.tiers import first
from gradcheck_cli.tiers.first import At
from gradcheck_cli.tiers.scene import FAIL, Scene

APART = (1 / 16, 1.0, 16.0)  # times the cautious step: one slope over a factor 256 is a plateau
PART = 1 / 16  # of the error to which every difference must be sure, and they must agree
LEAST = 1e-6  # of the element: smaller errors have a ladder each
SCATTER = 8.0  # times their uncertainties two neighbours may differ, which follow even growth of the derivatives


def fail(scene: Scene, left: list[At]) -> list[At]:
    """Let fail what fails plainly, and return the others."""
    rows = np.unique([row for row, _ in left])
    scene.objective.ledger.phase = "tier2"
    levels = [first.table(scene, rows, np.minimum(far * scene.cautious, scene.length / 8)) for far in APART]
    found = reduce(_sharper, _wider([level.found for level in levels]))
    natural = np.minimum.reduce([level.moved for level in levels]) / scene.length[rows][:, None]
    slope = np.maximum.reduce([level.found.slope for level in levels])
    numbers = scene.numbers(rows, found.value, found.uncertainty, slope, natural)
    columns = {
        "numeric": found.value,
        "uncertainty": found.uncertainty,
        "resolution": numbers.resolution,
        "step": found.step,
        "slope": slope,
        "natural": natural,
    }
    return first.put(scene, left, rows, _is_plain(scene, rows, numbers, found, levels), FAIL, columns)


def _wider(levels: list[Estimate]) -> Iterator[Estimate]:
    """The differences with what the next one over a longer step shows of their truncation, or the one before of its."""
    for below, one, above in zip([None, *levels], levels, [*levels[1:], None], strict=False):
        other = above or below
        change = 0.0 if other is None else np.abs(one.value - other.value)
        yield replace(one, uncertainty=one.uncertainty + (PART * change if above else change))


def _sharper(one: Estimate, other: Estimate) -> Estimate:
    """Of two differences of each element the one with the smaller uncertainty."""
    better = other.uncertainty < one.uncertainty
    return Estimate(*(np.where(better, b, a) for a, b in zip(vars(one).values(), vars(other).values(), strict=True)))


def _is_plain(scene: Scene, rows: Array, numbers: Numbers, found: Estimate, levels: list[Shared]) -> Array:
    """Where the error is beyond everything that could excuse it at every level."""
    error, noise, weights = numbers.error, scene.point.noise, np.abs(scene.objective.weights)
    small = PART * error
    plain = (scene.point.rule.decide(numbers) == Decision.MISMATCH) & np.isfinite(error)
    plain &= error > np.maximum(LEAST, numbers.rho) * np.maximum(np.abs(numbers.analytic), np.abs(numbers.numeric))
    for one, other in itertools.pairwise(level.found for level in levels):  # what scatters more has a ladder
        plain &= np.abs(one.value - other.value) <= SCATTER * (one.uncertainty + other.uncertainty)
    for level in levels:
        seen = level.found
        plain &= (np.abs(seen.value - found.value) <= small) & (seen.uncertainty <= small) & (seen.slope > 0)
        plain &= ~level.missing[:, None] & (seen.mismatch <= np.maximum(small, scene.point.faint / seen.step))
    length, farthest = scene.length[rows][:, None], levels[-1].found.step
    hidden = scene.objective.gather(weights * noise.ulp) / farthest  # if no output moved but those that were seen
    unit = max(noise.unit, UNIT64)
    rounding = np.maximum(8 * unit * length * numbers.slope, FLOOR * unit * noise.magnitude) / levels[0].found.step
    return np.asarray(plain & (error > 2 * (numbers.resolution + 128 * hidden)) & (error > rounding))

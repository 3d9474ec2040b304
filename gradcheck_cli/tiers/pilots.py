"""A few elements of an array go first: what they show of noise and truncation gives the others their steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck_cli.differences.central import Central
from gradcheck_cli.differences.method import Estimate
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.shared import Shared
from gradcheck_cli.tiers import first
from gradcheck_cli.tiers.scene import PILOTS, Scene
from gradcheck_cli.tiers.sheet import PASS

FAR = 2.0**-7  # of the length scale: far enough to see truncation, too near to x for most kinks
MANY = 64 * PILOTS  # elements for each array from which on a second look at the pilots is little


def sweep(scene: Scene) -> tuple[list[tuple[int, int]], Array | None]:
    """The first tier for the pilots: the elements left open, and the values over a much larger step.

    Both steps are in one stack, so that the second costs next to nothing; None where it is not taken.
    """
    rows = scene.pilots
    if not _worthwhile(scene):
        return first.sweep(scene, rows), None
    scene.objective.ledger.phase = "tier1"
    steps = np.concatenate([scene.steps[rows], _far(scene)])
    parts = list(first.measured(scene, np.tile(rows, 2), steps))
    far = np.concatenate([np.where(part.missing[:, None], np.nan, part.found.value) for part in parts])
    left, start = [], 0
    for part in parts:
        left += first.settle(scene, _head(part, len(rows) - start))
        start += len(part.rows)
    return left, far[len(rows) :]


def _head(part: Shared, count: int) -> Shared:
    keep = slice(max(count, 0))
    found = Estimate(*(column[keep] for column in vars(part.found).values()))
    return replace(part, rows=part.rows[keep], found=found, moved=part.moved[keep], missing=part.missing[keep])


def _worthwhile(scene: Scene) -> bool:
    """Whether central differences choose their own steps, of arrays so large that a second look is little."""
    analytic = scene.point.analytic.values()
    many = scene.x.size > PILOTS and MANY * len(analytic) <= sum(len(one) for one in analytic)
    free = isinstance(scene.point.method, Central) and not scene.point.fixed_step
    return many and free and bool((_far(scene) > 4 * scene.steps[scene.pilots]).all())


def _far(scene: Scene) -> Array:
    return np.asarray(np.exp2(np.floor(np.log2(FAR * scene.length[scene.pilots]))))


def learn(scene: Scene, far: Array | None) -> None:
    """From the pilots: steps on which they passed where only a ladder helped, or longer ones if these suit."""
    rows, sheet = scene.pilots, scene.sheet
    if scene.point.fixed_step:
        return
    climbed = (sheet.tier[rows] == 2) & (sheet.outcome[rows] == PASS)
    if climbed.any():
        used = np.broadcast_to(scene.steps[rows][:, None], climbed.shape)
        factor = np.median(sheet.step[rows][climbed] / used[climbed])
        scene.steps = np.minimum(scene.steps * np.exp2(np.round(np.log2(factor))), scene.length / 8)
        scene.cautious = scene.steps
    elif far is not None:
        wanted = _wanted(scene, far)
        if (wanted >= scene.steps[rows]).all():  # else there is more than truncation: a kink, another scale
            scene.steps = _spread(scene, wanted)
            scene.reopen()


def _wanted(scene: Scene, far: Array) -> Array:
    """The steps at which noise and truncation of the pilots are least, each at its steepest unit; 0 where unknown.

    What is far from the near value over a step H, or hides in the uncertainty of that, is truncation t H². Noise / h
    and t h² together are least where h³ = noise / 2t.
    """
    rows, sheet = scene.pilots, scene.sheet
    at = rows, np.argmax(np.abs(scene.analytic[rows]), axis=1)
    step, value = _far(scene), far[np.arange(len(rows)), at[1]]
    truncation = (np.abs(value - sheet.numeric[at]) + sheet.uncertainty[at]) / step**2
    wanted = np.cbrt(scene.noise[rows] / (2 * truncation))
    known = (sheet.outcome[at] == PASS) & np.isfinite(wanted)
    return np.where(known, np.minimum(wanted, step), 0.0)


def _spread(scene: Scene, wanted: Array) -> Array:
    """Steps for all elements from those that suit the pilots: the same part of each length, or of the steps so far.

    Steps so far follow the slopes, to which truncation need not be in proportion, least of all where elements are sums
    that cancel: they are followed only if the pilots then differ by an octave less. The other elements may differ
    more than the pilots do: a quarter of their range is taken off the shortest.
    """
    rows = scene.pilots
    along, with_slope = (np.log2(wanted / pattern[rows]) for pattern in (scene.length, scene.steps))
    if np.ptp(with_slope) + 1 <= np.ptp(along):
        pattern, seen, least = scene.steps, with_slope, scene.steps
    else:
        pattern, seen, least = scene.length, along, scene.steps / 4
    factor = seen.min() - np.ptp(seen) / 4
    found = np.exp2(np.round(np.log2(pattern) + factor))
    return np.asarray(np.maximum(least, np.minimum(found, FAR * scene.length)))

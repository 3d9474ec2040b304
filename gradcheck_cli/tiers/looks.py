"""A look at a few elements over two steps shows how truncation grows, and whether longer steps suit an array."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.differences.central import Central
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import shared
from gradcheck_cli.tiers import first
from gradcheck_cli.tiers.scene import PILOTS, Scene

FAR = 2.0**-7  # of the length scale: far enough to see truncation, too near to x for most kinks
MANY = 64 * PILOTS  # elements for each array from which on a look is little


def lengthen(scene: Scene) -> None:
    """Take longer steps if the elements looked at show that truncation allows them."""
    if not _worthwhile(scene):
        return
    far = np.exp2(np.floor(np.log2(FAR * scene.length)))
    if (far <= 4 * scene.steps).any():
        return
    together = bool(scene.maps)
    scene.objective.ledger.phase = "tier1"
    rows, wanted = _together(scene, far) if together else _one_by_one(scene, far)
    if (wanted >= scene.steps[rows]).all():  # else there is more than truncation: a kink, another scale
        scene.steps = _spread(scene, rows, wanted)


def _worthwhile(scene: Scene) -> bool:
    """Whether central differences choose their own steps, of arrays so large that a look is little."""
    analytic = scene.point.analytic.values()
    many = scene.x.size > PILOTS and MANY * len(analytic) <= sum(len(one) for one in analytic)
    return many and isinstance(scene.point.method, Central) and not scene.point.fixed_step


def _steepest(scene: Scene) -> int:
    """The element with the largest analytic value."""
    size = np.abs(scene.analytic)
    size[~np.isfinite(size)] = 0.0
    return int(np.argmax(size.max(axis=1)))


def _together(scene: Scene, far: Array) -> tuple[Array, Array]:
    """Elements that share their evaluations with the steepest, and the steps that suit them; 4 evaluations."""
    point, steps = scene.point, (scene.steps, far)
    args = (steps, point.method, point.noise, scene.owned, point.centre, scene.copies, _steepest(scene))
    rows, found = shared.glance(scene.objective, scene.name, scene.groups, *args)
    uncertainty = np.broadcast_to(found.uncertainty, found.value.shape)
    return rows, _wanted(scene.noise[rows], found.value[0], uncertainty[0], found.value[1], far[rows])


def _one_by_one(scene: Scene, far: Array) -> tuple[Array, Array]:
    """A few elements spread over the array and the steepest, each at its steepest unit; 4 evaluations for each."""
    last = scene.x.size - 1
    rows = np.array(sorted({*(k * last // (PILOTS - 2) for k in range(PILOTS - 1)), _steepest(scene)}))
    steps = np.concatenate([scene.steps[rows], far[rows]])  # both in one stack, which costs little more than one
    parts = list(first.measured(scene, np.tile(rows, 2), steps))
    value = np.concatenate([np.where(part.missing[:, None], np.nan, part.found.value) for part in parts])
    uncertainty = np.concatenate([part.found.uncertainty for part in parts])
    n, unit = len(rows), np.argmax(np.abs(scene.analytic[rows]), axis=1)
    near = np.arange(n), unit
    beyond = np.arange(n, 2 * n), unit
    return rows, _wanted(scene.noise[rows], value[near], uncertainty[near], value[beyond], far[rows])


def _wanted(noise: Array, near: Array, uncertainty: Array, far: Array, step: Array) -> Array:
    """The steps at which noise and truncation are least, `step` at most; 0 where unknown.

    What a difference over `step` is away from the near one, or what hides in the uncertainty of that, is truncation
    t step². Noise / h and t h² together are least where h³ = noise / 2t.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.cbrt(noise * step**2 / (2 * (np.abs(far - near) + uncertainty)))
    return np.where(np.isnan(wanted), 0.0, np.minimum(wanted, step))


def _spread(scene: Scene, rows: Array, wanted: Array) -> Array:
    """Steps for all elements from those that suit a few: the same part of each length, or of the steps so far.

    Steps so far follow the slopes, to which truncation need not be in proportion, least of all where elements are sums
    that cancel: they are followed only if the few then differ by an octave less. The other elements may differ more
    than these do, the fewer they are: their range over their number is taken off the shortest.
    """
    along, with_slope = (np.log2(wanted / pattern[rows]) for pattern in (scene.length, scene.steps))
    if np.ptp(with_slope) + 1 <= np.ptp(along):
        pattern, seen, least = scene.steps, with_slope, scene.steps
    else:
        pattern, seen, least = scene.length, along, scene.steps / 4
    factor = seen.min() - np.ptp(seen) / len(rows)
    found = pattern * 2.0**factor
    return np.asarray(np.maximum(least, np.minimum(found, FAR * scene.length)))

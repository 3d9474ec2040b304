"""Tier 1: one difference for every element; agreement is evidence, so most elements need no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck_cli.compare import Decision, Numbers, is_weak
from gradcheck_cli.differences.method import Estimate
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import heads, shared
from gradcheck_cli.numeric.heads import Head
from gradcheck_cli.numeric.sampling import chunks
from gradcheck_cli.numeric.shared import Shared
from gradcheck_cli.numeric.slabs import slabs
from gradcheck_cli.numeric.structure import AxisMap
from gradcheck_cli.tiers.scene import INCONCLUSIVE, PASS, Scene

SHARP, CANCELLED = 5e-5, 1e-6  # a usual element is resolved to this part of its size, or of a millionth of its slope
EVEN = 0.05  # one-sided slopes that differ by more of their size may have a kink between them


def sweep_together(scene: Scene, maps: tuple[AxisMap, ...]) -> list[tuple[int, int]] | None:
    """The same for every entry at once, elements with disjoint reach moved together; None if they turn out to mix."""
    scene.objective.ledger.phase = "tier1"
    point = scene.point
    args = (scene.steps, point.method, point.noise, point.centre, scene.copies)
    return _confirmed(scene, [shared.sweep(scene.objective, scene.name, maps, *args)])


def sweep_behind(scene: Scene, head: Head) -> list[tuple[int, int]] | None:
    """The same in a chain, elements moved together only in the links that keep them apart; None if that cannot be."""
    scene.objective.ledger.phase = "tier1"
    point = scene.point
    args = (scene.objective, head, scene.name, scene.steps, point.method, point.noise, point.centre)
    return _confirmed(scene, list(heads.sweep(*args)))


def _confirmed(scene: Scene, sweeps: Sequence[Shared]) -> list[tuple[int, int]] | None:
    """Grant what agrees, if a difference of the whole array at once confirms the values; None if it does not."""
    everything, seen = np.arange(scene.x.size), 0
    value, uncertainty = np.zeros(scene.x.size), np.zeros(scene.x.size)
    for swept in sweeps:
        value[swept.rows], uncertainty[swept.rows] = swept.found.value[:, 0], swept.found.uncertainty[:, 0]
        seen += len(swept.missing)
    args = (scene.objective, scene.point.noise, scene.name, scene.steps, value, uncertainty)
    if seen < scene.x.size or not shared.confirmed(*args):
        return None
    left: list[int] = []
    for part in (swept.only(few) for swept in sweeps for few in slabs(len(swept.missing))):
        left += everything[part.rows][grant(scene, part)[:, 0]].tolist()
    return [(row, 0) for row in left]


def sweep(scene: Scene, rows: Array) -> list[tuple[int, int]]:
    """Take the method's difference for some entries, grant what agrees, and return the elements left open."""
    scene.objective.ledger.phase = "tier1"
    point, left = scene.point, []
    for chunk in chunks(scene.objective, scene.name, rows, scene.steps[rows], point.method, point.noise, point.centre):
        samples = chunk.samples
        changed = (samples.values != samples.centre).any(axis=0)
        moved = scene.objective.gather(np.abs(samples.weights * samples.centre) * changed)
        remaining = grant(scene, Shared(chunk.indices, point.method.combine(samples), moved, chunk.missing))
        left += [(int(chunk.indices[i]), unit) for i, unit in np.argwhere(remaining).tolist()]
    return left


def grant(scene: Scene, swept: Shared) -> Array:
    """Write down the elements that agree, of those that are not settled yet; returns which are left."""
    point, rows, found = scene.point, swept.rows, swept.found
    natural = swept.moved / scene.length[rows][:, None]
    numbers = scene.numbers(rows, found.value, found.uncertainty, found.slope, natural)
    decision = point.rule.decide(numbers)
    even = found.mismatch <= EVEN * found.slope + point.faint / found.step
    granted = (decision == Decision.PASS) & even
    if not granted.all():
        zero = (decision == Decision.ZERO) | (decision == Decision.ROUNDING)
        granted |= zero & _sharp(numbers) & even
        if point.rule.automatic:
            granted |= _nothing_moves(scene, rows, found, numbers)
    fresh = (scene.sheet.outcome[rows] == INCONCLUSIVE) & (scene.sheet.tier[rows] == 1)  # on no ladder yet
    granted &= fresh & ~swept.missing[:, None] & np.isfinite(numbers.analytic)
    _write(scene, rows, granted, decision, numbers, found.step)
    scene.sheet.slope[rows] = _finite(found.slope)
    scene.sheet.natural[rows] = _finite(natural)
    return np.asarray(fresh & ~granted)


def _finite(values: Array) -> Array:
    return values if np.isfinite(values).all() else np.nan_to_num(values)


def _sharp(numbers: Numbers) -> Array:
    """A value that is small by cancellation, not zero, is worth a ladder if this difference is too coarse for it."""
    size = np.abs(numbers.analytic)
    fine = numbers.uncertainty <= SHARP * np.maximum(size, CANCELLED * numbers.slope)
    return np.asarray(fine | (size <= numbers.floor))


def _nothing_moves(scene: Scene, rows: Array | slice, found: Estimate, numbers: Numbers) -> Array:
    """An analytic zero where the outputs keep every bit, with a difference that would have shown a usual slope."""
    same = (found.slope == 0) & (found.mismatch == 0)
    usual = scene.typical if scene.typical > 0 else scene.natural[rows]
    return np.asarray(same & (numbers.analytic == 0) & (numbers.uncertainty <= numbers.rho * usual))


def _write(scene: Scene, rows: Array | slice, granted: Array, decision: Array, numbers: Numbers, step: Array) -> None:
    """Record what is granted; a stated uncertainty is never below the difference it accepts."""
    bound = np.maximum(numbers.uncertainty, 1.5 * numbers.error)
    usual = decision == Decision.PASS
    if not usual.all():
        bound = np.where(decision == Decision.ROUNDING, np.maximum(bound, numbers.resolution), bound)
    columns = {
        "numeric": numbers.numeric,
        "uncertainty": bound,
        "resolution": bound + numbers.rounding + numbers.floor,
        "step": step,
        "outcome": PASS,
        "weak": False if usual.all() else ~usual & is_weak(numbers),
    }
    whole = granted.all()
    for column, values in columns.items():
        table = getattr(scene.sheet, column)
        table[rows] = values if whole else np.where(granted, values, table[rows])

"""Tier 1: one difference for every element; agreement is evidence, so most elements need no more."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gradcheck_cli.compare import Decision, Numbers, is_weak
from gradcheck_cli.differences.method import Estimate
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import heads, shared
from gradcheck_cli.numeric.sampling import chunks
from gradcheck_cli.numeric.shared import Shared
from gradcheck_cli.numeric.structure import AxisMap
from gradcheck_cli.tiers.scene import INCONCLUSIVE, PASS, WORTHWHILE, Scene

SHARP, CANCELLED = 5e-5, 1e-6  # a usual element is resolved to this part of its size, or of a millionth of its slope
EVEN = 0.05  # one-sided slopes that differ by more of their size may have a kink between them


def sweep_together(scene: Scene, maps: tuple[AxisMap, ...]) -> list[tuple[int, int]] | None:
    """The same for every entry at once, elements with disjoint reach moved together; None if they turn out to mix."""
    scene.objective.ledger.phase = "tier1"
    point = scene.point
    args = (scene.objective, scene.name, maps, scene.steps, point.method, point.noise, point.centre)
    return _confirmed(scene, shared.sweep(*args))


def sweep_behind(scene: Scene) -> list[tuple[int, int]] | None:
    """The same in a chain, elements moved together only in the links that keep them apart; None if that cannot be."""
    point = scene.point
    if scene.alone or scene.x.size < WORTHWHILE or np.iscomplexobj(point.method.offsets):
        return None
    scene.objective.ledger.phase = "structure"
    head = heads.head_of(scene.objective, scene.name, scene.length)
    if head is None:
        return None
    scene.objective.ledger.phase = "tier1"
    args = (scene.objective, head, scene.name, scene.steps, point.method, point.noise, point.centre)
    return _confirmed(scene, heads.sweep(*args))


def _confirmed(scene: Scene, sweeps: Iterable[Shared]) -> list[tuple[int, int]] | None:
    """Grant what agrees, if a difference of the whole array at once confirms the values; None if it does not."""
    point, size = scene.point, scene.x.size
    left, seen, value, uncertainty = [], 0, np.zeros(size), np.zeros(size)
    for swept in sweeps:
        fresh = (scene.sheet.outcome[swept.rows, 0] == INCONCLUSIVE) & (scene.sheet.tier[swept.rows, 0] == 1)
        granted = grant(scene, swept)
        seen += swept.rows.size
        value[swept.rows], uncertainty[swept.rows] = swept.found.value[:, 0], swept.found.uncertainty[:, 0]
        left += [(int(row), 0) for row in swept.rows[~granted[:, 0] & fresh]]
    args = (scene.objective, point.noise, scene.name, scene.steps, value, uncertainty)
    return left if seen == size and shared.confirmed(*args) else None


def sweep(scene: Scene, rows: Array) -> list[tuple[int, int]]:
    """Take the method's difference for some entries, grant what agrees, and return the elements left open."""
    scene.objective.ledger.phase = "tier1"
    point, left = scene.point, []
    for chunk in chunks(scene.objective, scene.name, rows, scene.steps[rows], point.method, point.noise, point.centre):
        samples = chunk.samples
        changed = (samples.values != samples.centre).any(axis=0)
        moved = scene.objective.gather(np.abs(samples.weights * samples.centre) * changed)
        granted = grant(scene, Shared(chunk.indices, point.method.combine(samples), moved, chunk.missing))
        left += [(int(chunk.indices[i]), int(unit)) for i, unit in np.argwhere(~granted)]
    return left


def grant(scene: Scene, swept: Shared) -> Array:
    """Write down the elements that agree; returns which they are."""
    point, rows, found = scene.point, swept.rows, swept.found
    natural = swept.moved / scene.length[rows][:, None]
    numbers = scene.numbers(rows, found.value, found.uncertainty, found.slope, natural)
    decision = point.rule.decide(numbers)
    noise = 6 * scene.objective.gather(point.noise.weighted)[None, :] / found.step
    even = found.mismatch <= EVEN * found.slope + noise
    zero = (decision == Decision.ZERO) | (decision == Decision.ROUNDING)
    granted = ((decision == Decision.PASS) | (zero & _sharp(numbers))) & even
    if point.rule.automatic:
        granted |= _nothing_moves(scene, rows, found, numbers)
    granted &= ~swept.missing[:, None] & np.isfinite(numbers.analytic)
    granted &= scene.sheet.tier[rows] == 1  # what a ladder has settled is not asked again
    _write(scene, rows, granted, decision, numbers, found.step)
    scene.sheet.slope[rows] = np.nan_to_num(found.slope)
    scene.sheet.natural[rows] = np.nan_to_num(natural)
    return np.asarray(granted)


def _sharp(numbers: Numbers) -> Array:
    """A value that is small by cancellation, not zero, is worth a ladder if this difference is too coarse for it."""
    size = np.abs(numbers.analytic)
    fine = numbers.uncertainty <= SHARP * np.maximum(size, CANCELLED * numbers.slope)
    return np.asarray(fine | (size <= numbers.floor))


def _nothing_moves(scene: Scene, rows: Array, found: Estimate, numbers: Numbers) -> Array:
    """An analytic zero where the outputs keep every bit, with a difference that would have shown a usual slope."""
    same = (found.slope == 0) & (found.mismatch == 0)
    usual = scene.typical if scene.typical > 0 else scene.natural[rows]
    return np.asarray(same & (numbers.analytic == 0) & (numbers.uncertainty <= numbers.rho * usual))


def _write(scene: Scene, rows: Array, granted: Array, decision: Array, numbers: Numbers, step: Array) -> None:
    """Record what is granted; a stated uncertainty is never below the difference it accepts."""
    bound = np.maximum(numbers.uncertainty, 1.5 * numbers.error)
    bound = np.where(decision == Decision.ROUNDING, np.maximum(bound, numbers.resolution), bound)
    columns = {
        "numeric": numbers.numeric,
        "uncertainty": bound,
        "resolution": bound + numbers.rounding + numbers.floor,
        "step": step,
        "outcome": np.full(granted.shape, PASS),
        "weak": (decision != Decision.PASS) & is_weak(numbers),
    }
    for column, values in columns.items():
        table = getattr(scene.sheet, column)
        table[rows] = np.where(granted, values, table[rows])

"""Tier 1: one difference for every element; agreement is evidence, so most elements need no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gradcheck_cli.compare import Decision, Numbers, is_weak
from gradcheck_cli.differences.method import Estimate
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import heads, shared
from gradcheck_cli.numeric.sampling import chunks
from gradcheck_cli.numeric.shared import Shared
from gradcheck_cli.numeric.structure import AxisMap
from gradcheck_cli.tiers.scene import Scene
from gradcheck_cli.tiers.sheet import INCONCLUSIVE, PASS

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
    head = scene.head()
    if head is None:
        return None
    scene.objective.ledger.phase = "tier1"
    point = scene.point
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
    args = (scene.objective, point.noise, scene.name, scene.cautious, value, uncertainty)
    return left if seen == size and shared.confirmed(*args) else None


def sweep(scene: Scene, rows: Array) -> list[tuple[int, int]]:
    """Take the method's difference for some entries, grant what agrees, and return the elements left open."""
    scene.objective.ledger.phase = "tier1"
    return [at for swept in measured(scene, rows, scene.steps[rows]) for at in settle(scene, swept)]


def again(scene: Scene, left: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where longer steps than usual left elements open, perhaps for a kink within reach, the usual ones are tried."""
    if scene.steps is not scene.cautious:
        scene.steps = scene.cautious
        return sweep(scene, np.unique([row for row, _ in left]).astype(int))
    return left


def measured(scene: Scene, rows: Array, steps: Array) -> Iterator[Shared]:
    """The method's differences of some entries."""
    point = scene.point
    for chunk in chunks(scene.objective, scene.name, rows, steps, point.method, point.noise, point.centre):
        samples = chunk.samples
        changed = (samples.values != samples.centre).any(axis=0)
        moved = scene.objective.gather(np.abs(samples.weights * samples.centre) * changed)
        yield Shared(chunk.indices, point.method.combine(samples), moved, chunk.missing)


def settle(scene: Scene, swept: Shared) -> list[tuple[int, int]]:
    """Grant what agrees of the elements that are open, and return the others."""
    fresh = (scene.sheet.outcome[swept.rows] == INCONCLUSIVE) & (scene.sheet.tier[swept.rows] == 1)
    left = fresh & ~grant(scene, swept, fresh)
    return [(int(swept.rows[i]), unit) for i, unit in np.argwhere(left).tolist()] if left.any() else []


def grant(scene: Scene, swept: Shared, fresh: Array | bool = True) -> Array:
    """Write down the elements that agree; returns which they are."""
    point, rows, found = scene.point, swept.rows, swept.found
    natural = swept.moved / scene.length[rows][:, None]
    numbers = scene.numbers(rows, found.value, found.uncertainty, found.slope, natural)
    decision = point.rule.decide(numbers)
    even = found.mismatch <= EVEN * found.slope + point.faint / found.step
    others = decision != Decision.PASS
    granted, weak, bound = ~others & even, others, np.maximum(numbers.uncertainty, 1.5 * numbers.error)
    if others.any():
        rounding = decision == Decision.ROUNDING
        granted |= (rounding | (decision == Decision.ZERO)) & _sharp(numbers) & even
        weak = others & is_weak(numbers)
        np.maximum(bound, numbers.resolution, out=bound, where=rounding)
    if point.rule.automatic:
        granted |= _nothing_moves(scene, rows, found, numbers)
    granted &= ~swept.missing[:, None] & np.isfinite(numbers.analytic) & fresh
    granted &= scene.sheet.tier[rows] == 1  # what a ladder has settled is not asked again
    columns = {"numeric": numbers.numeric, "uncertainty": bound, "step": found.step, "outcome": PASS, "weak": weak}
    _write(scene, rows, granted, columns | {"resolution": bound + numbers.rounding + numbers.floor})
    scene.sheet.slope[rows], scene.sheet.natural[rows] = _finite(found.slope), _finite(natural)
    return np.asarray(granted)


def _sharp(numbers: Numbers) -> Array:
    """A value that is small by cancellation, not zero, is worth a ladder if this difference is too coarse for it."""
    size = np.abs(numbers.analytic)
    fine = numbers.uncertainty <= SHARP * np.maximum(size, CANCELLED * numbers.slope)
    return np.asarray(fine | (size <= numbers.floor))


def _nothing_moves(scene: Scene, rows: Array, found: Estimate, numbers: Numbers) -> Array | bool:
    """An analytic zero where the outputs keep every bit, with a difference that would have shown a usual slope."""
    same = (found.slope == 0) & (found.mismatch == 0)
    if not same.any():
        return False
    usual = scene.typical if scene.typical > 0 else scene.natural[rows]
    return np.asarray(same & (numbers.analytic == 0) & (numbers.uncertainty <= numbers.rho * usual))


def _finite(values: Array) -> Array:
    return values if np.isfinite(values).all() else np.nan_to_num(values)


def _write(scene: Scene, rows: Array, granted: Array, columns: dict[str, Any]) -> None:
    """Record what is granted; its stated uncertainty is not below the difference that it accepts."""
    whole = bool(granted.all())
    for column, values in columns.items():
        table = getattr(scene.sheet, column)
        if whole:
            table[rows] = values
        else:
            part = table[rows]
            np.copyto(part, values, where=granted)
            table[rows] = part

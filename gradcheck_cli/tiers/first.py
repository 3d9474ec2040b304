"""Tier 1: one difference for every element; agreement is evidence, so most elements need no more."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.compare import Decision, Numbers
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.sampling import Chunk, chunks
from gradcheck_cli.tiers.scene import PASS, PASSES, Scene

EVEN = 0.05  # one-sided slopes that differ by more of their size may have a kink between them


def sweep(scene: Scene, rows: Array) -> list[tuple[int, int]]:
    """Take the method's difference for some entries, grant what agrees, and return the elements left open."""
    scene.objective.ledger.phase = "tier1"
    point, left = scene.point, []
    for chunk in chunks(scene.objective, scene.name, rows, scene.steps[rows], point.method, point.noise, point.centre):
        granted = _grant(scene, chunk)
        left += [(int(chunk.indices[i]), int(unit)) for i, unit in np.argwhere(~granted)]
    return left


def _grant(scene: Scene, chunk: Chunk) -> Array:
    point, rows = scene.point, chunk.indices
    found = point.method.combine(chunk.samples)
    changed = (chunk.samples.values != chunk.samples.centre).any(axis=0)
    natural = scene.objective.gather(np.abs(chunk.samples.weights * chunk.samples.centre) * changed)
    natural = natural / scene.length[rows][:, None]
    numbers = scene.numbers(rows, found.value, found.uncertainty, found.slope, natural)
    decision = point.rule.decide(numbers)
    noise = 6 * scene.objective.gather(point.noise.weighted)[None, :] / found.step[:, None]
    even = found.mismatch <= EVEN * found.slope + noise
    granted = np.isin(decision, PASSES) & even
    if point.rule.automatic:
        granted |= _nothing_moves(scene, rows, changed, numbers)
    granted &= ~chunk.missing[:, None] & np.isfinite(numbers.analytic)
    _write(scene, rows, granted, decision, numbers, found.step)
    scene.sheet.slope[rows] = np.nan_to_num(found.slope)
    scene.sheet.natural[rows] = np.nan_to_num(natural)
    return np.asarray(granted)


def _nothing_moves(scene: Scene, rows: Array, changed: Array, numbers: Numbers) -> Array:
    """An analytic zero where the outputs keep every bit, with a difference that would have shown a usual slope."""
    same = ~changed if scene.alone else ~changed.any(axis=1, keepdims=True)
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
        "step": np.broadcast_to(step[:, None], granted.shape),
        "outcome": np.full(granted.shape, PASS),
        "weak": (decision != Decision.PASS) & (numbers.uncertainty + numbers.rounding > numbers.floor),
    }
    for column, values in columns.items():
        table = getattr(scene.sheet, column)
        table[rows] = np.where(granted, values, table[rows])

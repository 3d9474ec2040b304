"""Tier 1: one difference for every element; agreement is evidence, so most elements need no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.compare import Decision, Numbers, is_weak
from gradcheck_cli.differences.method import Estimate
from gradcheck_cli.evidence import K
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import heads, shared
from gradcheck_cli.numeric.heads import Head
from gradcheck_cli.numeric.sampling import Chunk, chunks
from gradcheck_cli.numeric.shared import Shared
from gradcheck_cli.numeric.slabs import slabs
from gradcheck_cli.numeric.structure import shots
from gradcheck_cli.tiers.scene import Scene
from gradcheck_cli.tiers.sheet import INCONCLUSIVE, PASS

At = tuple[int, int]  # the row and unit of an element
Judge = Callable[[Scene, Array], tuple[Array, dict[str, Array]]]  # marks elements of some rows, and fills their columns

SHARP, CANCELLED = 5e-5, 1e-6  # a usual element is resolved to this part of its size, or of a millionth of its slope
COARSER = 2.0, 8.0  # times the uncertainty over the cautious step is too much: for what is small, and for the others
EVEN = 0.05  # one-sided slopes that differ by more of their size may have a kink between them


def sweep_together(scene: Scene) -> list[At] | None:
    """Take differences of every entry, those with disjoint reach moved together; None if they turn out to mix."""
    scene.objective.ledger.phase = "tier1"
    return _confirmed(scene, [_shared(scene, scene.steps)])


def _shared(scene: Scene, steps: Array) -> Shared:
    point = scene.point
    args = (steps, point.method, point.noise, scene.owned, point.centre, scene.copies)
    return shared.sweep(scene.objective, scene.name, scene.groups, *args)


def sweep_behind(scene: Scene, head: Head) -> list[At] | None:
    """The same in a chain, entries moved together only in the links that keep them apart; None if that cannot be."""
    scene.objective.ledger.phase = "tier1"
    point, rows = scene.point, np.arange(scene.x.size)
    args = (scene.objective, head, scene.name, rows, scene.steps, point.method, point.noise, point.centre)
    return _confirmed(scene, list(_read(scene, heads.chunks(*args))))


def _confirmed(scene: Scene, sweeps: Sequence[Shared]) -> list[At] | None:
    """Grant what agrees, if a difference of the whole array at once confirms the values; None if it does not."""
    seen, value, uncertainty = 0, np.zeros(scene.x.size), np.zeros(scene.x.size)
    for swept in sweeps:
        value[swept.rows], uncertainty[swept.rows] = swept.found.value[:, 0], swept.found.uncertainty[:, 0]
        seen += len(swept.missing)
    args = (scene.objective, scene.point.noise, scene.name, scene.start, value, uncertainty)
    if seen < scene.x.size or not shared.confirmed(*args):
        return None
    parts = (swept.only(few) for swept in sweeps for few in slabs(len(swept.missing)))
    return [at for part in parts for at in settle(scene, part)]


def sweep(scene: Scene, rows: Array, steps: Array | None = None) -> list[At]:
    """Take the method's difference for some entries, grant what agrees, and return the elements left open."""
    scene.objective.ledger.phase = "tier1"
    steps = scene.steps if steps is None else steps
    return sorted(at for swept in differences(scene, rows, steps) for at in settle(scene, swept))


def differences(scene: Scene, rows: Array, steps: Array) -> Iterator[Shared]:
    """The method's differences of some entries, moved together where that takes less; `steps` are those of all."""
    point = scene.point
    args = (point.method, point.noise, point.centre)
    if scene.maps and shots(scene.objective.arrays[scene.name].shape, scene.maps) < len(rows):
        yield _shared(scene, steps).only(rows)
    else:
        yield from _read(scene, heads.chunks(scene.objective, scene.head, scene.name, rows, steps, *args))


def table(scene: Scene, rows: Array, steps: Array) -> Shared:
    """The same in one table, the entries in order."""
    parts = list(differences(scene, rows, steps))
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    columns = zip(*(vars(part.found).values() for part in parts), strict=True)
    found = Estimate(*(np.concatenate(column)[order] for column in columns))
    moved, missing = (np.concatenate([getattr(part, key) for part in parts])[order] for key in ("moved", "missing"))
    return Shared(rows, found, moved, missing)


def put(scene: Scene, left: list[At], rows: Array, places: Array, columns: Mapping[str, Array]) -> list[At]:
    """Write down those elements of some rows that are marked and were left open; returns the others."""
    sheet = scene.sheet
    still = np.zeros(sheet.outcome.shape, bool)
    still[tuple(np.transpose(left))] = True
    chosen = places & still[rows]
    at = rows[np.nonzero(chosen)[0]], np.nonzero(chosen)[1]
    for column, values in columns.items():
        getattr(sheet, column)[at] = np.broadcast_to(values, chosen.shape)[chosen]
    sheet.tier[at] = 2
    still[at] = False
    return [one for one in left if still[one]]


def put_alike(scene: Scene, left: list[At], known: Sequence[At], judge: Judge) -> list[At]:
    """Write down what a judge marks of those left open, and return the others; nothing if it marks few of the known."""
    scene.objective.ledger.phase = "tier2"
    if known:
        rows = np.unique([row for row, _ in known])
        places, _ = judge(scene, rows)
        if 2 * sum(bool(places[np.searchsorted(rows, row), unit]) for row, unit in known) <= len(known):
            return left
    rows = np.unique([row for row, _ in left])
    return put(scene, left, rows, *judge(scene, rows))


def measured(scene: Scene, rows: Array, steps: Array) -> Iterator[Shared]:
    """The method's differences of some entries one by one; `steps` are theirs."""
    point = scene.point
    return _read(scene, chunks(scene.objective, scene.name, rows, steps, point.method, point.noise, point.centre))


def _read(scene: Scene, found: Iterable[Chunk]) -> Iterator[Shared]:
    """What the method makes of samples."""
    for chunk in found:
        samples = chunk.samples
        changed = (samples.values != samples.centre).any(axis=0)
        moved = scene.objective.gather(np.abs(samples.weights * samples.centre) * changed)
        yield Shared(chunk.indices, scene.point.method.combine(samples), moved, chunk.missing)


def settle(scene: Scene, swept: Shared) -> list[At]:
    """Grant what agrees of some entries, and return the elements that are left."""
    left = grant(scene, swept)
    rows = range(scene.x.size)[swept.rows] if isinstance(swept.rows, slice) else swept.rows
    return [(int(rows[i]), unit) for i, unit in np.argwhere(left).tolist()] if left.any() else []


def grant(scene: Scene, swept: Shared) -> Array:
    """Write down the elements that agree, of those that are not settled yet; returns which are left."""
    point, rows, found = scene.point, swept.rows, swept.found
    natural = swept.moved / scene.length[rows][:, None]
    numbers = scene.numbers(rows, found.value, found.uncertainty, found.slope, natural)
    decision = point.rule.decide(numbers)
    even = found.mismatch <= EVEN * found.slope + scene.faint(rows) / found.step
    others = decision != Decision.PASS
    granted, weak, bound = ~others & even, others, np.maximum(numbers.uncertainty, 1.5 * numbers.error)
    if others.any():
        rounding = decision == Decision.ROUNDING
        granted |= (rounding | (decision == Decision.ZERO)) & _sharp(numbers) & even
        weak = others & is_weak(numbers)
        np.maximum(bound, numbers.resolution, out=bound, where=rounding)
    if point.rule.automatic and not granted.all():
        granted |= _nothing_moves(scene, rows, found, numbers)
    fresh = (scene.sheet.outcome[rows] == INCONCLUSIVE) & (scene.sheet.tier[rows] == 1)  # on no ladder yet
    granted &= fresh & ~swept.missing[:, None] & np.isfinite(numbers.analytic)
    if scene.steps is not scene.cautious:
        granted &= ~_coarse(scene, rows, found, np.where(others, *COARSER))
    columns = {"numeric": numbers.numeric, "uncertainty": bound, "step": found.step, "outcome": PASS, "weak": weak}
    _write(scene, rows, granted, columns | {"resolution": bound + numbers.rounding + numbers.floor})
    scene.sheet.slope[rows] = _finite(found.slope)
    scene.sheet.natural[rows] = _finite(natural)
    return np.asarray(fresh & ~granted)


def _coarse(scene: Scene, rows: Array | slice, found: Estimate, factor: Array) -> Array:
    """Where curvature makes a longer step much less sure than the cautious one would be."""
    shorter = scene.cautious[rows][:, None] / found.step
    return np.asarray(found.uncertainty > factor * (K * found.roundoff / shorter + found.uncertainty * shorter**2))


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


def _write(scene: Scene, rows: Array | slice, granted: Array, columns: dict[str, Any]) -> None:
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

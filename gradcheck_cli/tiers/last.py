"""Tier 3, for what two tiers leave open: second opinions that may only acquit; and the kink elements taken together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck_cli import compare
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import kinks, second
from gradcheck_cli.numeric.scales import scattered
from gradcheck_cli.tiers import alike
from gradcheck_cli.tiers.climb import climb
from gradcheck_cli.tiers.first import At
from gradcheck_cli.tiers.scene import PASSES, Scene
from gradcheck_cli.tiers.sheet import FAIL, INCONCLUSIVE, KINK, PASS

WITNESSES = 24  # of the elements of an array that real differences settled, which the complex step must reproduce
SAME = 1e-9  # relative difference that makes no zero another value
FEW = 4  # of them when zeros are cross-examined, which costs as much again


def second_opinions(scene: Scene) -> None:
    """Complex step and long double, in this order; an explicit tolerance takes none."""
    if not scene.point.rule.automatic:
        return
    scene.objective.ledger.phase = "tier3"
    cross_examine(scene)
    for opinion in (_complex_step, _long_double):
        scene.objective.ledger.phase = "tier3"
        if scene.sheet.open():
            opinion(scene)


def _trusted(scene: Scene, rows: Array, witnesses: int, together: bool = False) -> second.Opinion | None:
    """Complex steps of some entries, if they reproduce others of the array that real differences settled."""
    sheet = scene.sheet
    sure = ((sheet.outcome == PASS) & ~sheet.weak).all(axis=1)
    sure[rows] = False
    settled = np.flatnonzero(sure)[:witnesses]
    seen = _asked(scene, np.concatenate([settled, rows]) if together else settled, together)
    if seen is None:
        return None
    numeric, uncertainty = sheet.numeric[settled], sheet.uncertainty[settled]
    if (np.abs(seen.value[: len(settled)] - numeric) > 2 * uncertainty + 1e-9 * np.abs(numeric)).any():
        return None
    return seen.behind(len(settled)) if together else _asked(scene, rows, together)


def _asked(scene: Scene, rows: Array, together: bool) -> second.Opinion | None:
    args = (scene.objective, scene.point.noise, scene.point.centre, scene.name)
    if together:
        return second.complex_step_together(*args, scene.groups, rows, scene.length)
    return second.complex_step(*args, rows, scene.length[rows])


def cross_examine(scene: Scene) -> None:
    """A zero that passed because a usual slope would have shown is open again if the complex step sees another.

    Elements that share evaluations are asked together at first, those of which something is seen then alone.
    """
    rows = np.flatnonzero((scene.sheet.weak & (scene.sheet.outcome == PASS)).any(axis=1))
    if rows.size and not scene.alone and scene.maps:
        heard = scene.groups.sums(np.abs(scene.objective.weights)[None])[0] > 0
        certain = ~heard & (scene.analytic[:, 0] == 0)  # the cotangent leaves out what they move
        rows = rows[~certain[rows]]
    if rows.size and not scene.alone and scene.maps:
        opinion = _trusted(scene, rows, FEW, together=True)
        rows = rows if opinion is None else rows[_apart(scene, rows, opinion)[0].any(axis=1)]
    if rows.size > FEW and not scene.alone:
        rows = _doubtful(scene, rows)
    opinion = _trusted(scene, rows, FEW) if rows.size else None
    if opinion is None:
        return
    apart, error = _apart(scene, rows, opinion)
    for k, unit in np.argwhere(apart):
        at, far = (int(rows[k]), int(unit)), float(error[k, unit])
        if not _excused(scene, at, float(opinion.value[k, unit]), far):
            least = max(float(scene.sheet.uncertainty[at]), 1.5 * far)
            scene.sheet.put(at, INCONCLUSIVE, "below the noise", uncertainty=least)


def _doubtful(scene: Scene, rows: Array) -> Array:
    """Those of some zeros that one complex step of all of them leaves in doubt.

    Each weighs as much as the error granted to it is small, at least half: a larger error of any one of them is seen.
    Those that are granted none must not move anything; they are asked apart.
    """
    analytic, noise = scene.analytic[rows, 0], scene.point.noise
    floor = compare.floor(scene.sheet.slope[rows], noise.unit, scene.point.rounding.unit)
    granted = np.maximum(2 * (scene.rounding[rows] + floor)[:, 0], SAME * np.abs(analytic))
    weights = scattered(4, rows.shape) / np.where(granted > 0, granted, 1.0)
    doubtful = np.ones(rows.shape, bool)
    for some, allowed in ((granted > 0, 1 / 4), (granted == 0, 0.0)):
        direction = np.zeros(scene.x.size)
        direction[rows[some]] = weights[some]
        slope = second.complex_slope(scene.objective, noise, scene.point.centre, scene.name, direction)
        if slope is not None and abs(slope - float(weights[some] @ analytic[some])) <= allowed:
            doubtful[some] = False
    return rows[doubtful]


def _apart(scene: Scene, rows: Array, opinion: second.Opinion) -> tuple[Array, Array]:
    """Which of the zeros of some entries the complex step contradicts, and by how much."""
    sheet, value, noise = scene.sheet, opinion.value, scene.point.noise
    error = np.abs(scene.analytic[rows] - value)
    floor = compare.floor(np.maximum(sheet.slope[rows], np.abs(value)), noise.unit, scene.point.rounding.unit)
    bound = 2 * (opinion.uncertainty + scene.rounding[rows] + floor)
    suspects = (sheet.weak & (sheet.outcome == PASS))[rows]
    return suspects & (error > np.maximum(bound, SAME * np.abs(value))), error


def _excused(scene: Scene, at: tuple[int, int], value: float, error: float) -> bool:
    """Whether cancellation in the VJP explains how far a zero is from the value of the complex step.

    It may leave 64 u S, with S the size of the outputs that move with the element; where none moved at its step, 2 to 4
    evaluations far away tell which they are. And rounding vanishes when the same formula is computed in long double.
    """
    natural = float(scene.sheet.natural[at])
    if natural == 0:
        ladder = scene.ladder(*at)
        ladder.probe()
        natural = ladder.magnitude / ladder.line.length
    if error <= compare.NOTHING * scene.point.rounding.unit * natural:
        return True
    exact = scene.point.exact
    return exact is not None and abs(float(exact[scene.name][at]) - value) <= error / 256


def _complex_step(scene: Scene) -> None:
    """Settle what is open by the complex step."""
    sheet = scene.sheet
    rows = np.unique([row for row, _ in sheet.open()]).astype(int)
    opinion = _trusted(scene, rows, WITNESSES)
    if opinion is None:
        return
    places = {int(row): k for k, row in enumerate(rows)}
    for at in sheet.open():
        k = places[at[0]]
        value, uncertainty = float(opinion.value[k, at[1]]), float(opinion.uncertainty[k, at[1]])
        numbers = scene.number(at, value, uncertainty, float(sheet.slope[at]), float(sheet.natural[at]))
        if scene.decide(numbers) in PASSES:
            bound = max(uncertainty, float(numbers.error))
            columns = {"numeric": value, "uncertainty": bound, "step": float(opinion.step[k, at[1]])}
            resolution = bound + numbers.rounding + numbers.floor
            sheet.put(at, PASS, resolution=resolution, tier=3, method="complex_step", **columns)


def _long_double(scene: Scene) -> None:
    """The same ladder with 11 more bits, where the platform and the layer have them."""
    if scene.point.wide is None:
        return
    objective, centre, noise = scene.point.wide
    other = Scene(replace(scene.point, objective=objective, centre=centre, noise=noise), scene.name)
    left = scene.sheet.open()
    few = left[:: len(left) // alike.LADDERS] if len(left) >= alike.MANY else []
    if few and not _passed(scene, other, few):
        return  # nor would the others, which are alike
    _passed(scene, other, sorted({*left} - {*few}))


def _passed(scene: Scene, other: Scene, left: list[At]) -> bool:
    """Climb ladders in another scene, and write down what passes there; whether anything does."""
    for at in left:
        climb(other, *at)
        if other.sheet.outcome[at] == PASS:
            columns = {c: getattr(other.sheet, c)[at] for c in ("numeric", "uncertainty", "resolution", "step")}
            scene.sheet.put(at, PASS, tier=3, **columns)
    return any(other.sheet.outcome[at] == PASS for at in left)


def tied_kinks(scene: Scene) -> None:
    """Coordinate boxes alone accept a maximum whose tied winners all get the full gradient: move them together."""
    sheet = scene.sheet
    kinked = sheet.outcome == KINK
    rows = np.flatnonzero(kinked.any(axis=1))
    if rows.size < 2:
        return
    scene.objective.ledger.phase = "tier2"
    step, rng = float(np.median(scene.start[rows])), np.random.default_rng(0)
    for direction in kinks.directions(scene.x[rows], rng):
        moved = kinks.Together(scene.name, rows, direction, step)
        wrong = kinks.violates(scene.objective, scene.point.noise, moved, scene.analytic[rows])
        for unit in np.argwhere(wrong).ravel() if wrong is not None else ():
            if scene.around.has(int(unit), rows):
                continue
            outcome, reason = scene.no_subgradient(int(unit), rows, direction)
            for row in rows[(direction != 0) & kinked[rows, unit]]:
                if sheet.outcome[row, unit] != FAIL:  # an excuse in one direction is none in another
                    sheet.put((int(row), int(unit)), outcome, reason)

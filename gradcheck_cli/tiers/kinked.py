"""Kinks everywhere: elements that sit exactly on one, told without a ladder for each.

The one-sided slopes of an element differ by as much over a step as over one that is 65,000 times as long: the kink is
at x. A value between them is a subgradient if the gradient is right beside the kinks, which is seen of many of them
at once, in random directions from random points around.
"""

from __future__ import annotations

import numpy as np

from gradcheck_cli.evidence import UNIT64, K
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import fitted
from gradcheck_cli.numeric.scales import scattered
from gradcheck_cli.tiers import first
from gradcheck_cli.tiers.first import At
from gradcheck_cli.tiers.scene import Scene
from gradcheck_cli.tiers.sheet import KINK

STEPS = 2.0**-36, 2.0**-28, 2.0**-20  # of the length scales
SAME = 0.02  # relative: the jump of the slopes is the same at all of them
FEWEST = 16  # elements that are moved beside their kinks at once before each is judged by itself
POINTS = 4  # around, in pairs of opposite ones
AWAY, ALONG = 2.0**-16, 2.0**-29  # of the length scales: how far they are, and how far differences reach from there


def accept(scene: Scene, left: list[At], _known: list[At]) -> list[At]:
    """Accept subgradients at kinks if the gradient is right around them, and return what is left."""
    if scene.alone or scene.point.noise.unit != UNIT64:
        return left
    rows = np.unique([row for row, _ in left])
    scene.objective.ledger.phase = "tier2"
    near, middle, far = (first.table(scene, rows, part * scene.length).found for part in STEPS)
    jump, value = middle.mismatch, middle.value
    change = np.abs(far.mismatch - jump) + np.abs(far.value - value)
    slack = 2 * K * middle.roundoff + change
    clear = (near.mismatch > 8 * scene.faint(rows) / near.step) & (np.abs(near.mismatch - jump) <= SAME * jump)
    clear &= (change <= SAME * jump) & (np.abs(near.value - value) <= SAME * jump)
    slack += scene.rounding[rows] + scene.numbers(rows, value, slack, middle.slope, middle.slope).floor
    places = clear & (np.abs(scene.analytic[rows] - value) <= jump / 2 + slack)
    places &= np.isin(rows, _right_around(scene, rows[places[:, 0]]))[:, None]
    columns = {
        "outcome": np.asarray(KINK),
        "numeric": value,
        "uncertainty": np.maximum(jump, slack),
        "resolution": jump + slack,
        "step": middle.step,
        "slope": middle.slope,
    }
    return first.put(scene, left, rows, places, columns)


def _right_around(scene: Scene, rows: Array) -> Array:
    """Those entries around which slopes in random directions say that the gradient is right.

    Halves are tried where all together are not right: one may be wrong, or some came to meet another kink.
    """
    if len(rows) < FEWEST:
        return rows[:0]
    amounts = (scattered(20 + k // 2, rows.shape) * (-1) ** k for k in range(POINTS))  # different ones break ties
    if all(_right_at(scene, rows, by, seed) for seed, by in enumerate(amounts)):
        return rows
    half = len(rows) // 2
    return np.concatenate([_right_around(scene, rows[:half]), _right_around(scene, rows[half:])])


def _right_at(scene: Scene, rows: Array, amounts: Array, seed: int) -> bool:
    """The same at one of them; 4 evaluations and a VJP call."""
    objective, length, x = scene.objective, scene.length[rows], scene.x.copy()
    x[rows] += AWAY * length * amounts
    direction = length * scattered(30 + seed, rows.shape)

    def slope(along: float) -> float:
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[rows] += sign * along * direction
            ends.append(objective.moved({scene.name: moved.reshape(shape)}))
        plus, minus = ends
        if plus is None or minus is None:
            return np.nan
        return float((objective.weights * (plus - minus)).sum()) / (2 * along)

    shape = objective.arrays[scene.name].shape
    try:
        gradient = objective.vjp(objective.cotangent, objective.arrays | {scene.name: x.reshape(shape)})
    except Exception:  # noqa: BLE001 - beside the point the VJP may have no value
        return False
    terms = fitted(gradient.get(scene.name), shape)[rows] * direction
    coarse, fine = slope(ALONG), slope(ALONG / 2)
    allowed = 12 * K * float(scene.point.noise.total[0]) / ALONG + 1e-8 * np.abs(terms).sum()
    return bool(max(abs(fine - terms.sum()), abs(coarse - fine)) <= allowed)  # else another kink is on the way

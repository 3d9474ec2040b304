"""Stairs everywhere: elements over which outputs keep every bit, left inconclusive without a ladder for each.

Outputs that keep every bit over a step and move over one that is much longer go up in stairs, of which no difference
tells whether a gradient is right.
"""

from __future__ import annotations

import numpy as np

from gradcheck_cli.compare import Decision
from gradcheck_cli.layer import Array
from gradcheck_cli.tiers import first
from gradcheck_cli.tiers.first import At
from gradcheck_cli.tiers.scene import Scene
from gradcheck_cli.tiers.sheet import INCONCLUSIVE

STILL = 16.0  # times the step at which ladders begin
FAR = 2.0  # length scales: where ladders end


def leave(scene: Scene, left: list[At], known: list[At]) -> list[At]:
    """Leave inconclusive what is in stairs, and return the others; nothing if few of those `known` are in stairs."""
    return first.put_alike(scene, left, known, _in_stairs)


def _in_stairs(scene: Scene, rows: Array) -> tuple[Array, dict[str, Array]]:
    """Which elements of some rows are in stairs, and what is known of them."""
    analytic = scene.analytic[rows]
    near = first.table(scene, rows, np.minimum(STILL * scene.start, scene.length / 8))
    far = first.table(scene, rows, FAR * scene.length)
    natural = far.moved / scene.length[rows][:, None]
    numbers = scene.numbers(rows, near.found.value, near.found.uncertainty, far.found.slope, natural)
    places = (near.found.slope == 0) & (near.found.mismatch == 0) & (far.found.slope > 0)
    places &= (scene.point.rule.decide(numbers) == Decision.MISMATCH) & np.isfinite(analytic)  # small ones may be zeros
    places &= ~(near.missing | far.missing)[:, None]
    bound = np.maximum(near.found.uncertainty, 1.5 * np.abs(analytic - near.found.value))
    return places, {
        "outcome": np.asarray(INCONCLUSIVE),
        "reason": np.asarray("staircase", object),
        "numeric": near.found.value,
        "uncertainty": bound,
        "resolution": bound,
        "step": near.found.step,
        "slope": far.found.slope,
        "natural": natural,
    }

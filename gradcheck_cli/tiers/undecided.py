"""Elements that no ladder would settle, left inconclusive without one: stairs wider than any difference, and noise.

Outputs that keep every bit over a step and move over one that is much longer go up in stairs. Where noise is too much
for a pass over the longest step of a ladder, it is so over every one.
"""

from __future__ import annotations

import numpy as np

from gradcheck_cli import compare
from gradcheck_cli.differences.method import Estimate
from gradcheck_cli.evidence import K
from gradcheck_cli.layer import Array
from gradcheck_cli.tiers import first
from gradcheck_cli.tiers.first import At
from gradcheck_cli.tiers.scene import INCONCLUSIVE, Scene

STILL = 16.0  # times the cautious step
FAR = 2.0  # length scales: where ladders end


def leave(scene: Scene, left: list[At], known: list[At]) -> list[At]:
    """Leave inconclusive what is plainly so, and return the others; nothing if few of those `known` are plainly so."""
    scene.objective.ledger.phase = "tier2"
    rows = np.unique([row for row, _ in known])
    plain, _ = _plain(scene, rows)
    if 2 * sum(bool(plain[np.searchsorted(rows, row), unit]) for row, unit in known) <= len(known):
        return left
    rows = np.unique([row for row, _ in left])
    return first.put(scene, left, rows, *_plain(scene, rows))


def _plain(scene: Scene, rows: Array) -> tuple[Array, dict[str, Array]]:
    """Which elements of some rows are in stairs or lost in noise, and what is known of them."""
    noise, analytic = scene.point.noise, scene.analytic[rows]
    near = first.table(scene, rows, np.minimum(STILL * scene.cautious, scene.length / 8))
    far = first.table(scene, rows, FAR * scene.length)
    stairs = (near.found.slope == 0) & (near.found.mismatch == 0) & (far.found.slope > 0) & (analytic != 0)
    coarsest = [compare.coarsest(float(one), scene.point.rounding.unit) for one in noise.relative]
    size = np.maximum(np.abs(analytic), np.abs(far.found.value))
    places = (stairs | (K * far.found.roundoff > coarsest * size)) & ~(near.missing | far.missing)[:, None]
    columns = zip(vars(near.found).values(), vars(far.found).values(), strict=True)
    found = Estimate(*(np.where(stairs, one, other) for one, other in columns))
    bound = np.maximum(found.uncertainty, 1.5 * np.abs(analytic - found.value))
    return places & np.isfinite(analytic), {
        "outcome": np.asarray(INCONCLUSIVE),
        "reason": np.where(stairs, "staircase", "noise").astype(object),
        "numeric": found.value,
        "uncertainty": bound,
        "resolution": bound,
        "step": found.step,
        "slope": found.slope,
        "natural": far.moved / scene.length[rows][:, None],
    }

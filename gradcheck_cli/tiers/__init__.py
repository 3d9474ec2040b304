"""Three tiers: a difference for every element, a ladder for the disputed, second opinions for the rest.

Each tier estimates, `compare` decides, and what stays open goes to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_cli.tiers import climb, first, last
from gradcheck_cli.tiers.scene import Point, Scene, Sheet


def judge(point: Point, wrt: Sequence[str]) -> list[Sheet]:
    """Judge every element of the arrays."""
    return [judge_array(Scene(point, name)) for name in wrt]


def judge_array(scene: Scene) -> Sheet:
    """Take one array through the tiers; a few pilots first, whose steps are a better start for the others."""
    for rows in (scene.pilots(), scene.others()):
        for row, unit in first.sweep(scene, rows):
            climb.climb(scene, row, unit)
        scene.learn()
    last.second_opinions(scene)
    last.tied_kinks(scene)
    return scene.sheet

"""Three tiers: a difference for every element, a ladder for the disputed, second opinions for the rest.

Each tier estimates, `compare` decides, and what stays open goes to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_cli.tiers import climb, first, last, pilots
from gradcheck_cli.tiers.scene import Point, Scene, Sheet


def judge(point: Point, wrt: Sequence[str]) -> list[Sheet]:
    """Judge every element of the arrays."""
    return [judge_array(Scene(point, name)) for name in wrt]


def judge_array(scene: Scene) -> Sheet:
    """Take one array through the tiers; a few pilots first, whose steps are a better start for the others."""
    left, far = pilots.sweep(scene)
    _settle(scene, left)
    pilots.learn(scene, far)
    _settle(scene, first.again(scene, _sweep_others(scene)))
    last.second_opinions(scene)
    last.tied_kinks(scene)
    return scene.sheet


def _settle(scene: Scene, left: list[tuple[int, int]]) -> None:
    for row, unit in left:
        climb.climb(scene, row, unit)


def _sweep_others(scene: Scene) -> list[tuple[int, int]]:
    """Move elements together where the outputs show that they may be, else one by one."""
    maps = scene.structure()
    left = first.sweep_together(scene, maps) if maps else None
    if left is not None:
        return left
    scene.forget(scene.others())
    return first.sweep(scene, scene.others())

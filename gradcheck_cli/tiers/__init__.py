"""Three tiers: a difference for every element, a ladder for the disputed, second opinions for the rest.

Each tier estimates, `compare` decides, and what stays open goes to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck_cli.tiers import climb, first, last
from gradcheck_cli.tiers.scene import Point, Scene, Sheet
from gradcheck_cli.tiers.search import Search


def judge(point: Point, wrt: Sequence[str]) -> list[Sheet]:
    """Judge every element of the arrays."""
    return [_judge_large(point, name) if _is_large(point, name) else judge_array(Scene(point, name)) for name in wrt]


def _is_large(point: Point, name: str) -> bool:
    """Whether visiting every element one by one is beyond what the check may cost."""
    if point.limits is None or np.iscomplexobj(point.method.offsets):
        return False
    return point.limits.crossed_by(point.objective.arrays[name].size)


def _judge_large(point: Point, name: str) -> Sheet:
    """Visit every element if the structure makes it cheap, else search the array."""
    search = Search(point, name, judge_array)
    size = point.objective.arrays[name].size
    if search.structure and point.limits is not None and not point.limits.crossed_by(search.grid.columns, size):
        scene = Scene(point, name)
        left = first.sweep_together(scene, search.structure)
        if left is not None:
            weak = np.flatnonzero(scene.sheet.weak.any(axis=1))
            search.settle(scene.sheet, sorted({*(row for row, _ in left), *weak.tolist()}))
            last.tied_kinks(scene)
            return scene.sheet
    return search.run()


def judge_array(scene: Scene) -> Sheet:
    """Take one array through the tiers; a few pilots first, whose steps are a better start for the others."""
    _settle(scene, first.sweep(scene, scene.pilots()))
    scene.learn()
    _settle(scene, _sweep_others(scene))
    last.second_opinions(scene)
    last.tied_kinks(scene)
    return scene.sheet


def _settle(scene: Scene, left: list[tuple[int, int]]) -> None:
    for row, unit in left:
        climb.climb(scene, row, unit)


def _sweep_others(scene: Scene) -> list[tuple[int, int]]:
    """Move elements together where the outputs show that they may be, else one by one."""
    maps = scene.structure()
    left = first.sweep_together(scene, maps) if maps else first.sweep_behind(scene)
    if left is not None:
        return left
    scene.forget(scene.others())
    return first.sweep(scene, scene.others())

"""Three tiers: a difference for every element, a ladder for the disputed, second opinions for the rest.

Each tier estimates, `compare` decides, and what stays open goes to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.tiers import alike, first, last, looks, plain
from gradcheck_cli.tiers.first import At
from gradcheck_cli.tiers.point import Point
from gradcheck_cli.tiers.scene import WORTHWHILE, Scene
from gradcheck_cli.tiers.sheet import INCONCLUSIVE, Sheet

FEW = 16  # evaluations that are left for each array, whatever the others took


def judge(point: Point, wrt: Sequence[str]) -> list[Sheet]:
    """Judge every element of the arrays; large ones last, the smallest of them first, for they share the budget."""
    sheets, ledger = dict[str, Sheet](), point.objective.ledger
    left = 0 if point.limits is None else point.limits.budget
    for name in sorted(wrt, key=lambda name: _large(point, name)):
        before = ledger.total
        if _large(point, name):
            sheets[name] = _judge_large(point, name, left)
            left = max(FEW, left - (ledger.total - before))
        else:
            sheets[name] = judge_array(Scene(point, name))
    return [sheets[name] for name in wrt]


def _large(point: Point, name: str) -> int:
    """The size of an array whose elements one by one are more than the check may cost, else 0."""
    size = point.objective.arrays[name].size
    if point.limits is None or np.iscomplexobj(point.method.offsets):
        return 0
    return size if point.limits.crossed_by(size) else 0


def _judge_large(point: Point, name: str, left: int) -> Sheet:
    """Visit every element if its structure makes that cheap enough for what is left of the budget, else search."""
    from gradcheck_cli.tiers.search import Search  # which small runs never need

    search = Search(point, name, judge_array)
    size = point.objective.arrays[name].size
    limits = None if point.limits is None else replace(point.limits, budget=left)
    if search.structure and limits is not None and not limits.crossed_by(search.grid.columns, size):
        scene, found = search.sweep()
        if found is not None:
            search.settle_most(scene.sheet, [row for row, _ in found])
            still = [at for at in found if scene.sheet.outcome[at] == INCONCLUSIVE and scene.sheet.tier[at] == 1]
            sweeps = len(plain.APART) * search.grid.columns
            if still and alike.applies(point, size) and not limits.crossed_by(sweeps, size):
                plain.fail(scene, still)
            if point.rule.automatic:
                last.cross_examine(scene)
            last.tied_kinks(scene)
            return scene.sheet
    return search.run()


def judge_array(scene: Scene) -> Sheet:
    """Take one array through the tiers.

    What a few pilots needed to be settled is a better start for the others. Where all elements together are soon done,
    they are not waited for, but everything else is taken back if they ask for other steps.
    """
    scene.listen()
    looks.lengthen(scene)
    pilots, everything = set(scene.pilots.tolist()), np.arange(scene.x.size)
    at_once = bool(scene.maps) or scene.head is not None or scene.x.size <= WORTHWHILE
    left = _sweep(scene, everything if at_once else scene.pilots)
    alike.settle(scene, [at for at in left if at[0] in pilots])
    others = [at for at in left if at[0] not in pilots]
    if scene.learn():
        others = _sweep(scene, scene.forget())
    elif not at_once:
        others = _sweep(scene, np.delete(everything, scene.pilots))
    alike.settle(scene, others)
    last.second_opinions(scene)
    last.tied_kinks(scene)
    return scene.sheet


def _sweep(scene: Scene, rows: Array) -> list[At]:
    """Take differences over the steps of the first tier; where these leave elements open, over cautious ones."""
    left = _sweep_once(scene, rows)
    if scene.steps is scene.cautious or not left:
        return left
    return first.sweep(scene, np.unique([row for row, _ in left]), scene.cautious)


def _sweep_once(scene: Scene, rows: Array) -> list[At]:
    """Move elements together where the outputs show that they may be, else one by one."""
    if scene.maps or scene.head is not None:
        left = first.sweep_together(scene) if scene.maps else first.sweep_behind(scene, scene.head)
        if left is not None:
            return left
        scene.mix()
    return first.sweep(scene, rows)

"""Many open elements that are alike: a few are judged on ladders, and what these are, others may be together.

A mistake is seldom alone, nor is a kink: a wrong formula spoils every element, and behind a relu a pooling layer has
ties everywhere. A ladder for each would take a hundred times as long as a check in which everything is right.
"""

from __future__ import annotations

from collections.abc import Callable

from gradcheck_cli.differences.central import Central
from gradcheck_cli.tiers import climb, kinked, plain, stairs
from gradcheck_cli.tiers.first import At
from gradcheck_cli.tiers.point import DENSE, Point
from gradcheck_cli.tiers.scene import Scene
from gradcheck_cli.tiers.sheet import FAIL, INCONCLUSIVE, KINK

MANY = 64  # open elements from which on a few more differences of each are less work than their ladders
LADDERS = 8  # of them that are judged in full at first
FEWEST = 3  # of these that must fail or be kinks for others to do so; inconclusive must be all of them
WAYS: dict[int, Callable[[Scene, list[At], list[At]], list[At]]] = {
    FAIL: plain.fail,
    KINK: kinked.accept,
    INCONCLUSIVE: stairs.leave,
}


def applies(point: Point, elements: int) -> bool:
    """Whether differences choose their own steps, and tables of so many elements, twice those of a sheet, fit."""
    fits = point.limits is None or 2 * DENSE * elements <= point.limits.memory
    return fits and isinstance(point.method, Central) and point.rule.automatic and not point.fixed_step


def settle(scene: Scene, left: list[At]) -> None:
    """Judge open elements, on ladders or by what a few ladders show."""
    if len(left) >= MANY and applies(scene.point, len(left)):
        few = left[:: len(left) // LADDERS]
        for at in few:
            climb.climb(scene, *at)
        left = sorted({*left} - {*few})
        for outcome, way in WAYS.items():
            known = [at for at in few if scene.sheet.outcome[at] == outcome]
            if left and len(known) >= (len(few) if outcome == INCONCLUSIVE else FEWEST):
                left = way(scene, left, known)
    for at in climb.pass_ahead(scene, left):
        climb.climb(scene, *at)

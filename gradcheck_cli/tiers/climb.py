"""Tier 2: a ladder of steps for one disputed element, until it passes, fails beyond doubt, or nothing is left."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from gradcheck_cli import compare
from gradcheck_cli.compare import Case, Decision, Numbers
from gradcheck_cli.evidence import K, LadderEstimate, Status
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import kinks
from gradcheck_cli.numeric.ahead import looked_up
from gradcheck_cli.numeric.estimate import estimate, trace
from gradcheck_cli.numeric.explore import FIRST, Explorer
from gradcheck_cli.numeric.levels import Function
from gradcheck_cli.numeric.scales import SHORTEST
from gradcheck_cli.tiers.first import At
from gradcheck_cli.tiers.scene import PASSES, Scene
from gradcheck_cli.tiers.sheet import FAIL, INCONCLUSIVE, KINK, NONFINITE, PASS

PROVEN = 3  # fully explored fails of an array, after which plain ones need no exploration
NEXT = 1e-12  # of the length scale: a kink this near counts as at x, levels below it may be lost in noise
NOISY = 1e-2  # of the output: no derivative can be had from it


def climb(scene: Scene, row: int, unit: int) -> None:
    """Judge one element on its ladder."""
    scene.objective.ledger.phase = "tier2"
    scene.sheet.tier[row, unit], scene.sheet.method[row, unit] = 2, "richardson"
    Climb(scene, row, unit).judge()


def pass_ahead(scene: Scene, left: list[At]) -> list[At]:
    """Let those pass for which the first rungs are enough, all evaluated together; returns the others.

    Stacks may acquit and never accuse: who stays open gets a ladder of single calls.
    """
    objective = scene.objective
    if not objective.stacks:
        return left
    size, still = max(1, objective.room // (32 * len(FIRST) * objective.outputs)), list[At]()
    for start in range(0, len(left), size):
        part = left[start : start + size]
        known = _first_rungs(scene, sorted({row for row, _ in part}))
        still += [at for at in part if known is None or not Climb(scene, *at, known(*at)).passes_ahead()]
    return still


def _first_rungs(scene: Scene, rows: list[int]) -> Callable[[int, int], Function] | None:
    """The outputs as functions of single entries, as far as the first rungs of their ladders go."""
    scene.objective.ledger.phase = "tier2"
    ladders = [scene.ladder(row, 0) for row in rows]
    places = np.array([[end for k in FIRST for end in one.ends(one.rung(k))] for one in ladders]).T
    known = looked_up(scene.objective, scene.name, rows, places, scene.point.centre)
    if known is None:
        return None

    def of(row: int, unit: int) -> Function:
        return partial(_of_unit, known[row], unit) if scene.alone else known[row]

    return of


def _of_unit(function: Function, unit: int, value: Any) -> Array | None:
    outputs = function(value)
    return None if outputs is None else outputs[unit : unit + 1]


def shown(found: LadderEstimate, uncertainty: float | None = None) -> dict[str, float]:
    """What the table shows of an estimate."""
    bound = found.uncertainty if uncertainty is None else uncertainty
    return {"numeric": found.value, "uncertainty": bound, "step": found.step}


class Climb:
    """One element on its way up and down the ladder."""

    def __init__(self, scene: Scene, row: int, unit: int, function: Function | None = None) -> None:
        self.scene, self.at, self.sheet = scene, (row, unit), scene.sheet
        self.ladder = scene.ladder(row, unit, function)
        self.explorer = Explorer(self.ladder)
        self.analytic = float(scene.analytic[row, unit])
        self.noisy = float(self.ladder.line.noise.relative[0]) > NOISY
        self.coarsened = False

    def judge(self) -> None:
        """Fill in the element's row of the sheet."""
        started = self.explorer.start()
        if math.isnan(self.analytic):
            found = shown(estimate(trace(self.ladder))) if started else {}
            self.sheet.put(self.at, NONFINITE, "not a number", **found)
        elif not started:
            self.sheet.put(self.at, INCONCLUSIVE, "domain")
        elif math.isinf(self.analytic):
            self._infinite()
        else:
            self._walk()

    def passes_ahead(self) -> bool:
        """Whether the first rungs are enough for a pass, which is then written down."""
        if not math.isfinite(self.analytic) or not self.explorer.start():
            return False
        found = estimate(trace(self.ladder))
        numbers = self._numbers(found)
        decision = self.scene.decide(numbers)
        passes = decision in PASSES and found.status is Status.SMOOTH
        if passes:
            self.sheet.tier[self.at], self.sheet.method[self.at] = 2, "richardson"
            self._pass(decision, numbers, found)
        return passes

    def _infinite(self) -> None:
        """An infinite analytic value is right only where the slopes grow without bound."""
        self.explorer.descend(8)
        slopes = [level.value for level in self.ladder.levels]
        grows = len(slopes) >= 4 and all(abs(low) > 1.2 * abs(high) for low, high in itertools.pairwise(slopes))
        tangent = grows and np.sign(slopes[0]) == np.sign(self.analytic)
        outcome, reason = (INCONCLUSIVE, "vertical tangent") if tangent else (NONFINITE, "not finite")
        self.sheet.put(self.at, outcome, reason, numeric=slopes[0], step=self.ladder.levels[0].step)

    def _walk(self) -> None:
        while True:
            self.seen = trace(self.ladder)
            found = estimate(self.seen)
            numbers = self._numbers(found)
            decision = self.scene.decide(numbers)
            smooth = found.status is Status.SMOOTH
            if decision in PASSES and smooth:
                return self._pass(decision, numbers, found)
            if not smooth and self._passes_at_one_level(numbers):
                return None
            if found.inflation > 1 and self._coarsen():
                continue
            mismatch = smooth and decision is Decision.MISMATCH
            if mismatch and self._fails(numbers, found):
                return None
            if not self.explorer.advance(found, float(numbers.error), mismatch):
                return self._leave(numbers, found)

    def _numbers(self, found: LadderEstimate) -> Numbers:
        slope = max(level.slope for level in self.ladder.levels[: found.block[-1] + 1])  # beyond, another slope rules
        self.sheet.slope[self.at] = slope
        uncertainty = math.inf if self.noisy else found.uncertainty
        natural = self.ladder.magnitude / self.ladder.line.length
        self.sheet.natural[self.at] = natural
        return self.scene.number(self.at, found.value, uncertainty, slope, natural)

    def _pass(self, decision: Decision, numbers: Numbers, found: LadderEstimate) -> None:
        bound = max(float(numbers.uncertainty), 1.5 * float(numbers.error) if decision is Decision.PASS else 0.0)
        if decision is Decision.ROUNDING:
            bound = max(bound, float(numbers.resolution))
        resolution = bound + numbers.rounding + numbers.floor
        self.sheet.put(
            self.at,
            PASS,
            resolution=resolution,
            weak=decision is not Decision.PASS and bool(compare.is_weak(numbers)),
            **shown(found, bound),
        )

    def _passes_at_one_level(self, numbers: Numbers) -> bool:
        """Where the levels are not smooth, one whose one-sided band is narrow enough still certifies agreement."""
        for level in self.ladder.levels:
            size = max(abs(self.analytic), abs(level.value))
            width = level.mismatch + K * self.ladder.noise_at(level.step)
            if abs(self.analytic - level.value) <= width and width + numbers.rounding <= numbers.rho * size:
                columns = {"numeric": level.value, "uncertainty": width, "step": level.step}
                self.sheet.put(self.at, PASS, resolution=width + numbers.rounding + numbers.floor, **columns)
                return True
        return False

    def _case(self, numbers: Numbers, found: LadderEstimate, explored: bool) -> Case:
        unit, x = self.scene.point.noise.unit, abs(float(self.ladder.line.x))
        length = min(self.ladder.line.length, max(64 * x, SHORTEST)) if x else self.ladder.line.length
        return Case(numbers, self.seen, found, unit, length, explored)

    def _fails(self, numbers: Numbers, found: LadderEstimate) -> bool:
        scene, error = self.scene, float(numbers.error)
        size = max(abs(self.analytic), abs(found.value))
        known = scene.proven >= PROVEN and error > 1e-3 * size and not self.in_stairs
        if scene.point.rule.excuse(self._case(numbers, found, known or self.explorer.explored(found, error))):
            return False
        if self._coarsen():
            return False
        if scene.proven < PROVEN and self._sides(found.step, error) is kinks.Sides.RIGHT:
            self.sheet.put(self.at, INCONCLUSIVE, "kink", resolution=error, **shown(found, error))
            return True
        scene.proven += 1
        self.sheet.put(self.at, FAIL, resolution=float(numbers.resolution), **shown(found))
        return True

    @cached_property
    def in_stairs(self) -> bool:
        """Whether an output that keeps every bit over the shortest step moves to both sides over the longest one."""
        line = self.ladder.line
        if not self.ladder.levels[0].same:
            return False
        high, low = (line.function(end) for end in self.ladder.ends(2 * line.length))
        if high is None or low is None:
            return False
        return bool(((high != line.centre) & (low != line.centre)).any())

    def _coarsen(self) -> bool:
        """Before scatter is taken for the function's own, or a mismatch for a mistake: is there coarser noise?"""
        if self.coarsened:
            return False
        self.coarsened = True
        coarse = self.scene.point.coarse
        if coarse is None:
            return False
        self.ladder.line = replace(self.ladder.line, noise=coarse.of_unit(self.at[1]) if self.scene.alone else coarse)
        self.seen = trace(self.ladder)
        return True

    def _sides(self, away: float, error: float = math.inf) -> kinks.Sides:
        """Whether the gradient is right a little to both sides."""
        spot = kinks.Spot(self.scene.name, *self.at, self.ladder.line.length, float(self.scene.rounding[self.at]))
        return kinks.sides(self.scene.objective, self.scene.point.noise, spot, away, error)

    def _leave(self, numbers: Numbers, found: LadderEstimate) -> None:
        """Every step has been tried: a coarser pass, a kink, or inconclusive with its reason."""
        relative = float(self.ladder.line.noise.relative[0])
        last = replace(numbers, rho=compare.coarsest(relative, self.scene.point.rounding.unit))
        decision = self.scene.decide(last)
        if decision in PASSES and found.status is Status.SMOOTH:
            self._pass(decision, last, found)
        elif found.status is Status.KINK and self.ladder.levels[found.visible].step <= NEXT * self.ladder.line.length:
            self._kink(numbers)
        else:
            bound = max(found.uncertainty, 1.5 * float(numbers.error))
            reason = self._reason(numbers, found, decision)
            self.sheet.put(self.at, INCONCLUSIVE, reason, resolution=bound, **shown(found, bound))

    def _reason(self, numbers: Numbers, found: LadderEstimate, decision: Decision) -> str:
        slopes = [level.slope for level in self.ladder.levels]
        if found.status is not Status.SMOOTH:
            growing = all(low > 1.2 * high for low, high in itertools.pairwise(slopes))
            rises = [level.slope * level.step for level in self.ladder.levels[:2]]
            jumps = rises[-1] <= 1.2 * rises[0]  # a tangent's rise shrinks with the step, as its root or slower power
            if growing and len(slopes) >= 4 and not jumps:
                return "vertical tangent"
            return "discontinuity" if found.status is Status.JUMP else "kink"
        if self.noisy:
            return "noise"
        if found.inflation > 1:
            return "scatter"
        if found.flat:
            return "staircase"
        if decision is Decision.MISMATCH:
            return self.scene.point.rule.excuse(self._case(numbers, found, True)) or "marginal"
        return "noise" if K * found.roundoff >= 0.2 * found.uncertainty else "marginal"

    def _kink(self, numbers: Numbers) -> None:
        """A kink at x: any subgradient will do, if the gradient is right on both sides."""
        around = kinks.band(trace(self.ladder))
        width = around.high - around.low
        slack = around.slack + numbers.rounding + numbers.floor
        columns = {"numeric": around.value, "step": around.step, "uncertainty": max(width, around.slack)}
        columns["resolution"] = width + slack
        inside = around.low - slack <= self.analytic <= around.high + slack
        if not inside and not self.scene.around.has(self.at[1], self.at[:1]):
            outcome, why = self.scene.no_subgradient(self.at[1], self.at[:1])
            return self.sheet.put(self.at, outcome, why, **columns)
        answer = self._sides(self.ladder.levels[len(self.ladder.levels) // 2].step)
        outcome = {kinks.Sides.RIGHT: KINK, kinks.Sides.WRONG: FAIL, kinks.Sides.UNKNOWN: INCONCLUSIVE}[answer]
        reason = {KINK: None, FAIL: "wrong beside the kink", INCONCLUSIVE: "kink"}[outcome]
        return self.sheet.put(self.at, outcome, reason, **columns)

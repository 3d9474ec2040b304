"""The three tiers for one array: a difference for every element, a ladder for the disputed, second opinions for the rest.

Each tier estimates, `compare` decides, and what stays open goes to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gradcheck_cli import compare
from gradcheck_cli.compare import Case, Decision, Numbers, Rule
from gradcheck_cli.differences.method import Method
from gradcheck_cli.evidence import UNIT64, K, LadderEstimate, Status
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import kinks, second
from gradcheck_cli.numeric.estimate import estimate, trace
from gradcheck_cli.numeric.explore import Explorer
from gradcheck_cli.numeric.levels import Ladder, Line
from gradcheck_cli.numeric.noise import AnalyticNoise, Noise
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import chunks
from gradcheck_cli.numeric.scales import lengths, natural_slope, scales, typical_slope
from gradcheck_cli.results import Outcome
from gradcheck_cli.spec import Difference

CODES = tuple(Outcome)
PASS, KINK, INCONCLUSIVE, FAIL, NONFINITE = range(5)
PASSES = (Decision.PASS, Decision.ZERO, Decision.ROUNDING)
PILOTS = 4
PROVEN = 3  # fully explored fails of an array, after which plain ones need no exploration
NOISY = 1e-2  # of the output: no derivative can be had from it


@dataclass(frozen=True)
class Point:
    """A layer at one point with everything that is measured once."""

    objective: Objective
    centre: Array
    noise: Noise
    analytic: Mapping[str, Array]
    rounding: AnalyticNoise
    rule: Rule
    method: Method
    difference: Difference | None = None

    @cached_property
    def wide(self) -> tuple[Objective, Array, Noise] | None:
        """The same point in long double, where the layer keeps it."""
        return second.widened(self.objective, self.noise, self.centre, list(self.analytic))


@dataclass(frozen=True)
class Sheet:
    """Everything that is known of the elements of one array: tables of its entries by the units."""

    name: str
    analytic: Array
    numeric: Array
    uncertainty: Array
    resolution: Array
    slope: Array
    step: Array
    outcome: Array
    tier: Array
    reason: Array
    method: Array
    rounded: Array

    def put(self, at: tuple[int, int], outcome: int, reason: str | None = None, **columns: float) -> None:
        """Fill in one element."""
        self.outcome[at], self.reason[at] = outcome, reason
        for column, value in columns.items():
            getattr(self, column)[at] = value


def blank(name: str, analytic: Array, method: str) -> Sheet:
    """A sheet on which nothing is granted yet: every element is inconclusive."""
    shape = analytic.shape

    def nan() -> Array:
        return np.full(shape, np.nan)

    return Sheet(
        name=name,
        analytic=analytic,
        numeric=nan(),
        uncertainty=np.full(shape, np.inf),
        resolution=np.full(shape, np.inf),
        slope=np.zeros(shape),
        step=nan(),
        outcome=np.full(shape, INCONCLUSIVE, np.int8),
        tier=np.ones(shape, np.int8),
        reason=np.full(shape, None, object),
        method=np.full(shape, method, object),
        rounded=np.zeros(shape, bool),
    )


class Tiers:
    """The elements of one array at one point, from tier to tier."""

    def __init__(self, point: Point, name: str) -> None:
        self.point, self.name = point, name
        self.objective = point.objective
        self.x = self.objective.arrays[name].reshape(-1)
        self.analytic = point.analytic[name]
        self.rounding = point.rounding.bound[name]
        self.length = lengths(self.x)
        self.natural = natural_slope(point.noise, self.length)
        self.typical = typical_slope(self.analytic)
        self.sheet = blank(name, self.analytic, point.method.name)
        self.steps = self._steps()
        self.proven = 0
        self.ladders: dict[tuple[int, int], Ladder] = {}

    def _steps(self) -> Array:
        chosen = self.point.difference
        if chosen is not None and chosen.step is not None:
            return np.full(self.x.shape, chosen.step)
        if chosen is not None and chosen.relative_step is not None:
            return chosen.relative_step * self.length
        return np.minimum(
            self.point.method.steps(scales(self.analytic, self.length, self.point.noise)), self.length / 8
        )

    def run(self) -> Sheet:
        """Judge every element."""
        everything = np.arange(self.x.size)
        pilots = np.unique(np.linspace(0, self.x.size - 1, PILOTS).astype(int)) if self.x.size else everything
        self._learn(pilots)
        self._settle(np.setdiff1d(everything, pilots))
        self._second_opinions()
        self._tied_kinks()
        return self.sheet

    def _learn(self, pilots: Array) -> None:
        """Settle a few elements first; the steps that suited them are a better start for the others."""
        self._settle(pilots)
        chosen = self.point.difference
        if chosen is not None and (chosen.step or chosen.relative_step):
            return
        climbed = (self.sheet.tier[pilots] == 2) & (self.sheet.outcome[pilots] == PASS)
        if climbed.any():
            rows = np.broadcast_to(self.steps[pilots][:, None], climbed.shape)
            factor = np.median(self.sheet.step[pilots][climbed] / rows[climbed])
            self.steps = np.minimum(self.steps * np.exp2(np.round(np.log2(factor))), self.length / 8)

    def _settle(self, indices: Array) -> None:
        for row, unit in self.first(indices):
            self._climb(int(row), int(unit))

    def first(self, indices: Array) -> list[tuple[int, int]]:
        """Tier 1: the method's difference for elements; returns what it leaves open."""
        self.objective.ledger.phase = "tier1"
        point, left = self.point, []
        steps = self.steps[indices]
        for chunk in chunks(self.objective, self.name, indices, steps, point.method, point.noise, point.centre):
            rows, found = chunk.indices, point.method.combine(chunk.samples)
            numbers = self._numbers(rows, found.value, found.uncertainty, found.slope)
            decision = point.rule.decide(numbers)
            even = found.mismatch <= 0.05 * found.slope + self._mismatch_noise(found.step)
            same = self._unchanged(chunk.samples.values, chunk.samples.centre)
            reach = np.maximum(self.typical, 0.0) or self.natural[rows]
            nothing = same & (numbers.analytic == 0) & (found.uncertainty <= numbers.rho * reach)
            granted = (np.isin(decision, PASSES) & even) | (nothing & point.rule.automatic)
            granted &= ~chunk.missing[:, None] & np.isfinite(numbers.analytic)
            self._grant(rows, granted, decision, numbers, found.step)
            self.sheet.slope[rows] = np.nan_to_num(found.slope)
            left += [(rows[i], unit) for i, unit in np.argwhere(~granted)]
        return left

    def _mismatch_noise(self, step: Array) -> Array:
        return np.asarray(6 * self.objective.gather(self.point.noise.weighted)[None, :] / step[:, None])

    def _unchanged(self, values: Array, centre: Array) -> Array:
        changed = (values != centre).any(axis=0)
        return np.asarray(~changed if self.objective.view == "jacobian" else ~changed.any(axis=1, keepdims=True))

    def _numbers(self, rows: Array, value: Array, uncertainty: Array, slope: Array) -> Numbers:
        noise, vjp_unit = self.point.noise, self.point.rounding.unit
        return Numbers(
            analytic=self.analytic[rows],
            rounding=self.rounding[rows],
            numeric=value,
            uncertainty=uncertainty,
            slope=slope,
            natural=self.natural[rows],
            floor=compare.floor(slope, noise.unit, vjp_unit),
            rho=compare.coarseness(noise.relative, noise.unit, vjp_unit),
            digits=float(np.sqrt(vjp_unit)),
        )

    def _grant(self, rows: Array, granted: Array, decision: Array, numbers: Numbers, step: Array) -> None:
        sheet, error = self.sheet, numbers.error
        bound = np.maximum(numbers.uncertainty, 1.5 * error)
        floored = numbers.uncertainty + numbers.rounding + numbers.floor
        bound = np.where(decision == Decision.ROUNDING, np.maximum(bound, floored), bound)
        for column, values in (
            ("numeric", numbers.numeric),
            ("uncertainty", bound),
            ("resolution", np.maximum(bound, numbers.uncertainty) + numbers.rounding + numbers.floor),
            ("step", np.broadcast_to(step[:, None], granted.shape)),
        ):
            table = getattr(sheet, column)
            table[rows] = np.where(granted, values, table[rows])
        sheet.outcome[rows] = np.where(granted, PASS, sheet.outcome[rows])

    # --- tier 2 -----------------------------------------------------------------------------------------------------

    def _climb(self, row: int, unit: int) -> None:
        """Tier 2: a ladder for one element."""
        self.objective.ledger.phase = "tier2"
        analytic = float(self.analytic[row, unit])
        self.sheet.tier[row, unit], self.sheet.method[row, unit] = 2, "richardson"
        if np.isnan(analytic):
            self._show_numeric(row, unit)
            self.sheet.put((row, unit), NONFINITE, "not a number")
            return
        ladder = self._ladder(row, unit)
        self.ladders[row, unit] = ladder
        explorer = Explorer(ladder)
        if not explorer.start():
            reason = "domain" if np.isfinite(analytic) else "not finite"
            self.sheet.put((row, unit), INCONCLUSIVE if np.isfinite(analytic) else NONFINITE, reason)
            return
        if not np.isfinite(analytic):
            self._infinite(row, unit, explorer)
            return
        self._judge(row, unit, explorer)

    def _show_numeric(self, row: int, unit: int) -> None:
        ladder = self._ladder(row, unit)
        if Explorer(ladder).start():
            found = estimate(trace(ladder))
            self.sheet.put((row, unit), NONFINITE, **_shown(found))

    def _ladder(self, row: int, unit: int) -> Ladder:
        objective, noise = self.objective, self.point.noise
        alone = objective.view == "jacobian"
        pick = slice(unit, unit + 1) if alone else slice(None)
        line = Line(
            function=objective.along(self.name, row, unit if alone else None),
            x=self.x[row],
            centre=self.point.centre[pick],
            weights=objective.weights[pick],
            noise=noise.of_unit(unit) if alone else noise,
            length=float(self.length[row]),
        )
        first = min(self.steps[row], self.length[row] / 8) if self.point.rule.automatic else self.steps[row]
        return Ladder(line, float(first))

    def _infinite(self, row: int, unit: int, explorer: Explorer) -> None:
        """An infinite analytic value is right only where the slopes grow without bound."""
        ladder = explorer.ladder
        while len(ladder.levels) < 8 and explorer._go(explorer.low - 2):
            pass
        analytic = self.analytic[row, unit]
        slopes = [level.value for level in ladder.levels]
        grows = all(abs(a) > 1.2 * abs(b) for a, b in zip(slopes, slopes[1:], strict=False)) and len(slopes) >= 4
        same_sign = bool(np.sign(slopes[0]) == np.sign(analytic))
        outcome = INCONCLUSIVE if grows and same_sign else NONFINITE
        reason = "vertical tangent" if outcome == INCONCLUSIVE else "not finite"
        self.sheet.put((row, unit), outcome, reason, numeric=slopes[0], step=ladder.levels[0].step)

    def _judge(self, row: int, unit: int, explorer: Explorer) -> None:
        ladder, rule = explorer.ladder, self.point.rule
        while True:
            found = estimate(trace(ladder))
            numbers = self._ladder_numbers(row, unit, ladder, found)
            decision = Decision(int(rule.decide(numbers)))
            certain = found.status is Status.SMOOTH
            if decision in PASSES and certain:
                return self._passes(row, unit, decision, numbers, found)
            if not certain and self._within_level(row, unit, ladder, numbers):
                return None
            mismatch = decision is Decision.MISMATCH
            if mismatch and certain and self._fails(row, unit, explorer, numbers, found):
                return None
            if not explorer.advance(found, float(numbers.error), mismatch):
                break
        return self._leave(row, unit, ladder, numbers, found)

    def _ladder_numbers(self, row: int, unit: int, ladder: Ladder, found: LadderEstimate) -> Numbers:
        slope = ladder.steepest
        self.sheet.slope[row, unit] = slope
        rows = np.array([row])
        numbers = self._numbers(rows, np.array(found.value), np.array(found.uncertainty), np.array(slope))
        pick = {n: np.asarray(getattr(numbers, n)).reshape(-1) for n in ("analytic", "rounding", "natural", "rho")}
        one: dict[str, Any] = {n: float(v[unit if v.size > 1 else 0]) for n, v in pick.items()}
        noisy = float(ladder.line.noise.relative[0]) > NOISY
        return replace(
            numbers,
            **one,
            floor=float(numbers.floor) + ladder.hidden,
            uncertainty=np.inf if noisy else found.uncertainty,
        )

    def _passes(self, row: int, unit: int, decision: Decision, numbers: Numbers, found: LadderEstimate) -> None:
        error, floor = float(numbers.error), float(numbers.floor)
        bound = max(float(numbers.uncertainty), 1.5 * error if decision is Decision.PASS else 0.0)
        if decision is Decision.ROUNDING:
            bound = max(bound, float(numbers.resolution))
        columns = _shown(found) | {"uncertainty": bound, "resolution": bound + float(numbers.rounding) + floor}
        self.sheet.put((row, unit), PASS, **columns)

    def _within_level(self, row: int, unit: int, ladder: Ladder, numbers: Numbers) -> bool:
        """Where the levels are not smooth, one whose whole one-sided band is narrow enough still certifies agreement."""
        size = max(abs(float(numbers.analytic)), abs(float(numbers.numeric)))
        for level in ladder.levels:
            width = level.mismatch + K * ladder.noise_at(level.step)
            error = abs(float(numbers.analytic) - level.value)
            if error <= width and width + float(numbers.rounding) <= float(numbers.rho) * size:
                columns = {"numeric": level.value, "uncertainty": width, "step": level.step}
                resolution = width + float(numbers.rounding) + float(numbers.floor)
                self.sheet.put((row, unit), PASS, resolution=resolution, **columns)
                return True
        return False

    def _fails(self, row: int, unit: int, explorer: Explorer, numbers: Numbers, found: LadderEstimate) -> bool:
        error = float(numbers.error)
        size = max(abs(float(numbers.analytic)), abs(float(numbers.numeric)))
        known = self.proven >= PROVEN and error > 1e-3 * size
        case = Case(
            numbers=numbers,
            seen=trace(explorer.ladder),
            found=found,
            unit=self.point.noise.unit,
            length=float(self.length[row]),
            explored=known or explorer.explored(found, error),
        )
        if self.point.rule.excuse(case) is not None:
            return False
        if self.proven < PROVEN and self._sides(row, unit, explorer.ladder, error) is kinks.Sides.RIGHT:
            self.sheet.put((row, unit), INCONCLUSIVE, "kink", resolution=error, **_shown(found, error))
            return True
        self.proven += 1
        self.sheet.put((row, unit), FAIL, resolution=float(numbers.resolution), **_shown(found))
        return True

    def _sides(self, row: int, unit: int, ladder: Ladder, error: float = np.inf) -> kinks.Sides:
        away = ladder.levels[len(ladder.levels) // 2].step
        rounding = float(self.rounding[row, unit])
        length = float(self.length[row])
        return kinks.sides(self.objective, self.point.noise, self.name, row, unit, away, length, rounding, error)

    def _leave(self, row: int, unit: int, ladder: Ladder, numbers: Numbers, found: LadderEstimate) -> None:
        """Every step has been tried: a coarser pass, a kink, or inconclusive with its reason."""
        noise = ladder.line.noise
        last = replace(numbers, rho=compare.coarsest(float(noise.relative[0]), self.point.rounding.unit))
        decision = Decision(int(self.point.rule.decide(last)))
        if decision in PASSES and found.status is Status.SMOOTH:
            return self._passes(row, unit, decision, last, found)
        if found.status is Status.KINK:
            return self._kink(row, unit, ladder, numbers, found)
        error = float(numbers.error)
        bound = max(found.uncertainty, error)
        reason = self._reason(ladder, numbers, found, decision)
        return self.sheet.put((row, unit), INCONCLUSIVE, reason, resolution=bound, **_shown(found, bound))

    def _reason(self, ladder: Ladder, numbers: Numbers, found: LadderEstimate, decision: Decision) -> str:
        slopes = [level.slope for level in ladder.levels]
        growing = all(low > 1.2 * high for low, high in zip(slopes, slopes[1:], strict=False))
        if found.status is not Status.SMOOTH:
            if growing and len(slopes) >= 4:
                return "vertical tangent"
            return "discontinuity" if found.status is Status.JUMP else "kink"
        if float(ladder.line.noise.relative[0]) > NOISY:
            return "noise"
        if found.inflation > 1:
            return "scatter"
        if found.flat:
            return "staircase"
        if decision is Decision.MISMATCH:
            case = Case(numbers, trace(ladder), found, self.point.noise.unit, ladder.line.length, True)
            return self.point.rule.excuse(case) or "kink"
        return "noise" if K * found.roundoff >= 0.2 * found.uncertainty else "marginal"

    def _kink(self, row: int, unit: int, ladder: Ladder, numbers: Numbers, found: LadderEstimate) -> None:
        """A kink at x: any subgradient will do, if the gradient is right on both sides."""
        around = kinks.band(trace(ladder))
        answer = self._sides(row, unit, ladder)
        width = around.high - around.low
        floor = around.slack + float(numbers.rounding) + float(numbers.floor)
        inside = around.low - floor <= float(numbers.analytic) <= around.high + floor
        shown = _shown(found, max(width, around.slack)) | {"resolution": width + floor}
        if answer is kinks.Sides.UNKNOWN and inside:
            self.sheet.put((row, unit), INCONCLUSIVE, "kink", **shown)
        elif answer is kinks.Sides.WRONG or not inside:
            self.sheet.put((row, unit), FAIL, "wrong beside the kink" if inside else "no subgradient", **shown)
        else:
            self.sheet.put((row, unit), KINK, **shown)

    # --- tier 3 -----------------------------------------------------------------------------------------------------

    def _second_opinions(self) -> None:
        """Tier 3, for what is left: complex step, long double, zero beside the natural slope. Only acquits."""
        self.objective.ledger.phase = "tier3"
        if self.point.rule.automatic and self._open():
            self._complex_step()
        if self.point.rule.automatic and self._open():
            self._long_double()
        self._zeros()

    def _open(self) -> list[tuple[int, int]]:
        undecided = self.sheet.outcome == INCONCLUSIVE
        exact = np.isin(self.sheet.reason, ("kink", "discontinuity", "vertical tangent"))
        return [(int(row), int(unit)) for row, unit in np.argwhere(undecided & ~exact)]

    def _complex_step(self) -> None:
        settled = np.argwhere((self.sheet.outcome == PASS).all(axis=1)).ravel()[: second.WITNESSES]
        rows = np.unique([row for row, _ in self._open()]).astype(int)
        asked = np.concatenate([settled, rows])
        opinion = second.complex_step(
            self.objective, self.point.noise, self.point.centre, self.name, asked, self.length[asked]
        )
        if opinion is None:
            return
        count = len(settled)
        witness = self.sheet.numeric[settled]
        apart = np.abs(opinion.value[:count] - witness)
        if (apart > 2 * self.sheet.uncertainty[settled] + 1e-9 * np.abs(witness)).any():
            return
        at = {int(row): count + k for k, row in enumerate(rows)}
        for row, unit in self._open():
            k = at[row]
            self._acquit(row, unit, float(opinion.value[k, unit]), float(opinion.uncertainty[k, unit]), opinion.step[k])
            if self.sheet.outcome[row, unit] == PASS:
                self.sheet.method[row, unit] = "complex_step"

    def _acquit(self, row: int, unit: int, value: float, uncertainty: float, step: float) -> None:
        slope = np.array([[self.sheet.slope[row, unit]]])
        rows = np.array([row])
        numbers = self._numbers(rows, np.array([[value]]), np.array([[uncertainty]]), slope)
        if self.objective.view == "jacobian":
            picked = {n: getattr(numbers, n)[:, unit : unit + 1] for n in ("analytic", "rounding", "natural")}
            numbers = replace(numbers, **picked, rho=np.asarray(numbers.rho)[unit : unit + 1])
        decision = Decision(int(self.point.rule.decide(numbers)[0, 0]))
        if decision in PASSES:
            bound = max(uncertainty, float(numbers.error[0, 0]))
            resolution = float(numbers.resolution[0, 0]) + bound
            columns = {"numeric": value, "uncertainty": bound, "resolution": resolution, "step": step}
            self.sheet.put((row, unit), PASS, tier=3, **columns)

    def _long_double(self) -> None:
        wide = self.point.wide
        if wide is None:
            return
        objective, centre, noise = wide
        point = replace(self.point, objective=objective, centre=centre, noise=noise)
        other = Tiers(point, self.name)
        for row, unit in self._open():
            explorer = Explorer(other._ladder(row, unit))
            if not explorer.start():
                continue
            other._judge(row, unit, explorer)
            if other.sheet.outcome[row, unit] == PASS:
                at = (row, unit)
                columns = {c: getattr(other.sheet, c)[at] for c in ("numeric", "uncertainty", "resolution", "step")}
                self.sheet.put(at, PASS, tier=3, **columns)

    def _zeros(self) -> None:
        """An analytic value of rounding size, beside outputs of natural slope S, with a difference that agrees."""
        if not self.point.rule.automatic:
            return
        vjp_unit, noise = self.point.rounding.unit, self.point.noise
        rho = compare.coarseness(noise.relative, noise.unit, vjp_unit)
        for row, unit in self._open():
            at, natural = (row, unit), float(self.natural[row, unit])
            limit = float(np.asarray(rho).reshape(-1)[unit if np.size(rho) > 1 else 0]) * natural
            error = abs(self.analytic[at] - self.sheet.numeric[at])
            small = abs(self.analytic[at]) <= 64 * max(vjp_unit, UNIT64) * natural
            if small and error <= self.sheet.uncertainty[at] <= limit:
                self.sheet.put(at, PASS)

    # --- kinks together ---------------------------------------------------------------------------------------------

    def _tied_kinks(self) -> None:
        """Coordinate boxes alone accept a maximum whose tied winners all get the full gradient: try them together."""
        rows = np.argwhere((self.sheet.outcome == KINK).any(axis=1)).ravel()
        if rows.size < 2:
            return
        self.objective.ledger.phase = "tier2"
        values, step = self.x[rows], float(np.median(self.steps[rows]))
        rng = np.random.default_rng(0)
        for direction in kinks.directions(values, rng):
            wrong = kinks.violates(
                self.objective, self.point.noise, self.name, rows, self.analytic[rows], direction, step
            )
            for unit in np.argwhere(wrong).ravel() if wrong is not None else ():
                for row in rows[direction != 0]:
                    if self.sheet.outcome[row, unit] == KINK:
                        self.sheet.put((int(row), int(unit)), FAIL, "no subgradient")


def _shown(found: LadderEstimate, uncertainty: float | None = None) -> dict[str, float]:
    bound = found.uncertainty if uncertainty is None else uncertainty
    return {"numeric": found.value, "uncertainty": bound, "step": found.step}


def judge(point: Point, wrt: Sequence[str]) -> list[Sheet]:
    """Judge every element of the arrays."""
    return [Tiers(point, name).run() for name in wrt]

"""What the tiers share: the point, the scales of one array, and the sheet that they fill in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck_cli import compare
from gradcheck_cli.compare import Decision, Numbers
from gradcheck_cli.differences.central import Central
from gradcheck_cli.differences.method import Method
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.around import Around
from gradcheck_cli.numeric.copies import Copies
from gradcheck_cli.numeric.heads import Head, head_of
from gradcheck_cli.numeric.levels import Function, Ladder, Line
from gradcheck_cli.numeric.scales import lengths, natural_slope, scales, typical_slope
from gradcheck_cli.numeric.shared import Groups
from gradcheck_cli.numeric.structure import AxisMap, detect, shots
from gradcheck_cli.results import Outcome
from gradcheck_cli.tiers.point import Among, Once, Point
from gradcheck_cli.values import dataclass

CODES = tuple(Outcome)
PASS, KINK, INCONCLUSIVE, FAIL, NONFINITE = range(5)
PASSES = (Decision.PASS, Decision.ZERO, Decision.ROUNDING)
BY_NATURE = ("kink", "discontinuity", "vertical tangent", "below the noise")  # no precision would settle them
PILOTS = 4
WORTHWHILE = 64  # elements from which on it pays to look for structure


@dataclass(frozen=True)
class Searched:
    """What a search says of an array beside its sheet, whose entries are at these flat `indices` of the array.

    Errors above `resolution` of one of the `covered` elements would have been seen; of the others nothing is known.
    """

    indices: Array
    elements: int
    covered: int
    resolution: float


@dataclass(frozen=True)
class Sheet:
    """Everything that is known of the elements of one array: tables of its entries by the units.

    `slope` is T, the natural size of the slope, `natural` S, that of the outputs that move; `weak` marks zeros that
    pass although a tiny slope might be hidden, `rounded` elements that fail only in low precision. `method` is None
    where it is the `usual` one.
    """

    name: str
    usual: str
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
    natural: Array
    weak: Array
    rounded: Array
    searched: Searched | None = None

    @classmethod
    def blank(cls, name: str, analytic: Array, method: str) -> Sheet:
        """A sheet on which nothing is granted yet: every element is inconclusive."""
        shape = analytic.shape
        return cls(
            name=name,
            usual=method,
            analytic=analytic,
            numeric=np.full(shape, np.nan),
            uncertainty=np.full(shape, np.inf),
            resolution=np.full(shape, np.inf),
            slope=np.zeros(shape),
            step=np.full(shape, np.nan),
            outcome=np.full(shape, INCONCLUSIVE, np.int8),
            tier=np.ones(shape, np.int8),
            reason=np.empty(shape, object),
            method=np.empty(shape, object),
            natural=np.zeros(shape),
            weak=np.zeros(shape, bool),
            rounded=np.zeros(shape, bool),
        )

    def only(self, places: Array) -> Sheet:
        """A sheet on which only the elements marked are known."""
        made = Sheet.blank(self.name, self.analytic, self.usual)
        for column, table in vars(self).items():
            if isinstance(table, np.ndarray):
                getattr(made, column)[places] = table[places]
        return made

    def put(self, at: tuple[int, int], outcome: int, reason: Any = None, **columns: Any) -> None:
        """Fill in one element."""
        self.outcome[at], self.reason[at] = outcome, reason
        for column, value in columns.items():
            getattr(self, column)[at] = value

    def open(self) -> list[tuple[int, int]]:
        """The elements that more precision might settle: inconclusive, but not by the nature of the point."""
        left = np.argwhere(self.outcome == INCONCLUSIVE).tolist()
        return [(row, unit) for row, unit in left if self.reason[row, unit] not in BY_NATURE]


class Scene:
    """One array at one point.

    `steps` are those of the first tier, `cautious` what they are where nothing is known of truncation, `noise` what
    both are balanced against. `proven` counts the fails that were fully explored.
    """

    def __init__(self, point: Point, name: str, among: Among | None = None) -> None:
        self.point, self.name, self.objective = point, name, point.objective
        self.x = self.objective.arrays[name].reshape(-1)
        self.analytic, self.rounding = point.analytic[name], point.rounding.bound[name]
        self.length = lengths(self.x) if among is None else np.maximum(np.abs(self.x), among.length)
        self.extent = float(self.length.max(initial=1.0))
        self.among = among
        self.sheet = Sheet.blank(name, self.analytic, point.method.name)
        self.steps = self.cautious = self._steps()
        self.proven = 0

    @Once
    def natural(self) -> Array:
        """The slope of something of the outputs' size, of each element and unit."""
        return natural_slope(self.point.noise, self.length)

    @Once
    def typical(self) -> float:
        """The usual size of the analytic values."""
        return typical_slope(self.analytic) if self.among is None else self.among.slope

    @property
    def alone(self) -> bool:
        """Whether every output is a unit of its own."""
        return self.objective.view == "jacobian"

    def _steps(self) -> Array:
        chosen = self.point.difference
        if chosen is not None and chosen.step is not None:
            return np.full(self.x.shape, chosen.step)
        if chosen is not None and chosen.relative_step is not None:
            return np.asarray(chosen.relative_step * self.length)
        return self._automatic(self.point.method)

    def _automatic(self, method: Method) -> Array:
        found = scales(self.analytic, self.length, self.point.noise)
        if self.among is not None:
            found = self.among.improved(found)
        self.noise = found.noise
        return np.asarray(np.minimum(method.steps(found), self.length / 8))

    @Once
    def rungs(self) -> Array | None:
        """Where ladders start if not at the steps of the first tier: these were given, or are the complex step's."""
        complex_steps = np.iscomplexobj(self.point.method.offsets)
        return self._automatic(Central()) if self.point.fixed_step or complex_steps else None

    @Once
    def copies(self) -> Copies | None:
        """Room for stacks of the array, where the layer takes them and they are worth it."""
        return Copies.of(self.objective, self.name, len(self.point.method.offsets)) if self.objective.stacks else None

    @Once
    def pilots(self) -> Array:
        """A few elements spread over the array."""
        last = self.x.size - 1
        return np.array(sorted({k * last // (PILOTS - 1) for k in range(PILOTS)} if self.x.size else ()), dtype=int)

    @Once
    def maps(self) -> tuple[AxisMap, ...]:
        """The axes along which elements may share evaluations, where that saves half of them."""
        if self.alone or self.x.size < WORTHWHILE or np.iscomplexobj(self.point.method.offsets):
            return ()
        self.objective.ledger.phase = "structure"
        maps = detect(self.objective, self.name, self.length, self.point.centre, self.copies)
        return maps if maps and 2 * shots(self.objective.arrays[self.name].shape, maps) <= self.x.size else ()

    @Once
    def groups(self) -> Groups:
        """The elements that share evaluations."""
        return Groups(self.objective, self.name, self.maps)

    @Once
    def head(self) -> Head | None:
        """The part of a chain in which elements may share evaluations, where the whole has no such structure."""
        if self.maps or self.alone or self.x.size < WORTHWHILE or np.iscomplexobj(self.point.method.offsets):
            return None
        self.objective.ledger.phase = "structure"
        return head_of(self.objective, self.name, self.length)

    @Once
    def around(self) -> Around:
        """Gradients beside the point."""
        return Around(self.objective, self.name, self.point.analytic, self.point.noise.unit)

    def no_subgradient(self, unit: int, rows: Sequence[int] | Array, direction: Array | float = 1.0) -> tuple[int, str]:
        """The outcome and reason of entries at kinks whose values are no subgradient along a direction."""
        excused = self.around.excuses(unit, rows, direction)
        return (INCONCLUSIVE, "kink") if excused else (FAIL, "no subgradient")

    def forget(self) -> Array:
        """Take everything back but what pilots found on ladders; returns the entries that are open now."""
        settled, sheet = np.zeros(self.analytic.shape, bool), self.sheet
        settled[self.pilots] = (sheet.outcome[self.pilots] != INCONCLUSIVE) | (sheet.tier[self.pilots] > 1)
        self.sheet = sheet.only(settled)
        return np.flatnonzero(~settled.all(axis=1))

    def learn(self) -> bool:
        """Where pilots passed only on a ladder, the steps that suited them are a better start; whether they differ."""
        rows, before = self.pilots, self.cautious
        climbed = (self.sheet.tier[rows] == 2) & (self.sheet.outcome[rows] == PASS)
        if not climbed.any() or self.point.fixed_step:
            return False
        used = np.broadcast_to(before[rows][:, None], climbed.shape)
        factor = np.median(self.sheet.step[rows][climbed] / used[climbed])
        self.steps = self.cautious = np.minimum(before * np.exp2(np.round(np.log2(factor))), self.length / 8)
        return not np.array_equal(self.steps, before)

    def numbers(self, rows: Array | slice, value: Array, uncertainty: Array, slope: Array, natural: Array) -> Numbers:
        """The numbers of whole rows (n, units), to be decided."""
        noise, vjp_unit = self.point.noise, self.point.rounding.unit
        return Numbers(
            analytic=self.analytic[rows],
            rounding=self.rounding[rows],
            numeric=value,
            uncertainty=uncertainty,
            slope=slope,
            natural=natural,
            floor=compare.floor(slope, noise.unit, vjp_unit),
            rho=self.point.rho,
            unit=vjp_unit,
        )

    def number(
        self,
        at: tuple[int, int],
        value: float,
        uncertainty: float,
        slope: float,
        natural: float | None = None,
    ) -> Numbers:
        """The numbers of one element, to be decided."""
        noise, vjp_unit = self.point.noise, self.point.rounding.unit
        return Numbers(
            analytic=float(self.analytic[at]),
            rounding=float(self.rounding[at]),
            numeric=value,
            uncertainty=uncertainty,
            slope=slope,
            natural=float(self.natural[at]) if natural is None else natural,
            floor=float(compare.floor(slope, noise.unit, vjp_unit)),
            rho=float(self.point.rho[at[1]]),
            unit=vjp_unit,
        )

    def decide(self, numbers: Numbers) -> Decision:
        """The decision on one element."""
        return Decision(int(self.point.rule.decide(numbers)))

    def ladder(self, row: int, unit: int, function: Function | None = None) -> Ladder:
        """An empty ladder for one element, by single calls where no other `function` is given."""
        objective, noise = self.objective, self.point.noise
        pick = slice(unit, unit + 1) if self.alone else slice(None)
        line = Line(
            function=function or objective.along(self.name, row, unit if self.alone else None),
            x=self.x[row],
            centre=self.point.centre[pick],
            weights=objective.weights[pick],
            noise=noise.of_unit(unit) if self.alone else noise,
            length=float(self.length[row]),
            extent=self.extent,
        )
        start = self.cautious if self.rungs is None else self.rungs
        return Ladder(line, float(start[row]))

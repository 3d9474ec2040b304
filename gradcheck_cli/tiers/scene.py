"""What the tiers share: the point, the scales of one array, and the sheet that they fill in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradcheck_cli import compare
from gradcheck_cli.compare import Decision, Numbers, Rule
from gradcheck_cli.differences.central import Central
from gradcheck_cli.differences.method import Method
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import second
from gradcheck_cli.numeric.levels import Ladder, Line
from gradcheck_cli.numeric.noise import AnalyticNoise, Noise, measure_coarse
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.scales import lengths, natural_slope, scales, typical_slope
from gradcheck_cli.numeric.structure import AxisMap, detect, shots
from gradcheck_cli.results import Outcome
from gradcheck_cli.spec import Difference

CODES = tuple(Outcome)
PASS, KINK, INCONCLUSIVE, FAIL, NONFINITE = range(5)
PASSES = (Decision.PASS, Decision.ZERO, Decision.ROUNDING)
PILOTS = 4
VISIT = 2  # evaluations for each element
DENSE = 200  # bytes for each element: the columns of its sheet and what is computed of them on the way
WORTHWHILE = 64  # elements from which on it pays to look for structure


class Once:
    """A cached property without a lock: a judgement that waits for its turn would keep it from the others."""

    def __init__(self, measure: Callable[[Any], Any]) -> None:
        self.measure, self.name = measure, measure.__name__

    def __get__(self, owner: Any, kind: type[Any]) -> Any:
        if self.name not in owner.__dict__:
            owner.__dict__[self.name] = self.measure(owner)
        return owner.__dict__[self.name]


@dataclass(frozen=True)
class Limits:
    """Evaluations that visiting the elements of one array may take, and bytes that a check may take."""

    budget: int
    memory: int

    def crossed_by(self, elements: int, size: int | None = None) -> bool:
        """Whether so many elements, each visited on its own, are too many; of an array of `size` elements."""
        return VISIT * elements > self.budget or DENSE * (size or elements) > self.memory


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
    limits: Limits | None = None

    @property
    def fixed_step(self) -> bool:
        """Whether the step of the first tier was given."""
        return self.difference is not None and bool(self.difference.step or self.difference.relative_step)

    @Once
    def coarse(self) -> Noise | None:
        """The noise of forward on coarser lines, where there is more of it than on fine ones."""
        return measure_coarse(self.objective, list(self.analytic), self.centre, self.noise)

    @Once
    def wide(self) -> tuple[Objective, Array, Noise] | None:
        """The same point in long double, where the layer keeps it."""
        return second.widened(self.objective, self.noise, self.centre, list(self.analytic))

    @Once
    def exact(self) -> Mapping[str, Array] | None:
        """The analytic values of the same formula in long double, where the VJP keeps it."""
        return second.widened_analytic(self.objective, list(self.analytic))


@dataclass(frozen=True)
class Among:
    """The length scale and the typical slope of the array that a few elements were taken from."""

    length: float
    slope: float


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
    pass although a tiny slope might be hidden, `rounded` elements that fail only in low precision.
    """

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
            analytic=analytic,
            numeric=np.full(shape, np.nan),
            uncertainty=np.full(shape, np.inf),
            resolution=np.full(shape, np.inf),
            slope=np.zeros(shape),
            step=np.full(shape, np.nan),
            outcome=np.full(shape, INCONCLUSIVE, np.int8),
            tier=np.ones(shape, np.int8),
            reason=np.full(shape, None, object),
            method=np.full(shape, method, object),
            natural=np.zeros(shape),
            weak=np.zeros(shape, bool),
            rounded=np.zeros(shape, bool),
        )

    def put(self, at: tuple[int, int], outcome: int, reason: Any = None, **columns: Any) -> None:
        """Fill in one element."""
        self.outcome[at], self.reason[at] = outcome, reason
        for column, value in columns.items():
            getattr(self, column)[at] = value

    def open(self) -> list[tuple[int, int]]:
        """The elements that more precision might settle: inconclusive, but not by the nature of the point."""
        exact = np.isin(self.reason, ("kink", "discontinuity", "vertical tangent", "below the noise"))
        return [(int(row), int(unit)) for row, unit in np.argwhere((self.outcome == INCONCLUSIVE) & ~exact)]


class Scene:
    """One array at one point. `proven` counts the fails that were fully explored, `limits` the kinks looked around."""

    def __init__(self, point: Point, name: str, among: Among | None = None) -> None:
        self.point, self.name, self.objective = point, name, point.objective
        self.x = self.objective.arrays[name].reshape(-1)
        self.analytic, self.rounding = point.analytic[name], point.rounding.bound[name]
        self.length = lengths(self.x) if among is None else np.maximum(np.abs(self.x), among.length)
        self.extent = float(self.length.max(initial=1.0))
        self.natural = natural_slope(point.noise, self.length)
        self.typical = typical_slope(self.analytic) if among is None else among.slope
        self.rho = compare.coarseness(point.noise.relative, point.noise.unit, point.rounding.unit)
        self.sheet = Sheet.blank(name, self.analytic, point.method.name)
        self.steps = self._steps()
        self.proven, self.limits = 0, 0

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
        steps = method.steps(scales(self.analytic, self.length, self.point.noise))
        return np.asarray(np.minimum(steps, self.length / 8))

    @cached_property
    def rungs(self) -> Array | None:
        """Where ladders start if not at the steps of the first tier: these were given, or are the complex step's."""
        complex_steps = np.iscomplexobj(self.point.method.offsets)
        return self._automatic(Central()) if self.point.fixed_step or complex_steps else None

    def pilots(self) -> Array:
        """A few elements spread over the array."""
        spread = {int(place) for place in np.linspace(0, self.x.size - 1, PILOTS)} if self.x.size else ()
        return np.array(sorted(spread), dtype=int)

    def others(self) -> Array:
        """All elements but the pilots."""
        return np.delete(np.arange(self.x.size), self.pilots())

    def structure(self) -> tuple[AxisMap, ...]:
        """The axes along which elements may share evaluations, where that saves half of them."""
        if self.alone or self.x.size < WORTHWHILE or np.iscomplexobj(self.point.method.offsets):
            return ()
        self.objective.ledger.phase = "structure"
        maps = detect(self.objective, self.name, self.length, self.point.centre)
        return maps if maps and 2 * shots(self.objective.arrays[self.name].shape, maps) <= self.x.size else ()

    def forget(self, rows: Array) -> None:
        """Take back what was granted to some entries."""
        self.sheet.outcome[rows], self.sheet.weak[rows] = INCONCLUSIVE, False

    def learn(self) -> None:
        """Where pilots passed only on a ladder, the steps that suited them are a better start for the others."""
        rows = self.pilots()
        climbed = (self.sheet.tier[rows] == 2) & (self.sheet.outcome[rows] == PASS)
        if climbed.any() and not self.point.fixed_step:
            used = np.broadcast_to(self.steps[rows][:, None], climbed.shape)
            factor = np.median(self.sheet.step[rows][climbed] / used[climbed])
            self.steps = np.minimum(self.steps * np.exp2(np.round(np.log2(factor))), self.length / 8)

    def numbers(self, rows: Array, value: Array, uncertainty: Array, slope: Array, natural: Array) -> Numbers:
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
            rho=self.rho,
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
            rho=float(self.rho[at[1]]),
            unit=vjp_unit,
        )

    def decide(self, numbers: Numbers) -> Decision:
        """The decision on one element."""
        return Decision(int(self.point.rule.decide(numbers)))

    def ladder(self, row: int, unit: int) -> Ladder:
        """An empty ladder for one element."""
        objective, noise = self.objective, self.point.noise
        pick = slice(unit, unit + 1) if self.alone else slice(None)
        line = Line(
            function=objective.along(self.name, row, unit if self.alone else None),
            x=self.x[row],
            centre=self.point.centre[pick],
            weights=objective.weights[pick],
            noise=noise.of_unit(unit) if self.alone else noise,
            length=float(self.length[row]),
            extent=self.extent,
        )
        start = self.steps if self.rungs is None else self.rungs
        return Ladder(line, float(start[row]))

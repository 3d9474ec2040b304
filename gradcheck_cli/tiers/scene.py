"""What the tiers share: the point, the scales of one array, and the sheet that they fill in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck_cli import compare
from gradcheck_cli.compare import Decision, Numbers, Rule
from gradcheck_cli.differences.central import Central
from gradcheck_cli.differences.method import Method
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import second
from gradcheck_cli.numeric.heads import Head, head_of
from gradcheck_cli.numeric.levels import Ladder, Line
from gradcheck_cli.numeric.noise import AnalyticNoise, Noise, measure_coarse
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.scales import lengths, natural_slope, scales, typical_slope
from gradcheck_cli.numeric.structure import AxisMap, detect, shots
from gradcheck_cli.spec import Difference
from gradcheck_cli.tiers.sheet import INCONCLUSIVE, Sheet

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
    def faint(self) -> Array:
        """Six times the noise of all outputs of a unit: a mismatch of the outputs below it may be nothing else."""
        return 6 * self.objective.gather(self.noise.weighted)

    @Once
    def rho(self) -> Array:
        """The relative resolution asked for at first, of each unit."""
        return np.asarray(compare.coarseness(self.noise.relative, self.noise.unit, self.rounding.unit))

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


class Scene:
    """One array at one point.

    `steps` are those of the first tier, `cautious` what they are where nothing is known of truncation, `noise` what
    both are balanced against. `proven` counts the fails that were fully explored, `limits` the kinks looked around.
    """

    def __init__(self, point: Point, name: str, among: Among | None = None) -> None:
        self.point, self.name, self.objective, self.among = point, name, point.objective, among
        self.x = self.objective.arrays[name].reshape(-1)
        self.analytic, self.rounding = point.analytic[name], point.rounding.bound[name]
        self.length = lengths(self.x) if among is None else np.maximum(np.abs(self.x), among.length)
        self.extent = float(self.length.max(initial=1.0))
        self.sheet = Sheet.blank(name, self.analytic, point.method.name)
        self.steps = self.cautious = self._steps()
        self.settled = self.pilots
        self.proven, self.limits = 0, 0

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
        self.noise = found.noise
        steps = method.steps(found)
        return np.asarray(np.minimum(steps, self.length / 8))

    @Once
    def rungs(self) -> Array | None:
        """Where ladders start if not at the steps of the first tier: these were given, or are the complex step's."""
        complex_steps = np.iscomplexobj(self.point.method.offsets)
        return self._automatic(Central()) if self.point.fixed_step or complex_steps else None

    @Once
    def pilots(self) -> Array:
        """A few elements spread over the array, and the steepest."""
        if not self.x.size:
            return np.zeros(0, int)
        size = np.abs(self.analytic)
        size[~np.isfinite(size)] = 0.0
        last, steepest = self.x.size - 1, int(np.argmax(size)) // size.shape[1]
        return np.array(sorted({*(k * last // (PILOTS - 2) for k in range(PILOTS - 1)), steepest}), dtype=int)

    def others(self) -> Array:
        """All elements but the pilots, or all whose steps are new."""
        return np.delete(np.arange(self.x.size), self.settled)

    def structure(self) -> tuple[AxisMap, ...]:
        """The axes along which elements may share evaluations, where that saves half of them."""
        if self.alone or self.x.size < WORTHWHILE or np.iscomplexobj(self.point.method.offsets):
            return ()
        self.objective.ledger.phase = "structure"
        maps = detect(self.objective, self.name, self.length, self.point.centre)
        return maps if maps and 2 * shots(self.objective.arrays[self.name].shape, maps) <= self.x.size else ()

    def head(self) -> Head | None:
        """The part of a chain in which elements may share evaluations, where the whole has no such structure."""
        if self.alone or self.x.size < WORTHWHILE or np.iscomplexobj(self.point.method.offsets):
            return None
        self.objective.ledger.phase = "structure"
        return head_of(self.objective, self.name, self.length)

    def forget(self, rows: Array) -> None:
        """Take back what was granted to some entries."""
        self.sheet.outcome[rows], self.sheet.weak[rows] = INCONCLUSIVE, False

    def reopen(self) -> None:
        """Take pilots that needed no ladder up again with the others, whose steps suit them better."""
        self.settled = self.settled[(self.sheet.tier[self.settled] > 1).any(axis=1)]
        self.forget(self.others())

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

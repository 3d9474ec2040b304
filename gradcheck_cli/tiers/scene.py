"""What the tiers share of one array at one point: its scales, its structure, its sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradcheck_cli import compare
from gradcheck_cli.compare import Decision, Numbers
from gradcheck_cli.differences.central import Central
from gradcheck_cli.differences.method import Method
from gradcheck_cli.evidence import K
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.around import Around
from gradcheck_cli.numeric.copies import Copies
from gradcheck_cli.numeric.heads import Head, head_of
from gradcheck_cli.numeric.levels import Function, Ladder, Line
from gradcheck_cli.numeric.scales import lengths, natural_slope, scales, typical_slope
from gradcheck_cli.numeric.shared import Groups, Owned
from gradcheck_cli.numeric.structure import AxisMap, detect, shots
from gradcheck_cli.tiers.point import Among, Once, Point
from gradcheck_cli.tiers.sheet import FAIL, INCONCLUSIVE, PASS, Sheet

PASSES = (Decision.PASS, Decision.ZERO, Decision.ROUNDING)
PILOTS = 4
WORTHWHILE = 64  # elements from which on it pays to look for structure


class Scene:
    """One array at one point.

    `steps` are those of the first tier, `cautious` what they are where nothing is known of truncation, `noise` what
    both are balanced against, unless they are `given`, by the user or by the method. Ladders begin at `start`. `proven`
    counts the fails that were fully explored.
    """

    def __init__(self, point: Point, name: str, among: Among | None = None) -> None:
        self.point, self.name, self.objective = point, name, point.objective
        self.x = self.objective.arrays[name].reshape(-1)
        self.analytic, self.rounding = point.analytic[name], point.rounding.bound[name]
        self.length = lengths(self.x) if among is None else np.maximum(np.abs(self.x), among.length)
        self.extent = float(self.length.max(initial=1.0))
        self.among = among
        self.sheet = Sheet.blank(name, self.analytic, point.method.name)
        self.steps = self.cautious = self.start = self._steps()
        self.given = point.fixed_step or np.iscomplexobj(point.method.offsets)
        if self.given:
            self.start = self._automatic(Central())
        self.proven = 0

    def listen(self) -> None:
        """Balance steps against the noise of those outputs only that an element moves, where its structure tells.

        Where the cotangent leaves these out, every step is as good as another.
        """
        if self.maps and not self.given:
            noise = np.where(self.owned.noise > 0, self.owned.noise, self.noise)
            self.steps = self.cautious = self._automatic(self.point.method, noise)

    def mix(self) -> None:
        """Forget a structure that turned out to be wrong."""
        self.maps, self.head = (), None
        self.steps = self.cautious = self._steps()

    @Once
    def owned(self) -> Owned:
        """What the outputs that each element moves have of the noise and of the values of all."""
        groups: Groups = self.groups
        return groups.owned(self.point.noise, self.point.centre)

    def faint(self, rows: Array | slice) -> Array:
        """Six times the noise of all outputs that some elements move: a mismatch below it may be nothing else."""
        return np.asarray(K * self.owned.faint[rows, None] if self.maps else self.point.faint)

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

    def _automatic(self, method: Method, noise: Array | None = None) -> Array:
        found = scales(self.analytic, self.length, self.point.noise)
        if self.among is not None:
            found = self.among.improved(found)
        if noise is not None:
            found = replace(found, noise=noise)
        self.noise = found.noise
        return np.asarray(np.minimum(method.steps(found), self.length / 8))

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
        rows, before = self.pilots, self.start
        climbed = (self.sheet.tier[rows] == 2) & (self.sheet.outcome[rows] == PASS)
        if not climbed.any() or self.given:
            return False
        used = np.broadcast_to(before[rows][:, None], climbed.shape)
        factor = np.median(self.sheet.step[rows][climbed] / used[climbed])
        suited = np.minimum(before * np.exp2(np.round(np.log2(factor))), self.length / 8)
        self.steps = self.cautious = self.start = suited
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
        return Ladder(line, float(self.start[row]))

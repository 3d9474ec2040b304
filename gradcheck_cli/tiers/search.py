"""Arrays too large to visit: probes cover every element, what they find suspicious is narrowed and then judged.

A covered element has no outcome of its own. What a probe would have seen is computed from its noise, so that it never
acquits silently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.grid import Grid, sort_out
from gradcheck_cli.numeric.objective import Ledger, Objective
from gradcheck_cli.numeric.probes import Probes, Seen
from gradcheck_cli.numeric.rounding import AnalyticNoise
from gradcheck_cli.numeric.scales import ordinary_length, typical_slope
from gradcheck_cli.numeric.structure import AxisMap
from gradcheck_cli.tiers.alone import Alone, Ask, Turn, in_turns, keep_apart
from gradcheck_cli.tiers.first import sweep_together
from gradcheck_cli.tiers.narrow import Narrowing
from gradcheck_cli.tiers.point import Among, Point
from gradcheck_cli.tiers.scene import Scene
from gradcheck_cli.tiers.sheet import FAIL, INCONCLUSIVE, PASS, Searched, Sheet

CLOSER = 8  # times smaller steps, where a row is not resolved or suspicious
FINE, COARSEST = 1e-4, 1e-2  # resolutions, as parts of a typical slope: good enough, and too coarse to cover anything
FEW, MOST = 8, 256  # elements that are judged where nothing finite is everywhere, and that are judged at once
SHARE = 8  # mistakes are everywhere if one of so many is one
SAMPLE = 65_536  # elements that stand for the typical slope
COLUMNS = [field.name for field in fields(Sheet) if field.name not in ("name", "usual", "searched")]


class Search:
    """The search of one array at one point. `judge` is the full method for the elements that it finds."""

    def __init__(self, point: Point, name: str, judge: Callable[[Scene], Sheet]) -> None:
        self.point, self.name, self.objective, self.judge = point, name, point.objective, judge
        flat = self.objective.arrays[name].reshape(-1)
        sample = point.analytic[name][:: max(1, flat.size // SAMPLE)]
        self.proven, self.apart, self.steepness = 0, True, dict[tuple[int, int], float]()
        self.among = Among(ordinary_length(flat), typical_slope(sample))
        self.objective.ledger.phase = "structure"
        self.grid = sort_out(self.objective, name, self.among.length, point.centre)

    @property
    def structure(self) -> tuple[AxisMap, ...]:
        """The separable axes, for a sweep over every element."""
        return tuple(
            AxisMap(axis, follows, (None,) * len(follows), (np.arange(self.grid.shape[axis]),))
            for axis, follows in self.grid.axes.items()
        )

    def sweep(self) -> tuple[Scene, list[tuple[int, int]] | None]:
        """Visit every element, those of different rows at once; which are left open, None if they turn out to mix."""
        scene = Scene(self.point, self.name, self.among)
        scene.maps = self.structure
        scene.listen()
        return scene, sweep_together(scene)

    def run(self) -> Sheet:
        """Probe, narrow and judge. A structure that turns out to be wrong is dropped."""
        self.objective.ledger.phase = "search"
        point, grid = self.point, self.grid
        probes = Probes(
            self.objective, grid, point.noise, point.centre, point.analytic[self.name], point.rounding.bound[self.name]
        )
        seen, steps = self._look(probes)
        narrowing = Narrowing(probes, seen, steps) if seen is not None and not seen.leaks else None
        if narrowing is not None:
            narrowing.run()
        if narrowing is not None or not grid.axes:
            found = sorted({*self._broken(probes), *(narrowing.found if narrowing else ())})
            sheet = self._judged(found)
            if sheet is not None and (not grid.axes or (sheet.outcome != PASS).all()):
                if seen is not None:
                    _doubt(sheet, probes.resolution(seen.bound)[[row for row, _ in found]])
                return self._told(sheet, found, probes, narrowing)
        self.grid = Grid(self.objective, self.name, {})
        return self.run()

    def _broken(self, probes: Probes) -> list[tuple[int, int]]:
        """Elements whose analytic value is not finite, which need no search; a few where they are many."""
        count = len(probes.broken)
        return [self.grid.find(int(index)) for index in probes.broken[: MOST if count <= MOST else FEW]]

    def _look(self, probes: Probes) -> tuple[Seen | None, Array]:
        """Probe everything; rows that are not resolved, or may be at kinks, are looked at with smaller steps.

        But not where these would see less for their noise alone.
        """
        everything, steps = list(probes.everything()), np.full(self.grid.rows, probes.step)
        seen = probes.look(everything, steps)
        if seen is not None:
            asks = (self._coarse(probes, seen) | seen.bent) & ~(CLOSER * seen.noise >= seen.bound)
            if seen.leaks or not asks.any():
                return seen, steps
        closer = probes.look(everything, steps / CLOSER)
        if seen is None or closer is None:
            return (seen, steps) if closer is None else (closer, steps / CLOSER)
        better = closer.bound < seen.bound
        chosen = Seen(
            np.where(better, closer.residual, seen.residual),
            np.where(better, closer.bound, seen.bound),
            np.where(better, closer.noise, seen.noise),
            np.where(better, closer.mismatch, seen.mismatch),
            seen.leaks or closer.leaks,
        )
        return chosen, np.where(better, steps / CLOSER, steps)

    def _reference(self, probes: Probes) -> float:
        """What a resolution is measured against: a typical slope, else the slope of something of the outputs' size."""
        return self.among.slope or float(np.median(probes.noise.magnitude)) / probes.typical

    def _coarse(self, probes: Probes, seen: Seen) -> Array:
        return np.asarray(~(probes.resolution(seen.bound) <= FINE * self._reference(probes)))

    def _told(
        self, sheet: Sheet, found: Sequence[tuple[int, int]], probes: Probes, narrowing: Narrowing | None
    ) -> Sheet:
        """The sheet of the visited elements with what is covered beside them."""
        grid, covered, resolution = self.grid, 0, float("inf")
        if narrowing is not None:
            left = self._left(found, probes, narrowing)
            reached = probes.resolution(narrowing.bounds)
            fine = (reached <= COARSEST * self._reference(probes)) & (left > 0)
            covered, resolution = int(left[fine].sum()), float(reached[fine].max()) if fine.any() else resolution
        indices = np.array([grid.place(*place) for place in found], dtype=int)
        return replace(sheet, searched=Searched(indices, grid.rows * grid.columns, covered, resolution))

    def _left(self, found: Sequence[tuple[int, int]], probes: Probes, narrowing: Narrowing) -> Array:
        """The elements of each row that moved and were not suspicious."""
        left = np.full(self.grid.rows, self.grid.columns)
        if probes.still is not None:
            left -= probes.still.sum(axis=1)
        for row, column in found:
            left[row] -= probes.still is None or not probes.still[row, column]
        for row, blocks in narrowing.waiting.items():
            left[row] -= sum(block.size for block in blocks)
        return np.asarray(np.maximum(left, 0))

    def settle_most(self, sheet: Sheet, rows: Sequence[int]) -> None:
        """Judge entries of a sheet of the whole array, or a few of them if mistakes are everywhere."""
        few = rows[:: len(rows) // MOST + 1]
        self.settle(sheet, few)
        if len(few) == len(rows) or SHARE * int((sheet.outcome[few] == FAIL).sum()) <= len(few):
            self.settle(sheet, sorted({*rows} - {*few}))

    def settle(self, sheet: Sheet, rows: Sequence[int]) -> None:
        """Judge some entries of a sheet of the whole array by the full method, those of different rows at once."""
        places = [self.grid.find(row) for row in rows]
        self.steepness = dict(zip(places, sheet.slope[list(rows), 0].tolist(), strict=True))
        found = self._judged(places) or self._judged(places)  # the second time one by one
        for column in COLUMNS:
            getattr(sheet, column)[list(rows)] = getattr(found, column)

    def _judged(self, places: Sequence[tuple[int, int]]) -> Sheet | None:
        """Single elements by the full method, those of different rows at once; None if these turn out to mix."""
        self.objective.ledger.phase = "visited"
        sheets: dict[tuple[int, int], Sheet] = {}
        waiting = list(places)
        while waiting:
            batch = list({place[0]: place for place in reversed(waiting)}.values()) if self.apart else waiting[:1]
            batch = batch[:MOST]
            waiting = [place for place in waiting if place not in batch]
            turns = [self._turn(place, sheets, len(batch) > 1) for place in batch]
            in_turns(self.objective, self.grid, turns)
            self.apart = self.apart and self._kept_apart(turns, [sheets[place] for place in batch])
            if len(batch) > 1 and not self.apart:
                return None
            self.proven += sum(int((sheets[place].outcome == FAIL).sum()) for place in batch)
        return joined(self.name, [sheets[place] for place in places])

    def _kept_apart(self, turns: Sequence[Turn], sheets: Sequence[Sheet]) -> bool:
        """Whether judging them at once was right. What passes has agreed with its gradient by itself."""
        if len(turns) < 2 or all((sheet.outcome == PASS).all() for sheet in sheets):
            return True
        return keep_apart(self.objective, self.grid, self.point.centre, turns, self.among.length)

    def _turn(self, place: tuple[int, int], sheets: dict[tuple[int, int], Sheet], apart: bool) -> Turn:
        """The judgement of one element, by the outputs of its row, or by all of them if it is judged by itself."""
        index = self.grid.place(*place)
        outputs = self.grid.outputs(place[0]) if apart else np.arange(self.objective.outputs)

        def job(ask: Ask) -> None:
            among = replace(self.among, steepness=self.steepness.get(place, 0.0))
            scene = Scene(self._alone(index, outputs, Alone(self.name, ask)), self.name, among)
            scene.proven = self.proven
            sheets[place] = self.judge(scene)

        return Turn(place[0], index, outputs, job)

    def _alone(self, index: int, mine: Array, layer: Alone) -> Point:
        """The point as that of a layer of one entry, with the outputs at `mine`."""
        point, objective, pick = self.point, self.objective, slice(index, index + 1)
        array = objective.arrays[self.name].reshape(-1)[pick]
        one = Objective(layer, {self.name: array}, (objective.cotangent[mine],), "vjp", Ledger())
        one.costly = objective.costly
        rounding = AnalyticNoise({self.name: point.rounding.bound[self.name][pick]}, point.rounding.unit)
        return replace(
            point,
            objective=one,
            centre=point.centre[mine],
            noise=point.noise.of_some(mine, float(np.abs(one.weights * point.centre[mine]).sum())),
            analytic={self.name: point.analytic[self.name][pick]},
            rounding=rounding,
        )


def _doubt(sheet: Sheet, resolution: Array) -> None:
    """An error that probes and the element's own difference agree on is not small, though that alone would grant it."""
    seen = (sheet.outcome == PASS) & (np.abs(sheet.analytic - sheet.numeric) > resolution[:, None])
    sheet.outcome[seen], sheet.reason[seen] = INCONCLUSIVE, "marginal"


def joined(name: str, sheets: Sequence[Sheet]) -> Sheet:
    """One sheet of the entries of several."""
    if not sheets:
        return Sheet.blank(name, np.zeros((0, 1)), "central")
    columns: dict[str, Any] = {c: np.concatenate([getattr(sheet, c) for sheet in sheets]) for c in COLUMNS}
    return Sheet(name, sheets[0].usual, **columns)

"""Copies of one array in which entries are moved and put back: memory that stays, for fresh memory costs more."""

from __future__ import annotations

from copy import copy

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import stack_outputs

BYTES = 3_000_000  # of the copies and of their outputs, so that they and what is computed from them stay in cache


class Copies:
    """A stack of copies of one array, led by an unmoved one: the points of a method for `count` groups of entries.

    Layers get the stack locked: one that writes to its arrays raises, and is then called singly, on copies. `middles`
    are the first outputs at the unmoved point, by the rows of the stack, for rounding depends on the shape.
    """

    def __init__(self, objective: Objective, name: str, points: int) -> None:
        self.objective, self.name, self.x = objective, name, objective.arrays[name]
        self.count = max(2, min(self.x.size, BYTES // max(1, points * (8 * objective.outputs + self.x.nbytes))))
        self.stack = np.empty((1 + points * self.count, *self.x.shape), self.x.dtype)
        self.stack[...] = self.x
        self.locked = self.stack.view()
        self.locked.flags.writeable = False
        self.middles: dict[int, Array] = {}

    def handed(self, objective: Objective) -> Copies:
        """The same memory for a job that has an objective of its own."""
        if objective is self.objective:
            return self
        mine = copy(self)
        mine.objective = objective
        return mine

    @classmethod
    def of(cls, objective: Objective, name: str, points: int) -> Copies | None:
        """The copies of an array; None where so few would fit that single calls do as well."""
        each = points * (8 * objective.outputs + objective.arrays[name].nbytes)
        return cls(objective, name, points) if 4 * each <= BYTES else None

    def evaluate(self, rows: Array, places: Array) -> tuple[Array, Array] | None:
        """Outputs (points, groups, outputs) with the entries `rows[k]` at `places[p, k]`, and those at the middle.

        None if the layer cannot, or does not keep its value at the unmoved point.
        """
        points, count = places.shape[:2]
        flat, moved = self.stack.reshape(-1), np.arange(1, 1 + points * count).reshape(points, count, 1)
        at = rows + moved * self.x.size
        flat[at] = places
        out = self._outputs(1 + points * count, points * count)
        flat[at] = self.x.reshape(-1)[rows]
        if out is None or not (out[0] == self.middles.setdefault(len(out), out[0].copy())).all():
            return None
        return out[1:].reshape(points, count, -1), out[0]

    def moved(self, masks: Array, far: Array) -> Array | None:
        """Which outputs change, (masks, outputs), when the masked entries are far away.

        None where that is not defined, or where rounding depends on the place in the stack: its ends are unmoved.
        """
        count = len(masks)
        np.copyto(self.stack[1 : count + 1], far, where=masks)
        out = self._outputs(count + 2, count)
        self.stack[1 : count + 1] = self.x
        if out is None or not (np.isfinite(out).all() and (out[0] == out[-1]).all()):
            return None
        return np.asarray(out[1:-1] != out[0])

    def _outputs(self, rows: int, evaluations: int) -> Array | None:
        return stack_outputs(self.objective, self.name, self.locked[:rows], evaluations)

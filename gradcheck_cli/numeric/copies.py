"""Copies of one array in which entries are moved and put back: memory that stays, for fresh memory costs more."""

from __future__ import annotations

from copy import copy

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import stack_outputs

BYTES = 1_500_000  # of the copies and of their outputs, so that they and what is computed from them stay in cache


class Copies:
    """A stack of copies of one array, led by an unmoved one, with room for the outputs at several points.

    `count` of them may be moved. Layers get the stack locked: one that writes to its arrays raises, and is then called
    singly, on copies.
    """

    def __init__(self, objective: Objective, name: str, points: int) -> None:
        self.objective, self.name, self.x = objective, name, objective.arrays[name]
        outputs, mine = 8 * points * objective.outputs, self.x.nbytes
        self.count = max(2, min(self.x.size, BYTES // max(1, outputs + mine)))
        rows = self.count + 1
        memory = np.empty(rows * (outputs + mine), np.uint8)  # in one piece, which the allocator keeps for the next
        self.values = memory[: rows * outputs].view(np.float64).reshape(points, rows, objective.outputs)
        self.stack = memory[rows * outputs :].view(self.x.dtype).reshape(rows, *self.x.shape)
        self.stack[...] = self.x
        self.locked = self.stack.view()
        self.locked.flags.writeable = False

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
        each = 8 * points * objective.outputs + objective.arrays[name].nbytes
        return cls(objective, name, points) if 4 * each <= BYTES else None

    def evaluate(self, rows: Array, places: Array) -> tuple[Array, Array] | None:
        """Outputs (points, groups, outputs) with the entries `rows[k]` at `places[p, k]`, and those at the middle.

        None if the layer cannot, or does not keep its value at the unmoved point.
        """
        count, flat = len(rows), self.stack.reshape(-1)
        at = rows + (np.arange(1, count + 1) * self.x.size)[:, None]
        values = self.values[:, : count + 1]
        done = True
        for place, out in zip(places, values, strict=True):
            flat[at] = place
            done = done and self._fill(out)
        flat[at] = self.x.reshape(-1)[rows]
        middle = values[:, 0]
        return (values[:, 1:], middle[0]) if done and (middle == middle[0]).all() else None

    def moved(self, masks: Array, far: Array) -> Array | None:
        """Which outputs change, (masks, outputs), when the masked entries are far away.

        None where that is not defined, or where rounding depends on the place in the stack: its ends are unmoved.
        """
        count, out = len(masks), self.values[0, : len(masks) + 2]
        np.copyto(self.stack[1 : count + 1], far, where=masks)
        done = self._fill(out, count)
        self.stack[1 : count + 1] = self.x
        return out[1:-1] != out[0] if done and np.isfinite(out).all() and (out[0] == out[-1]).all() else None

    def _fill(self, out: Array, evaluations: int | None = None) -> bool:
        stack, count = self.locked[: len(out)], len(out) - 1 if evaluations is None else evaluations
        return stack_outputs(self.objective, self.name, stack, count, out) is not None

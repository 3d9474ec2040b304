"""Copies of one array in which entries are moved and put back: memory that stays, for fresh memory costs more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Objective, lent
from gradcheck_cli.numeric.sampling import in_turn

BYTES = 1_500_000  # of the copies and of their outputs, so that they and what is computed from them stay in cache


class Copies:
    """A stack of copies of one array, led by an unmoved one, with room for the outputs at several points.

    `count` of them may be moved. Where threads work at several points at a time, each has a stack of its own. Layers
    get it locked: one that writes to its arrays raises, and is then called singly, on copies.
    """

    def __init__(self, objective: Objective, name: str, points: int) -> None:
        self.objective, self.name, self.x = objective, name, objective.arrays[name]
        outputs, mine = 8 * points * objective.outputs, self.x.nbytes
        self.count = max(2, min(self.x.size, BYTES // max(1, outputs + mine)))
        rows, lanes = self.count + 1, points if objective.threads.count > 1 else 1
        memory = np.empty(rows * (outputs + lanes * mine), np.uint8)  # in one piece: the allocator keeps it at hand
        self.values = memory[: rows * outputs].view(np.float64).reshape(points, rows, objective.outputs)
        self.stacks = memory[rows * outputs :].view(self.x.dtype).reshape(lanes, rows, *self.x.shape)
        self.stacks[...] = self.x

    @classmethod
    def of(cls, objective: Objective, name: str, points: int) -> Copies | None:
        """The copies of an array; None where so few would fit that single calls do as well."""
        each = 8 * points * objective.outputs + objective.arrays[name].nbytes
        return cls(objective, name, points) if 4 * each <= BYTES else None

    def evaluate(self, rows: Array, places: Array) -> tuple[Array, Array] | None:
        """Outputs (points, groups, outputs) with the entries `rows[k]` at `places[p, k]`, and those at the middle.

        None if the layer cannot, or does not keep its value at the unmoved point.
        """
        count, values = len(rows), self.values[:, : len(rows) + 1]
        at = rows + (np.arange(1, count + 1) * self.x.size)[:, None]
        done = self._fill([partial(self._placed, p, at, place) for p, place in enumerate(places)], list(values), count)
        self.stacks.reshape(len(self.stacks), -1)[:, at] = self.x.reshape(-1)[rows]
        middle = values[:, 0]
        return (values[:, 1:], middle[0]) if done and (middle == middle[0]).all() else None

    def moved(self, masks: Array, far: Array) -> Array | None:
        """Which outputs change, (masks, outputs), when the masked entries are far away.

        None where that is not defined, or where rounding depends on the place in the stack: its ends are unmoved.
        """
        count, out = len(masks), self.values[0, : len(masks) + 2]
        part = self.stacks[0, 1 : count + 1]
        np.copyto(part, far, where=masks)
        done = self._fill([lambda: lent(self.stacks[0, : count + 2])], [out], count)
        part[...] = self.x
        return out[1:-1] != out[0] if done and np.isfinite(out).all() and (out[0] == out[-1]).all() else None

    def _placed(self, point: int, at: Array, place: Array) -> Array:
        stack = self.stacks[point % len(self.stacks)]
        stack.reshape(-1)[at] = place
        return lent(stack[: len(at) + 1])

    def _fill(self, stacks: Sequence[Callable[[], Array]], room: Sequence[Array], evaluations: int) -> bool:
        found = in_turn(self.objective, self.name, [(evaluations, make) for make in stacks], room)
        return all(one is not None for one in list(found))

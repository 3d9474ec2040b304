"""Single elements of a large array, each judged by the full method as if it were an array of its own.

Elements of different rows move different outputs. So their judgements take turns, and what they ask is evaluated at
once: a hundred of them cost as many evaluations as one.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.grid import Grid
from gradcheck_cli.numeric.objective import Objective

Ask = Callable[[Any], Array | None]


class Alone:
    """A layer as a function of one entry of one array: its outputs at `mine`, flat, which `ask` evaluates."""

    def __init__(self, objective: Objective, name: str, index: int, mine: Array, ask: Ask) -> None:
        self.objective, self.name, self.index, self.mine, self.ask = objective, name, index, mine, ask
        self.known: dict[Any, Array | None] = {}

    def forward(self, **arrays: Array) -> Array:
        """The outputs at another value of the entry."""
        value = arrays[self.name][0]
        key = (value.dtype, value)
        if key not in self.known:
            self.known[key] = self.ask(value)
        found = self.known[key]
        if found is None:
            raise ArithmeticError("forward can't be evaluated there")
        return found

    def vjp(self, dy: Array, **arrays: Array) -> Mapping[str, Array]:
        """The gradient with respect to the entry."""
        flat = self.objective.cotangent.copy()
        flat[self.mine] = dy
        value = arrays[self.name]
        moved = self.objective.arrays | {self.name: replaced(self.objective.arrays[self.name], [self.index], value)}
        gradient = np.asarray(self.objective.vjp(flat, moved)[self.name])
        return {self.name: gradient.reshape(-1)[self.index : self.index + 1]}


def replaced(array: Array, indices: Sequence[int], values: Array) -> Array:
    """An array with other values at some places, in their precision."""
    changed = array.astype(np.result_type(array, values))
    changed.reshape(-1)[indices] = values
    return changed


class Turn(threading.Thread):
    """A judgement that runs only while it is its turn, and waits for the outputs at `outputs` that it asks for."""

    def __init__(self, row: int, index: int, outputs: Array, job: Callable[[Ask], None]) -> None:
        super().__init__(daemon=True)
        self.row, self.index, self.outputs = row, index, outputs
        self.job = job
        self.question: Any = None
        self.answer: Array | None = None
        self.mine, self.theirs = threading.Semaphore(0), threading.Semaphore(0)
        self.error: BaseException | None = None
        self.over, self.given_up = False, False
        self.context = copy_context()

    def run(self) -> None:
        self.mine.acquire()
        try:
            if not self.given_up:
                self.context.run(self.job, self._ask)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the turns
            self.error = error
        self.over = True
        self.theirs.release()

    def _ask(self, value: Any) -> Array | None:
        self.question = value
        self.theirs.release()
        self.mine.acquire()
        if self.given_up:
            raise SystemExit
        return self.answer

    def give_up(self) -> None:
        """End it where it waits."""
        self.given_up = True
        self.mine.release()
        if self.ident is not None:
            self.join()

    def go_on(self) -> None:
        """Let it run until it asks or is over."""
        self.mine.release()
        self.theirs.acquire()
        if self.error is not None:
            raise self.error


def in_turns(objective: Objective, grid: Grid, turns: Sequence[Turn]) -> None:
    """Run judgements of elements of different rows; each round of their questions is one evaluation."""
    going = list(turns)
    try:
        for turn in turns:
            turn.start()
        while going:
            for turn in going:
                turn.go_on()
            going = [turn for turn in going if not turn.over]
            _answer(objective, grid, going)
    finally:
        for turn in going:  # an interruption: let the threads end
            turn.give_up()


def keep_apart(objective: Objective, grid: Grid, centre: Array, turns: Sequence[Turn], length: float) -> bool:
    """Whether each of these entries moves the outputs of its own row and no other, to the bit.

    Each takes part in half of the evaluations, no two in the same ones: either moves once without the other.
    """
    array = objective.arrays[grid.name]
    count = next(n for n in itertools.count(2) if math.comb(n, n // 2) >= len(turns))
    parts = list(zip(itertools.combinations(range(count), count // 2), turns, strict=False))
    for k in range(count):
        some = [turn for part, turn in parts if k in part]
        indices = [turn.index for turn in some]
        base = array.reshape(-1)[indices]
        move = np.maximum(np.abs(base), length)
        values = (objective.moved({grid.name: replaced(array, indices, base + part * move)}) for part in (0.1, 1e-3))
        found = next((one for one in values if one is not None), None)
        others = ~np.isin(grid.owner, [turn.row for turn in some])
        if found is None or (found[others] != centre[others]).any():
            return False
    return True


def _answer(objective: Objective, grid: Grid, turns: Sequence[Turn]) -> None:
    """Evaluate all questions of one kind at once; one by one where that fails, for one may lie outside the domain."""
    kinds: dict[Any, list[Turn]] = {}
    for turn in turns:
        kinds.setdefault(turn.question.dtype, []).append(turn)
    for alike in kinds.values():
        values = _moved(objective, grid, alike)
        for turn in alike:
            found = values if values is not None or len(alike) == 1 else _moved(objective, grid, [turn])
            turn.answer = None if found is None else found[turn.outputs]


def _moved(objective: Objective, grid: Grid, turns: Sequence[Turn]) -> Array | None:
    array, values = objective.arrays[grid.name], np.array([turn.question for turn in turns])
    return objective.moved({grid.name: replaced(array, [turn.index for turn in turns], values)})

"""Single elements of a large array, each judged by the full method as if it were an array of its own.

Elements of different rows move different outputs. So their judgements take turns, and what they ask is evaluated at
once: a hundred of them cost as many evaluations, and calls of the VJP, as one.
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

Ask = Callable[[Any, bool], Array | None]


class Alone:
    """A layer as a function of one entry of an array: its outputs, or its slope, at a value, which `ask` evaluates."""

    def __init__(self, name: str, ask: Ask) -> None:
        self.name, self.ask = name, ask
        self.known: dict[Any, Array | None] = {}

    def forward(self, **arrays: Array) -> Array:
        """The outputs at another value of the entry."""
        value = arrays[self.name][0]
        key = (value.dtype, value)
        if key not in self.known:
            self.known[key] = self.ask(value, False)
        found = self.known[key]
        if found is None:
            raise ArithmeticError("forward can't be evaluated there")
        return found

    def vjp(self, dy: Array, **arrays: Array) -> Mapping[str, Array]:  # noqa: ARG002 - a layer's signature
        """The gradient with respect to the entry, for the cotangent of the point: nobody asks for another."""
        found = self.ask(arrays[self.name][0], True)
        if found is None:
            raise ArithmeticError("the VJP has no value there")
        return {self.name: found}


def replaced(array: Array, indices: Sequence[int], values: Array) -> Array:
    """An array with other values at some places, in their precision."""
    changed = array.astype(np.result_type(array, values))
    changed.reshape(-1)[indices] = values
    return changed


class Turn(threading.Thread):
    """A judgement that runs only while it is its turn, and waits for what it asks for.

    That is what its outputs are at a value of the entry at `index`, or the `slope` there.
    """

    def __init__(self, row: int, index: int, outputs: Array, job: Callable[[Ask], None]) -> None:
        super().__init__(daemon=True)
        self.row, self.index, self.outputs = row, index, outputs
        self.job = job
        self.value: Any = None
        self.slope = False
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

    def _ask(self, value: Any, slope: bool) -> Array | None:
        self.value, self.slope = value, slope
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
    """Run judgements of elements of different rows; each round of their questions is one evaluation.

    Who asks for a slope gets it at once and goes on, so that none falls behind the others.
    """
    going = ready = list(turns)
    try:
        for turn in turns:
            turn.start()
        while going:
            for turn in ready:
                turn.go_on()
            going = [turn for turn in going if not turn.over]
            ready = [turn for turn in going if turn.slope] or going
            _answer(objective, grid, ready)
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
    """Answer all questions of one kind at once; one by one where that fails, for one may lie outside the domain."""
    kinds: dict[Any, list[Turn]] = {}
    for turn in turns:
        kinds.setdefault((turn.value.dtype, turn.slope), []).append(turn)
    for (_, slope), alike in kinds.items():
        find = _slopes if slope else _moved
        values = find(objective, grid, alike)
        for turn in alike:
            found = values if values is not None or len(alike) == 1 else find(objective, grid, [turn])
            here = slice(turn.index, turn.index + 1) if slope else turn.outputs
            turn.answer = None if found is None else found[here]


def _moved(objective: Objective, grid: Grid, turns: Sequence[Turn]) -> Array | None:
    return objective.moved(_places(objective, grid, turns))


def _slopes(objective: Objective, grid: Grid, turns: Sequence[Turn]) -> Array | None:
    try:
        gradients = objective.vjp(objective.cotangent, objective.arrays | _places(objective, grid, turns))
        return np.asarray(gradients[grid.name]).reshape(-1)
    except Exception:  # noqa: BLE001 - beside the point the VJP may have no value
        return None


def _places(objective: Objective, grid: Grid, turns: Sequence[Turn]) -> dict[str, Array]:
    array, values = objective.arrays[grid.name], np.array([turn.value for turn in turns])
    return {grid.name: replaced(array, [turn.index for turn in turns], values)}

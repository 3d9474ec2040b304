"""Outputs at the places that ladders ask for first, evaluated together: one by one they would take several times as
long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import evaluate_stacked


class Ahead:
    """The outputs as functions of single entries of one array; `centre` are those at the unmoved point."""

    def __init__(self, objective: Objective, name: str, centre: Array) -> None:
        self.objective, self.name, self.centre = objective, name, centre
        self.known: dict[int, dict[Any, Array]] = {}

    def room(self, places: int) -> int:
        """How many entries with so many places each may be evaluated together."""
        return max(1, self.objective.room // (16 * places * self.objective.outputs))

    def take(self, entries: Sequence[int], places: Array) -> None:
        """Evaluate each entry at its places, (places, entries), instead of those known so far.

        What differs from the unmoved point of the stack is told as if that were the centre, for it may be rounded
        differently.
        """
        self.known = {}
        found = evaluate_stacked(self.objective, self.name, np.array(entries), places, self.centre)
        if found is None:
            return
        values, middle = found
        if not (middle == self.centre).all():
            values = (values - middle) + self.centre
        finite = np.isfinite(values).all(axis=2)
        for k, entry in enumerate(entries):
            seen = zip(places[:, k], values[:, k], finite[:, k], strict=True)
            self.known[entry] = {place: outputs for place, outputs, fits in seen if fits}

    def along(self, entry: int, unit: int | None = None) -> Callable[[Any], Array | None]:
        """The outputs as a function of the value of one entry; of one output only when `unit` is given."""
        known = self.known.get(entry, {})
        function = self.objective.along(self.name, entry, unit)

        def look_up(value: Any) -> Array | None:
            values = known.get(value)
            if values is None:
                return function(value)
            return values if unit is None else values[unit : unit + 1]

        return look_up

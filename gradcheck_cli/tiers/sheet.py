"""The sheet that the tiers fill in: everything that is known of the elements of one array."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.results import Outcome
from gradcheck_cli.values import dataclass

CODES = tuple(Outcome)
PASS, KINK, INCONCLUSIVE, FAIL, NONFINITE = range(5)
BY_NATURE = ("kink", "discontinuity", "vertical tangent", "below the noise")  # no precision would settle them


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
    pass although a tiny slope might be hidden, `rounded` elements that fail only in low precision. `method` is None
    where it is the `usual` one.
    """

    name: str
    usual: str
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
            usual=method,
            analytic=analytic,
            numeric=np.full(shape, np.nan),
            uncertainty=np.full(shape, np.inf),
            resolution=np.full(shape, np.inf),
            slope=np.zeros(shape),
            step=np.full(shape, np.nan),
            outcome=np.full(shape, INCONCLUSIVE, np.int8),
            tier=np.ones(shape, np.int8),
            reason=np.empty(shape, object),
            method=np.empty(shape, object),
            natural=np.zeros(shape),
            weak=np.zeros(shape, bool),
            rounded=np.zeros(shape, bool),
        )

    def only(self, places: Array) -> Sheet:
        """A sheet on which only the elements marked are known."""
        made = Sheet.blank(self.name, self.analytic, self.usual)
        for column, table in vars(self).items():
            if isinstance(table, np.ndarray):
                getattr(made, column)[places] = table[places]
        return made

    def put(self, at: tuple[int, int], outcome: int, reason: Any = None, **columns: Any) -> None:
        """Fill in one element."""
        self.outcome[at], self.reason[at] = outcome, reason
        for column, value in columns.items():
            getattr(self, column)[at] = value

    def open(self) -> list[tuple[int, int]]:
        """The elements that more precision might settle: inconclusive, but not by the nature of the point."""
        left = np.argwhere(self.outcome == INCONCLUSIVE).tolist()
        return [(row, unit) for row, unit in left if self.reason[row, unit] not in BY_NATURE]

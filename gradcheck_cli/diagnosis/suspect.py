"""An array that fails, with everything the rules need: the tables, and one test of whether a guess explains them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array, Shape
from gradcheck_cli.results import Finding, Outcome
from gradcheck_cli.values import dataclass

RELATIVE = 1e-7  # beside the uncertainty, a guess may be off by this much of itself
SHARP = 0.02  # and at a wrong element by no more than this much of the error that it is to explain
ACCIDENT = -4.5  # log10 of the chance, summed over the wrong elements, at which a guess counts as no accident
LEAST = -6.0  # what one element alone can contribute to it
NOTHING = 1e-6  # beside the analytic value, a numeric one that may be 0 is shown as 0


@dataclass(frozen=True)
class Evidence:
    """What is known after every element was judged: the point, the outputs, and the sheets of the arrays."""

    layer: Any
    arrays: Mapping[str, Array]
    outputs: Sequence[Array]
    cotangent: Sequence[Array]
    view: str
    sheets: Sequence[Any]

    @property
    def dy(self) -> Array | None:
        """The cotangent where it enters the elements and there is just one."""
        return self.cotangent[0] if self.view == "vjp" and len(self.cotangent) == 1 else None

    def named_outputs(self) -> Iterator[tuple[str, Array]]:
        """`y`, or `y0`, `y1` where there are several."""
        for number, output in enumerate(self.outputs):
            yield "y" if len(self.outputs) == 1 else f"y{number}", output


@dataclass(frozen=True, eq=False)
class Suspect:
    """One failing array. Its tables are those of the sheet, NaN where the difference decided nothing."""

    evidence: Evidence
    sheet: Any

    @property
    def name(self) -> str:
        """The array's name."""
        return str(self.sheet.name)

    @property
    def subject(self) -> str:
        """What is wrong, as it is written: dL/dW, and ∂y/∂W in the Jacobian view."""
        name = self.name if self.name.isidentifier() else f"({self.name})"
        return f"dL/d{name}" if self.evidence.view == "vjp" else f"∂y/∂{name}"

    @property
    def value(self) -> Array:
        """The array itself."""
        return np.asarray(self.evidence.arrays[self.name])

    @property
    def shape(self) -> Shape:
        """The array's shape."""
        return self.value.shape

    @cached_property
    def analytic(self) -> Array:
        """The analytic table."""
        return np.asarray(self.sheet.analytic, dtype=np.float64)

    @cached_property
    def wrong(self) -> Array:
        """Which elements fail; where the formula is wrong, lost digits are no news."""
        bad = np.asarray(self.sheet.outcome) >= Outcome.FAIL.severity
        formula = bad & ~np.asarray(self.sheet.rounded)
        return formula if formula.any() else bad

    @cached_property
    def settled(self) -> Array:
        """Which elements were decided by a number."""
        outcome, rounded = np.asarray(self.sheet.outcome), np.asarray(self.sheet.rounded)
        decided = (outcome != Outcome.INCONCLUSIVE.severity) & np.isfinite(self.sheet.numeric)
        return np.asarray(decided & np.isfinite(self.sheet.uncertainty) & (~rounded | self.wrong))

    @cached_property
    def numeric(self) -> Array:
        """The numeric table where it is settled."""
        return np.where(self.settled, np.asarray(self.sheet.numeric, dtype=np.float64), np.nan)

    @cached_property
    def doubt(self) -> Array:
        """How far right and numeric may be apart: the resolution, which holds the round-off of both sides."""
        found = np.where(np.isfinite(self.sheet.resolution), self.sheet.resolution, self.sheet.uncertainty)
        return np.where(self.settled, np.maximum(found, self.sheet.uncertainty), np.nan)

    @cached_property
    def error(self) -> Array:
        """Analytic minus numeric."""
        return np.asarray(self.analytic - self.numeric)

    @cached_property
    def is_zero(self) -> Array:
        """Where the right value is 0, as far as can be seen."""
        return np.asarray(np.abs(self.numeric) <= 2 * self.doubt)

    def grid(self, table: Array) -> Array:
        """A table as the array is shaped, the units last."""
        return table.reshape(*self.shape, table.shape[-1])

    def flat(self, grid: Array) -> Array:
        """A grid as a table again."""
        return grid.reshape(-1, grid.shape[-1])

    def spread(self, values: Array) -> Array | None:
        """Values of the array's own shape, or broadcast to it, as a table of one column; None if they do not fit."""
        if values.ndim > len(self.shape) or values.size < 2 or values.dtype.kind not in "fb":
            return None
        try:
            return np.broadcast_to(values, self.shape).reshape(-1, 1).astype(np.float64)
        except ValueError:
            return None

    def explained_by(self, guess: Array, doubt: Array | None = None, free: int = 0) -> bool:
        """Whether a guess of the analytic table fits every settled element, and not by accident.

        `doubt` is how far the guess may be off, `free` the number of values that were fitted to get it: so many of the
        sharpest elements are not counted as evidence.
        """
        doubt = self.doubt if doubt is None else doubt
        if not self._fits_at(self.sample, guess, doubt):
            return False
        usable = self.settled & np.isfinite(guess) & np.isfinite(doubt)
        counted = usable & self.wrong
        if 2 * counted.sum() < self.wrong.sum() or not self._fits_at(np.flatnonzero(usable), guess, doubt):
            return False
        error = np.abs(self.error[counted])
        allowed = 2 * doubt[counted] + np.minimum(RELATIVE * np.abs(guess[counted]), SHARP * error)
        chance = np.sort(np.clip(np.log10(allowed / error), LEAST, 0.0))
        return bool(chance[free:].sum() <= ACCIDENT)

    @cached_property
    def sample(self) -> Array:
        """A few wrong elements at which most guesses fail at once."""
        wrong = np.flatnonzero(self.wrong & self.settled)
        return wrong[:: max(1, wrong.size // 64)]

    def _fits_at(self, positions: Array, guess: Array, doubt: Array) -> bool:
        """Whether a guess is near enough at these positions, wherever it says something."""
        guess, doubt = guess.reshape(-1)[positions], doubt.reshape(-1)[positions]
        analytic, wrong = self.analytic.reshape(-1)[positions], self.wrong.reshape(-1)[positions]
        error = np.abs(self.error.reshape(-1)[positions])
        slack = RELATIVE * np.abs(guess)
        allowed = 2 * doubt + np.where(wrong, np.minimum(slack, SHARP * error), slack)
        off = np.abs(analytic - guess) > allowed
        return not (off & np.isfinite(guess) & np.isfinite(doubt)).any()

    def entry(self, position: int) -> int:
        """Where an element is in the flat array, by its flat position in the table: a search keeps only some."""
        row = position // self.analytic.shape[1]
        return row if self.sheet.searched is None else int(self.sheet.searched.indices[row])

    def label(self, position: int) -> str:
        """The name of an element by its flat position in the table, as in `W[0, 1]`."""
        index = np.unravel_index(self.entry(position), self.shape)
        return f"{self.name}[{', '.join(str(int(i)) for i in index)}]" if self.shape else self.name

    @cached_property
    def worst(self) -> int:
        """The flat position of the failing element whose error is largest beside its doubt."""
        excess = np.abs(self.error) / np.maximum(self.doubt, 1e-300)
        ranked = np.where(self.wrong, np.nan_to_num(excess, nan=0.0, posinf=1e300), -1.0)
        return int(np.argmax(ranked))

    def at(self, position: int) -> str:
        """One element with both values."""
        analytic, numeric = self.analytic.flat[position], self.numeric.flat[position]
        nothing = self.is_zero.flat[position] and abs(numeric) <= NOTHING * abs(analytic)
        analytic, numeric = apart(analytic, 0.0 if nothing else numeric)
        return f"{self.label(position)}: {analytic} instead of {numeric}"

    def finding(self, rule: str, sentence: str) -> Finding:
        """An error of this array."""
        return Finding(rule, "error", self.name, f"{self.subject} {sentence}")

    def others(self) -> Iterator[tuple[str, Array]]:
        """Named values that a gradient may be built of: the array itself, the others, the outputs."""
        yield self.name, self.value
        for name, values in self.evidence.arrays.items():
            if name != self.name:
                yield name, np.asarray(values)
        yield from self.evidence.named_outputs()


def number(value: float, digits: int = 4) -> str:
    """A number in a sentence."""
    return f"{float(value) + 0.0:.{digits}g}"


def apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see the difference."""
    pairs = [(number(one, digits), number(other, digits)) for digits in (4, 7, 10, 13, 17)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])


def axes_of(shape: Shape) -> list[tuple[int, ...]]:
    """The groups of axes along which something may be summed: each alone, all but one, all."""
    every = tuple(range(len(shape)))
    groups = [(k,) for k in every] + [tuple(j for j in every if j != k) for k in every] + [every]
    return [group for group in dict.fromkeys(groups) if group and int(np.prod([shape[k] for k in group])) > 1]


def along(axes: Sequence[int]) -> str:
    """`axis 1`, or `axes 0 and 2`."""
    if len(axes) == 1:
        return f"axis {axes[0]}"
    return f"axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}"

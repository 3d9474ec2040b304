"""A layer at one point with everything that is measured once, and what its check may cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck_cli import compare
from gradcheck_cli.compare import Rule
from gradcheck_cli.differences.method import Method, Scales
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric import second
from gradcheck_cli.numeric.noise import Noise, measure_coarse
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.rounding import AnalyticNoise
from gradcheck_cli.spec import Difference
from gradcheck_cli.values import dataclass

VISIT = 2  # evaluations for each element
DENSE = 280  # bytes for each element: the columns of its sheet and what is computed of them on the way


class Once:
    """A cached property without a lock: a judgement that waits for its turn would keep it from the others."""

    def __init__(self, measure: Callable[[Any], Any]) -> None:
        self.measure, self.name = measure, measure.__name__

    def __get__(self, owner: Any, kind: type[Any]) -> Any:
        if self.name not in owner.__dict__:
            owner.__dict__[self.name] = self.measure(owner)
        return owner.__dict__[self.name]


@dataclass(frozen=True)
class Among:
    """The length scale and the typical slope of the array that elements were taken from, and what is known of these.

    `steepness` is the natural size of an element's own slope: where terms cancel, the analytic value misleads steps.
    """

    length: float
    slope: float
    steepness: float = 0.0

    def improved(self, found: Scales) -> Scales:
        """Scales with what is known better."""
        return replace(found, slope=np.maximum(found.slope, self.steepness))


@dataclass(frozen=True)
class Limits:
    """Evaluations that visiting the elements of large arrays may take, and bytes that a check may take."""

    budget: int
    memory: int

    def crossed_by(self, elements: int, size: int | None = None) -> bool:
        """Whether so many elements, each visited on its own, are too many; of an array of `size` elements."""
        return VISIT * elements > self.budget or DENSE * (size or elements) > self.memory


@dataclass(frozen=True)
class Point:
    """A layer at one point with everything that is measured once."""

    objective: Objective
    centre: Array
    noise: Noise
    analytic: Mapping[str, Array]
    rounding: AnalyticNoise
    rule: Rule
    method: Method
    difference: Difference | None = None
    limits: Limits | None = None

    @property
    def fixed_step(self) -> bool:
        """Whether the step of the first tier was given."""
        return self.difference is not None and bool(self.difference.step or self.difference.relative_step)

    @Once
    def faint(self) -> Array:
        """Six times the noise of all outputs of a unit: a mismatch of the outputs below it may be nothing else."""
        return 6 * self.objective.gather(self.noise.weighted)

    @Once
    def rho(self) -> Array:
        """The relative resolution asked for at first, of each unit."""
        return np.asarray(compare.coarseness(self.noise.relative, self.noise.unit, self.rounding.unit))

    @Once
    def coarse(self) -> Noise | None:
        """The noise of forward on coarser lines, where there is more of it than on fine ones."""
        return measure_coarse(self.objective, list(self.analytic), self.centre, self.noise)

    @Once
    def wide(self) -> tuple[Objective, Array, Noise] | None:
        """The same point in long double, where the layer keeps it."""
        return second.widened(self.objective, self.noise, self.centre, list(self.analytic))

    @Once
    def exact(self) -> Mapping[str, Array] | None:
        """The analytic values of the same formula in long double, where the VJP keeps it."""
        return second.widened_analytic(self.objective, list(self.analytic))

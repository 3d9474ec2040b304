"""What a difference method is: steps from scales, and an estimate from the values at those steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class Scales:
    """What steps are chosen from, one entry for each of n elements.

    `length` is the distance over which the layer changes, `slope` the magnitude of the derivative, `noise` the standard
    deviation of the rounding in the contracted output, `unit` the round-off of the working precision.
    """

    length: Array
    slope: Array
    noise: Array
    unit: float


@dataclass(frozen=True)
class Samples:
    """Outputs at the points of a method for n elements, or for n groups of elements that share an evaluation.

    `values` (points, n, outputs) are the outputs there, `centre` (outputs,) those at the unmoved point, `weights`
    (outputs,) the cotangent. `gather` contracts terms (n, outputs) with such weights to (n, units), with one unit for
    each element of a group. `made` (points, n, 1 or units) are the displacements really made. `noise` (units,), or
    (n, units), and `relative` (units,) are the absolute and relative standard deviation of a contracted output.
    """

    made: Array
    values: Array
    centre: Array
    weights: Array
    gather: Callable[[Array, Array], Array]
    noise: Array
    relative: Array
    unit: float

    def total(self, terms: Array) -> Array:
        """Σ g t over the outputs of each unit."""
        return self.gather(terms, self.weights)

    def extent(self, terms: Array) -> Array:
        """Σ |g t| over the outputs of each unit; takes the sign of the terms away in place."""
        return self.gather(np.abs(terms, out=terms), np.abs(self.weights))


@dataclass(frozen=True)
class Estimate:
    """Numeric values and bounds on their errors, steps, (n, units) each.

    `mismatch` is the sum over the outputs of |right slope - left slope|, `slope` of the mean size of both; `roundoff`
    the standard deviation of the value.
    """

    value: Array
    uncertainty: Array
    step: Array
    roundoff: Array
    mismatch: Array
    slope: Array


class Method(Protocol):
    """One way to take differences. `offsets` are the multiples of the step at which forward is evaluated."""

    name: ClassVar[str]
    offsets: ClassVar[tuple[complex, ...]]

    def steps(self, scales: Scales) -> Array:
        """Choose the step of each element."""

    def combine(self, samples: Samples) -> Estimate:
        """Turn the values at the points of each element into its derivative and the bound on its error."""


def balanced(scales: Scales, order: int) -> Array:
    """The step at which round-off meets truncation h^order, undershot by a half: noise is measured, truncation is not.

    h = length / 2 * (noise / (2 slope length))^(1 / (order + 1)), between a quarter of u^(1/(order+1)) and 1/32 of the
    length, as a power of two, so that x + h and x - h are nearly exact.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = (scales.noise / (2 * scales.slope * scales.length)) ** (1 / (order + 1))
    ratio = np.maximum(np.fmin(ratio, 2.0**-5), scales.unit ** (1 / (order + 1)) / 4)  # not a number: the longest
    return np.asarray(np.exp2(np.rint(np.log2(0.5 * ratio * scales.length))))


def moved(samples: Samples, point: int) -> Array:
    """Changes of all outputs, (n, outputs), from the unmoved point to one of the others."""
    return np.asarray(samples.values[point] - samples.centre)

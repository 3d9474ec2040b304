"""The true gradient at a point, and the natural slope of each element, from arithmetic with many digits."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from gradcheck_cli.layer import Array, as_outputs
from tests.corpus.case import Point
from tests.corpus.exact import Exact, exact, sweep_back

Gradient = Mapping[str, Array]


@dataclass(frozen=True)
class _Record:
    """The forward pass of a point in exact arithmetic."""

    inputs: Mapping[str, Array]
    outputs: list[Any]
    weights: list[Any]


def _record(point: Point) -> _Record:
    reference = getattr(point.layer, "reference", point.layer.forward)
    inputs = {name: exact(value) if name in point.wrt else value for name, value in point.arrays.items()}
    outputs = as_outputs(reference(**inputs))
    numbers = [number for output in outputs for number in output.ravel()]
    weights = [float(weight) for part in point.cotangent for weight in part.ravel()]
    return _Record({name: inputs[name] for name in point.wrt}, numbers, weights)


def _collect(inputs: Mapping[str, Array], slopes: Mapping[Exact, Any]) -> dict[str, Array]:
    return {
        name: np.array([float(slopes.get(number, 0)) for number in numbers.ravel()]).reshape(numbers.shape)
        for name, numbers in inputs.items()
    }


@functools.cache
def gradient(point: Point) -> Gradient:
    """dL/d(array) for every differentiable array, rounded once to float64."""
    with mpmath.workdps(point.digits):
        record = _record(point)
        return _collect(record.inputs, sweep_back(record.outputs, record.weights))


@functools.cache
def natural_slope(point: Point) -> Gradient:
    """T = Σ_j |dy_j ∂y_j/∂x_i| for every element: what its gradient would be if nothing cancelled."""
    with mpmath.workdps(point.digits):
        record = _record(point)
        total = {name: np.zeros(numbers.shape) for name, numbers in record.inputs.items()}
        for output, weight in zip(record.outputs, record.weights, strict=True):
            row = _collect(record.inputs, sweep_back([output], [weight]))
            for name, slopes in row.items():
                total[name] += np.abs(slopes)
        return total

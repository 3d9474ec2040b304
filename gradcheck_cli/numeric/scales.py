"""Natural scales of the elements of one array: how far it reaches, how steep it is."""

from __future__ import annotations

import math

import numpy as np

from gradcheck_cli.differences.method import Scales
from gradcheck_cli.layer import Array, Shape
from gradcheck_cli.numeric.noise import Noise

SHORTEST = 1e-280  # below it denormal numbers would take the digits of every difference


def lengths(x: Array) -> Array:
    """The length scale of each entry of a flat array: its size, or the array's where it is small against that.

    The array's is 1 when its root mean square is of ordinary size or it is all zero, else the root mean square;
    denormal sizes do not count.
    """
    size = np.abs(x).astype(np.float64, copy=False)
    largest, typical = float(size.max(initial=0.0)), 1.0
    if 0 < largest < 1e-3 * math.sqrt(size.size):  # else the root mean square cannot be below 1e-3
        nonzero = size[size > 0]
        rms = largest * float(np.sqrt(np.mean((nonzero / largest) ** 2)))
        typical = max(rms, SHORTEST) if rms < 1e-3 else 1.0
    return np.asarray(np.maximum(size, typical))


def scattered(rng: np.random.Generator, shape: Shape) -> Array:
    """Random signs and magnitudes in [0.5, 1.5]: errors that such weights add up do not cancel."""
    u = rng.uniform(-1.0, 1.0, shape)
    return np.asarray(u + np.copysign(0.5, u))


def typical_slope(analytic: Array) -> float:
    """The median size of the analytic values that are not zero; 0 when all are."""
    size = np.abs(analytic[np.isfinite(analytic)])
    size = size[size > 0]
    return middle(size)


def natural_slope(noise: Noise, length: Array) -> Array:
    """S = Σ|g y| / length, for each element (first axis) and unit: the slope of something of the output's size."""
    return np.asarray(noise.magnitude / length[:, None])


def scales(analytic: Array, length: Array, noise: Noise) -> Scales:
    """What the steps of an array's elements are chosen from; the analytic value steers the step and nothing else."""
    size = np.abs(analytic)
    size[~np.isfinite(size)] = 0.0
    slope = size[:, 0] if size.shape[1] == 1 else size.max(axis=1, initial=0.0)
    if not slope.all():
        fallback = typical_slope(analytic)
        slope = np.where(slope > 0, slope, fallback if fallback > 0 else natural_slope(noise, length).mean(axis=1))
    return Scales(length, slope, np.full(length.shape, middle(noise.total)), noise.unit)


def middle(values: Array) -> float:
    """The median; 0 of nothing."""
    if values.size < 2:
        return float(values[0]) if values.size else 0.0
    return float(np.median(values))

"""Natural scales of the elements of one array: how far it reaches, how steep it is."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from gradcheck_cli.differences.method import Scales
from gradcheck_cli.layer import Array, Shape
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.slabs import slabs

KEPT = 2**16  # random weights up to which they are kept
ENOUGH = 4096  # values that tell how large most of them are
SHORTEST = 1e-280  # below it denormal numbers would take the digits of every difference


def lengths(x: Array) -> Array:
    """The length scale of each entry of a flat array: its size, or the array's where it is small against that."""
    return np.asarray(np.maximum(np.abs(x).astype(np.float64), ordinary_length(x)))


def shortest(x: Array) -> float:
    """The smallest of the length scales; 1 where there are no entries."""
    least = min((float(np.abs(x[part]).min()) for part in slabs(x.size)), default=1.0)
    return max(least, ordinary_length(x))


def largest(x: Array) -> float:
    """The largest size of an entry; 0 where there are none, NaN where one is."""
    return float(np.max([np.abs(x[part]).max() for part in slabs(x.size)], initial=0.0))


def ordinary_length(x: Array) -> float:
    """The length scale of an array.

    It is 1 when its root mean square is of ordinary size or it is all zero, else the root mean square; denormal sizes
    do not count.
    """
    if not 0 < largest(x) < 1e-3 * math.sqrt(x.size):  # else the root mean square cannot be below 1e-3
        return 1.0
    rms = root_mean_square(x)
    return max(rms, SHORTEST) if rms < 1e-3 else 1.0


def root_mean_square(x: Array) -> float:
    """Of the entries that are not zero; 0 where all are."""
    top = largest(x)
    if top == 0:
        return 0.0
    total, count = 0.0, 0
    for part in slabs(x.size):
        total += float(((x[part] / top) ** 2).sum(dtype=np.float64))
        count += int(np.count_nonzero(x[part]))
    return top * float(np.sqrt(total / count))


def scattered(seed: int, shape: Shape) -> Array:
    """Random signs and magnitudes in [0.5, 1.5]: errors that such weights add up do not cancel."""
    return _few_scattered(seed, shape) if math.prod(shape) <= KEPT else _scattered(seed, shape)


def _scattered(seed: int, shape: Shape) -> Array:
    u = np.random.default_rng(seed).uniform(-1.0, 1.0, shape)
    drawn = np.asarray(u + np.copysign(0.5, u))
    drawn.flags.writeable = False
    return drawn


_few_scattered = lru_cache(maxsize=16)(_scattered)  # links of a chain have arrays of the same shape


def median(values: Array) -> float:
    """What np.median gives for at least one value; that imports masked arrays, which take as long as a small check."""
    half = values.size // 2
    parted = np.partition(values, half, axis=None)
    if np.isnan(parted[half:].max()):  # what is not a number comes last
        return float("nan")
    return float(np.mean([parted[half] if values.size % 2 else parted[:half].max(), parted[half]]))


def typical_slope(analytic: Array) -> float:
    """The median size of the analytic values that are not zero, of as many as tell it; 0 when all are."""
    values = analytic.reshape(-1)
    for sample in (values[:: values.size // ENOUGH | 1], values):
        size = np.abs(sample)
        size = size[(size > 0) & (size < np.inf)]
        if size.size:
            return median(size)
    return 0.0


def natural_slope(noise: Noise, length: Array) -> Array:
    """S = Σ|g y| / length, for each element (first axis) and unit: the slope of something of the output's size."""
    return np.asarray(noise.magnitude / length[:, None])


def scales(analytic: Array, length: Array, noise: Noise) -> Scales:
    """What the steps of an array's elements are chosen from; the analytic value steers the step and nothing else.

    An element with several units has one step for all: the noise is between that of the steepest and the largest.
    """
    size = np.abs(analytic)
    size[~np.isfinite(size)] = 0.0
    alone = size.shape[1] == 1
    slope = size[:, 0] if alone else size.max(axis=1, initial=0.0)
    if not slope.all():
        fallback = typical_slope(analytic)
        slope = np.where(slope > 0, slope, fallback if fallback > 0 else natural_slope(noise, length).mean(axis=1))
    if alone:
        return Scales(length, slope, np.full(length.shape, noise.total[0]), noise.unit)
    steepest = noise.total[np.argmax(size, axis=1)]
    largest = ((size > 0) * noise.total).max(axis=1)
    return Scales(length, slope, np.sqrt(steepest) * np.sqrt(np.maximum(steepest, largest)), noise.unit)

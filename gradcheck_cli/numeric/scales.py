"""Natural scales of the elements of one array: how far it reaches, how steep it is."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.differences.method import Scales
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.slabs import slabs

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
    return float(np.max([np.max(np.abs(x[part])) for part in slabs(x.size)], initial=0.0))


def ordinary_length(x: Array) -> float:
    """The length scale of an array.

    It is 1 when its root mean square is of ordinary size or it is all zero, else the root mean square; denormal sizes
    do not count.
    """
    rms = root_mean_square(x)
    return max(rms, SHORTEST) if 0 < rms < 1e-3 else 1.0


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


def typical_slope(analytic: Array) -> float:
    """The median size of the analytic values that are not zero; 0 when all are."""
    size = np.abs(analytic[np.isfinite(analytic)])
    size = size[size > 0]
    return float(np.median(size)) if size.size else 0.0


def natural_slope(noise: Noise, length: Array) -> Array:
    """S = Σ|g y| / length, for each element (first axis) and unit: the slope of something of the output's size."""
    return np.asarray(noise.magnitude / length[:, None])


def scales(analytic: Array, length: Array, noise: Noise) -> Scales:
    """What the steps of an array's elements are chosen from; the analytic value steers the step and nothing else."""
    natural = natural_slope(noise, length).mean(axis=1)
    size = np.where(np.isfinite(analytic), np.abs(analytic), 0.0)
    slope = size.max(axis=1, initial=0.0)
    fallback = typical_slope(analytic)
    slope = np.where(slope > 0, slope, fallback if fallback > 0 else natural)
    total = np.full(length.shape, float(np.median(noise.total)) if noise.total.size else 0.0)
    return Scales(length, slope, total, noise.unit)

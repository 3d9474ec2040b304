"""Longer steps where the pilots show that truncation allows them: it is measured by a look at a much larger step."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.layer import Array

FAR = 2.0**-7  # of the length scale: far enough to see truncation, too near for most kinks


def best(noise: Array, near: Array, uncertainty: Array, far: Array, step: Array) -> Array:
    """The steps at which noise / h and truncation t h² together are least: h³ = noise / 2t.

    A difference over `step` that is `far` from the value `near` shows t = |far - near| / step², or less than the
    uncertainty of `near` hides. Never longer than what was looked at.
    """
    truncation = (np.abs(far - near) + uncertainty) / step**2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        wanted = np.cbrt(noise / (2 * truncation))
    return np.asarray(np.minimum(np.nan_to_num(wanted, nan=0.0, posinf=np.inf), step))


def spread(wanted: Array, steps: Array, length: Array, rows: Array) -> Array:
    """Steps for all elements from those that suit a few: in proportion to the steps so far, or to the lengths.

    Steps so far follow the slopes; where elements are sums that cancel, truncation does not, and one step suits all.
    What varies less over the few is followed; the second shortest counts, for a kink spoils one of them now and then.
    """
    few = [np.log2(wanted / pattern[rows]) for pattern in (steps, length)]
    pattern, seen = min(zip((steps, length), few, strict=True), key=lambda pair: float(np.ptp(pair[1])))
    factor = np.sort(seen)[min(1, len(seen) - 1)]
    longer = np.exp2(np.round(np.log2(pattern) + factor))
    return np.asarray(np.maximum(steps, np.minimum(longer, length * FAR)))

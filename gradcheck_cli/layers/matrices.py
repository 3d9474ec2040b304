"""What the layers that multiply matrices or broadcast share: over the last two axes, any axes lead."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.layer import Array, Shape


def swap(a: Array) -> Array:
    """Swap the last two axes."""
    return np.asarray(np.swapaxes(a, -1, -2))


def outer_sum(rows: Array, columns: Array) -> Array:
    """Σ rowsᵀ columns over all leading axes."""
    return np.asarray(rows.reshape(-1, rows.shape[-1]).T @ columns.reshape(-1, columns.shape[-1]))


def sum_to(gradient: Array, shape: Shape) -> Array:
    """Sum over the axes along which an array of this shape was repeated."""
    new = gradient.ndim - len(shape)
    stretched = (axis for axis, size in enumerate(shape, start=new) if size == 1 and gradient.shape[axis] != 1)
    return np.asarray(gradient.sum(axis=(*range(new), *stretched)).reshape(shape))


def lift(a: Array, ndim: int) -> Array:
    """Insert axes of size 1 behind the stack axis, so that a stacked array broadcasts against one of `ndim` axes."""
    return a.reshape(a.shape[0], *(1,) * (ndim - a.ndim), *a.shape[1:])

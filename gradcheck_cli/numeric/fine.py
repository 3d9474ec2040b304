"""Fine directions through the point: along them a smooth function hardly bends, and what is left is its noise."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.slabs import slabs

KEPT = 2**16  # elements of an array up to which its fine directions are kept
HASH = np.uint64(0x9E3779B97F4A7C15)


def moves_of(objective: Objective, name: str, scale: int, dtype: np.dtype[np.floating]) -> Array:
    """The fine direction of one array; what takes little memory is kept, for forward and the VJP take the same."""
    moves = objective.fine.get((name, scale, dtype))
    if moves is None:
        moves = displacement(objective.arrays[name], scale, dtype)
        if moves.size <= KEPT:
            objective.fine[name, scale, dtype] = moves
    return moves


def displacement(x: Array, scale: int, dtype: np.dtype[np.floating]) -> Array:
    """A fine direction: each entry moves outwards by an odd number, in [scale, 2 scale], of its own ulps.

    The number is hashed from |x|, so equal entries move equally and ties survive; zeros stay.
    """
    moves, flat = np.empty(x.size, x.dtype), x.reshape(-1)
    for part in slabs(x.size):
        moves[part] = _displaced(flat[part], scale, dtype)
    return moves.reshape(x.shape)


def _displaced(x: Array, scale: int, dtype: np.dtype[np.floating]) -> Array:
    size = np.abs(x).astype(dtype)
    mixed = size.astype(np.float64).view(np.uint64) * HASH >> np.uint64(32)
    count = 2 * (mixed & np.uint64(scale // 2 - 1)) + np.uint64(scale + 1)  # scales are powers of two
    return np.where(x == 0, 0, np.sign(x) * count.astype(x.dtype) * np.spacing(size).astype(x.dtype))

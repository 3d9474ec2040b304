"""Stacks for libraries that vectorise a function themselves: which axis is stacked, and whether the result is right."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping

import numpy as np

from gradcheck_cli.layer import Array, Outputs, as_outputs

Forward = Callable[..., Outputs]


def stacked_axes(arrays: Mapping[str, Array]) -> dict[str, int | None]:
    """For each array 0 when its leading axis runs over the stack, None when its one entry serves all of it."""
    longest = max((array.shape[0] for array in arrays.values()), default=1)
    return {name: 0 if array.shape[0] == longest else None for name, array in arrays.items()}


def unstacked(arrays: Mapping[str, Array], axes: Mapping[str, int | None]) -> dict[str, Array]:
    """The arrays as a vectorised call takes them: without the leading axis where that serves the whole stack."""
    return {name: array if axes[name] == 0 else array[0] for name, array in arrays.items()}


def works(forward: Forward, forward_stacked: Forward, arrays: Mapping[str, Array]) -> bool:
    """Whether a stack of two points gives what two single calls give, with all arrays stacked and with one."""
    floats = [name for name, array in arrays.items() if array.dtype.kind == "f"]
    moved = {name: array * array.dtype.type(1.01) if name in floats else array for name, array in arrays.items()}
    try:
        return all(_agrees(forward, forward_stacked, arrays, moved, stacked) for stacked in (floats, floats[:1]))
    except Exception:  # noqa: BLE001 - whatever can't be stacked is called singly, and raises there if it is wrong
        return False


def _agrees(
    forward: Forward,
    forward_stacked: Forward,
    arrays: Mapping[str, Array],
    moved: Mapping[str, Array],
    stacked: Collection[str],
) -> bool:
    second = {name: moved[name] if name in stacked else array for name, array in arrays.items()}
    pairs = {
        name: np.stack([array, second[name]]) if name in stacked else array[None] for name, array in arrays.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a library that warns of a slow way has no stacked one
        together = as_outputs(forward_stacked(**pairs))
    singles = zip(as_outputs(forward(**arrays)), as_outputs(forward(**second)), strict=True)
    return all(_same(one, np.stack(pair)) for one, pair in zip(together, singles, strict=True))


def _same(stacked: Array, single: Array) -> bool:
    if stacked.shape != single.shape or stacked.dtype != single.dtype:
        return False
    rtol = 1e3 * float(np.finfo(single.dtype).eps) if single.dtype.kind in "fc" else 0.0
    scale = float(np.max(np.abs(single), initial=0.0, where=np.isfinite(single)))
    return np.allclose(stacked, single, rtol=rtol, atol=rtol * scale, equal_nan=True)

"""Outputs at the points of a difference method, for many elements of one array, stacked where the layer can."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

import numpy as np

from gradcheck_cli.differences.method import Method, Samples
from gradcheck_cli.evidence import UNIT32
from gradcheck_cli.layer import Array, as_outputs
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.values import dataclass

STACK_BYTES = 1_000_000  # of one stack, so that it stays in cache


@dataclass(frozen=True)
class Chunk:
    """The samples of some elements of one array; `missing` marks those with a value that is not finite."""

    indices: Array
    samples: Samples
    missing: Array


def snapped(values: Array, unit: float) -> Array:
    """Values that the working precision of the layer holds exactly."""
    if unit == UNIT32 and not np.iscomplexobj(values):
        return np.asarray(values.astype(np.float32).astype(values.dtype))
    return values


def chunks(
    objective: Objective, name: str, indices: Array, steps: Array, method: Method, noise: Noise, centre: Array
) -> Iterator[Chunk]:
    """Evaluate a method's points for the elements at `indices`, so many at a time as memory allows."""
    points, outputs = len(method.offsets), objective.outputs
    size = max(1, objective.room // max(1, 16 * points * outputs))
    x = objective.arrays[name].reshape(-1)
    offsets = np.array(method.offsets)
    offsets = offsets.real if not np.iscomplexobj(offsets) or not offsets.imag.any() else offsets
    for start in range(0, len(indices), size):
        part, h = indices[start : start + size], steps[start : start + size].astype(x.dtype)
        base = snapped(x[part], noise.unit)
        places = snapped(base + offsets[:, None] * h, noise.unit)
        values, middle = evaluate(objective, name, part, places, centre)
        missing = np.asarray(~np.isfinite(values).all(axis=(0, 2)))
        made = places - base
        made = (made.imag if np.iscomplexobj(made) else made)[..., None]
        total, relative = noise.total, noise.relative
        samples = Samples(made, values, middle, objective.weights, objective.contract, total, relative, noise.unit)
        yield Chunk(part, samples, missing)


def evaluate(objective: Objective, name: str, indices: Array, places: Array, centre: Array) -> tuple[Array, Array]:
    """Outputs (points, n, outputs) with entry `indices[k]` at `places[:, k]`, and the outputs at the unmoved point."""
    if objective.stacks:
        stacked = evaluate_stacked(objective, name, indices, places, centre)
        if stacked is not None:
            return stacked
    dtype = np.result_type(places, centre)
    values = np.full((*places.shape, objective.outputs), np.nan, dtype)
    for k, index in enumerate(indices):
        function = objective.along(name, int(index))
        for p in range(len(places)):
            found = function(places[p, k])
            if found is not None and np.iscomplexobj(found) == np.iscomplexobj(places):
                values[p, k] = found  # a real answer to a complex question knows nothing of the slope
    return values, centre


def evaluate_stacked(
    objective: Objective, name: str, indices: Array, places: Array, centre: Array
) -> tuple[Array, Array] | None:
    """The same by stacks of equal size, each led by the unmoved point; None if the stack does not keep it."""
    array, (points, n) = objective.arrays[name], places.shape
    array = array.astype(np.result_type(array, places))
    most = max(2, STACK_BYTES // max(1, array.itemsize * (array.size + objective.outputs)))
    rows = 1 + math.ceil(points * n / math.ceil(points * n / (most - 1)))  # as many in each stack
    flat, where = places.reshape(-1), np.tile(indices, points)
    values = np.empty((points * n, objective.outputs), np.result_type(places, centre))
    middle: Array | None = None
    ends = [(start, min(start + rows - 1, points * n)) for start in range(0, points * n, rows - 1)]

    def outputs(start: int, stop: int, mine: Objective) -> Array | None:
        stack = np.repeat(array.reshape(1, -1), rows, axis=0)  # the last one is padded: rounding depends on the shape
        stack[np.arange(1, stop - start + 1), where[start:stop]] = flat[start:stop]
        return stack_outputs(mine, name, stack.reshape(rows, *array.shape), stop - start)

    with closing(objective.in_turn([partial(outputs, *both) for both in ends])) as turns:
        for (start, stop), found in zip(ends, turns, strict=True):
            if found is None or np.iscomplexobj(found) != np.iscomplexobj(places):
                return None
            if middle is not None and not np.array_equal(middle, found[0]):
                return None
            middle = found[0]
            values[start:stop] = found[1 : stop - start + 1]
    if middle is None:
        return None
    return values.reshape(points, n, -1), middle


def stack_outputs(objective: Objective, name: str, stack: Array, evaluations: int) -> Array | None:
    """One call of forward_stacked with one array stacked; rows by outputs, or None if it fails."""
    objective.ledger.evaluations[objective.ledger.phase] += evaluations
    try:
        parts = as_outputs(objective.stacked(name, stack))
    except Exception:  # noqa: BLE001 - an optional shortcut: without it the loop does the work and reports what is wrong
        objective.ledger.evaluations[objective.ledger.phase] -= evaluations
        return None
    count = len(stack)
    if sum(math.prod(part.shape[1:]) for part in parts) != objective.outputs:
        return None
    kind = np.result_type(np.float64, *(part.dtype for part in parts))
    if len(parts) == 1 and parts[0].dtype == kind and not np.may_share_memory(parts[0], stack):
        return parts[0].reshape(count, objective.outputs)
    out = np.empty((count, objective.outputs), kind)
    place = 0
    for part in parts:  # whatever order its axes have in memory, it is copied once
        size = math.prod(part.shape[1:])
        np.copyto(out[:, place : place + size].reshape(count, *part.shape[1:]), part)
        place += size
    return out


def stacks_agree(objective: Objective, wrt: Sequence[str], centre: Array, noise: Noise) -> bool:
    """Whether stacks of two points, one array at a time, give what single calls give, to the rounding."""
    if not callable(getattr(objective.layer, "forward_stacked", None)) or centre.dtype != np.float64:
        return False
    allowed = float(64 * noise.sigma.max(initial=0.0))
    for name in wrt:
        array = objective.arrays[name]
        stack = np.stack([array, array * 1.25]).astype(array.dtype)
        single = [centre, objective.moved({name: stack[1]})]
        found = stack_outputs(objective, name, stack, 2)
        if found is None or any(
            one is not None and not (np.abs(row - one) <= allowed + 1e-12 * np.abs(one)).all()
            for row, one in zip(found, single, strict=True)
        ):
            return False
    return True

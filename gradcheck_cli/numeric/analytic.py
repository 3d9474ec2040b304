"""The analytic value of every element. Rows of a Jacobian come many at a time, where the layer carries one more axis.

A layer whose arrays and outputs simply gain an axis answers a stack of cotangents row by row. That is found by trying:
some rows must be what single calls give, and a random combination of all of them what one call gives for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Objective, fitted, quiet

STACK_BYTES = 4_000_000  # of the arrays of one call
FEWEST = 16  # outputs from which on a stack pays
ROUNDING = 256.0  # last places by which a stack may differ from single calls


def analytic_values(
    objective: Objective, wrt: Sequence[str], arrays: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """The analytic value of every element: for each array a table of its entries by the units."""
    arrays = arrays or objective.arrays
    if objective.view == "vjp":
        gradients = objective.vjp(objective.cotangent, arrays)
        return {name: fitted(gradients.get(name), arrays[name].shape)[:, None].copy() for name in wrt}
    return stacked_rows(objective, wrt, arrays) or _single_rows(objective, wrt, arrays)


def _single_rows(objective: Objective, wrt: Sequence[str], arrays: Mapping[str, Array]) -> dict[str, Array]:
    tables = {name: np.empty((arrays[name].size, objective.outputs)) for name in wrt}
    for unit, cotangent in enumerate(np.eye(objective.outputs)):
        gradients = objective.vjp(cotangent, arrays)
        for name, table in tables.items():
            table[:, unit] = fitted(gradients.get(name), arrays[name].shape)
    return tables


def stacked_rows(objective: Objective, wrt: Sequence[str], arrays: Mapping[str, Array]) -> dict[str, Array] | None:
    """For each array a table of its entries by the outputs; None where the layer does not answer row by row.

    Only of layers that can be stacked at all, for their code expects it; somebody's own function is called as ever.
    """
    count = objective.outputs
    if count < FEWEST or not callable(getattr(objective.layer, "forward_stacked", None)):
        return None
    size = max(2, STACK_BYTES // (8 * (count + sum(array.size for array in arrays.values()))))
    tables = {name: np.empty((count, arrays[name].size)) for name in wrt}
    for start in range(0, count, size):
        rows = np.zeros((min(size, count - start), count))
        np.fill_diagonal(rows[:, start:], 1.0)
        found = _answer(objective, wrt, arrays, rows)
        if found is None:
            return None
        for name in wrt:
            tables[name][start : start + len(rows)] = found[name]
    if not _confirmed(objective, arrays, tables):
        return None
    return {name: np.ascontiguousarray(table.T) for name, table in tables.items()}


def _answer(
    objective: Objective, wrt: Sequence[str], arrays: Mapping[str, Array], rows: Array
) -> dict[str, Array] | None:
    """One call with all arrays repeated along a leading axis, one row of cotangents each."""
    many, ends = len(rows), np.cumsum([math.prod(shape) for shape in objective.shapes])
    parts = [
        part.reshape(many, *shape).astype(dtype)
        for part, shape, dtype in zip(
            np.split(rows, ends[:-1], axis=1), objective.shapes, objective.dtypes, strict=True
        )
    ]
    copies = {name: np.repeat(array[None], many, axis=0) for name, array in arrays.items()}
    objective.ledger.vjp_calls += many
    try:
        with quiet:
            found = objective.layer.vjp(tuple(parts) if objective.several else parts[0], **copies)
        tables = {name: np.asarray(found[name]) for name in wrt}
    except Exception:  # noqa: BLE001 - a shortcut that the layer need not know; single calls report what is wrong
        tables = {}
    fits = all(
        name in tables and tables[name].shape == (many, *arrays[name].shape) and tables[name].dtype == np.float64
        for name in wrt
    )
    if not fits:
        objective.ledger.vjp_calls -= many
        return None
    return {name: table.reshape(many, -1) for name, table in tables.items()}


def _confirmed(objective: Objective, arrays: Mapping[str, Array], tables: Mapping[str, Array]) -> bool:
    """Whether the first and the last row, and a random combination of all, are what single calls give."""
    rng = np.random.default_rng(5)
    mixed = rng.choice([-1.0, 1.0], objective.outputs) * rng.uniform(0.5, 1.5, objective.outputs)
    first = np.eye(1, objective.outputs)[0]
    singles = [objective.vjp(cotangent, arrays) for cotangent in (first, first[::-1], mixed)]
    for name, table in tables.items():
        sums = np.stack([table[0], table[-1], mixed @ table])
        terms = np.stack([np.abs(table[0]), np.abs(table[-1]), np.abs(mixed) @ np.abs(table)])
        error = np.abs(sums - np.stack([fitted(single.get(name), arrays[name].shape) for single in singles]))
        if not (error <= ROUNDING * np.finfo(np.float64).eps * terms).all():
            return False
    return True

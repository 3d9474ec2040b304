"""One array as a table: rows along the axes that a layer keeps apart, columns along the others.

Elements of different rows move different outputs, so one evaluation serves all rows at once. The structure is found by
experiment with an evaluation for each axis, and every probe tests it again: what leaks out of a row moves outputs that
nobody owns, or is a difference that no element of the other row explains.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from gradcheck_cli.layer import Array, Shape
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.structure import along

Follows = tuple[int | None, ...]  # for each output, which of its axes follows; None where the output does not move


class Grid:
    """An array of an objective as rows by columns; `axes` are the separable ones, with what follows each."""

    def __init__(self, objective: Objective, name: str, axes: dict[int, Follows]) -> None:
        self.objective, self.name, self.axes = objective, name, axes
        self.shape: Shape = objective.arrays[name].shape
        self.order = [*axes, *(k for k in range(len(self.shape)) if k not in axes)]
        self.lengths = tuple(self.shape[axis] for axis in axes)
        self.rows = int(np.prod(self.lengths))
        self.columns = objective.arrays[name].size // max(self.rows, 1)

    def table(self, array: Array) -> Array:
        """An array of this shape as rows by columns; the same memory where its axes are in this order."""
        return array.reshape(self.shape).transpose(self.order).reshape(self.rows, self.columns)

    def array(self, table: Array) -> Array:
        """Back from rows by columns."""
        ordered = table.reshape([self.shape[axis] for axis in self.order])
        return np.ascontiguousarray(ordered.transpose(np.argsort(self.order)))

    def place(self, row: int, column: int) -> int:
        """The flat index in the array of an entry of the table."""
        inner = [self.shape[axis] for axis in self.order[len(self.axes) :]]
        index = np.zeros(len(self.shape), int)
        index[self.order] = [*np.unravel_index(row, self.lengths), *np.unravel_index(column, inner)]
        return int(np.ravel_multi_index(tuple(index.tolist()), self.shape))

    def find(self, index: int) -> tuple[int, int]:
        """The row and the column of an entry by its flat index in the array."""
        whole = np.unravel_index(index, self.shape)
        outer, inner = self.order[: len(self.axes)], self.order[len(self.axes) :]
        return tuple(  # type: ignore[return-value] # it has two entries
            int(np.ravel_multi_index([whole[k] for k in axes], [self.shape[k] for k in axes])) if axes else 0
            for axes in (outer, inner)
        )

    @cached_property
    def owner(self) -> Array:
        """The row that moves each output; -1 where none does."""
        parts = [np.zeros(0, int)]
        for k, shape in enumerate(self.objective.shapes):
            places = [follows[k] for follows in self.axes.values()]
            row = np.zeros(shape, int)
            for length, place in zip(self.lengths, places, strict=True):
                if place is None:
                    row = np.full(shape, -1)
                    break
                row = row * length + np.indices(shape, sparse=True)[place]
            parts.append(row.reshape(-1))
        return np.concatenate(parts)

    def outputs(self, row: int) -> Array:
        """The flat outputs that a row moves."""
        order, starts = self._ordered
        return order[starts[row] : starts[row + 1]]

    @cached_property
    def _ordered(self) -> tuple[Array, Array]:
        """The outputs sorted by their rows, and where those of each row start."""
        order = np.argsort(self.owner, kind="stable")
        return order, np.searchsorted(self.owner[order], np.arange(self.rows + 1))

    def noise(self, noise: Noise, centre: Array) -> Noise:
        """The noise of each row's outputs, contracted, with their own sums of |weight output|."""
        largest = float(noise.weighted.max(initial=0.0)) or 1.0
        squares = (noise.weighted / largest) ** 2
        whole = largest * float(np.sqrt(squares.sum())) or 1.0
        total = largest * np.sqrt(self.gather(squares[None, :])[0]) * float(noise.total[0]) / whole
        magnitude = self.gather(np.abs(self.objective.weights * centre)[None, :])[0]
        return replace(noise, total=total, magnitude=magnitude)

    def gather(self, terms: Array) -> Array:
        """Contract terms (n, outputs) to rows (n, rows)."""
        mine = self.owner >= 0
        return np.stack([np.bincount(self.owner[mine], one[mine], self.rows) for one in terms])


def sort_out(objective: Objective, name: str, length: float, centre: Array) -> Grid:
    """Find the separable axes: a random half of the slices moves its own slices of each output and nothing else."""
    array, axes = objective.arrays[name], dict[int, Follows]()
    for axis in sorted((k for k in range(array.ndim) if array.shape[k] > 1), key=lambda k: -array.shape[k]):
        taken = {(k, place) for follows in axes.values() for k, place in enumerate(follows)}
        found = _follows(objective, name, axis, length, centre, taken)
        if found is not None:
            axes[axis] = found
    return Grid(objective, name, axes)


def _follows(
    objective: Objective, name: str, axis: int, length: float, centre: Array, taken: set[tuple[int, int | None]]
) -> Follows | None:
    array = objective.arrays[name]
    rng = np.random.default_rng(axis)
    chosen = rng.permutation(array.shape[axis]) % 2 == 0
    here = (*[slice(None)] * axis, chosen)
    amounts = np.copysign(0.5, rng.random(array[here].shape, np.float32) - 0.5).astype(array.dtype)
    for far in (2 * length * amounts, 0.5 * np.abs(array[here]) * amounts):
        place = array.copy()
        place[here] += far
        values = objective.moved({name: place})
        if values is not None:
            return _followed(objective.shapes, values != centre, chosen, taken)
    return None


def _followed(
    shapes: tuple[Shape, ...], changed: Array, chosen: Array, taken: set[tuple[int, int | None]]
) -> Follows | None:
    follows: list[int | None] = []
    start = 0
    for k, shape in enumerate(shapes):
        part = changed[start : start + int(np.prod(shape))].reshape(shape)
        start += part.size
        fitting = (b for b in range(part.ndim) if part.shape[b] == chosen.size and (k, b) not in taken)
        place = next((b for b in fitting if not along(part, b)[~chosen].any()), None)
        if place is None and part.any():
            return None
        follows.append(place if part.any() else None)
    return tuple(follows) if any(place is not None for place in follows) else None

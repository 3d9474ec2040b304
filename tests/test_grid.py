"""Arrays as rows by columns: which axes are found separable, and that tables and places agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.evidence import UNIT64
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.grid import Grid, sort_out
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective, flatten
from gradcheck_cli.numeric.shared import Groups
from gradcheck_cli.numeric.slabs import SLAB, slabs
from gradcheck_cli.numeric.structure import AxisMap
from tests.searching import batch_norm, softmax


def grid_of(f: Callable[[Array], Any], x: Array) -> Grid:
    class Layer:
        def forward(self, x: Array) -> Any:
            return f(x)

        def vjp(self, dy: Any, x: Array) -> dict[str, Array]:
            return {}

    outputs = f(x) if isinstance(f(x), tuple) else (f(x),)
    objective = Objective(Layer(), {"x": x}, outputs)
    return sort_out(objective, "x", 1.0, flatten(outputs))


X = np.random.default_rng(0).normal(size=(5, 7, 6))


@pytest.mark.parametrize(
    ("f", "axes"),
    [
        (np.tanh, {0: (0,), 1: (1,), 2: (2,)}),
        (lambda x: x.sum(axis=1), {0: (0,), 2: (1,)}),
        (lambda x: x.transpose(2, 0, 1), {0: (1,), 1: (2,), 2: (0,)}),
        (lambda x: (x.sum(axis=0), x.sum(axis=2)), {1: (0, 1)}),
        (lambda x: (np.tanh(x), np.ones(3)), {0: (0, None), 1: (1, None), 2: (2, None)}),
        (lambda x: np.cumsum(x, axis=1), {0: (0,), 2: (2,)}),
        (lambda x: x.sum(keepdims=True), {}),
        (lambda x: np.ones(4), {}),
    ],
)
def test_separable_axes_are_found(f: Callable[[Array], Any], axes: dict[int, tuple[int | None, ...]]) -> None:
    assert grid_of(f, X).axes == axes


@pytest.mark.parametrize("f", [batch_norm, softmax])
def test_axes_that_are_mixed_are_not(f: Callable[[Array], Array]) -> None:
    assert grid_of(f, X[0]).axes == {1: (1,)}


@pytest.mark.parametrize("f", [np.tanh, lambda x: x.sum(axis=1), lambda x: x.sum(keepdims=True)])
def test_tables_and_places_agree(f: Callable[[Array], Array]) -> None:
    grid = grid_of(f, X)
    table = grid.table(X)
    assert table.shape == (grid.rows, grid.columns)
    assert np.array_equal(grid.array(table), X)
    for index in range(X.size):
        row, column = grid.find(index)
        assert grid.place(row, column) == index
        assert table[row, column] == X.reshape(-1)[index]


def test_rows_own_what_they_move() -> None:
    grid = grid_of(lambda x: (x.sum(axis=1), np.ones(3)), X)
    assert (grid.owner[-3:] == -1).all()
    terms = np.arange(1.0, 34.0)[None, :]
    gathered = grid.gather(terms)[0]
    for row in range(grid.rows):
        assert gathered[row] == terms[0, grid.owner == row].sum()


def test_rows_have_the_noise_of_what_they_own_in_the_order_in_which_elements_move_together() -> None:
    grid = grid_of(lambda x: x.sum(axis=1).T, X)
    weighted, centre = np.arange(1.0, 31.0), -np.arange(30.0)
    whole = np.sqrt((weighted**2).sum())
    noise = grid.noise(Noise(weighted, weighted, np.array([whole]), np.array([435.0]), weighted, UNIT64), centre)
    maps = tuple(AxisMap(axis, ends, (None,), (np.arange(X.shape[axis]),)) for axis, ends in grid.axes.items())
    for _, gather in Groups(grid.objective, "x", maps):
        assert np.allclose(noise.total**2, gather(weighted[None, :] ** 2, np.ones(30))[0])
        assert np.allclose(noise.magnitude, gather(np.abs(centre)[None, :], np.abs(grid.objective.weights))[0])
    assert len(set(noise.total.tolist())) == grid.rows == 30


def test_slabs_cover_everything_once() -> None:
    assert list(slabs(0)) == []
    assert list(slabs(SLAB + 1)) == [slice(0, SLAB), slice(SLAB, SLAB + 1)]

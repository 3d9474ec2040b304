"""Directional probes over rows: residuals of right and wrong gradients, tiles, leaks."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.grid import Grid, sort_out
from gradcheck_cli.numeric.noise import measure
from gradcheck_cli.numeric.objective import Objective, flatten
from gradcheck_cli.numeric.probes import Probes, Tile
from tests.searching import BEHIND, Dense, dense

SIDE = 16


def probes_of(what: str, factor: Array | float = 1.0, axes: dict[int, tuple[int | None, ...]] | None = None) -> Probes:
    """The probes of W, whose analytic values are multiplied by some factors."""
    layer, arrays = Dense(*BEHIND[what]), dense(SIDE)
    y = layer.forward(**arrays)
    dy = np.random.default_rng(5).normal(size=y.shape)
    objective = Objective(layer, arrays, (y,))
    objective.cotangent = objective.weights = flatten((dy,))
    centre = flatten((y,))
    noise = measure(objective, ["W"], centre)
    grid = sort_out(objective, "W", 1.0, centre) if axes is None else Grid(objective, "W", axes)
    analytic = layer.vjp(dy, **arrays)["W"].reshape(-1) * factor
    return Probes(objective, grid, noise, centre, analytic[:, None], np.zeros((SIDE**2, 1)))


def steps(probes: Probes) -> Array:
    return np.full(probes.grid.rows, probes.step)


def test_right_rows_are_not_suspicious() -> None:
    for what in BEHIND:
        probes = probes_of(what)
        seen = probes.look(list(probes.everything()), steps(probes))
        assert seen is not None
        assert not seen.suspicious.any()
        assert not seen.leaks


def test_the_residual_of_a_wrong_row_is_its_error_times_the_move() -> None:
    factor = np.ones(SIDE**2)
    factor[3 * SIDE + 5] = 1.01
    probes = probes_of("nothing", factor)
    (tile,) = probes.everything()
    seen = probes.look([tile], steps(probes))
    assert seen is not None
    assert np.flatnonzero(seen.suspicious).tolist() == [3]
    expected = -probes.direction(tile)[3, 5] * probes.analytic[3, 5] * 0.01 / 1.01
    assert abs(seen.residual[3] - expected) <= seen.bound[3]


def test_moves_are_half_to_one_and_a_half_lengths_and_a_ramp_doubles_them() -> None:
    probes = probes_of("nothing")
    (tile,) = probes.everything()
    moves = np.abs(probes.direction(tile)) / np.maximum(np.abs(probes.x), probes.typical)
    assert moves.min() >= 0.5
    assert moves.max() <= 1.5
    ramp = probes.direction(Tile(tile.rows, tile.columns, (0, SIDE)))
    assert np.allclose(ramp, probes.direction(tile) * (1 + np.arange(SIDE) / SIDE))


def test_only_what_a_tile_holds_is_probed() -> None:
    factor = np.ones(SIDE**2)
    factor[3 * SIDE + 5] = 1.01
    probes = probes_of("mixing", factor)
    assert (probes.grid.rows, probes.grid.columns) == (1, SIDE**2)
    for columns, suspicious in ((slice(0, 53), False), (slice(53, 54), True), (slice(54, 256), False)):
        seen = probes.look([Tile(slice(0, 1), columns)], steps(probes))
        assert seen is not None
        assert seen.suspicious[0] == suspicious


def test_values_that_are_not_finite_stay_and_spoil_nothing() -> None:
    factor = np.ones(SIDE**2)
    factor[[7, 99]] = np.nan
    probes = probes_of("tanh", factor)
    assert probes.broken.tolist() == [7, 99]
    (tile,) = probes.everything()
    assert np.flatnonzero(probes.direction(tile) == 0).tolist() == [7, 99]
    seen = probes.look([tile], steps(probes))
    assert seen is not None
    assert not seen.suspicious.any()


def test_a_structure_that_mixes_is_suspicious() -> None:
    probes = probes_of("mixing", axes={0: (1,)})
    seen = probes.look(list(probes.everything()), steps(probes))
    assert seen is not None
    assert seen.suspicious.all()

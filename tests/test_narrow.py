"""Narrowing by itself: probes that are played, so that what they say is known to the last digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.probes import Seen, Tile
from gradcheck_cli.tiers.narrow import Narrowing

COLUMNS = 4096


class Played:
    """Probes of one row in which some columns have errors; ramps add `skew` times the residual to what they see."""

    def __init__(self, errors: Mapping[int, float], bound: float, skew: float = 0.0) -> None:
        self.errors, self.bound, self.skew, self.looks = errors, bound, skew, 0
        self.grid = SimpleNamespace(rows=1, columns=COLUMNS)

    def look(self, tiles: Sequence[Tile], steps: Array) -> Seen:
        """What the errors in the tiles add up to."""
        self.looks += 1
        residual = 0.0
        for tile in tiles:
            for column, error in self.errors.items():
                if tile.columns.start <= column < tile.columns.stop:
                    ramp = 0.0 if tile.ramp is None else (column - tile.ramp[0]) / tile.ramp[1] + self.skew
                    residual += error * (1 + ramp)
        one = np.ones(len(steps))
        return Seen(residual * one, self.bound * one, 0 * one, 0 * one)


def narrowed(probes: Played) -> list[int]:
    """The columns that are found."""
    everything = [Tile(slice(0, 1), slice(0, COLUMNS))]
    narrowing = Narrowing(cast("Any", probes), probes.look(everything, np.ones(1)), np.ones(1))
    probes.looks = 0
    narrowing.run()
    return sorted(column for _, column in narrowing.found)


@pytest.mark.parametrize("column", [0, 1, 2077, COLUMNS - 2, COLUMNS - 1])
@pytest.mark.parametrize("bound", [1e-9, 1e-4])
def test_one_error_is_located_and_confirmed_by_a_look_each(column: int, bound: float) -> None:
    probes = Played({column: 1.0}, bound)
    assert narrowed(probes) == [column]
    assert probes.looks == 2


@pytest.mark.parametrize("beside", [-1, 1])
def test_a_guess_that_misses_by_a_column_is_made_good_within_the_window(beside: int) -> None:
    probes = Played({2077: 1.0}, 1e-4, skew=beside / COLUMNS)
    assert narrowed(probes) == [2077]
    assert probes.looks <= 5


def test_errors_that_look_like_one_between_them_are_found() -> None:
    assert narrowed(Played({1000: 1.0, 1002: 1.0, 3000: 1e-3}, 1e-6)) == [1000, 1002, 3000]

"""The directional probe: exact where it agrees, powerless where it cannot tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.closing import Probe, directional
from gradcheck_cli.numeric.noise import measure
from gradcheck_cli.numeric.objective import Objective
from tests.judging import Map

X = np.linspace(-2.0, 3.1, 60)
DY = np.linspace(0.5, 1.5, 60)


def probe(
    f: Callable[[Array], Array], slope: Array, x: Array = X, still: Array | None = None, scale: float = 1.0
) -> tuple[Probe, int]:
    """What a probe of y = f(x) says of a slope, and how many evaluations it took."""
    objective = Objective(Map(f, lambda dy, x: dy, x.shape), {"x": x}, [DY * scale])
    centre = objective.at(objective.arrays)
    noise = measure(objective, ["x"], centre)
    objective.ledger.phase = "probe"
    rest = np.zeros(x.size, bool) if still is None else still
    found = directional(objective, noise, centre, {"x": (scale * DY * slope)[:, None]}, {"x": rest})
    return found, objective.ledger.evaluations["probe"]


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_right_gradients_agree_in_four_evaluations(scale: float) -> None:
    found, evaluations = probe(np.sin, np.cos(X), scale=scale)
    assert found.agrees
    assert found.resolution < 1e-8
    assert evaluations == 4


@pytest.mark.parametrize("error", [1e-6, 1e-3, -2.0])
def test_one_wrong_element_is_seen(error: float) -> None:
    slope = np.cos(X)
    slope[17] *= 1 + error
    found, _ = probe(np.sin, slope)
    assert found.powerful
    assert not found.agrees


def test_a_linear_function_is_seen_to_all_digits() -> None:
    found, _ = probe(lambda x: 3.0 * x, np.full(60, 3.0))
    assert found.agrees
    assert found.resolution < 1e-9


@pytest.mark.parametrize("slope_at_kink", [0.0, 0.5, 1.0])
def test_it_is_powerless_at_a_kink(slope_at_kink: float) -> None:
    x = X.copy()
    x[3] = 0.0
    slope = np.where(x > 0, 1.0, 0.0)
    slope[3] = slope_at_kink
    found, evaluations = probe(lambda x: np.maximum(x, 0.0), slope, x)
    assert not found.powerful
    assert not found.agrees
    assert evaluations == 12


def test_entries_that_keep_still_are_not_probed() -> None:
    x = X.copy()
    x[3] = 0.0
    found, _ = probe(lambda x: np.maximum(x, 0.0), np.where(x > 0, 1.0, 0.0), x, still=x == 0)
    assert found.agrees


def test_a_kink_nearby_is_passed_by_a_closer_step() -> None:
    x = X.copy()
    x[3] = 1e-6
    found, evaluations = probe(lambda x: np.maximum(x, 0.0), np.where(x > 0, 1.0, 0.0), x)
    assert found.agrees
    assert evaluations > 4


def test_a_border_of_the_domain_nearby_is_not_crossed() -> None:
    x = np.abs(X) + 1.0
    x[3] = 1e-6

    def inside(x: Array) -> Array:
        if (x <= 0).any():
            raise ValueError("outside the domain")
        return 2.0 * x

    found, _ = probe(inside, np.full(60, 2.0), x)
    assert found.agrees


@pytest.mark.parametrize("slope", [np.zeros(60), np.full(60, np.nan), np.full(60, np.inf)], ids=["0", "nan", "inf"])
def test_without_a_gradient_there_is_nothing_to_see(slope: Array) -> None:
    found, evaluations = probe(np.sin, slope)
    assert not found.agrees
    assert evaluations == 0

"""Is the gradient right beside a kink, and is what it says at the kink a subgradient?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum

import numpy as np

from gradcheck_cli.evidence import UNIT64, K, Trace
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective, fitted
from gradcheck_cli.values import dataclass

DIRECTIONS = 4


class Sides(StrEnum):
    """What the VJP says a small distance away on both sides."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Band:
    """The subgradients between the one-sided slopes, and how far its ends may be off, at the level that tells best."""

    low: float
    high: float
    slack: float
    value: float
    step: float


def band(seen: Trace) -> Band:
    """Σ min(g L, g R) to Σ max(g L, g R), from the level that noise and curvature move least."""
    levels, best = seen.levels, None
    for i, level in enumerate(levels):
        other = levels[i + 1] if i + 1 < len(levels) else levels[i - 1]
        change = float(np.abs(level.right - other.right).sum() + np.abs(level.left - other.left).sum())
        slack = K * seen.noise[i] * 2 + change
        if best is None or slack < best.slack:
            low, high = np.minimum(level.right, level.left).sum(), np.maximum(level.right, level.left).sum()
            best = Band(float(low), float(high), slack, level.value, level.step)
    if best is None:
        raise ValueError("a band needs at least one level")
    return best


@dataclass(frozen=True)
class Spot:
    """One element, with its length scale and the rounding of its analytic value."""

    name: str
    index: int
    unit: int
    length: float
    rounding: float


def sides(objective: Objective, noise: Noise, spot: Spot, away: float, error: float = math.inf) -> Sides:
    """Compare the VJP with central differences at x + away and x - away; 6 evaluations and 2 VJP calls.

    Right means right to less than half of `error`, the error at the point itself.
    """
    answers = {_side(objective, noise, spot, sign * away, error) for sign in (1, -1)}
    if Sides.WRONG in answers:
        return Sides.WRONG
    return Sides.RIGHT if answers == {Sides.RIGHT} else Sides.UNKNOWN


def _side(objective: Objective, noise: Noise, spot: Spot, away: float, error: float) -> Sides:
    alone = objective.view == "jacobian"
    function = objective.along(spot.name, spot.index, spot.unit if alone else None)
    moved = objective.arrays[spot.name].copy()
    flat = moved.reshape(-1)
    flat[spot.index] += away
    x, step = flat[spot.index], abs(away) / 4
    middle, plus, minus = (function(place) for place in (x, x + type(x)(step), x - type(x)(step)))
    analytic = _analytic(objective, spot, moved)
    if middle is None or plus is None or minus is None or analytic is None:
        return Sides.UNKNOWN
    weights = objective.weights[spot.unit : spot.unit + 1] if alone else objective.weights
    mine = noise.of_unit(spot.unit) if alone else noise
    made = float((x + type(x)(step)) - (x - type(x)(step)))
    if made == 0:
        return Sides.UNKNOWN  # the working precision does not hold so small a step
    numeric = float((weights * (plus - minus)).sum()) / made
    mismatch = 2 * float(np.abs(weights * (plus + minus - 2 * middle)).sum()) / made
    slope = float(np.abs(weights * (plus - minus)).sum()) / made
    if mismatch > 0.05 * slope + 6 * float(mine.weighted.sum()) / step:
        return Sides.UNKNOWN  # another kink is near
    allowed = K * float(np.sqrt(2) * mine.total[0]) / made + mismatch + spot.rounding
    allowed += 1e-6 * max(abs(analytic), abs(numeric))
    allowed += 1e3 * max(noise.unit, UNIT64) * float(mine.magnitude[0]) / spot.length
    if abs(analytic - numeric) > 4 * allowed:
        return Sides.WRONG
    return Sides.RIGHT if 4 * allowed <= error / 2 else Sides.UNKNOWN


def _analytic(objective: Objective, spot: Spot, moved: Array) -> float | None:
    cotangent = objective.cotangent if objective.view == "vjp" else np.eye(objective.outputs)[spot.unit]
    try:
        gradient = objective.vjp(cotangent, objective.arrays | {spot.name: moved}).get(spot.name)
    except Exception:  # noqa: BLE001 - beside the point the VJP may have no value
        return None
    return float(fitted(gradient, moved.shape)[spot.index])


def directions(values: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Directions over kink elements at which a false subgradient shows: tied ones together, with random signs.

    `values` are the entries of the kink elements; equal sizes count as tied and move together.
    """
    _, group = np.unique(np.abs(values), return_inverse=True)
    groups = int(group.max(initial=-1)) + 1
    yield np.ones(values.size)
    for member in range(min(groups, DIRECTIONS)):
        yield (group == member).astype(np.float64)
    for _ in range(DIRECTIONS):
        yield rng.choice([-1.0, 1.0], groups)[group]
    for _ in range(DIRECTIONS):
        yield rng.choice([-1.0, 1.0], values.size)


@dataclass(frozen=True)
class Together:
    """Entries of one array that move together."""

    name: str
    indices: Array
    direction: Array
    step: float


def slopes(objective: Objective, moved: Together, step: float) -> tuple[Array, Array] | None:
    """Weighted one-sided slopes of all outputs when the entries move; None outside the domain."""
    array = objective.arrays[moved.name]
    ends = []
    for sign in (1, 0, -1):
        place = array.copy()
        place.reshape(-1)[moved.indices] += (sign * step * moved.direction).astype(array.dtype)
        ends.append(objective.moved({moved.name: place}))
    plus, middle, minus = ends
    if plus is None or middle is None or minus is None:
        return None
    return objective.weights * (plus - middle) / step, objective.weights * (middle - minus) / step


def violates(objective: Objective, noise: Noise, moved: Together, analytic: Array) -> Array | None:
    """For each unit whether ⟨analytic, direction⟩ is no slope between the one-sided ones; None if it can't be told."""
    coarse, fine = slopes(objective, moved, moved.step), slopes(objective, moved, moved.step / 4)
    if coarse is None or fine is None:
        return None
    low = objective.gather(np.minimum(fine[0], fine[1]))
    high = objective.gather(np.maximum(fine[0], fine[1]))
    change = objective.gather(np.abs(coarse[0] - fine[0]) + np.abs(coarse[1] - fine[1]))
    slack = 2 * change + 8 * K * noise.total / moved.step + 1e-9 * np.abs(analytic).sum(axis=0)
    product = (analytic * moved.direction[:, None]).sum(axis=0)
    return np.asarray((product < low - slack) | (product > high + slack))

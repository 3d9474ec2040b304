"""Is the gradient right beside a kink, and is what it says at the kink a subgradient?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from gradcheck_cli.evidence import UNIT64, K, Trace
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective, fitted

DIRECTIONS = 4


class Sides(StrEnum):
    """What the VJP says a small distance away on both sides."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Band:
    """The subgradients between the one-sided slopes, and how far its ends may be off."""

    low: float
    high: float
    slack: float

    def holds(self, value: float) -> bool:
        """Whether a value lies in it."""
        return self.low - self.slack <= value <= self.high + self.slack


def band(seen: Trace) -> Band:
    """Σ min(g L, g R) to Σ max(g L, g R), from the level that noise and curvature move least."""
    levels, best = seen.levels, None
    for i, level in enumerate(levels):
        other = levels[i + 1] if i + 1 < len(levels) else levels[i - 1]
        change = float(np.abs(level.right - other.right).sum() + np.abs(level.left - other.left).sum())
        slack = K * seen.noise[i] * 2 + change
        if best is None or slack < best.slack:
            low, high = np.minimum(level.right, level.left).sum(), np.maximum(level.right, level.left).sum()
            best = Band(float(low), float(high), slack)
    if best is None:
        raise ValueError("a band needs at least one level")
    return best


def sides(
    objective: Objective,
    noise: Noise,
    name: str,
    index: int,
    unit: int,
    away: float,
    length: float,
    rounding: float,
    error: float = math.inf,
) -> Sides:
    """Compare the VJP with central differences at x + away and x - away; 6 evaluations and 2 VJP calls.

    Right means right to less than half of `error`, the error at the point itself.
    """
    answers = {_side(objective, noise, name, index, unit, sign * away, length, rounding, error) for sign in (1, -1)}
    if Sides.WRONG in answers:
        return Sides.WRONG
    return Sides.RIGHT if answers == {Sides.RIGHT} else Sides.UNKNOWN


def _side(
    objective: Objective,
    noise: Noise,
    name: str,
    index: int,
    unit: int,
    away: float,
    length: float,
    rounding: float,
    error: float,
) -> Sides:
    function = objective.along(name, index, unit if objective.view == "jacobian" else None)
    moved = objective.arrays[name].copy()
    flat = moved.reshape(-1)
    flat[index] += away
    x, step = flat[index], abs(away) / 4
    values = [function(x), function(x + type(x)(step)), function(x - type(x)(step))]
    if any(value is None for value in values):
        return Sides.UNKNOWN
    middle, plus, minus = (np.asarray(value) for value in values)
    weights = objective.weights[unit : unit + 1] if objective.view == "jacobian" else objective.weights
    cotangent = objective.cotangent if objective.view == "vjp" else np.eye(objective.outputs)[unit]
    try:
        gradient = objective.vjp(cotangent, objective.arrays | {name: moved}).get(name)
    except Exception:  # noqa: BLE001 - beside the point the VJP may have no value
        return Sides.UNKNOWN
    analytic = float(fitted(gradient, moved.shape)[index])
    made = float((x + type(x)(step)) - (x - type(x)(step)))
    numeric = float((weights * (plus - minus)).sum()) / made
    mismatch = 2 * float(np.abs(weights * (plus + minus - 2 * middle)).sum()) / made
    slope = float(np.abs(weights * (plus - minus)).sum()) / made
    mine = noise.of_unit(unit) if objective.view == "jacobian" else noise
    rough = K * float(np.sqrt(2) * mine.total[0]) / made
    if mismatch > 0.05 * slope + 6 * float(mine.weighted.sum()) / step:
        return Sides.UNKNOWN
    allowed = rough + mismatch + 1e-6 * max(abs(analytic), abs(numeric)) + rounding
    allowed += 1e3 * max(noise.unit, UNIT64) * float(mine.magnitude[0]) / length
    if abs(analytic - numeric) > 4 * allowed:
        return Sides.WRONG
    return Sides.RIGHT if 4 * allowed <= error / 2 else Sides.UNKNOWN


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


def along(objective: Objective, name: str, indices: Array, direction: Array, step: float) -> tuple[Array, Array] | None:
    """Weighted one-sided slopes of all outputs when the elements move together; None outside the domain."""
    array = objective.arrays[name]
    ends = []
    for sign in (1, -1):
        moved = array.copy()
        moved.reshape(-1)[indices] += (sign * step * direction).astype(array.dtype)
        ends.append(objective.moved({name: moved}))
    middle = objective.moved({})
    if ends[0] is None or ends[1] is None or middle is None:
        return None
    return objective.weights * (ends[0] - middle) / step, objective.weights * (middle - ends[1]) / step


def violates(
    objective: Objective, noise: Noise, name: str, indices: Array, analytic: Array, direction: Array, step: float
) -> Array | None:
    """For each unit whether ⟨analytic, direction⟩ is no slope between the one-sided ones; None if it can't be told."""
    slopes = along(objective, name, indices, direction, step)
    finer = along(objective, name, indices, direction, step / 4)
    if slopes is None or finer is None:
        return None
    low = objective.gather(np.minimum(finer[0], finer[1]))
    high = objective.gather(np.maximum(finer[0], finer[1]))
    change = objective.gather(np.abs(slopes[0] - finer[0]) + np.abs(slopes[1] - finer[1]))
    slack = 2 * change + 8 * K * noise.total / step + 1e-9 * np.abs(analytic).sum(axis=0)
    product = (analytic * direction[:, None]).sum(axis=0)
    return np.asarray((product < low - slack) | (product > high + slack))

"""The rounding of the VJP, by second differences along fine lines in the arrays and in dy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradcheck_cli.evidence import K
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.fine import displacement, moves_of
from gradcheck_cli.numeric.noise import LINES, PRECISIONS, beside, scales
from gradcheck_cli.numeric.objective import Objective, fitted
from gradcheck_cli.numeric.slabs import slabs
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class AnalyticNoise:
    """Bounds on the rounding of the analytic values, an array by units for each name; `unit` is the VJP's precision."""

    bound: Mapping[str, Array]
    unit: float


def measure_analytic(
    objective: Objective, wrt: Sequence[str], analytic: Mapping[str, Array], unit: float, closely: bool = False
) -> AnalyticNoise:
    """Bound the rounding of the analytic values by second differences of the VJP along three lines; 6 VJP calls.

    Three values of one element may be alike by luck: `closely` takes about twice as many lines. In the Jacobian view
    one random cotangent stands for all rows: its rounding bounds that of each.
    """
    dtype = PRECISIONS[unit]
    middle = {name: analytic[name][:, 0] for name in wrt} if objective.view == "vjp" else contracted(objective, wrt)
    with np.errstate(invalid="ignore", over="ignore"):
        own = _own_rounding(objective, wrt, middle, dtype, closely)
    bound = {name: _bound(own[name], middle[name], analytic[name], unit) for name in wrt}
    return AnalyticNoise(bound, unit)


def _own_rounding(
    objective: Objective, wrt: Sequence[str], middle: Mapping[str, Array], dtype: np.dtype[np.floating], closely: bool
) -> dict[str, Array]:
    """Noise of the VJP: second differences along fine lines in the arrays, and in dy, in which it is linear."""
    own = {name: np.zeros(objective.arrays[name].size) for name in wrt}
    short, long = LINES[dtype]
    powers = (short // 4 << k for k in range((4 * long // short).bit_length()))
    for scale in powers if closely else scales(objective, LINES[dtype]):
        moves = {name: moves_of(objective, name, scale, dtype) for name in wrt}
        right, left = (
            contracted(objective, wrt, arrays={n: beside(objective.arrays[n], sign, moves[n]) for n in wrt})
            for sign in (1, -1)
        )
        _widen(own, right, middle, left, drifting=True)
    move = displacement(objective.cotangent, LINES[dtype][0], dtype)
    right, left = (contracted(objective, wrt, cotangent=objective.cotangent + sign * move) for sign in (1, -1))
    _widen(own, right, middle, left, drifting=False)
    return own


def _widen(
    own: Mapping[str, Array],
    right: Mapping[str, Array],
    middle: Mapping[str, Array],
    left: Mapping[str, Array],
    drifting: bool,
) -> None:
    """Raise the noise to what the second difference of three values shows of it."""
    for name, noise in own.items():
        for part in slabs(noise.size):
            high, centre, low = right[name][part], middle[name][part], left[name][part]
            seen = np.abs((high - centre) - (centre - low)) / np.sqrt(6)
            if drifting:  # a kink on the line spoils one side only
                seen = np.minimum(seen, np.minimum(np.abs(high - centre), np.abs(low - centre)))
            noise[part] = np.fmax(noise[part], np.where(np.isfinite(seen), 1.5 * seen, 0.0))


def contracted(
    objective: Objective,
    wrt: Sequence[str],
    arrays: Mapping[str, Array] | None = None,
    cotangent: Array | None = None,
) -> dict[str, Array]:
    """The VJP at other arrays or of another cotangent, flat, NaN where it cannot be had."""
    dy = objective.cotangent if cotangent is None else cotangent
    try:
        gradients = objective.vjp(dy, objective.arrays | dict(arrays or {}))
    except Exception:  # noqa: BLE001 - the plumbing tests report what the VJP raises
        gradients = {}
    return {name: fitted(gradients.get(name), objective.arrays[name].shape) for name in wrt}


def _bound(own: Array, middle: Array, analytic: Array, unit: float) -> Array:
    seen = np.isfinite(middle) & (middle != 0)
    ratio = np.abs(own[seen] / middle[seen])
    typical = _lower_quartile(ratio) if ratio.size else 0.0
    bound = np.empty(analytic.shape)
    for part in slabs(own.size):
        magnitude = np.abs(analytic[part])
        bound[part] = K * np.maximum(own[part, None], typical * magnitude) + 8 * unit * magnitude
    return bound


def _lower_quartile(values: Array) -> float:
    """What np.quantile says, without the masked arrays that it imports: they take longer than a small check."""
    at, quarters = divmod(values.size - 1, 4)
    above = min(at + 1, values.size - 1)
    ordered = np.partition(values, (at, above))
    return float(ordered[at] + quarters / 4 * (ordered[above] - ordered[at]))

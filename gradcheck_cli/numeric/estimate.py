"""From the levels of a ladder to a value, its uncertainty, and what kind of point this is. Pure functions.

The vector of one-sided slope mismatches tells the kinds apart by its power law: A(h) = C h stays level in noise or at a
jump, grows like h at a kink and like h² where the function is smooth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from gradcheck_cli.differences.richardson import tableau
from gradcheck_cli.evidence import K, LadderEstimate, Level, Status, Trace
from gradcheck_cli.numeric.levels import Ladder
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class _Shape:
    status: Status
    block: range
    inflation: float = 1.0
    flat: bool = False
    visible: int = 0


def trace(ladder: Ladder) -> Trace:
    """Freeze a ladder's levels with what is known of its noise."""
    noise = tuple(ladder.noise_of(level) for level in ladder.levels)
    relative = float(ladder.line.noise.relative[0])
    return Trace(
        tuple(ladder.levels),
        noise,
        tuple(ladder.absolute_noise(level) for level in ladder.levels),
        ladder.magnitude,
        ladder.line.length,
        relative,
        ladder.hidden,
    )


def estimate(seen: Trace) -> LadderEstimate:
    """Value and uncertainty from the levels; the status says whether they can be trusted."""
    shape = classify(seen)
    inflation = scatter(seen, shape)
    noise = [
        inflation * K * n + 8 * seen.relative * level.slope for n, level in zip(seen.noise, seen.levels, strict=True)
    ]
    block, flat, broken = grow(seen, shape.block, noise)
    value, uncertainty, base = extrapolate(seen.levels, block, noise)
    uncertainty += disagreement(seen.levels, block, base, value, noise)
    return LadderEstimate(
        value=value,
        uncertainty=uncertainty if math.isfinite(uncertainty) else math.inf,
        step=seen.levels[base].step,
        roundoff=seen.noise[base],
        status=shape.status,
        flat=flat or shape.flat,
        inflation=inflation,
        base=base,
        block=tuple(block),
        ended_by_break=broken,
        visible=shape.visible,
    )


def _power(seen: Trace, k: int) -> float:
    low, high = seen.levels[k], seen.levels[k + 1]
    a, b = low.mismatch * low.step, high.mismatch * high.step
    if a <= 0:
        return math.inf if b > 0 else 0.0
    return math.log(max(b, 1e-300) / a) / math.log(high.step / low.step)


def _second(level: Level) -> float:
    return level.mismatch * level.step


def classify(seen: Trace) -> _Shape:
    """Smooth, kink, jump or too curved, by the power law of the second difference; which levels behave alike."""
    count, inflation = len(seen.levels), 1.0
    first = _first_visible(seen, inflation)
    if first is None:
        return _Shape(Status.SMOOTH, range(count))
    if first + 1 < count and _power(seen, first) < 0.5:
        height = _second(seen.levels[first])
        if height < 1e-6 * seen.magnitude:
            inflation = max(1.0, height / max(2 * seen.absolute_noise[first], 1e-300))
        elif first == 0:
            return _Shape(Status.JUMP, range(1))
        else:
            return _Shape(Status.SMOOTH, range(first), flat=True)
    j = _first_visible(seen, inflation)
    if j is None:
        return _Shape(Status.SMOOTH, range(count), inflation)
    return replace(_informative(seen, j, inflation), inflation=inflation, visible=j)


def _first_visible(seen: Trace, inflation: float) -> int | None:
    levels = range(len(seen.levels))
    return next((k for k in levels if _second(seen.levels[k]) > inflation * seen.visible(k)), None)


def _informative(seen: Trace, j: int, inflation: float) -> _Shape:
    """The shape from the first level whose second difference is more than noise."""
    count, levels = len(seen.levels), seen.levels
    slope = _second(levels[j]) / levels[j].step  # of the line that a kink at x would follow
    clear = [i for i in range(j) if slope * levels[i].step > max(3 * _second(levels[i]), inflation * seen.visible(i))]
    if j + 1 == count:
        if levels[j].mismatch <= 0.02 * levels[j].slope:
            return _Shape(Status.SMOOTH, range(count))
        return _Shape(Status.SMOOTH, range(j)) if j else _Shape(Status.CURVED, range(1))
    power = _power(seen, j)
    faint = _second(levels[j]) < 10 * inflation * seen.visible(j)
    transitional = faint and j + 2 < count and _power(seen, j + 1) >= 1.6
    if power >= 1.5 or transitional:
        return _Shape(Status.SMOOTH, range(_smooth_end(seen, j + transitional, inflation)))
    if clear:
        return _Shape(Status.SMOOTH, range(max(clear) + 1))
    return _Shape(Status.KINK if power > 0.5 else Status.CURVED, range(1))


def _smooth_end(seen: Trace, j: int, inflation: float) -> int:
    """One past the last level that still follows the h² law; a kink that enters ends it."""
    levels = seen.levels
    for k in range(j, len(levels) - 1):
        factor = levels[k + 1].step / levels[k].step
        if not 1.3 <= _power(seen, k) <= 2.8:
            return k + 1
        if _second(levels[k + 1]) > 2.5 * factor**2 * max(_second(levels[k]), inflation * seen.visible(k)):
            return k + 1
    return len(levels)


def scatter(seen: Trace, shape: _Shape) -> float:
    """How much more noise than measured the lowest levels show: differences that do not shrink with the step."""
    inflation, d = shape.inflation, _differences(seen.levels, shape.block)
    for _ in range(len(d)):
        ratios = []
        for i in range(len(d) - 1):
            noise = inflation * (seen.noise[i] + seen.noise[i + 1]) * K
            if not (d[i] > noise and d[i] > 0.5 * d[i + 1]):
                break
            ratios.append(min(d[i] / max(noise, 1e-300), 1e300))
        if not ratios:
            break
        inflation *= 1.5 * max(ratios)
    return inflation


def _differences(levels: Sequence[Level], block: range) -> list[float]:
    return [abs(levels[i + 1].value - levels[i].value) for i in block if i + 1 in block]


def grow(seen: Trace, block: range, noise: Sequence[float]) -> tuple[range, bool, bool]:
    """The lowest levels of a block whose differences grow as an expansion in h² says; is it flat; broken off."""
    levels, d = seen.levels, _differences(seen.levels, block)
    stop, broken, flat = len(block), False, False
    for i in range(len(d) - 1):
        squared = (levels[i + 2].step / levels[i + 1].step) ** 2
        pair = noise[i] + noise[i + 1]
        if d[i] > pair and d[i + 1] < 0.35 * squared * d[i]:
            stop = i + 2
            break
        if d[i + 1] > 4 * squared * (d[i] + pair):
            stop, broken = i + 2, levels[i + 2].step < seen.length / 32
            flat = broken and d[i + 1] > 2 * levels[i + 2].mismatch + noise[i + 1] + noise[i + 2]
            break
    kept = range(stop)
    last = stop - 1
    still = all(levels[i].same for i in kept) and levels[last].step < seen.length / 128 and stop < len(levels)
    return kept, flat or still, broken


def extrapolate(levels: Sequence[Level], block: range, noise: Sequence[float]) -> tuple[float, float, int]:
    """The entry of Romberg's tableau with the smallest error: its value, that error, and the level it rests on."""
    steps, values = [levels[i].step for i in block], [levels[i].value for i in block]
    change = abs(levels[1].value - levels[0].value) if len(levels) > 1 else math.inf
    best = (noise[0] + max(levels[0].mismatch, change), values[0], 0)
    table = tableau(steps, values)
    for i in range(len(table)):
        for m in range(1, len(table[i])):
            value = table[i][m]
            spread = max(abs(value - table[i][m - 1]), abs(value - table[i + 1][m - 1]))
            error = 2 * spread + 1.1 * noise[i]
            if error <= best[0]:
                best = (error, value, i)
    error, value, base = best
    return float(value), float(error), base


def disagreement(levels: Sequence[Level], block: range, base: int, value: float, noise: Sequence[float]) -> float:
    """The largest amount by which a level below the base contradicts the value beyond its noise."""
    return max((max(0.0, abs(levels[i].value - value) - noise[i]) for i in block if i < base), default=0.0)

"""Which step to look at next on an element's ladder, and when enough has been seen."""

from __future__ import annotations

import math

from gradcheck_cli.evidence import K, LadderEstimate, Status
from gradcheck_cli.numeric.levels import FACTOR, Ladder

FIRST = (0, 1, -1)  # rungs that every ladder takes
NEAR_ZERO = 64.0  # a step this much smaller than |x| stays on one side of zero


class Explorer:
    """Walks one ladder.

    `low` and `high` are its lowest and highest rungs, `ceiling` the smallest step that was not finite; `deeper` counts
    levels added to see through scatter, `below` those under the level that shows a mismatch, `higher` those above a
    power law that the noise cuts short.
    """

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.low, self.high = 0, 0
        self.ceiling = math.inf
        self.deeper, self.below, self.higher = 0, 0, 0

    def start(self) -> bool:
        """Take the first levels; far outside the domain, come in towards x until both sides are finite."""
        ladder, x = self.ladder, abs(float(self.ladder.line.x))
        if not self._take(0):
            target = (x or ladder.line.length) / NEAR_ZERO
            self.low = self.high = min(-1, self._rung_below(target))
            while not self._take(self.low):
                if ladder.exhausted or ladder.rung(self.low) <= ladder.lowest:
                    return False
                self.low -= 3
            self.high = self.low
        start = self.low
        for k in FIRST[1:]:
            self._go(start + k)
        return True

    def _rung_below(self, step: float) -> int:
        return math.floor(math.log(step / self.ladder.first, FACTOR)) if step > 0 else -8

    def _take(self, k: int) -> bool:
        step = self.ladder.rung(k)
        if step >= self.ceiling or self.ladder.exhausted:
            return False
        if self.ladder.add(step):
            return True
        self.ceiling = min(self.ceiling, step)
        return False

    def _go(self, k: int) -> bool:
        """Take a rung below the lowest or above the highest so far; whether that brought anything new."""
        if k < self.low and self.ladder.rung(self.low) <= self.ladder.lowest * 1.01:
            return False
        took = self._take(k)
        if took or k < self.low:
            self.low, self.high = min(self.low, k), max(self.high, k) if took else self.high
        return took or k < self.low

    def descend(self, count: int) -> None:
        """Go straight down until there are so many levels or no room."""
        while len(self.ladder.levels) < count and self._go(self.low - 2):
            pass

    def advance(self, found: LadderEstimate, error: float, mismatch: bool) -> bool:
        """Add the level that would decide most; False when nothing is left to try."""
        if self.ladder.exhausted:
            return False
        if found.status is not Status.SMOOTH:
            return self._closer(found)
        if mismatch and not self.explored(found, error):
            self._explore(found, error)
            return True
        if found.inflation > 1 and self.deeper < 3:
            self.deeper += 1
            return self._go(self.low - 1)
        noisy = K * found.roundoff >= 0.2 * found.uncertainty or not self.ladder.reached.any()
        if noisy and not self.ladder.probed:
            self.ladder.probe()
            return True
        return self._refine(found, error)

    def _closer(self, found: LadderEstimate) -> bool:
        if found.visible > 0 and self._room_above() and self.higher < 3:
            self.higher += 1  # the lowest levels are lost in noise: more of the power law is to be seen above
            return self._go(self.high + 1)
        x, lowest = abs(float(self.ladder.line.x)), self.ladder.levels[0].step
        if x and lowest > x:
            return self._go(min(self.low - 1, self._rung_below(x / NEAR_ZERO)))
        return self._go(self.low - (1 if found.status is Status.CURVED else 2))

    def _refine(self, found: LadderEstimate, error: float) -> bool:
        ladder, whole = self.ladder, found.block[-1] == len(self.ladder.levels) - 1
        if K * found.roundoff >= 0.4 * found.uncertainty and whole and self._room_above():
            return self._go(self.high + 1)
        if 4 * K * ladder.noise_at(ladder.levels[0].step) < max(error, found.uncertainty):
            return self._go(self.low - 1)
        return False

    def _room_above(self) -> bool:
        step = self.ladder.rung(self.high + 1)
        return step <= 2 * self.ladder.line.length and step < self.ceiling

    def explored(self, found: LadderEstimate, error: float) -> bool:
        """Whether a mismatch has been looked at from far away, at large steps, and below the step that counts."""
        return self.ladder.probed and not self._wants_up() and not self._wants_down(found, error)

    def _wants_up(self) -> bool:
        ladder = self.ladder
        still = ladder.levels[0].same and ladder.levels[1].same  # stairs show where outputs begin to move
        short = ladder.levels[-1].step < ladder.line.length * (2 if still else 1 / 8)
        return short and ladder.rung(self.high + 1) < self.ceiling

    def _wants_down(self, found: LadderEstimate, error: float) -> bool:
        ladder = self.ladder
        step = ladder.rung(self.low - 1)
        near = found.base < 2 and self.below < 2
        return near and step > ladder.lowest and K * ladder.noise_at(step) < 0.3 * error

    def _explore(self, found: LadderEstimate, error: float) -> None:
        if not self.ladder.probed:
            self.ladder.probe()
        elif self._wants_up():
            if not self._go(self.high + 2):
                self._go(self.high + 1)
        elif self._wants_down(found, error):
            self.below += 1
            self._go(self.low - 1)

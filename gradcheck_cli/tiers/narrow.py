"""From rows whose probes show an error to the single elements that make it: interpolation first, halves where it fails.

A block with one wrong element is located by a second probe whose moves grow along the columns: the ratio of the two
residuals is the position. What that explains is confirmed by a probe of its own; a block with several wrong elements is
halved, and the residual of the other half is the difference. All rows take their turn in the same evaluations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.probes import Probes, Seen, Tile
from gradcheck_cli.values import dataclass

Spans = tuple[tuple[int, int], ...]
ACTIVE = 64  # rows that are narrowed at a time, and blocks that wait in one row
MOST = 256  # single elements after which a search ends
NARROW = 8  # columns of a window in which the nearest one is most probably the wrong one
SPREAD = 8, 1 / 8  # or so many, if they are that part of everything that has been decided: mistakes are everywhere


@dataclass(frozen=True)
class Block:
    """Some columns of a row with a residual that they do not explain; `part` is what is probed next.

    If that turns out to be right, `then` comes after it.
    """

    row: int
    spans: Spans
    residual: float
    bound: float
    locate: bool = True
    part: Spans | None = None
    then: Spans | None = None

    @property
    def size(self) -> int:
        """How many columns it has."""
        return sum(stop - start for start, stop in self.spans)

    @property
    def suspicious(self) -> bool:
        """Whether its residual is beyond its bound."""
        return not abs(self.residual) <= 2 * self.bound

    def half(self) -> Spans:
        """The first half of its columns."""
        left, taken = self.size // 2, list[tuple[int, int]]()
        for start, stop in self.spans:
            if left > 0:
                taken.append((start, min(stop, start + left)))
                left -= stop - start
        return tuple(taken)

    def asks(self) -> Iterator[Tile]:
        """What is to be probed for this block now."""
        ramp = None if self.part else (self.spans[0][0], max(1, self.spans[-1][1] - self.spans[0][0]))
        for start, stop in self.part or self.spans:
            yield Tile(slice(self.row, self.row + 1), slice(start, stop), ramp)


def without(spans: Spans, part: Spans) -> Spans:
    """The columns of the spans that are not in the part."""
    for start, stop in part:
        pieces = [((a, min(b, start)), (max(a, stop), b)) for a, b in spans]
        spans = tuple((a, b) for pair in pieces for a, b in pair if a < b)
    return spans


class Narrowing:
    """Narrows the suspicious rows of one array. `found` are entries (row, column) that are wrong as far as probes tell.

    `bounds` are the largest residuals that were accepted of each row, `waiting` the blocks that were not narrowed,
    because mistakes are everywhere.
    """

    def __init__(self, probes: Probes, seen: Seen, steps: Array) -> None:
        self.probes, self.steps, self.whole = probes, steps, seen.bound
        self.bounds = np.where(seen.suspicious, 0.0, np.maximum(seen.bound, np.abs(seen.residual) / 2))
        rows = np.flatnonzero(seen.suspicious)
        self.waiting: dict[int, list[Block]] = {
            int(row): [Block(int(row), ((0, probes.grid.columns),), float(seen.residual[row]), float(seen.bound[row]))]
            for row in rows[np.argsort(-np.abs(seen.residual[rows]), kind="stable")]
        }
        self.found: list[tuple[int, int]] = []
        self.cleared = probes.grid.columns * int((~seen.suspicious).sum())

    def run(self) -> None:
        """Go on until nothing is left to narrow, or so much is wrong that there is no end of it."""
        while self.waiting and not self._spread():
            self._round()

    def _spread(self) -> bool:
        count, (few, share) = len(self.found), SPREAD
        return count >= MOST or (count >= few and count > share * (count + self.cleared))

    def _round(self) -> None:
        """One probe for the topmost block of each active row."""
        asked = [self._prepared(self.waiting[row].pop()) for row in list(self.waiting)[:ACTIVE]]
        seen = self.probes.look([tile for block in asked for tile in block.asks()], self.steps)
        for block in asked:
            residual = float("nan") if seen is None else float(seen.residual[block.row])
            # no part is less certain than the whole, though fewer slopes to measure curvature by may say so
            bound = float("inf") if seen is None else float(min(seen.bound[block.row], self.whole[block.row]))
            if block.part is None:
                self.waiting[block.row].append(self._located(block, residual, bound))
            else:
                self._divided(block, residual, bound)
            if not self.waiting[block.row]:
                del self.waiting[block.row]

    @staticmethod
    def _prepared(block: Block) -> Block:
        """A block too small to be located, or tried already, is halved."""
        if block.part is None and (block.then or not block.locate or block.size < 4):
            part = block.then or (block.half() if block.size > 1 else block.spans)
            return replace(block, part=part, then=None, locate=False)
        return block

    def _located(self, block: Block, residual: float, bound: float) -> Block:
        """Where one wrong element would be, if its ratio is possible and tells it from most others; else the half."""
        first, last = block.spans[0][0], block.spans[-1][1]
        ratio = residual / block.residual
        blur = (bound + abs(ratio) * block.bound) / abs(block.residual)
        centre, spread = first + (ratio - 1) * (last - first), blur * (last - first) + 0.5
        if -blur <= ratio - 1 <= 1 + blur and 8 * spread < block.size + 4:
            window = (max(first, int(np.ceil(centre - spread))), min(last, int(np.floor(centre + spread)) + 1))
            outside = without(((first, last),), (window,))
            part = without(block.spans, outside)
            column = round(centre)
            guess = without(part, ((first, column), (column + 1, last)))
            if guess and window[1] - window[0] <= NARROW:
                return replace(block, part=guess, then=without(part, guess), locate=False)
            if part:
                return replace(block, part=part, locate=False)
        return replace(block, part=block.half(), locate=False)

    def _divided(self, block: Block, residual: float, bound: float) -> None:
        """Keep what is suspicious of the part that was probed and of the rest, whose residual is the difference.

        The bound on that is larger. Where it may hide something, the rest is probed by itself.
        """
        assert block.part is not None
        rest = without(block.spans, block.part)
        halved = len(rest) and abs(2 * sum(b - a for a, b in rest) - block.size) <= 1
        part = Block(block.row, block.part, residual, bound)
        other = Block(block.row, rest, block.residual - residual, block.bound + bound, locate=bool(halved))
        if not part.suspicious:
            other = replace(other, then=block.then)
        doubtful = abs(other.residual) > bound or not part.suspicious
        for one in (other, part):
            if not one.size:
                continue
            if one is other and doubtful and not one.suspicious:
                self.waiting[block.row].append(replace(one, part=rest))
            elif not one.suspicious:
                self._accept(one)
            elif one.size == 1:
                self.found.append((one.row, one.spans[0][0]))
            else:
                self.waiting[block.row].append(one)

    def _accept(self, block: Block) -> None:
        self.cleared += block.size
        self.bounds[block.row] = max(self.bounds[block.row], block.bound, abs(block.residual) / 2)

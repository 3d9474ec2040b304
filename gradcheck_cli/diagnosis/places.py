"""Some elements wrong and the others right: where they are, and what they have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gradcheck_cli.diagnosis.scaling import best_ratio, ratio_text
from gradcheck_cli.diagnosis.suspect import Suspect, number
from gradcheck_cli.layer import Array
from gradcheck_cli.results import Finding

FEW = 3  # wrong elements that are listed one by one
UNLIKELY = 10  # in how many ways as many elements could have been chosen, below which a common place says nothing
FAR_FETCHED = 100  # the same for places that are less likely to be the reason


class Place(NamedTuple):
    """Some elements in words, and what their being wrong suggests."""

    text: str
    mask: Array
    hint: str = ""
    ways: int = UNLIKELY


def somewhere(suspect: Suspect) -> Finding | None:
    """All wrong elements, and no others, share a place or a property."""
    wrong, right = _entries(suspect)
    bad, good = int(wrong.sum()), int(right.sum())
    if bad < 2 or not good:
        return None
    ways = math.comb(min(bad + good, 1000), min(bad, good, 500))
    for place in _places(suspect):
        if ways < place.ways:
            continue
        inside = place.mask.reshape(-1)
        if (wrong <= inside).all() and not (right & inside).any():
            counts = f"{bad} of {wrong.size} elements, {suspect.at(suspect.worst)}"
            said = (
                "; ".join(filter(None, (_how(suspect), place.hint))) or "look at the case that is treated apart there"
            )
            return suspect.finding("somewhere", f"is wrong only {place.text} ({counts}): {said}")
    return None


def _entries(suspect: Suspect) -> tuple[Array, Array]:
    """Which entries of the array are wrong, in any unit, and which are right in every one."""
    wrong = np.asarray(suspect.wrong.any(axis=1))
    return wrong, np.asarray(suspect.settled.all(axis=1) & ~wrong)


def _places(suspect: Suspect) -> Iterator[Place]:
    yield from _masks(suspect)
    yield from _signs(suspect)
    yield from _repeats(suspect)
    yield from _picked(suspect)
    yield from _slices(suspect)
    yield from _triangles(suspect)
    yield from _borders(suspect)
    yield from _thresholds(suspect)


def _valued(suspect: Suspect) -> Iterator[tuple[str, Array]]:
    """Named values at the places of the elements."""
    for name, values in suspect.others():
        if values.shape == suspect.shape and values.dtype.kind == "f":
            yield name, values
    dy = suspect.evidence.dy
    if dy is not None and dy.shape == suspect.shape:
        yield "dy", dy


def _signs(suspect: Suspect) -> Iterator[Place]:
    for name, values in _valued(suspect):
        for text, mask in (
            (f"where {name} < 0", values < 0),
            (f"where {name} > 0", values > 0),
            (f"where {name} = 0", values == 0),
            (f"where {name} is not 0", values != 0),
            (f"where |{name}| > 1", np.abs(values) > 1),
            (f"where |{name}| < 1", np.abs(values) < 1),
        ):
            yield Place(text, mask, ways=UNLIKELY if name == suspect.name else FAR_FETCHED)


def _masks(suspect: Suspect) -> Iterator[Place]:
    for name, values in suspect.evidence.arrays.items():
        mask = suspect.spread(np.asarray(values)) if np.asarray(values).dtype.kind == "b" else None
        if mask is not None:
            yield Place(f"where {name} is false", mask == 0)
            yield Place(f"where {name} is true", mask != 0)


def _slices(suspect: Suspect) -> Iterator[Place]:
    """Whole rows, columns, or slices along an axis: those in which everything that is decided is wrong."""
    shape = suspect.shape
    wrong = _entries(suspect)[0].reshape(shape)
    for axis, size in enumerate(shape):
        if size < 2 or len(shape) < 2:
            continue
        others = tuple(k for k in range(len(shape)) if k != axis)
        indices = np.flatnonzero(wrong.any(axis=others))
        if len(indices) > max(1, size // 2):
            continue
        mask = np.zeros(shape, bool)
        mask[(slice(None),) * axis + (indices,)] = True
        word = ("row", "column")[axis] if len(shape) == 2 else f"index {{}} of axis {axis}"
        listed = ", ".join(map(str, indices[:FEW])) + (", ..." if len(indices) > FEW else "")
        plural = "s" if len(indices) > 1 else ""
        yield Place(f"in {word.format(listed)}" if "{}" in word else f"in {word}{plural} {listed}", mask)


def _triangles(suspect: Suspect) -> Iterator[Place]:
    shape = suspect.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return
    row, column = np.indices(shape[-2:])
    for text, mask in (
        ("on the diagonal", row == column),
        ("off the diagonal", row != column),
        ("above the diagonal", row < column),
        ("below the diagonal", row > column),
        ("on and above the diagonal", row <= column),
        ("on and below the diagonal", row >= column),
    ):
        yield Place(text, np.broadcast_to(mask, shape))


def _borders(suspect: Suspect) -> Iterator[Place]:
    """At the edges of the last axis, or of the last two, as with a wrong padding."""
    shape = suspect.shape
    rim = np.zeros(shape, bool)
    for axis in range(len(shape) - 1, max(len(shape) - 3, -1), -1):
        if shape[axis] < 4:
            return
        ends = np.isin(np.arange(shape[axis]), (0, shape[axis] - 1))
        rim |= ends.reshape(-1, *(1,) * (len(shape) - 1 - axis))
        yield Place("at the border", rim.copy(), "look at the padding")


def _repeats(suspect: Suspect) -> Iterator[Place]:
    """Rows that an array of indices names more than once."""
    for name, values in suspect.evidence.arrays.items():
        values = np.asarray(values)
        if values.dtype.kind not in "iu" or not suspect.shape or values.size < 2:
            continue
        if values.min() < 0 or values.max() >= suspect.shape[0]:
            continue
        twice = np.bincount(values.ravel(), minlength=suspect.shape[0]) > 1
        rows = np.broadcast_to(twice.reshape(-1, *(1,) * (len(suspect.shape) - 1)), suspect.shape)
        hint = "the shares of an index named twice must be added up (np.add.at), not overwritten"
        yield Place(f"in the rows that {name} names more than once", rows, hint)


def _picked(suspect: Suspect) -> Iterator[Place]:
    """The elements that an array of indices picks along the last axis, as the targets of a loss."""
    for name, values in suspect.evidence.arrays.items():
        index = np.asarray(values)
        if index.dtype.kind not in "iu" or not suspect.shape or index.shape != suspect.shape[:-1]:
            continue
        picked = index[..., None] == np.arange(suspect.shape[-1])
        yield Place(f"at the elements that {name} picks", picked)
        yield Place(f"at the elements that {name} does not pick", ~picked)


def _thresholds(suspect: Suspect) -> Iterator[Place]:
    """Below or above some value of the array itself."""
    wrong, _ = _entries(suspect)
    for text, values in ((suspect.name, suspect.value), (f"|{suspect.name}|", np.abs(suspect.value))):
        flat = values.reshape(-1)
        low, high = flat[wrong].min(), flat[wrong].max()
        yield Place(f"where {text} ≤ {number(high)}", values <= high, ways=FAR_FETCHED)
        yield Place(f"where {text} ≥ {number(low)}", values >= low, ways=FAR_FETCHED)


def _how(suspect: Suspect) -> str:
    """What the wrong elements are, beside the right ones."""
    wrong = suspect.wrong
    if not suspect.analytic[wrong].any():
        return "it is 0 there"
    if suspect.is_zero[wrong].all():
        dy = suspect.evidence.dy
        upstream = dy is not None and dy.shape == suspect.shape
        if upstream and dy is not None and np.array_equal(suspect.analytic[wrong], dy.reshape(-1, 1)[wrong]):
            return "it is dy there and must be 0"
        return "it must be 0 there"
    ratio, off = best_ratio(suspect)
    apart = np.abs(suspect.analytic - ratio * suspect.numeric)[wrong]
    size = (np.abs(suspect.numeric) * (off + 1e-6 * abs(ratio)) + 2 * abs(ratio) * suspect.doubt)[wrong]
    if wrong.sum() > 1 and (apart <= size).all():
        return (
            "it has the wrong sign there" if abs(ratio + 1) < 1e-6 else f"it is {ratio_text(ratio)} times the right one"
        )
    return ""


def single_elements(suspect: Suspect) -> Finding | None:
    """A few wrong elements, listed."""
    count, total = int(suspect.wrong.sum()), suspect.wrong.size
    if count > FEW or total <= count or total < 4:
        return None
    positions = np.flatnonzero(suspect.wrong)
    listed = ", ".join(_one(suspect, int(position)) for position in positions)
    noun = "one element" if count == 1 else f"{count} elements"
    return suspect.finding("single-element", f"is wrong in {noun} of {total}: {listed}")


def _one(suspect: Suspect, position: int) -> str:
    return f"{suspect.at(position)}{times(suspect, position)}"


def times(suspect: Suspect, position: int) -> str:
    """The analytic value over the numeric one, where that is a number to speak of."""
    ratio = suspect.analytic.flat[position] / suspect.numeric.flat[position]
    return f" ({ratio_text(ratio)} times)" if np.isfinite(ratio) and 1e-3 < abs(ratio) < 1e3 else ""


def mismatch(suspect: Suspect) -> Finding:
    """Nothing explains it: how many elements, and the worst."""
    count, total = int(suspect.wrong.sum()), suspect.wrong.size
    if total == 1:
        return suspect.finding("mismatch", f"is wrong: {_one(suspect, suspect.worst)}")
    return suspect.finding("mismatch", f"is wrong in {count} of {total} elements, worst {_one(suspect, suspect.worst)}")

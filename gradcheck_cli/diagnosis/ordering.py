"""The right values at the wrong places: another array's, transposed, reversed, shifted, in another order."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from gradcheck_cli.diagnosis.suspect import Suspect, along, number
from gradcheck_cli.layer import Array
from gradcheck_cli.results import Finding

SLICES = 32  # along an axis, above which no order is looked for


def swapped(suspect: Suspect) -> Finding | None:
    """The gradient is that of another array."""
    for sheet in suspect.evidence.sheets:
        other = Suspect(suspect.evidence, sheet)
        if other.name == suspect.name or other.shape != suspect.shape:
            continue
        if not suspect.explained_by(other.numeric, other.doubt):
            continue
        if other.wrong.any() and other.explained_by(suspect.numeric, suspect.doubt):
            sentence = (
                f"is the right {other.subject}, and {other.subject} is the right {suspect.subject} "
                f"({suspect.at(suspect.worst)}): the two are swapped"
            )
        else:
            sentence = (
                f"is the right {other.subject} ({suspect.at(suspect.worst)}): the gradient of {other.name} is returned "
                f"for {suspect.name}"
            )
        return suspect.finding("swapped", sentence)
    return None


def _moved(suspect: Suspect, move: Callable[[Array], Array]) -> bool:
    """Whether moving the right values about, the doubt with them, gives the analytic ones."""
    guess, doubt = (suspect.flat(move(suspect.grid(table))) for table in (suspect.numeric, suspect.doubt))
    return suspect.explained_by(guess, doubt)


def transposed(suspect: Suspect) -> Finding | None:
    """Axes of equal size are exchanged; in the Jacobian view the Jacobian itself may be."""
    ndim, at = len(suspect.shape), suspect.at(suspect.worst)
    square = suspect.evidence.view == "jacobian" and suspect.analytic.shape[0] == suspect.analytic.shape[1]
    if square and suspect.explained_by(suspect.numeric.T, suspect.doubt.T):
        return suspect.finding("transposed", f"is transposed ({at}): the Jacobian has ∂y_j/∂x_i at [j, i]")
    for order in itertools.islice(itertools.permutations(range(ndim)), 1, 24):
        if tuple(suspect.shape[k] for k in order) != suspect.shape:
            continue
        if _moved(suspect, lambda grid, order=order: grid.transpose(*order, ndim)):  # type: ignore[misc]
            if ndim == 2:
                return suspect.finding(
                    "transposed", f"is transposed ({at}): exchange the factors of the product, or transpose it"
                )
            exchanged = [k for k in range(ndim) if order[k] != k]
            return suspect.finding("transposed", f"has {along(exchanged)} exchanged ({at}): transpose it back")
    return None


def axis_flipped(suspect: Suspect) -> Finding | None:
    """Reversed along one axis or several."""
    ndim = len(suspect.shape)
    for count in range(1, ndim + 1):
        for axes in itertools.combinations(range(ndim), count):
            if all(suspect.shape[k] > 1 for k in axes) and _moved(
                suspect,
                lambda grid, axes=axes: np.flip(grid, axes),  # type: ignore[misc]
            ):
                return suspect.finding(
                    "axis-flipped",
                    f"is reversed along {along(axes)} ({suspect.at(suspect.worst)}): look for a flip that is missing "
                    f"or there once too often",
                )
    return None


def shifted(suspect: Suspect) -> Finding | None:
    """Off by one along an axis; what is shifted in at the edge is what was shifted out, or 0."""
    for axis, size in enumerate(suspect.shape):
        if size < 3:
            continue
        for step in (1, -1):
            for rolls in (True, False):
                if _moved(suspect, lambda grid, a=axis, s=step, r=rolls: _shift(grid, a, s, r)):  # type: ignore[misc]
                    way = "late" if step == 1 else "early"
                    return suspect.finding(
                        "shifted",
                        f"comes one place too {way} along axis {axis} ({suspect.at(suspect.worst)}): look for an index "
                        f"or a padding that is off by one",
                    )
    return None


def _shift(grid: Array, axis: int, step: int, rolls: bool) -> Array:
    moved = np.roll(grid, step, axis)
    if not rolls:
        edge = [slice(None)] * grid.ndim
        edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
        moved[tuple(edge)] = 0.0
    return moved


def permuted(suspect: Suspect) -> Finding | None:
    """The slices along an axis come in another order."""
    for axis, size in enumerate(suspect.shape):
        if not 2 <= size <= SLICES:
            continue
        order = _order(suspect, axis)
        if order is None or not _moved(suspect, lambda grid, o=order, a=axis: np.take(grid, o, a)):  # type: ignore[misc]
            continue
        first = next(k for k in range(size) if order[k] != k)
        return suspect.finding(
            "permuted",
            f"has the right slices along axis {axis} in the wrong order: the one at {first} belongs to {order[first]} "
            f"({suspect.at(suspect.worst)})",
        )
    return None


def _order(suspect: Suspect, axis: int) -> list[int] | None:
    """For each analytic slice the numeric one that is nearest; None unless every one is taken exactly once."""
    a, n = (np.moveaxis(suspect.grid(t), axis, 0) for t in (suspect.analytic, suspect.numeric))
    a, n = (np.nan_to_num(t.reshape(t.shape[0], -1)) for t in (a, n))
    order = [int(np.argmin(np.abs(n - row).sum(axis=1))) for row in a]
    return order if sorted(order) == list(range(len(order))) else None


def one_number(suspect: Suspect) -> Finding | None:
    """All elements, or all along some axes, are one number: a reduction where none is needed."""
    if suspect.analytic.shape[0] < 2:
        return None
    a, n, doubt = (suspect.grid(table) for table in (suspect.analytic, suspect.numeric, suspect.doubt))
    every = tuple(range(len(suspect.shape)))
    for axes in sorted(_groups(suspect), key=len, reverse=True):
        size = int(np.prod([suspect.shape[k] for k in axes]))
        for value, off, text in (
            (n.sum(axis=axes, keepdims=True), doubt.sum(axis=axes, keepdims=True), "sum"),
            (n.mean(axis=axes, keepdims=True), doubt.sum(axis=axes, keepdims=True) / size, "mean"),
        ):
            guess, allowed = (suspect.flat(np.broadcast_to(part, n.shape)) for part in (value, off))
            if suspect.explained_by(guess, allowed):
                return suspect.finding("one-number", _spread_sentence(suspect, axes, axes == every, text))
    constant = (np.ptp(a, axis=every) == 0).all() and np.isfinite(a).all() and a.any()
    if constant and a.shape[0] > 2 and suspect.evidence.view == "vjp":
        return suspect.finding(
            "one-number",
            f"is one number for all elements, {number(a.flat[0])}, where the right ones differ "
            f"({suspect.at(suspect.worst)}): look for a sum over too many axes, or for a constant",
        )
    return None


def _groups(suspect: Suspect) -> list[tuple[int, ...]]:
    ndim = len(suspect.shape)
    groups = [g for count in range(1, ndim + 1) for g in itertools.combinations(range(ndim), count)]
    return [g for g in groups if int(np.prod([suspect.shape[k] for k in g])) > 1]


def _spread_sentence(suspect: Suspect, axes: tuple[int, ...], all_of_them: bool, text: str) -> str:
    value = number(suspect.analytic.flat[suspect.worst])
    if all_of_them and suspect.evidence.view == "vjp":
        needed = _needed(suspect)
        remedy = f"it is {text}(dy) where dy is needed" if needed == "dy" else f"{needed} is needed"
        return f"is one number for all elements, {value}, the {text} of the right ones: {remedy}"
    return (
        f"is the same all along {along(axes)}, the {text} of the right ones ({suspect.at(suspect.worst)}): each "
        f"element must get its own"
    )


def _needed(suspect: Suspect) -> str:
    """The right gradient in words: dy itself, as for a bias, dy summed over its leading axes, or one value for each."""
    dy = suspect.evidence.dy
    if dy is None or dy.shape[dy.ndim - len(suspect.shape) :] != suspect.shape:
        return "one value for each element"
    right = dy.reshape(-1, *suspect.shape).sum(axis=0).reshape(-1, 1)
    if not (np.abs(suspect.numeric - right) <= 2 * suspect.doubt + 1e-6 * np.abs(right)).all():
        return "one value for each element"
    leading = range(dy.ndim - len(suspect.shape))
    return f"the sum of dy along {along(leading)} alone" if leading else "dy"

"""Wrong by a sum: a term that is missing, or one too many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck_cli.diagnosis.constants import options
from gradcheck_cli.diagnosis.suspect import Suspect, along, axes_of, number
from gradcheck_cli.layer import Array
from gradcheck_cli.results import Finding
from gradcheck_cli.values import dataclass


def known_term(suspect: Suspect) -> Finding | None:
    """The difference to the right gradient is dy, or another array, or a multiple of the array itself."""
    for name, values in _terms(suspect):
        for sign, what in ((-1.0, "the term {} is missing"), (1.0, "the term {} is one too many")):
            if suspect.explained_by(suspect.numeric + sign * values):
                way = "smaller" if sign < 0 else "larger"
                return suspect.finding(
                    "missing-term" if sign < 0 else "extra-term",
                    f"is {way} than the right one by exactly {name} ({suspect.at(suspect.worst)}): {what.format(name)}",
                )
    own = suspect.spread(suspect.value)
    if own is None or suspect.evidence.view != "vjp":
        return None
    found = np.where(suspect.wrong, suspect.error / own, np.nan)
    weight = np.abs(np.where(suspect.wrong, own, 0.0))
    times = float(np.nan_to_num(found.flat[int(np.argmax(weight))]))
    if suspect.wrong.sum() < 3 or not suspect.explained_by(suspect.numeric + times * own, 2 * suspect.doubt, free=1):
        return None
    return suspect.finding(
        "missing-term",
        f"differs from the right one by {number(times)} {suspect.name} ({suspect.at(suspect.worst)}): a term with "
        f"{suspect.name} is missing or one too many, as when weight decay is in forward or in the gradient alone",
    )


def _terms(suspect: Suspect) -> Iterator[tuple[str, Array]]:
    dy = suspect.evidence.dy
    if dy is not None and dy.shape == suspect.shape:
        yield "dy", dy.reshape(-1, 1).astype(np.float64)
    if suspect.evidence.view == "vjp":
        for name, values in suspect.others():
            if values.shape == suspect.shape and values.dtype.kind == "f":
                yield name, values.reshape(-1, 1).astype(np.float64)


@dataclass(frozen=True)
class Basis:
    """What the difference may be made of: arrays of the suspect's shape, each with a free number for every slice."""

    text: str
    parts: tuple[Array, ...]


def term_along(suspect: Suspect) -> Finding | None:
    """The difference is constant along an axis, or y or x times a number for each slice along it."""
    if not suspect.shape:
        return None
    for basis in _bases(suspect):
        for axes in axes_of(suspect.shape):
            fitted = _fit(suspect, basis, axes)
            if fitted is None:
                continue
            guess, doubt, free = fitted
            everywhere = suspect.grid(suspect.wrong).any(axis=axes).all()
            if everywhere and suspect.explained_by(guess, doubt, free):
                return suspect.finding("missing-term", _sentence(suspect, basis, axes))
    return None


def _bases(suspect: Suspect) -> list[Basis]:
    ones = np.ones(suspect.shape)
    same = [(name, v) for name, v in suspect.others() if v.shape == suspect.shape and v.dtype.kind == "f"]
    dy = suspect.evidence.dy
    if dy is not None and dy.shape == suspect.shape:
        same.append(("dy", dy))
    outputs = {name for name, _ in suspect.evidence.named_outputs()}
    same.sort(key=lambda pair: pair[0] not in outputs)
    single = [Basis(name, (v,)) for name, v in same]
    double = [Basis(name, (ones, v)) for name, v in same if name != "dy"]
    return [Basis("", (ones,)), *single, *double]


def _fit(suspect: Suspect, basis: Basis, axes: tuple[int, ...]) -> tuple[Array, Array, int] | None:
    """The best guess with one number for each part of the basis and each slice, its doubt, and the count of numbers."""
    size = int(np.prod([suspect.shape[k] for k in axes]))
    if size <= len(basis.parts):
        return None
    ends = tuple(range(-len(axes), 0))

    def slices(grid: Array) -> Array:
        return np.moveaxis(np.moveaxis(grid, -1, 0), [k + 1 for k in axes], ends).reshape(-1, size)

    error, doubt, numeric = (slices(suspect.grid(t)) for t in (suspect.error, suspect.doubt, suspect.numeric))
    units = suspect.analytic.shape[1]
    shape = (*suspect.shape, units)
    columns = np.stack([slices(np.broadcast_to(part[..., None], shape)) for part in basis.parts], axis=-1)
    known = np.isfinite(error) & np.isfinite(doubt)
    weights = np.where(known, 1.0, 0.0)[..., None]
    columns = np.nan_to_num(columns.astype(np.float64), posinf=0.0, neginf=0.0)
    numbers = np.linalg.pinv(columns * weights) @ np.where(known, error, 0.0)[..., None]
    guess = numeric + (columns @ numbers)[..., 0]
    widest = np.max(np.where(known, doubt, 0.0), axis=1, keepdims=True)
    ordered = suspect.grid(np.arange(suspect.analytic.size).reshape(-1, units))
    back = np.argsort(slices(ordered).ravel())
    table = suspect.analytic.shape
    return (
        guess.ravel()[back].reshape(table),
        np.broadcast_to(2 * widest, guess.shape).ravel()[back].reshape(table),
        numbers.size,
    )


def _sentence(suspect: Suspect, basis: Basis, axes: tuple[int, ...]) -> str:
    at, where = suspect.at(suspect.worst), along(axes)
    if len(basis.parts) > 1:
        return (
            f"differs from the right one by a constant plus a multiple of {basis.text} for each slice along {where} "
            f"({at}): what flows through the mean and the variance along {where} is missing or wrong"
        )
    if basis.text:
        return (
            f"differs from the right one by a multiple of {basis.text} for each slice along {where} ({at}): look for a "
            f"term with {basis.text} and a sum or mean along {where} that is missing or wrong"
        )
    constant = f"differs from the right one by a term that is constant along {where} ({at})"
    total = np.abs(suspect.grid(suspect.numeric).sum(axis=axes))
    slack = 2 * suspect.grid(suspect.doubt).sum(axis=axes)
    if total.size and (total <= slack).all():
        return f"{constant}, and the right one sums to 0 along {where}: its mean along {where} is not subtracted"
    return f"{constant}: look for a sum or mean along {where} that is missing or wrong"


def weighted_sum(suspect: Suspect) -> Finding | None:
    """What is missing is y Σ(dy y), as in softmax, or a part of it."""
    dy = suspect.evidence.dy
    for name, y in suspect.evidence.named_outputs():
        if dy is None or not y.shape or y.shape != suspect.shape:
            continue
        for axes in axes_of(suspect.shape):
            term = (y * (dy * y).sum(axis=axes, keepdims=True)).reshape(-1, 1)
            scale = float(suspect.error.flat[suspect.worst] / term.flat[suspect.worst])
            if not suspect.explained_by(suspect.numeric + scale * term, 2 * suspect.doubt, free=1):
                continue
            whole = any(
                abs(scale - one) <= 1e-6 * one for one in (1.0, *dict(options(suspect.evidence.layer)).values())
            )
            what = f"the term -{name} Σ({name} dy), summed along {along(axes)}"
            lacks = f"lacks {what}" if whole else f"has {number(-scale)} times {what} too much"
            lacks = lacks if whole or scale < 0 else f"lacks {number(scale)} times {what}"
            sentence = (
                f"{lacks} ({suspect.at(suspect.worst)}): every output along {along(axes)} depends on every element"
            )
            return suspect.finding("missing-term", sentence)
    return None

"""What the layer's own derivative does with a few other cotangents and arrays, to see what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck_cli.diagnosis.suspect import Suspect
from gradcheck_cli.layer import Array, as_outputs
from gradcheck_cli.numeric.objective import fitted, quiet
from gradcheck_cli.results import Finding

AGREES = 1e-4  # relative: a probe of forward with one step has no more digits to spare


def _vjp(suspect: Suspect, dy: Any, arrays: Mapping[str, Array] | None = None) -> Array | None:
    """The analytic column for another cotangent or at other arrays; None where the layer refuses."""
    copies = {name: np.array(array) for name, array in (arrays or suspect.evidence.arrays).items()}
    try:
        with quiet:
            gradient = suspect.evidence.layer.vjp(dy, **copies).get(suspect.name)
    except Exception:  # noqa: BLE001 - user code may refuse what it was not written for; then there is no explanation
        return None
    return None if gradient is None else fitted(gradient, suspect.shape).reshape(-1, 1)


def _same(one: Array, other: Array) -> bool:
    """Equal but for the order of sums."""
    return bool(np.allclose(one, other, rtol=1e-12, atol=1e-14 * float(np.abs(other).max(initial=0.0))))


def _usable(suspect: Suspect) -> bool:
    """Whether the layer can be asked, and says again what it said."""
    parts = tuple(part.copy() for part in suspect.evidence.cotangent)
    if suspect.evidence.layer is None or suspect.evidence.view != "vjp":
        return False
    again = _vjp(suspect, parts if len(parts) > 1 else parts[0])
    return again is not None and _same(again[suspect.settled], suspect.analytic[suspect.settled])


def _push(suspect: Suspect, direction: Array) -> Array | None:
    """How the single output moves when the array moves along a direction: one central difference of forward."""
    value = suspect.value.astype(np.float64)
    step = 1e-6 * max(float(np.abs(value).max(initial=0.0)), 1e-3) / float(np.abs(direction).max(initial=1.0))
    sides = []
    for sign in (1, -1):
        moved = {name: np.array(array) for name, array in suspect.evidence.arrays.items()}
        moved[suspect.name] = (value + sign * step * direction).astype(suspect.value.dtype)
        try:
            with quiet:
                sides.append(as_outputs(suspect.evidence.layer.forward(**moved))[0].astype(np.float64))
        except Exception:  # noqa: BLE001 - user code may refuse a point; then there is no explanation
            return None
    return np.asarray((sides[0] - sides[1]) / (2 * step))


def one_slice_only(suspect: Suspect) -> Finding | None:
    """Of all rows of dy only the first, or only the last, enters: nothing is summed over the batch."""
    dy = suspect.evidence.dy
    if dy is None or not dy.ndim or not _usable(suspect):
        return None
    for axis, size in enumerate(dy.shape):
        for index in (0, size - 1) if size > 1 else ():
            masked = np.zeros_like(dy)
            pick = (slice(None),) * axis + (index,)
            masked[pick] = dy[pick]
            alone = _vjp(suspect, masked)
            if alone is None or not _same(alone, suspect.analytic) or not alone.any():
                continue
            if _is_share_of(suspect, axis, index, dy):
                return suspect.finding(
                    "one-row-only",
                    f"takes only dy at index {index} of axis {axis} ({suspect.at(suspect.worst)}): the sum over axis "
                    f"{axis} of dy{' (the batch)' if axis == 0 and dy.ndim > 1 else ''} is missing",
                )
    return None


def _is_share_of(suspect: Suspect, axis: int, index: int, dy: Array) -> bool:
    """Whether the analytic gradient is what this slice of the output contributes, and the others contribute too."""
    direction = np.random.default_rng(0).uniform(0.5, 1.5, suspect.shape)
    moved = _push(suspect, direction)
    if moved is None or moved.shape != dy.shape:
        return False
    terms = (dy * moved).swapaxes(0, axis).reshape(dy.shape[axis], -1)
    shares, slack = terms.sum(axis=1), AGREES * np.abs(terms).sum()
    said = float((suspect.analytic[:, 0] * direction.ravel()).sum())
    others = np.delete(terms, index, axis=0)
    return bool(abs(said - shares[index]) <= slack and np.abs(others).max(initial=0.0) > slack)


def diagonal_only(suspect: Suspect) -> Finding | None:
    """Each element uses its own output alone, although the others depend on it."""
    if suspect.evidence.view == "jacobian":
        return _diagonal_jacobian(suspect)
    dy = suspect.evidence.dy
    if dy is None or dy.shape != suspect.shape or dy.size < 3 or not _usable(suspect):
        return None
    powers = np.exp2(np.random.default_rng(0).integers(-2, 3, dy.shape))  # so that the products are exact
    other = _vjp(suspect, (dy * powers).astype(dy.dtype))
    own = suspect.analytic * powers.reshape(-1, 1)
    if other is None or not np.allclose(other, own, rtol=1e-12, atol=0) or not own.any():
        return None
    direction = np.zeros(suspect.shape)
    place = suspect.worst // suspect.analytic.shape[1]
    direction.flat[place] = 1.0
    moved = _push(suspect, direction)
    if moved is None or moved.size != suspect.value.size:
        return None
    size = float(np.abs(moved).max())
    others = np.delete(moved.ravel(), place)
    if not size > 0 or not np.abs(others).max() > AGREES * size:
        return None
    return suspect.finding(
        "diagonal-only",
        f"uses only the element of dy at its own place ({suspect.at(suspect.worst)}), although other outputs depend on "
        f"{suspect.label(suspect.worst)}: the terms off the diagonal of the Jacobian are missing",
    )


def _diagonal_jacobian(suspect: Suspect) -> Finding | None:
    entries, units = suspect.analytic.shape
    if entries != units or entries < 2:
        return None
    off = ~np.eye(entries, dtype=bool)
    if suspect.analytic[off].any() or not (suspect.wrong & off).any() or not suspect.analytic.any():
        return None
    also = "; the diagonal is wrong too" if np.diag(suspect.wrong).any() else ""
    return suspect.finding(
        "diagonal-only",
        f"has only a diagonal ({suspect.at(suspect.worst)}): the elements off the diagonal of the Jacobian are missing"
        f"{also}",
    )


def operand_transposed(suspect: Suspect) -> Finding | None:
    """The gradient would be right with another array transposed or flipped: it is used the wrong way round in it."""
    evidence, dy = suspect.evidence, suspect.evidence.dy
    if dy is None or not _usable(suspect):
        return None
    for name, array in evidence.arrays.items():
        if array.ndim < 2 or array.dtype.kind != "f":
            continue
        tries = [(f"{name} reversed along its last axis", array[..., ::-1])]
        tries.append((f"{name} reversed along its last two axes", array[..., ::-1, ::-1]))
        if array.shape[-1] == array.shape[-2]:
            tries.insert(0, (f"{name}ᵀ", array.swapaxes(-1, -2)))
        for text, other in tries:
            found = _vjp(suspect, dy, {**evidence.arrays, name: np.ascontiguousarray(other)})
            if found is None:
                continue
            finding = _with_other(suspect, found, name, text)
            if finding is not None:
                return finding
    return None


def _with_other(suspect: Suspect, found: Array, name: str, text: str) -> Finding | None:
    at = suspect.at(suspect.worst)
    if _would_be_right(suspect, found):
        sentence = f"takes {name} where {text} is needed ({at}): with {text} in the backward pass it would be right"
        return suspect.finding("operand-transposed", sentence)
    if _would_be_right(suspect, suspect.analytic + found):
        return suspect.finding("missing-term", f"lacks its other half ({at}): add the same with {text} for {name}")
    if _would_be_right(suspect, (suspect.analytic + found) / 2):
        sentence = f"takes {name} to be equal to {text} ({at}): use the mean of the two"
        return suspect.finding("missing-term", sentence)
    return None


def dy_scaled(suspect: Suspect) -> Finding | None:
    """The gradient would be right if dy were multiplied, or divided, by another array first."""
    dy = suspect.evidence.dy
    if dy is None or not dy.ndim or not _usable(suspect):
        return None
    for name, values in suspect.others():
        if values.dtype.kind != "f" or values.size < 2 or values.ndim > dy.ndim:
            continue
        if any(size not in (1, wide) for size, wide in zip(values.shape[::-1], dy.shape[::-1], strict=False)):
            continue
        for times, missing in ((True, f"the factor {name} is missing"), (False, f"a factor {name} too many")):
            other = (dy * values if times else dy / values).astype(dy.dtype)
            found = _vjp(suspect, other)
            if found is not None and _would_be_right(suspect, found):
                sentence = (
                    f"would be right with dy {'times' if times else 'over'} {name} for dy ({suspect.at(suspect.worst)})"
                )
                return suspect.finding("dy-scaled", f"{sentence}: {missing}")
    return None


def _would_be_right(suspect: Suspect, found: Array) -> bool:
    """Whether another analytic table agrees with the numeric one: then the change that made it explains the error."""
    change = found - suspect.analytic
    return suspect.explained_by(suspect.numeric - change)


def outputs_swapped(suspect: Suspect) -> Finding | None:
    """With several outputs: the cotangents are taken in the wrong order, or one of them is not used."""
    parts = list(suspect.evidence.cotangent)
    if len(parts) < 2 or not _usable(suspect):
        return None
    at = suspect.at(suspect.worst)
    if len({part.shape for part in parts}) == 1 and len(parts) == 2:
        found = _vjp(suspect, (parts[1].copy(), parts[0].copy()))
        if found is not None and _would_be_right(suspect, found):
            return suspect.finding("outputs-swapped", f"would be right with dy0 and dy1 exchanged ({at})")
    for number, part in enumerate(parts):
        without = tuple(np.zeros_like(p) if k == number else p.copy() for k, p in enumerate(parts))
        found = _vjp(suspect, without)
        unused = found is not None and part.any() and _same(found, suspect.analytic)
        if unused and _depends(suspect, number):
            sentence = f"does not use dy{number} ({at}), although y{number} depends on {suspect.name}"
            return suspect.finding("output-ignored", sentence)
    return None


def _depends(suspect: Suspect, number: int) -> bool:
    value = suspect.value.astype(np.float64)
    moved = {name: np.array(array) for name, array in suspect.evidence.arrays.items()}
    moved[suspect.name] = (value * (1 + 1e-3) + 1e-6).astype(suspect.value.dtype)
    try:
        with quiet:
            output = as_outputs(suspect.evidence.layer.forward(**moved))[number]
    except Exception:  # noqa: BLE001 - user code may refuse a point; then there is no explanation
        return False
    return not np.array_equal(output, suspect.evidence.outputs[number])

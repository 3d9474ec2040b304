"""Wrong without a comparison of formulas: lost digits, values that are not finite, zeros, kinks."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.diagnosis.suspect import Suspect, number
from gradcheck_cli.results import Finding

BESIDE_A_KINK = ("no subgradient", "wrong beside the kink")


def lost_digits(suspect: Suspect) -> Finding | None:
    """The formula is right, its evaluation in low precision is not."""
    if not np.asarray(suspect.sheet.rounded)[suspect.wrong].all():
        return None
    count, total = int(suspect.wrong.sum()), suspect.wrong.size
    reason = suspect.sheet.reason.flat[suspect.worst]
    return suspect.finding(
        "rounding",
        f"loses digits in {count} of {total} elements ({reason}; {suspect.at(suspect.worst)}), though its formula is "
        f"right: look for a difference of large numbers, an overflow, or a part that is computed in lower precision",
    )


def not_finite(suspect: Suspect) -> Finding | None:
    """NaN or infinite."""
    bad = suspect.wrong & ~np.isfinite(suspect.analytic)
    if not bad.any():
        return None
    position = int(np.flatnonzero(bad)[0])
    entry = suspect.entry(position)
    what = "NaN" if np.isnan(suspect.analytic[bad]).all() else "infinite"
    point, value = number(suspect.value.flat[entry]), number(suspect.analytic.flat[position])
    return suspect.finding(
        "nan",
        f"is {what} in {int(bad.sum())} of {bad.size} elements, first {suspect.label(position)}: {value}, where "
        f"{suspect.name} is {point}: look for a division by 0, a log of 0, or an overflow",
    )


def all_zero(suspect: Suspect) -> Finding | None:
    """Zero everywhere, though the right one is not."""
    if suspect.analytic[suspect.settled].any() or not suspect.wrong.any() or suspect.analytic.any():
        return None
    return suspect.finding(
        "zero",
        f"is 0 in every element, the right one is not ({suspect.at(suspect.worst)}): the gradient is missing; look for "
        f"a detached path or an array that is never filled",
    )


def at_kinks(suspect: Suspect) -> Finding | None:
    """Outside the slopes on both sides of a kink."""
    if not np.isin(suspect.sheet.reason[suspect.wrong], BESIDE_A_KINK).all():
        return None
    entry = suspect.entry(suspect.worst)
    count, total = int(suspect.wrong.sum()), suspect.wrong.size
    where = f"{suspect.at(suspect.worst)}, where {suspect.name} is {number(suspect.value.flat[entry])}"
    return suspect.finding(
        "kink",
        f"is no subgradient at a kink in {count} of {total} elements ({where}): it must lie between the slopes on both "
        f"sides",
    )


def inverted(suspect: Suspect) -> Finding | None:
    """Zero exactly where the right one is not."""
    settled = suspect.settled
    zero, right_zero = (suspect.analytic == 0)[settled], suspect.is_zero[settled]
    if settled.sum() < 4 or not zero.any() or zero.all() or not np.array_equal(zero, ~right_zero):
        return None
    return suspect.finding(
        "inverted",
        f"is 0 exactly where the right one is not, and not 0 where it is ({suspect.at(suspect.worst)}): look for an "
        f"inverted mask or condition",
    )

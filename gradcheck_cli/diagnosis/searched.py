"""The wrong elements that a search of a large array has found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck_cli.diagnosis import extremes, scaling
from gradcheck_cli.diagnosis.places import times
from gradcheck_cli.diagnosis.suspect import Suspect
from gradcheck_cli.results import Finding

LISTED = 8
EVERYWHERE = (extremes.all_zero, scaling.wrong_sign, scaling.constant_factor)  # seen from a few


def wrong_ones(suspect: Suspect) -> Finding:
    """How many there are, the first few listed; where they are too many to be found, what those few have in common."""
    searched, wrong = suspect.sheet.searched, np.flatnonzero(suspect.wrong)
    left = searched.elements - searched.covered - suspect.wrong.size
    with np.errstate(all="ignore"):  # a guess may divide by zero
        rules = EVERYWHERE if left and not searched.covered else ()
        shared = next((found for rule in rules if (found := rule(suspect)) is not None), None)
    if shared is not None:
        seen = f"seen in {wrong.size} elements of {searched.elements}, {left} are not covered"
        return replace(shared, sentence=f"{shared.sentence}; {seen}")
    listed = ", ".join(f"{suspect.label(int(k))}{times(suspect, int(k))}" for k in wrong[:LISTED])
    others = f" and {wrong.size - LISTED} others" if wrong.size > LISTED else ""
    noun = "one element" if wrong.size == 1 else f"{wrong.size} elements"
    sentence = f"is wrong in {noun} of {searched.elements}: {listed}{others}"
    if left:
        sentence += f"; {left} others are not covered"
    return suspect.finding("mismatch" if left else "single-element", sentence)

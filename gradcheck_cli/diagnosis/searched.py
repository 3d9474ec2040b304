"""The wrong elements that a search of a large array has found."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.diagnosis.places import times
from gradcheck_cli.diagnosis.suspect import Suspect
from gradcheck_cli.results import Finding

LISTED = 8


def wrong_ones(suspect: Suspect) -> Finding:
    """How many there are, the first few listed."""
    searched, wrong = suspect.sheet.searched, np.flatnonzero(suspect.wrong)
    left = searched.elements - searched.covered - suspect.wrong.size
    listed = ", ".join(_one(suspect, int(position)) for position in wrong[:LISTED])
    others = f" and {wrong.size - LISTED} others" if wrong.size > LISTED else ""
    noun = "one element" if wrong.size == 1 else f"{wrong.size} elements"
    sentence = f"is wrong in {noun} of {searched.elements}: {listed}{others}"
    if left:
        sentence += f"; {left} others are not covered"
    return suspect.finding("mismatch" if left else "single-element", sentence)


def _one(suspect: Suspect, position: int) -> str:
    index = np.unravel_index(suspect.sheet.searched.indices[position], suspect.shape)
    return f"{suspect.name}[{', '.join(map(str, index))}]{times(suspect, position)}"

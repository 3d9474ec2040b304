"""Ordered rules that turn evidence into findings: each names one mistake in one sentence, with its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from gradcheck_cli.diagnosis import coupling, extremes, ordering, places, scaling, terms
from gradcheck_cli.diagnosis.suspect import Suspect
from gradcheck_cli.results import Finding

Rule: TypeAlias = Callable[[Suspect], Finding | None]

# The first that explains every element of an array wins: from what needs no guess and what has no free number, over
# what is fitted, to what only says where.
RULES: tuple[Rule, ...] = (
    extremes.lost_digits,
    extremes.not_finite,
    extremes.all_zero,
    extremes.at_kinks,
    scaling.wrong_sign,
    scaling.constant_factor,
    ordering.swapped,
    ordering.transposed,
    ordering.axis_flipped,
    ordering.shifted,
    ordering.permuted,
    ordering.one_number,
    scaling.dy_itself,
    scaling.scaled_by_array,
    extremes.inverted,
    terms.known_term,
    terms.weighted_sum,
    coupling.outputs_swapped,
    coupling.one_slice_only,
    coupling.operand_transposed,
    coupling.dy_scaled,
    scaling.factor_along,
    terms.term_along,
    coupling.diagonal_only,
    scaling.dy_times,
    places.somewhere,
    places.single_elements,
    places.mismatch,
)

# For an array of more than so many elements only the rules that need little time and memory are tried.
LARGE = 1_000_000
CHEAP: tuple[Rule, ...] = (
    extremes.lost_digits,
    extremes.not_finite,
    extremes.all_zero,
    extremes.at_kinks,
    scaling.wrong_sign,
    scaling.constant_factor,
    ordering.transposed,
    places.somewhere,
    places.single_elements,
    places.mismatch,
)


def explanation(suspect: Suspect) -> Finding:
    """What the first rule that fits says. The last one always does."""
    rules = RULES if suspect.analytic.size <= LARGE else CHEAP
    with np.errstate(all="ignore"):  # a guess may divide by zero or overflow: then it fits nothing
        return next(finding for rule in rules if (finding := rule(suspect)) is not None)

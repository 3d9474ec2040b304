"""Outputs at places that are known beforehand, evaluated together: one by one they would take several times as long."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.levels import Function
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import evaluate_stacked


def looked_up(
    objective: Objective, name: str, entries: Sequence[int], places: Array, centre: Array
) -> dict[int, Function] | None:
    """For each entry the outputs as a function of its value, known at its own `places` (places, entries) only.

    None if a stack fails. It may be rounded differently: what differs from its unmoved point is told as if that were
    the centre.
    """
    found = evaluate_stacked(objective, name, np.array(entries), places, centre)
    if found is None:
        return None
    values, middle = found
    if not (middle == centre).all():
        values = (values - middle) + centre
    finite = np.asarray(np.isfinite(values).all(axis=2))
    known = [{places[p, k]: values[p, k] for p in np.flatnonzero(finite[:, k])} for k in range(len(entries))]
    return {entry: partial(_known, outputs) for entry, outputs in zip(entries, known, strict=True)}


def _known(outputs: dict[Any, Array], value: Any) -> Array | None:
    return outputs.get(value)

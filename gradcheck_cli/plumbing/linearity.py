"""Is the VJP linear in dy? Each way in which it is not names its own bug."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Objective, fitted
from gradcheck_cli.numeric.rounding import AnalyticNoise
from gradcheck_cli.numeric.scales import largest, shortest
from gradcheck_cli.numeric.slabs import slabs
from gradcheck_cli.plumbing.structure import problem
from gradcheck_cli.results import Finding
from gradcheck_cli.values import dataclass


def linearity(
    objective: Objective,
    wrt: Sequence[str],
    gradients: Mapping[str, Any],
    rounding: AnalyticNoise,
    other: Array,
    centre: Array,
) -> list[Finding]:
    """The VJP is linear in dy: at 2 dy, at 0, and at a sum; 4 VJP calls. Skipped where there is no dy."""
    if getattr(objective.layer, "ignores_dy", False):
        sentence = "the function returns its gradient together with its loss and takes no dy: linearity is not tested"
        return [Finding("no-dy", "note", None, sentence)]
    dy = objective.cotangent
    calls = {"twice": 2 * dy, "zero": 0 * dy, "other": other, "sum": dy + other}
    found = {key: objective.vjp(cotangent) for key, cotangent in calls.items()}
    findings: list[Finding] = []
    for name in wrt:
        shape = objective.arrays[name].shape
        one = fitted(gradients.get(name), shape)
        if not np.isfinite(one).all() or np.asarray(gradients[name]).dtype.kind != "f":
            continue  # which is a finding of its own
        unit = max(rounding.unit, float(np.finfo(np.asarray(gradients[name]).dtype).eps) / 2)
        size = float(np.abs(objective.cotangent * centre).sum())
        natural = 64 * unit * size / shortest(objective.arrays[name].reshape(-1))
        columns = Columns(one, *(fitted(found[key].get(name), shape) for key in calls))
        findings += _nonlinear(name, columns, rounding.bound[name], unit, natural, bool(np.abs(dy).any()))
    return findings


@dataclass(frozen=True)
class Columns:
    """The gradient of one array for dy, 2 dy, 0, another dy, and the sum of both, flat."""

    one: Array
    twice: Array
    zero: Array
    other: Array
    sum: Array

    def parts(self) -> Iterator[tuple[slice, Columns]]:
        """Slab by slab: what is computed of them on the way would take several times their memory."""
        for part in slabs(self.one.size):
            yield part, Columns(*(column[part] for column in vars(self).values()))


def _nonlinear(
    name: str, columns: Columns, bound: Array, unit: float, natural: float, nonzero: bool
) -> Iterator[Finding]:
    biggest, others = largest(columns.one), largest(columns.other)
    slack = 64 * unit * max(biggest, others) + natural
    doubles = adds = True
    for part, some in columns.parts():
        allowed = np.max(bound[part], axis=1) + slack
        doubles &= bool((np.abs(some.twice - 2 * some.one) <= 4 * allowed).all())
        adds &= bool((np.abs(some.sum - (some.one + some.other)) <= 8 * allowed + 1e-9 * others).all())
    ignored = np.array_equal(columns.twice, columns.one) and np.array_equal(columns.zero, columns.one)
    if nonzero and biggest > 0 and ignored:
        sentence = (
            f"the gradient of {name!r} ignores the upstream gradient: it is the same for dy, 2 dy and 0; "
            f"multiply by dy (dL/dy) in the backward pass"
        )
        yield problem("dy-ignored", name, sentence)
    elif not (columns.zero == 0).all():
        worst = np.nanmax(np.abs(columns.zero), initial=0.0)
        yield problem("dy-nonzero", name, f"for dy = 0 the gradient of {name!r} is not 0 but up to {worst:.2g}")
    elif not doubles:
        yield problem(
            "dy-nonlinear", name, f"for 2 dy the gradient of {name!r} does not double: dy is used non-linearly"
        )
    elif not adds:
        sentence = f"for a sum of two dy the gradient of {name!r} is not the sum of both: dy is used non-linearly"
        yield problem("dy-nonlinear", name, sentence)

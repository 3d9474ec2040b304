"""Sheets with known values, and what the rules say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradcheck_cli.diagnosis.explain import explain
from gradcheck_cli.diagnosis.suspect import Evidence
from gradcheck_cli.layer import Array
from gradcheck_cli.results import Finding, Outcome

PASS, INCONCLUSIVE, FAIL, NONFINITE = (
    outcome.severity for outcome in (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL, Outcome.NONFINITE)
)
RNG = np.random.default_rng(7)
SQUARE = RNG.uniform(0.5, 2.0, (3, 3)) * RNG.choice([-1, 1], (3, 3))
TALL = RNG.uniform(0.5, 2.0, (5, 3)) * RNG.choice([-1, 1], (5, 3))
LINE = np.array([0.5, -1.25, 2.0, 0.75, -3.0, 1.5])
POINT = np.array([-1.5, 0.25, 1.75, -0.5, 0.625, -2.25])  # of an array beside LINE


@dataclass(frozen=True)
class Scaled:
    """A layer with options; the rules that ask it for more find that it says something else, and give up."""

    beta: float = 7.0
    steps: int = 5

    def forward(self, **arrays: Array) -> Array:
        raise ValueError("not today")

    def vjp(self, dy: Array, **arrays: Array) -> Mapping[str, Array]:
        raise ValueError("not today")


def sheet_of(name: str, right: Array, wrong: Array, doubt: float = 1e-10, units: int = 1, **columns: Any) -> Any:
    """A sheet whose numeric values are right to within a tenth of the doubt."""
    analytic = np.asarray(wrong, dtype=float).reshape(-1, units)
    true = np.asarray(right, dtype=float).reshape(-1, units)
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(analytic - true) <= doubt)
    outcome = np.where(bad, np.where(np.isfinite(analytic), FAIL, NONFINITE), PASS)
    everything = {
        "analytic": analytic,
        "numeric": true + 0.1 * doubt,
        "uncertainty": np.full(analytic.shape, doubt),
        "resolution": np.full(analytic.shape, doubt),
        "outcome": outcome.astype(np.int8),
        "rounded": np.zeros(analytic.shape, bool),
        "reason": np.full(analytic.shape, None, object),
    }
    return SimpleNamespace(name=name, searched=None, **(everything | columns))


@dataclass(frozen=True)
class Case:
    """What a rule must say of a wrong gradient beside the right one."""

    rule: str
    right: Array
    wrong: Array
    says: str
    arrays: Mapping[str, Array] = field(default_factory=dict)
    outputs: Sequence[Array] = (np.zeros(2),)
    cotangent: Sequence[Array] = (np.ones(2),)
    layer: Any = None
    view: str = "vjp"
    units: int = 1
    columns: Mapping[str, Any] = field(default_factory=dict)
    known: Sequence[Finding] = ()


def findings_of(case: Case, value: Array | None = None) -> list[Finding]:
    shape = np.shape(case.right) if case.units == 1 else np.shape(case.right)[:-1]
    arrays = {"W": np.full(shape, 0.5) if value is None else value} | dict(case.arrays)
    sheet = sheet_of("W", case.right, case.wrong, units=case.units, **case.columns)
    evidence = Evidence(case.layer, arrays, case.outputs, case.cotangent, case.view, (sheet,))
    return list(explain(evidence, case.known))

"""Small layers made of functions, and their checks: what the tests of the numeric side have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gradcheck_cli import compare
from gradcheck_cli.layer import Array, ArraySpec, Outputs, Shape
from gradcheck_cli.results import CheckResult, Element, Outcome, Rows
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given


@dataclass(frozen=True)
class Map:
    """y = f(x) for one array x, with its VJP as a function of dy and x."""

    f: Callable[[Array], Outputs]
    pull: Callable[[Any, Array], Any]
    shape: Shape = (3,)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(given.get("x", self.shape))}

    def forward(self, x: Array) -> Outputs:
        return self.f(x)

    def vjp(self, dy: Any, x: Array) -> Mapping[str, Any]:
        return {"x": self.pull(dy, x)}


def entrywise(f: Callable[[Array], Array], slope: Callable[[Array], Any]) -> Map:
    """y = f(x), entry by entry, with its derivative."""
    return Map(f, lambda dy, x: dy * slope(x))


def check(layer: Any, arrays: Mapping[str, Any] | None = None, rows: Rows | None = None, **asked: Any) -> CheckResult:
    """The result of a layer at some arrays, given as values, with every element kept."""
    given = {
        name: value if isinstance(value, Given) else Given(values=np.asarray(value))
        for name, value in (arrays or {}).items()
    }
    result = run_check(CheckSpec("test::check", "check", layer, "small", given, **asked), rows or Rows(None))
    assert result.error is None, result.error
    return result


def at(result: CheckResult, *index: int, array: str | None = None) -> Element:
    """One element of a result of the VJP view."""
    name = array or result.arrays[0].name
    (found,) = (element for one in result.arrays if one.name == name for element in one.worst if element.index == index)
    return found


def outcomes(result: CheckResult) -> list[Outcome]:
    """The outcome of every element, in the order of the arrays and their entries."""
    return [
        element.outcome for one in result.arrays for element in sorted(one.worst, key=lambda e: (e.index, e.output))
    ]


def rules(result: CheckResult) -> list[str]:
    """The rules of all findings."""
    return [finding.rule for finding in result.findings]


def switch_off(patch: pytest.MonkeyPatch, reason: str) -> None:
    """Take one clause out of what a fail needs."""
    kept = tuple((name, clause) for name, clause in compare.CLAUSES if name != reason)
    assert len(kept) == len(compare.CLAUSES) - 1
    patch.setattr(compare, "CLAUSES", kept)

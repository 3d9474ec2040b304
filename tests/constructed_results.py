"""Results written by hand, so that what reports show of them never depends on a digit of a real difference."""

from __future__ import annotations

import math
from typing import Any

from gradcheck_cli.results import (
    ArrayResult,
    CheckResult,
    Element,
    ErrorInfo,
    Finding,
    Outcome,
    Resolution,
    RunResult,
    Verdict,
)


def element(*index: int, analytic: float, numeric: float, outcome: Outcome = Outcome.PASS, **more: Any) -> Element:
    """One element with an uncertainty of 1e-10 of its size, unless told otherwise."""
    size = max(abs(analytic), abs(numeric), 1e-3)
    size = size if math.isfinite(size) else 1.0
    usual = {"uncertainty": 1e-10 * size, "resolution": 2e-10 * size, "step": 6.1e-6}
    return Element(index, analytic, numeric, outcome=outcome, **(usual | more))


def array(name: str, shape: tuple[int, ...], shown: list[Element], **more: Any) -> ArrayResult:
    """An array of which the given elements are the worst; all that are not given pass."""
    count = more.pop("elements", len(shown))
    outcomes = [one.outcome for one in shown]
    counts: dict[str, Any] = {
        "kinks": outcomes.count(Outcome.KINK),
        "inconclusive": outcomes.count(Outcome.INCONCLUSIVE),
        "failed": outcomes.count(Outcome.FAIL),
        "nonfinite": outcomes.count(Outcome.NONFINITE),
        "visited": count,
        "max_abs_error": max((one.abs_error for one in shown), default=0.0),
        "max_rel_error": max((one.rel_error for one in shown), default=0.0),
    } | more
    passed = counts["visited"] - sum(counts[key] for key in ("kinks", "inconclusive", "failed", "nonfinite"))
    worst = tuple(sorted(shown, key=lambda one: one.rank, reverse=True))
    return ArrayResult(name, shape, count, passed=counts.pop("passed", passed), worst=worst, **counts)


def check(name: str, layer: str, verdict: Verdict, *arrays: ArrayResult, **more: Any) -> CheckResult:
    """A check of configs/a.yaml."""
    usual: dict[str, Any] = {
        "id": f"configs/a.yaml::{name}",
        "file": "configs/a.yaml",
        "line": 3,
        "column": 5,
        "evaluations": 42,
        "evaluations_by_tier": {"plumbing": 8, "noise": 10, "1": 24},
        "vjp_calls": 7,
        "seconds": 0.0123,
        "reproduce": f"gradcheck run configs/a.yaml::{name} --seed 0",
    }
    return CheckResult(name=name, layer=layer, verdict=verdict, arrays=arrays, **(usual | more))


def warm_up() -> CheckResult:
    """Passes: two arrays and a scalar, all elements shown."""
    W = [
        element(0, 0, analytic=0.5, numeric=0.5),
        element(0, 1, analytic=-1.0, numeric=-1.0 + 3e-11),
        element(1, 0, analytic=123.25, numeric=123.25 + 2e-9),
        element(1, 1, analytic=2e-7, numeric=2.0000001e-7),
    ]
    arrays = (
        array("W", (2, 2), W),
        array("b", (2,), [element(0, analytic=0.5, numeric=0.5), element(1, analytic=0.0, numeric=0.0)]),
        array("beta", (), [element(analytic=1 / 3, numeric=1 / 3 + 1e-11)]),
    )
    return check("warm-up", "linear", Verdict.PASS, *arrays, resolution=Resolution(2e-9, 4e-6, "W[1, 1]"))


def transposed() -> CheckResult:
    """Fails with a finding and a note, one element nonfinite."""
    W = [
        element(0, 1, analytic=0.3217509, numeric=-1.25, outcome=Outcome.FAIL),
        element(1, 0, analytic=-1.25, numeric=0.3217509, outcome=Outcome.FAIL),
        element(0, 0, analytic=0.7853981633974483, numeric=0.7853981633974484),
        element(1, 1, analytic=math.nan, numeric=0.25, outcome=Outcome.NONFINITE),
    ]
    findings = (
        Finding("transposed", "error", "W", "W is transposed: analytic equals the transpose of numeric to 1.3e-10"),
        Finding("nonfinite", "error", "W", "the analytic gradient is nan at [1, 1], where forward is finite"),
    )
    notes = (
        "forward was evaluated in float64 although x was given as float32, which hides rounding errors of the layer",
    )
    arrays = (array("x", (2,), [element(0, analytic=1.0, numeric=1.0)], elements=2), array("W", (2, 2), W))
    return check("transposed", "dense", Verdict.FAIL, *arrays, met=False, findings=findings, notes=notes)


def jacobian() -> CheckResult:
    """Inconclusive with reasons, in the Jacobian view, of several outputs at several points."""
    more = {"output_number": 1, "point": 2}
    pairs = [
        element(0, output=(2,), analytic=0.1, numeric=0.10000001, outcome=Outcome.INCONCLUSIVE, reason="noise", **more),
        element(3, output=(2,), analytic=0.0, numeric=2.5e-13, outcome=Outcome.KINK, **more),
        element(1, output=(0,), analytic=-3e20, numeric=-3.0000001e20, **more),
    ]
    big = array("x", (4,), pairs, elements=6208, inconclusive=3)
    return check("jacobian", "pair", Verdict.INCONCLUSIVE, big, met=False, view="jacobian", points=3)


def broken() -> CheckResult:
    """An error in the user's code, with text that would harm a terminal."""
    info = ErrorInfo("ValueError", "shapes do not fit:\n\x1b[31m(3,) and (2,)", 'layers.py:12, in forward: "y = W @ x"')
    return check("broken [bold]", "mine:Layer", Verdict.ERROR, met=False, error=info, vjp_calls=0, evaluations=1)


def caught() -> CheckResult:
    """Fails as it should."""
    wrong = array("b", (), [element(analytic=2.0, numeric=1.0, outcome=Outcome.FAIL)])
    return check("caught", "linear", Verdict.FAIL, wrong, expected=Verdict.FAIL)


def searched() -> CheckResult:
    """A large array of which a few elements were judged, the others covered."""
    found = [element(17, 4000, analytic=0.5, numeric=0.51, outcome=Outcome.FAIL)]
    more = {"elements": 16777216, "visited": 41, "covered": 16777175, "covered_resolution": 3.1e-8}
    finding = Finding("elements", "error", "W", "one element is wrong by -1.96 %, the others are right")
    return check(
        "searched", "linear", Verdict.FAIL, array("W", (4096, 4096), found, **more), met=False, findings=(finding,)
    )


def run(*checks: CheckResult, **more: Any) -> RunResult:
    """A run of a second and a quarter."""
    return RunResult(checks or (warm_up(), transposed(), jacobian(), broken(), caught(), searched()), 1.25, **more)

"""The gate: what is accepted of a run, which exit code follows, and what is said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import click
import constructed_results as constructed
import pytest

from gradcheck_cli.cli.gate import Changes, Decision, Gate, compared, gate_options, read_result
from gradcheck_cli.reports.json import Json
from gradcheck_cli.results import ArrayResult, CheckResult, ErrorInfo, ExitCode, Outcome, RunResult, Verdict

WARM_UP, TRANSPOSED, JACOBIAN, BROKEN, CAUGHT, SEARCHED = constructed.run().checks


def wrong(count: int = 1, error: float = 0.5, name: str = "W") -> ArrayResult:
    elements = [constructed.element(k, analytic=1.0, numeric=1 - error, outcome=Outcome.FAIL) for k in range(count)]
    return constructed.array(name, (9,), elements, elements=9)


def unmet(*arrays: ArrayResult, verdict: Verdict = Verdict.FAIL, error: str | None = None) -> CheckResult:
    info = ErrorInfo(error, "it") if error else None
    return constructed.check("a", "linear", verdict, *arrays, met=False, error=info)


MET = constructed.check("a", "linear", Verdict.PASS)


@pytest.mark.parametrize(
    ("gate", "run", "code"),
    [
        (Gate(), constructed.run(), ExitCode.UNMET),
        (Gate(), constructed.run(WARM_UP, CAUGHT), ExitCode.MET),
        (Gate(exit_zero=True), constructed.run(), ExitCode.MET),
        (Gate(exit_zero=True), RunResult(()), ExitCode.NOTHING),
        (Gate(exit_zero=True), constructed.run(TRANSPOSED, interrupted=True), ExitCode.INTERRUPTED),
        (Gate(baseline=constructed.run()), constructed.run(), ExitCode.MET),
        (Gate(baseline=constructed.run()), RunResult(()), ExitCode.NOTHING),
        (Gate(baseline=constructed.run()), constructed.run(interrupted=True), ExitCode.INTERRUPTED),
        (Gate(baseline=constructed.run(WARM_UP)), constructed.run(), ExitCode.UNMET),
        (Gate(baseline=constructed.run(WARM_UP), exit_zero=True), constructed.run(), ExitCode.MET),
    ],
)
def test_exit_code(gate: Gate, run: RunResult, code: ExitCode) -> None:
    assert gate.decide(run).exit_code is code


def test_without_options_nothing_is_said_or_changed() -> None:
    assert Gate().decide(constructed.run()) == Decision(ExitCode.UNMET)
    assert all(Gate().accepted(check) is check for check in constructed.run().checks)


def test_inconclusive_is_met_if_allowed() -> None:
    gate = Gate(allow_inconclusive=True)
    assert gate.accepted(JACOBIAN) == replace(JACOBIAN, met=True)
    assert all(gate.accepted(check) is check for check in (WARM_UP, TRANSPOSED, BROKEN, CAUGHT))


def test_inconclusive_is_not_met_where_a_failure_is_expected() -> None:
    check = replace(JACOBIAN, expected=Verdict.FAIL)
    assert Gate(allow_inconclusive=True).accepted(check) is check


def test_slowest_checks_are_told() -> None:
    times = {"a": 0.5, "b": 12.0, "c": 3.0}
    checks = [constructed.check(name, "linear", Verdict.PASS, seconds=time) for name, time in times.items()]
    assert Gate(durations=2).decide(constructed.run(*checks)).lines == (
        "slowest 2 of 3 checks:",
        "  12 s  configs/a.yaml::b",
        "   3 s  configs/a.yaml::c",
    )
    assert Gate(durations=9).decide(constructed.run(*checks)).lines[0] == "slowest 3 of 3 checks:"
    assert Gate(durations=9).decide(RunResult(())).lines == ()


def test_what_changed_since_the_baseline_is_told() -> None:
    fixed = replace(SEARCHED, verdict=Verdict.PASS, met=True)
    worse = replace(TRANSPOSED, verdict=Verdict.ERROR, error=ErrorInfo("ValueError", "it"))
    run = constructed.run(WARM_UP, worse, JACOBIAN, CAUGHT, fixed, unmet())
    decision = Gate(baseline=constructed.run()).decide(run)
    assert decision == Decision(
        ExitCode.UNMET,
        (
            "against the baseline: 1 new, 1 worse, 1 known, 1 fixed, 1 not run",
            "  new: configs/a.yaml::a  fails; gradcheck run configs/a.yaml::a --seed 0",
            "  worse: configs/a.yaml::transposed  error, was fail; gradcheck run configs/a.yaml::transposed --seed 0",
            "  fixed: configs/a.yaml::searched",
            "  not run: configs/a.yaml::broken [bold]",
        ),
    )


def test_baseline_accepts_what_the_run_accepts() -> None:
    gate = Gate(allow_inconclusive=True, baseline=constructed.run(JACOBIAN))
    now = replace(JACOBIAN, verdict=Verdict.FAIL)
    assert gate.decide(constructed.run(now)).lines[0] == (
        "against the baseline: 1 new, 0 worse, 0 known, 0 fixed, 0 not run"
    )


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (unmet(wrong()), unmet(wrong()), ""),
        (unmet(wrong(3)), unmet(wrong(2)), ""),
        (unmet(wrong(error=0.05)), unmet(wrong(error=0.4)), ""),
        (unmet(wrong(error=0.01)), unmet(wrong(error=0.5)), "the relative error of W is 0.50, was 0.010"),
        (unmet(wrong(2)), unmet(wrong(3)), "W has 3 wrong elements, had 2"),
        (unmet(wrong()), unmet(wrong(), wrong(name="b")), "b has 1 wrong element, had 0"),
        (unmet(wrong()), unmet(wrong(name="b")), "b has 1 wrong element, had 0"),
        (unmet(wrong(), verdict=Verdict.INCONCLUSIVE), unmet(wrong()), "fail, was inconclusive"),
        (unmet(wrong()), unmet(verdict=Verdict.ERROR, error="ValueError"), "error, was fail"),
        (unmet(verdict=Verdict.ERROR, error="ValueError"), unmet(wrong()), "W has 1 wrong element, had 0"),
        (unmet(verdict=Verdict.ERROR, error="ValueError"), unmet(verdict=Verdict.ERROR, error="ValueError"), ""),
        (
            unmet(verdict=Verdict.ERROR, error="ValueError"),
            unmet(verdict=Verdict.ERROR, error="TimeoutError"),
            "TimeoutError, was ValueError",
        ),
        (unmet(verdict=Verdict.PASS), unmet(verdict=Verdict.PASS), ""),
        (unmet(verdict=Verdict.INCONCLUSIVE), unmet(verdict=Verdict.PASS), "fail, was inconclusive"),
    ],
)
def test_what_is_worse(before: CheckResult, now: CheckResult, why: str) -> None:
    changes = compared(constructed.run(now), constructed.run(before))
    assert changes == (Changes(worse=((now, why),)) if why else Changes(known=(now,)))


def test_what_was_met_or_not_there_is_new() -> None:
    now = unmet(wrong())
    assert compared(constructed.run(now), constructed.run(MET)) == Changes(new=(now,))
    assert compared(constructed.run(now), constructed.run(CAUGHT)) == Changes(new=(now,))


def test_what_is_met_now_is_fixed_and_what_was_met_is_not_missed() -> None:
    assert compared(constructed.run(MET), constructed.run(unmet())) == Changes(fixed=(MET,))
    assert compared(constructed.run(MET), constructed.run(MET, CAUGHT)) == Changes()


def test_result_is_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(Json().render(constructed.run()), "utf-8")
    assert read_result(path).to_dict() == constructed.run().to_dict()


def test_result_that_is_none_is_refused(tmp_path: Path) -> None:
    missing, empty, other = (tmp_path / name for name in ("missing.json", "empty.json", "other.json"))
    empty.write_text("")
    other.write_text(json.dumps({**constructed.run().to_dict(), "verdict": 1, "seconds": "x"}))
    written, verdicts = "must be written by --report json=PATH.", "must be 'pass', 'inconclusive', 'fail' or 'error'"
    for path, message in (
        (missing, f"'{missing}' can't be read: No such file or directory."),
        (tmp_path, f"'{tmp_path}' can't be read: Is a directory."),
        (
            empty,
            f"'{empty}' is no result of gradcheck: no JSON: EOF while parsing a value at line 1 column 0; {written}",
        ),
        (
            other,
            f"'{other}' is no result of gradcheck: verdict: 1; {verdicts} (and 1 more); {written}",
        ),
    ):
        with pytest.raises(click.BadParameter, match=f"^{re.escape(message)}$"):
            read_result(path)


def test_options_make_a_gate(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(Json().render(constructed.run(WARM_UP)), "utf-8")

    @click.command()
    @gate_options
    def command(**gate: object) -> Gate:
        return Gate(**gate)  # type: ignore[arg-type]

    def made(*words: str) -> Gate:
        gate: Gate = command.main(list(words), standalone_mode=False)
        return gate

    assert made() == Gate()
    assert made("--allow-inconclusive", "--exit-zero", "--durations", "3") == Gate(True, True, 3)
    baseline = made("--baseline", str(path)).baseline
    assert baseline is not None
    assert baseline.to_dict() == constructed.run(WARM_UP).to_dict()
    with pytest.raises(click.BadParameter, match="must be written by --report json=PATH"):
        made("--baseline", __file__)

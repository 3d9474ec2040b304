"""Annotations of GitHub Actions, and the summary of a step."""

from __future__ import annotations

import re
from pathlib import Path

import constructed_results as constructed
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gradcheck_cli.cli.github import MOST_BYTES, append_step_summary
from gradcheck_cli.cli.output import OutputError
from gradcheck_cli.reports.github import GitHub
from gradcheck_cli.reports.markdown import Markdown
from gradcheck_cli.results import CheckResult, ErrorInfo, Outcome, RunResult, Verdict

ANY_TEXT = some.text(some.characters(exclude_categories=()))
COMMAND = re.compile(r"::(?P<level>error|warning) (?P<words>[^:]*)::(?P<told>.*)")


def read(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as GitHub's runner reads it."""
    command = COMMAND.fullmatch(line)
    assert command, line
    words = dict(word.split("=", 1) for word in command["words"].split(","))
    plain = {key: unescaped(value.replace("%3A", ":").replace("%2C", ",")) for key, value in words.items()}
    return command["level"], plain, unescaped(command["told"])


def unescaped(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def failing(name: str, error: float = 1.0, verdict: Verdict = Verdict.FAIL) -> CheckResult:
    wrong = constructed.element(analytic=1.0 + error, numeric=1.0, outcome=Outcome.FAIL)
    return constructed.check(name, "linear", verdict, constructed.array("x", (), [wrong]), met=False)


def test_golden_report() -> None:
    assert GitHub().render(constructed.run()) == GOLDEN


GOLDEN = """\
::error file=configs/a.yaml,line=3,col=5,title=broken [bold]::error: ValueError: shapes do not fit:%0A\
\\x1b[31m(3,) and (2,)%0Alayers.py:12, in forward: "y = W @ x"%0A\
reproduce: gradcheck run configs/a.yaml::broken [bold] --seed 0
::error file=configs/a.yaml,line=3,col=5,title=transposed::fails: W is transposed: analytic equals the transpose of \
numeric to 1.3e-10%0AW: the analytic gradient is nan at [1, 1], where forward is finite%0A\
W[1, 1]: analytic nan, numeric 0.250000 ± 1.0e-10, nonfinite%0A\
W[0, 1]: analytic 0.321751, numeric -1.25000 ± 1.3e-10, fail%0A\
W[1, 0]: analytic -1.25000, numeric 0.321751 ± 1.3e-10, fail%0A\
forward was evaluated in float64 although x was given as float32, which hides rounding errors of the layer%0A\
reproduce: gradcheck run configs/a.yaml::transposed --seed 0
::error file=configs/a.yaml,line=3,col=5,title=searched::fails: W: one element is wrong by -1.96 %25, the others are \
right%0AW[17, 4000]: analytic 0.500000, numeric 0.510000 ± 5.1e-11, fail%0A\
reproduce: gradcheck run configs/a.yaml::searched --seed 0
::warning file=configs/a.yaml,line=3,col=5,title=jacobian::inconclusive: 3 inconclusive, 1 kink, 6204 pass%0A\
∂y1[2]/∂x[0]: analytic 0.10000000, numeric 0.10000001 ± 1.0e-11, inconclusive (noise)%0A\
reproduce: gradcheck run configs/a.yaml::jacobian --seed 0
gradcheck: 4 of 6 checks not as expected: 1 passes, 3 fail, 1 inconclusive, 1 error
"""


def test_nothing_is_annotated_when_all_is_as_expected() -> None:
    run = constructed.run(constructed.warm_up(), constructed.caught())
    assert GitHub().render(run) == "gradcheck: 2 checks, all as expected: 1 passes, 1 fails\n"


def test_interruption_is_told() -> None:
    run = constructed.run(constructed.warm_up(), interrupted=True)
    assert GitHub().render(run) == "gradcheck: interrupted; 1 check, all as expected: 1 passes\n"
    assert GitHub().render(RunResult((), interrupted=True)) == "gradcheck: interrupted; no checks\n"


def test_at_most_ten_are_annotated_worst_first() -> None:
    checks = [failing(str(k), error=k + 1) for k in range(12)]
    checks += [failing("unsure", verdict=Verdict.INCONCLUSIVE), failing("broken", verdict=Verdict.ERROR)]
    *commands, last = GitHub().render(constructed.run(*checks)).splitlines()
    assert [read(line)[1]["title"] for line in commands] == ["broken", *(str(k) for k in range(11, 2, -1))]
    assert last == (
        "gradcheck: 14 of 14 checks not as expected: 12 fail, 1 inconclusive, 1 error; 4 more than are annotated"
    )


def test_check_without_file_has_no_place() -> None:
    check = constructed.check("a", "linear", Verdict.FAIL, met=False, file=None, line=None, column=None)
    assert GitHub().render(constructed.run(check)).startswith("::error title=a::fails")


def test_signs_that_mean_something_are_escaped() -> None:
    check = constructed.check("100 %, a:b", "linear", Verdict.FAIL, met=False, file="a,b:c%.yaml")
    line = GitHub().render(constructed.run(check)).splitlines()[0]
    assert line.startswith("::error file=a%2Cb%3Ac%25.yaml,line=3,col=5,title=100 %25%2C a%3Ab::fails")


@given(name=ANY_TEXT, message=ANY_TEXT)
def test_no_text_ends_or_starts_a_command(name: str, message: str) -> None:
    error = ErrorInfo("ValueError", f"{message}\n::error::{message}", message)
    check = constructed.check(name, "linear", Verdict.ERROR, met=False, error=error, file=message, reproduce=message)
    report = GitHub().render(constructed.run(check))
    report.encode()
    lines = report.removesuffix("\n").split("\n")
    assert len(lines) == len(report.splitlines()) == 2
    level, words, told = read(lines[0])
    assert (level, list(words)) == ("error", ["file", "line", "col", "title"])
    assert told.startswith("error: ValueError: ")


def test_summary_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("of a step before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    append_step_summary(constructed.run())
    assert summary.read_text("utf-8") == f"of a step before\n{Markdown().render(constructed.run())}\n"


@pytest.mark.parametrize("value", [None, ""])
def test_no_summary_without_the_variable(value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    if value is not None:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", value)
    append_step_summary(constructed.run())
    assert list(tmp_path.iterdir()) == []


def test_summary_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    with pytest.raises(OutputError) as raised:
        append_step_summary(constructed.run())
    assert raised.value.message == f"cannot write the step summary {tmp_path}: Is a directory"


def test_summary_fits_what_github_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    notes = tuple(f"{k} " + "long " * 300 for k in range(20))
    checks = [constructed.check(str(k), "linear", Verdict.FAIL, met=False, notes=notes) for k in range(90)]
    append_step_summary(constructed.run(*checks))
    assert MOST_BYTES / 3 < summary.stat().st_size <= MOST_BYTES
    assert "more are not as expected." in summary.read_text("utf-8")

"""How far a run is, told on standard error."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_runs import GRADCHECK, environment, gradcheck, write_files

from gradcheck_cli.batch.chunk import Running
from gradcheck_cli.cli.progress import Bar, Lines, Tally, following, span
from gradcheck_cli.results import CheckResult, Verdict

IDS = ["a.yaml::one", "a.yaml::two[beta=2]", "configs/very/long/" + "x" * 60 + ".yaml::three"]
MET = CheckResult("a", "a", "tanh", Verdict.PASS)
UNMET = CheckResult("b", "b", "tanh", Verdict.FAIL, met=False)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_line_says_how_far_it_is(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(IDS, 30, clock)
    for _ in range(9):
        lines.add(MET)
    lines.add(UNMET)
    clock.now = 150.0
    lines.tick([Running(0, 149.0), Running(1, 115.0)])
    assert capsys.readouterr().err == ""
    clock.now = 160.0
    lines.tick([Running(0, 149.0), Running(1, 115.0)])
    lines.tick([])
    told = "gradcheck: 10 of 30 checks, 1 not as expected, about 2 min left; slowest now: a.yaml::two[beta=2] (45 s)\n"
    assert capsys.readouterr().err == told
    clock.now = 219.0
    lines.tick([])
    assert capsys.readouterr().err == ""
    clock.now = 220.0
    lines.tick([])
    assert capsys.readouterr().err == "gradcheck: 10 of 30 checks, 1 not as expected, about 4 min left\n"


def test_long_name_keeps_its_end(clock: Clock) -> None:
    tally = Tally(IDS, 3, clock)
    tally.tick([Running(2, 90.0)])
    assert tally.slowest == "…" + IDS[2][-47:] + " (10 s)"
    tally.tick([Running(2, 99.5)])
    assert tally.slowest == ""


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0 s"), (99, "99 s"), (150, "2 min"), (9000, "2.5 h")])
def test_span_is_told(seconds: float, told: str) -> None:
    assert span(seconds) == told


@pytest.mark.parametrize(
    ("quiet", "count", "ci", "kind"),
    [(False, 2, "", Tally), (False, 2, "true", Lines), (False, 2, "false", Tally), (True, 2, "true", Tally)],
)
def test_stream_that_is_no_terminal_gets_lines_in_ci_only(
    quiet: bool, count: int, ci: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    assert type(following(IDS, count, quiet, colour=False)) is kind


def test_bar_never_reads_names_as_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = Bar(IDS, 3, colour=False)
    bar.tick([Running(1, bar._clock() - 5)])
    bar.add(UNMET)
    assert re.fullmatch(r"1 not as expected  0 s left  a\.yaml::two\[beta=2\] \(5 s\)", bar.told().plain)
    with bar.paused():
        pass
    bar.close()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a pseudo-terminal."""
    ends = pty.openpty()
    yield ends
    os.close(ends[0])


def written(process: subprocess.Popen[bytes], reader: int) -> str:
    """All that appears on a terminal until a process ends."""
    seen = b""
    while process.poll() is None or select.select([reader], [], [], 0)[0]:
        if select.select([reader], [], [], 0.1)[0]:
            try:
                seen += os.read(reader, 65536)
            except OSError:  # the other end is closed
                break
    return seen.decode()


@pytest.mark.parametrize("jobs", ["0", "2"])
def test_bar_moves_on_a_terminal_and_leaves_results_alone(jobs: str, terminal: tuple[int, int], tmp_path: Path) -> None:
    write_files(tmp_path, 2)
    plain = gradcheck("run", "-n", "0", "--width", "80", cwd=tmp_path).stdout.splitlines()
    process = subprocess.Popen(
        [*GRADCHECK, "run", "-n", jobs, "--width", "80", "--color", "never"],
        cwd=tmp_path,
        env=environment(TERM="xterm", COLUMNS="100"),
        stdout=terminal[1],
        stderr=terminal[1],
    )
    os.close(terminal[1])
    screen = written(process, terminal[0])
    assert process.wait() == 1
    assert "/20" in screen
    assert "not as expected" in screen
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen).replace("\r", "\n").splitlines()
    passed = [line for line in plain if line.startswith("✓")]
    assert len(passed) == 18
    cut = [re.sub(r": [^:]*$", "", line) for line in passed]  # its seconds aside
    found = [re.sub(r": [^:]*$", "", line) for line in lines if line.startswith("✓")]
    assert found == cut


def test_nothing_is_told_where_nobody_looks(tmp_path: Path) -> None:
    write_files(tmp_path, 2)
    assert gradcheck("run", "-n", "2", "-q", cwd=tmp_path).stderr == ""

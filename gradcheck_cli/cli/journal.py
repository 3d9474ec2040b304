"""Files of results that grow while checks are made, and what of them a later run can go on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gradcheck_cli.cli.output import Destination, OutputError, Refusal, show
from gradcheck_cli.reports.jsonl import Jsonl
from gradcheck_cli.results import CheckResult, RunResult


@dataclass(frozen=True)
class Resumed:
    """What a file has: the results that this run can keep, and how many lines it can't use."""

    checks: Mapping[str, CheckResult]
    others: int = 0


def resume(path: Path, report: Jsonl, may_be_absent: bool) -> Resumed:
    """Read the results of a run that was stopped.

    Raises `Refusal` for a file that can't be read; one that is not there is fine if the run is to write it.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        if may_be_absent:
            return Resumed({})
        raise Refusal(
            f"--resume {path}: no such file; must be one that --report jsonl={path} wrote, or be given beside it"
        ) from error
    except OSError as error:
        raise Refusal(f"--resume {path}: can't be read: {error.strerror}") from error
    checks = report.read(text)
    return Resumed(checks, sum(bool(line.strip()) for line in text.split("\n")) - len(checks))


class Journal:
    """One jsonl report: a line is on its way to the disk when its check ends.

    When the run is over the file is written anew in the order of the run, so that it does not depend on who made the
    checks.
    """

    def __init__(self, destination: Destination, report: Jsonl, known: Mapping[str, CheckResult]) -> None:
        self.destination, self._report = destination, report
        self._file: IO[str] | None = None
        before = "".join(map(report.line, known.values()))
        if destination.path is None:
            show(before)
            return
        if not destination.path.exists() or destination.path.is_file():
            destination.write(before)
        try:
            self._file = destination.path.open("a", encoding="utf-8", newline="\n")
        except OSError as problem:
            raise OutputError(str(destination.path), problem) from problem

    def add(self, check: CheckResult) -> None:
        """Write a line."""
        if self._file is None:
            show(self._report.line(check))
            return
        try:
            self._file.write(self._report.line(check))
            self._file.flush()
        except OSError as problem:
            raise OutputError(str(self.destination.path), problem) from problem

    def finish(self, run: RunResult) -> None:
        """Put the lines in order; a stream stays as it is."""
        if self._file is None or self.destination.path is None:
            return
        self._file.close()
        if self.destination.path.is_file():
            self.destination.write(self._report.render(run))

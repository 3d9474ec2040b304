"""Files of results that grow while checks are made, and what of them a later run can go on from."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from gradcheck_cli.cli.output import Destination, OutputError, Refusal, show
from gradcheck_cli.reports.jsonl import Jsonl
from gradcheck_cli.results import CheckResult, RunResult, Verdict


def resume(path: Path, report: Jsonl, written: Sequence[Destination]) -> dict[str, CheckResult]:
    """Read the results of a run that was stopped, as far as this run can keep them; say so on standard error.

    Raises `Refusal` for a file that can't be read; one that is not there is fine where it is `written` by this run.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        if any(one.path is not None and one.path.resolve() == path.resolve() for one in written):
            return {}
        raise Refusal(
            f"gradcheck: --resume {path}: no such file; must be one of --report jsonl={path}, or be given beside that"
        ) from error
    except OSError as error:
        raise Refusal(f"gradcheck: --resume {path}: can't be read: {error.strerror}") from error
    found = report.read(text)
    lines = sum(bool(line.strip()) for line in text.split("\n"))
    told = f"{len(found)} of {len(report.fingerprints)} checks are there already"
    others = lines - len(found)
    more = f"; {others} line{'s' * (others != 1)} can't be used: torn, or of other checks or versions" if others else ""
    print(f"gradcheck: --resume {path}: {told}{more}", file=sys.stderr)
    return {ident: _as_judged(found[ident]) for ident in report.fingerprints if ident in found}


def _as_judged(check: CheckResult) -> CheckResult:
    """An inconclusive check as it was before it was accepted, if it was: whether it is now is said anew."""
    return replace(check, met=False) if check.verdict is Verdict.INCONCLUSIVE else check


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

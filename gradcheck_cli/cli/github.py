"""The summary of a step in GitHub Actions: Markdown, appended to the file that GITHUB_STEP_SUMMARY names."""

from __future__ import annotations

import os
from pathlib import Path

from gradcheck_cli.cli.output import OutputError
from gradcheck_cli.reports.markdown import Markdown
from gradcheck_cli.results import RunResult

VARIABLE = "GITHUB_STEP_SUMMARY"
MOST_BYTES = 1_000_000  # GitHub refuses a summary above 1 MiB


def append_step_summary(run: RunResult) -> None:
    """Append the run as Markdown, with as many checks as fit; nothing happens where the variable is not set."""
    place = os.environ.get(VARIABLE)
    if not place:
        return
    try:
        with Path(place).open("ab") as file:
            file.write(_fitting(run))
    except OSError as problem:
        raise OutputError(f"the step summary {place}", problem) from problem


def _fitting(run: RunResult) -> bytes:
    most = Markdown().most
    while len(text := (Markdown(most).render(run) + "\n").encode()) > MOST_BYTES and most:
        most //= 2
    return text

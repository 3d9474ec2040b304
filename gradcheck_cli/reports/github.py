"""What is not as expected as annotations of GitHub Actions: workflow commands with the place of each check in its YAML.

Stability: for people. The format of the commands is GitHub's; which checks are annotated and what is said of them may
change in any version. Read the JSON report instead.
"""

from __future__ import annotations

from typing import ClassVar

from gradcheck_cli.reports import _text, _unmet
from gradcheck_cli.results import CheckResult, RunResult, Verdict
from gradcheck_cli.values import dataclass

MOST = 10  # GitHub shows no more of a step


@dataclass(frozen=True)
class GitHub:
    """At most 10 annotations, worst first, and a last line with what the run amounts to."""

    name: ClassVar[str] = "github"

    def render(self, run: RunResult) -> str:
        """One command for each check that is annotated."""
        unmet = _unmet.worst_first(run.checks)
        left_out = len(unmet) - MOST
        more = f"; {left_out} more than are annotated" if left_out > 0 else ""
        return "".join(f"{line}\n" for line in [*map(_command, unmet[:MOST]), f"gradcheck: {_unmet.totals(run)}{more}"])


def _command(check: CheckResult) -> str:
    """One annotation; GitHub ends it at the line's end, so that line ends are escaped."""
    known = {"file": check.file, "line": check.line, "col": check.column, "title": check.name}
    told = ",".join(f"{key}={_property(str(value))}" for key, value in known.items() if value is not None)
    level = "warning" if check.verdict is Verdict.INCONCLUSIVE else "error"
    return f"::{level} {told}::{_escaped(chr(10).join(_unmet.lines(check)))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(_text.plain(text)).replace(":", "%3A").replace(",", "%2C")

"""The run as Markdown, for reviews, issues and the summary of a CI job.

Stability: for people. It may change in any version; programs read the JSON report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from gradcheck_cli.reports import _text, _unmet
from gradcheck_cli.results import CheckResult, RunResult
from gradcheck_cli.values import dataclass

_HEADS = ("element", "analytic", "numeric", "± uncertainty", "abs error", "rel error", "outcome")
_SIGNS = re.compile(r"[\\`*_\[\]<>|&~$#]")


@dataclass(frozen=True)
class Markdown:
    """A table of what is not as expected, worst first, and then each such check, the first `most` of them."""

    name: ClassVar[str] = "markdown"

    most: int = 100

    def render(self, run: RunResult) -> str:
        """The whole run."""
        unmet = _unmet.worst_first(run.checks)
        shown = unmet[: self.most]
        blocks = [f"## gradcheck: {_unmet.totals(run)}", _effort(run)]
        if shown:
            rows = [(_cell(c.id), _escaped(c.layer), _text.headline(c), _escaped(_unmet.reason(c))) for c in shown]
            blocks.append(_table(("check", "layer", "verdict", "why"), rows))
        if len(unmet) > len(shown):
            blocks.append(f"{len(unmet) - len(shown)} more are not as expected.")
        for check in shown:
            blocks += _check(check)
        return "\n\n".join(blocks) + "\n"


def _effort(run: RunResult) -> str:
    elements = _text.counted(sum(check.elements for check in run.checks), "element")
    evaluations = _text.counted(sum(check.evaluations for check in run.checks), "evaluation")
    return f"{elements}, {evaluations}, {_text.seconds(run.seconds)}."


def _check(check: CheckResult) -> Iterator[str]:
    """One check: its findings, elements and notes, and how to reproduce it."""
    yield f"### {code(check.id)}"
    at = f" at {code(f'{check.file}:{check.line}:{check.column}')}" if check.file else ""
    yield f"**{_text.headline(check)}**, {_escaped(check.layer)}, {check.dtype}{at}."
    if check.error:
        said = [f"{check.error.type}: {check.error.message}", check.error.traceback_line or ""]
        yield _fenced([_text.plain(line) for text in said for line in text.splitlines()])
    told = [_unmet.sentence(finding.array, finding.sentence) for finding in check.findings]
    if told or check.notes:
        yield "\n".join(f"- {_escaped(text)}" for text in [*told, *check.notes])
    elements = _unmet.elements(check)
    if elements:
        rows = []
        for array, one in elements:
            numbers = [_text.short(value) for value in (one.uncertainty, one.abs_error, one.rel_error)]
            outcome = f"{one.outcome}{f' ({one.reason})' if one.reason else ''}"
            label = _cell(_text.label(array, one))
            rows.append((label, *_text.pair(one.analytic, one.numeric), *numbers, _escaped(outcome)))
        yield _table(_HEADS, rows)
    yield _fenced([_text.plain(check.reproduce)], "sh")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])


def _escaped(text: str) -> str:
    """Text of a user in which no sign means anything."""
    return _SIGNS.sub(lambda sign: "\\" + sign[0], _text.plain(text))


def code(text: str) -> str:
    """Text of a user as code; the backticks around it are more than any in it."""
    told = _text.plain(text)
    ticks = "`" * (_longest_run(told) + 1)
    room = " " if "`" in told else ""
    return f"{ticks}{room}{told}{room}{ticks}"


def _cell(text: str) -> str:
    """Code in a cell of a table, which a bare bar would end."""
    return f"<code>{_escaped(text)}</code>" if "|" in text else code(text)


def _fenced(lines: Sequence[str], language: str = "text") -> str:
    ticks = "`" * max(3, *(_longest_run(line) + 1 for line in lines))
    return "\n".join([ticks + language, *lines, ticks])


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)

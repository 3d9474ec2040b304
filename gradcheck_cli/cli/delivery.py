"""A finished run, delivered: reports to their places, what the gate says, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from gradcheck_cli.cli.gate import Gate
from gradcheck_cli.cli.output import PIPED_WIDTH, Destination, Look, show
from gradcheck_cli.results import ExitCode, Rows, RunResult


def deliver(
    run: RunResult,
    destinations: Sequence[Destination],
    gate: Gate,
    look: Look,
    verbosity: int,
    rows: Rows,
    written: Sequence[Destination] = (),
) -> ExitCode:
    """Write every report, and the step summary beside a GitHub one; what the gate says goes where the table goes.

    `written` are those that were written while the checks were made.
    """
    for one in (one for one in destinations if one not in written):
        one.write(report(one, look, verbosity, rows).render(run))
    if any(one.format == "github" for one in destinations):
        from gradcheck_cli.cli.github import append_step_summary

        append_step_summary(run)
    decision = gate.decide(run)
    taken = any(one.path is None for one in destinations)  # standard output belongs to a report
    told = "".join(f"{line}\n" for line in decision.lines)
    if taken:
        print(told, end="", file=sys.stderr)
    else:
        show(told)
    return decision.exit_code


def report(destination: Destination, look: Look, verbosity: int, rows: Rows) -> Any:
    """The report; the table looks plain in a file."""
    from gradcheck_cli.registry import REPORTS
    from gradcheck_cli.reports.table import Table

    form = REPORTS[destination.format]
    if form is not Table:
        return form()
    here = look if destination.path is None else Look(look.width_given or PIPED_WIDTH, "never")
    return Table(here.width, here.colour, verbosity, rows)

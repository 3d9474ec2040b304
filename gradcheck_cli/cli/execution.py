"""From descriptions of checks to reports and the exit code: what `run` and `check` have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gradcheck_cli.cli.output import PIPED_WIDTH, Destination, Look, Refusal, show, stdout_kept_for_results
from gradcheck_cli.results import CheckResult, ExitCode

if TYPE_CHECKING:
    from gradcheck_cli.spec import RunSpec


@contextmanager
def config_errors_told() -> Iterator[None]:
    """Turn problems of a configuration into lines on standard error and their exit code."""
    from gradcheck_cli.config import ConfigError

    try:
        yield
    except ConfigError as error:
        raise Refusal("\n".join(map(str, error.problems)), error.exit_code) from error


def execute(spec: RunSpec, destinations: Sequence[Destination], look: Look, verbosity: int) -> ExitCode:
    """Run the checks, show each as it ends, and write the reports."""
    from gradcheck_cli import runner
    from gradcheck_cli.reports.table import Table

    table = Table(look.width, look.colour, verbosity, spec.rows)
    taken = any(one.path is None for one in destinations)  # standard output belongs to a report
    count = len(spec.checks)

    def tell(check: CheckResult) -> None:
        if not taken:
            show(table.check(check, count))
        if check.printed and not check.met:
            print(f"{check.id} printed:\n{check.printed.rstrip()}", file=sys.stderr)

    with stdout_kept_for_results():
        result = runner.run(spec, tell)
    if not taken:
        show(table.closing(result))
    for one in destinations:
        one.write(_report(one, look, verbosity, spec).render(result))
    if result.interrupted:
        print(f"gradcheck: interrupted; {len(result.checks)} of {count} checks were done", file=sys.stderr)
    elif len(result.checks) < count:
        print(f"gradcheck: stopped early; {count - len(result.checks)} of {count} checks were not run", file=sys.stderr)
    return result.exit_code


def _report(destination: Destination, look: Look, verbosity: int, spec: RunSpec) -> Any:
    """The report; the table looks plain in a file."""
    from gradcheck_cli.registry import REPORTS
    from gradcheck_cli.reports.table import Table

    report = REPORTS[destination.format]
    if report is not Table:
        return report()
    here = look if destination.path is None else Look(look.width_given or PIPED_WIDTH, "never")
    return Table(here.width, here.colour, verbosity, spec.rows)

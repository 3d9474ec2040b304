"""From descriptions of checks to reports and the exit code: what `run` and `check` have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.cli.gate import Gate
from gradcheck_cli.cli.interruption import interruptible
from gradcheck_cli.cli.output import Destination, Look, Refusal, show, stdout_kept_for_results
from gradcheck_cli.cli.workers import Workers
from gradcheck_cli.results import CheckResult, ExitCode, RunResult, Verdict

if TYPE_CHECKING:
    from gradcheck_cli.cli.follower import Follower
    from gradcheck_cli.cli.journal import Journal
    from gradcheck_cli.spec import RunSpec


@contextmanager
def config_errors_told() -> Iterator[None]:
    """Turn problems of a configuration into lines on standard error and their exit code."""
    from gradcheck_cli.config import ConfigError

    try:
        yield
    except ConfigError as error:
        raise Refusal("\n".join(map(str, error.problems)), error.exit_code) from error


@dataclass(frozen=True)
class Manner:
    """How a run is made: by whom, what is accepted of it, and what is there of it already.

    `shard` and `positions` are those of the result.
    """

    workers: Workers = field(default_factory=lambda: Workers(jobs=0))
    gate: Gate = field(default_factory=Gate)
    resume: Path | None = None
    shard: tuple[int, int] | None = None
    positions: tuple[int, ...] = ()


def execute(
    spec: RunSpec, destinations: Sequence[Destination], look: Look, verbosity: int, manner: Manner | None = None
) -> ExitCode:
    """Run the checks, show each as it ends, write the reports, and say what the exit code is."""
    from gradcheck_cli.cli.delivery import deliver
    from gradcheck_cli.reports.table import Table

    manner = manner or Manner()
    destinations = _with_resumed(destinations, manner.resume)
    taken = any(one.path is None for one in destinations)  # standard output belongs to a report
    table = Table(look.width, look.colour, verbosity, spec.rows)
    with interruptible() as hold:
        journals, known = _journals(spec, destinations, manner)
        with stdout_kept_for_results():
            result = _made(spec, manner, None if taken else table, look, verbosity, journals, known, hold)
        if not taken:
            show(table.closing(result))
        for journal in journals:
            journal.finish(result)
        written = [journal.destination for journal in journals]
        code = deliver(result, destinations, manner.gate, look, verbosity, spec.rows, written)
    _remember(result, len(spec.checks), manner)
    return code

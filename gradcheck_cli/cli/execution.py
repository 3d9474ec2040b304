"""From descriptions of checks to reports and the exit code: what `run` and `check` have in common."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.cli import last_failed
from gradcheck_cli.cli.gate import Gate
from gradcheck_cli.cli.interruption import interruptible
from gradcheck_cli.cli.output import Destination, Look, Refusal, show, stdout_kept_for_results
from gradcheck_cli.cli.workers import Workers
from gradcheck_cli.results import CheckResult, ExitCode, RunResult
from gradcheck_cli.values import dataclass, field

if TYPE_CHECKING:
    from gradcheck_cli.cli.follower import Follower
    from gradcheck_cli.cli.journal import Journal
    from gradcheck_cli.cli.progress import Tally
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

    `shard` and `positions` are those of the result; `remember` is for --last-failed.
    """

    workers: Workers = field(default_factory=lambda: Workers(jobs=0))
    gate: Gate = field(default_factory=Gate)
    resume: Path | None = None
    shard: tuple[int, int] | None = None
    positions: tuple[int, ...] = ()
    remember: bool = False


def execute(
    spec: RunSpec, destinations: Sequence[Destination], look: Look, verbosity: int, manner: Manner | None = None
) -> ExitCode:
    """Run the checks, show each as soon as those before it are shown, write the reports, and tell the exit code."""
    from gradcheck_cli.cli.delivery import deliver
    from gradcheck_cli.cli.follower import Follower
    from gradcheck_cli.reports.table import Table

    manner = manner or Manner()
    manner.workers.must_agree(spec.checks)
    taken = any(one.path is None for one in destinations)  # standard output belongs to a report
    table = Table(look.width, look.colour, verbosity, spec.rows)
    gc.freeze()  # what was imported stays; from here on there is garbage to collect
    gc.enable()
    with interruptible() as interruption:
        known, journals = _journals(spec, destinations, manner)
        with stdout_kept_for_results():
            shown = None if taken else table
            follow = partial(Follower, shown, len(spec.checks), manner.gate, journals, interruption)
            result = _made(spec, manner, known, follow, look, quiet=verbosity < 0)
        if not taken:
            show(table.closing(result))
        for journal in journals:
            journal.finish(result)
        written = [journal.destination for journal in journals]
        code = deliver(result, destinations, manner.gate, look, verbosity, spec.rows, written)
        if manner.remember:
            last_failed.remember(result)
    _tell_what_is_missing(result, len(spec.checks))
    return code


def _journals(
    spec: RunSpec, destinations: Sequence[Destination], manner: Manner
) -> tuple[Mapping[str, CheckResult], list[Journal]]:
    """What is known already, and the files in which results are saved as they come."""
    kept = [one for one in destinations if one.format == "jsonl"]
    if not kept and manner.resume is None:
        return {}, []
    from gradcheck_cli.batch.fingerprint import fingerprint
    from gradcheck_cli.cli import journal
    from gradcheck_cli.reports.jsonl import Jsonl

    report = Jsonl({check.id: fingerprint(check, spec.rows) for check in spec.checks})
    known: dict[str, CheckResult] = {}
    if manner.resume is not None:
        known = journal.resume(manner.resume, report, kept)
        known = {ident: manner.gate.accepted(check) for ident, check in known.items()}
        kept = kept or [Destination("jsonl", manner.resume)]
    return known, [journal.Journal(one, report, known) for one in kept]


def _made(
    spec: RunSpec,
    manner: Manner,
    known: Mapping[str, CheckResult],
    follower: Callable[[Tally], Follower],
    look: Look,
    quiet: bool,
) -> RunResult:
    from gradcheck_cli.batch import dispatch
    from gradcheck_cli.batch.chunk import WorkersError
    from gradcheck_cli.cli.progress import following

    count = len(spec.checks) - len(known)
    ids = [check.id for check in spec.checks]
    try:
        crew = manner.workers.crew(spec.checks, count)
        result = dispatch.run(spec, follower(following(ids, count, quiet, look.color != "never")), crew, known)
    except WorkersError as error:
        raise Refusal(f"gradcheck: {error}", ExitCode.INTERNAL) from error
    if manner.shard is None:
        return result
    places = dict(zip(ids, manner.positions, strict=True))
    return replace(result, shard=manner.shard, positions=tuple(places[check.id] for check in result.checks))


def _tell_what_is_missing(result: RunResult, count: int) -> None:
    if result.interrupted:
        print(f"gradcheck: interrupted; {len(result.checks)} of {count} checks were done", file=sys.stderr)
    elif len(result.checks) < count:
        print(f"gradcheck: stopped early; {count - len(result.checks)} of {count} checks were not run", file=sys.stderr)

"""`gradcheck merge`: one report from the JSON reports of shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gradcheck_cli.cli.gate import Gate, gate_options, read_result
from gradcheck_cli.cli.options import (
    look_options,
    only_one_on_stdout,
    report_option,
    verbosity,
    verbosity_options,
)
from gradcheck_cli.cli.output import Destination, Look, Refusal, show
from gradcheck_cli.results import CheckResult, ExitCode, Rows, RunResult, Versions

SHOWN = 5  # of many missing shards or ids, so many are named


@click.command("merge", short_help="Make one report from the JSON reports of shards.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@report_option
@gate_options
@verbosity_options
@look_options
def merge(
    files: tuple[Path, ...],
    destinations: tuple[Destination, ...],
    verbose: int,
    quiet: int,
    width: int | None,
    color: str,
    **gate: Any,
) -> ExitCode:
    """Make one report from JSON reports: of all shards of a run, or of runs that have no check in common.

    Shards must be all there, and all must come from one version of gradcheck. The exit code is that of the whole.

    \b
    Examples:
      gradcheck merge shard-1.json shard-2.json --report junit=report.xml
      gradcheck merge shards/*.json --report json=result.json --baseline main.json
    """
    shown = verbosity(verbose, quiet)
    only_one_on_stdout(destinations)
    run = merged(_read(files))
    return tell(run, destinations, Gate(**gate), Look(width, color), shown)


def tell(run: RunResult, destinations: Sequence[Destination], gate: Gate, look: Look, shown: int) -> ExitCode:
    """Show the table of a run that is over, and deliver its reports."""
    from gradcheck_cli.cli.delivery import deliver
    from gradcheck_cli.reports.table import Table

    run = replace(run, checks=tuple(map(gate.accepted, run.checks)))
    if all(one.path is not None for one in destinations):
        show(Table(look.width, look.colour, shown).render(run))
    return deliver(run, destinations, gate, look, shown, Rows())


def merged(runs: Mapping[str, RunResult]) -> RunResult:
    """One run from several, each by the name of its file; raises `Refusal` with everything that keeps them apart."""
    problems = [*_shard_problems(runs), *_version_problems(runs), *_overlaps(runs)]
    if problems:
        raise Refusal("\n".join(f"gradcheck merge: {problem}" for problem in problems))
    parts = list(runs.values())
    return RunResult(
        tuple(_in_order(parts)),
        sum(run.seconds for run in parts),
        interrupted=any(run.interrupted for run in parts),
        versions=_common([run.versions for run in parts if run.versions]),
    )


def _read(files: Sequence[Path]) -> dict[str, RunResult]:
    """The runs by file; every file that is none is told."""
    runs, problems = {}, []
    for file in files:
        if str(file) in runs:
            problems.append(f"{str(file)!r} is given twice; must be once.")
        try:
            runs[str(file)] = read_result(file)
        except click.BadParameter as problem:
            problems.append(problem.message)
    if problems:
        raise Refusal("\n".join(f"gradcheck merge: {problem}" for problem in problems))
    return runs


def _shard_problems(runs: Mapping[str, RunResult]) -> list[str]:
    shards = {file: run.shard for file, run in runs.items()}
    whole = [file for file, shard in shards.items() if shard is None]
    if len(whole) == len(shards):
        return []
    if whole:
        other = next(file for file in shards if file not in whole)
        return [f"{whole[0]} is no shard, {other} is one; must be shards of one run, or runs without shards"]
    counts = {shard[1]: file for file, shard in shards.items() if shard}
    if len(counts) > 1:
        told = ", ".join(f"{file} is one of {count}" for count, file in sorted(counts.items()))
        return [f"{told}; must be shards of one run"]
    (count,) = counts
    here = Counter(shard[0] for shard in shards.values() if shard)
    problems = [f"shard {index}/{count} is there {n} times; must be once" for index, n in here.items() if n > 1]
    missing = [f"{index}/{count}" for index in range(1, count + 1) if index not in here]
    if missing:
        problems.append(f"missing: shard {_listed(missing)}; must be all {count}")
    return problems


def _version_problems(runs: Mapping[str, RunResult]) -> list[str]:
    versions = {run.versions.gradcheck: file for file, run in runs.items() if run.versions}
    if len(versions) <= 1:
        return []
    told = ", ".join(f"{file} was made by gradcheck {version}" for version, file in sorted(versions.items()))
    return [f"{told}; must be one version"]


def _overlaps(runs: Mapping[str, RunResult]) -> list[str]:
    first: dict[str, str] = {}
    twice: dict[tuple[str, str], list[str]] = {}
    for file, run in runs.items():
        for check in run.checks:
            if first.setdefault(check.id, file) != file:
                twice.setdefault((first[check.id], file), []).append(check.id)
    return [
        f"{one} and {other} both have {_listed(ids)}; must have no check in common"
        for (one, other), ids in twice.items()
    ]


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def _in_order(runs: Sequence[RunResult]) -> list[CheckResult]:
    """The checks in the order of the undivided run where that is known, else run by run."""
    checks = [check for run in runs for check in run.checks]
    positions = [position for run in runs for position in run.positions]
    if len(positions) != len(checks):
        return checks
    return [check for _, check in sorted(zip(positions, checks, strict=True), key=lambda pair: pair[0])]


def _common(versions: Sequence[Versions]) -> Versions:
    """The versions; machines of a cluster may differ in those of numpy and python, all are told then."""
    numpy, python = ({getattr(one, key) for one in versions} for key in ("numpy", "python"))
    return Versions(versions[0].gradcheck, ", ".join(sorted(numpy)), ", ".join(sorted(python)))

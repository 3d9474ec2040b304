"""`gradcheck run`: the checks of config files."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gradcheck_cli.cli import project
from gradcheck_cli.cli.effort import Effort, effort_options
from gradcheck_cli.cli.execution import Manner, config_errors_told, execute
from gradcheck_cli.cli.gate import Gate, gate_options
from gradcheck_cli.cli.options import (
    look_options,
    module,
    only_one_on_stdout,
    result_options,
    rows,
    verbosity,
    verbosity_options,
)
from gradcheck_cli.cli.output import Destination, Look, show
from gradcheck_cli.cli.selection import Wanted, selection_options
from gradcheck_cli.cli.workers import Workers, worker_options
from gradcheck_cli.results import ExitCode

if TYPE_CHECKING:
    from gradcheck_cli.spec import CheckSpec

P = TypeVar("P", Wanted, Gate, Workers, Effort)

DEFAULT_PATHS = ("configs",)


@click.command("run")
@click.argument("paths", nargs=-1, metavar="[PATH or PATH::NAME]...")
@selection_options
@click.option("--list", "listed", is_flag=True, help="Print the ids of the chosen checks; run nothing.")
@click.option("-x", "first", is_flag=True, help="Stop after the first check that is not as expected.")
@click.option("--maxfail", type=click.IntRange(min=1), metavar="N", help="Stop after N such checks.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Draw from this seed, whatever the configs say.")
@click.option(
    "--allow", multiple=True, type=module, metavar="MODULE", help="Let configs name code in this module. Repeatable."
)
@worker_options
@effort_options
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep the results in this jsonl report, and go on with the rest.",
)
@gate_options
@result_options
@verbosity_options
@look_options
def run(
    paths: tuple[str, ...],
    listed: bool,
    first: bool,
    maxfail: int | None,
    seed: int | None,
    allow: tuple[str, ...],
    resume: Path | None,
    everything: bool,
    top: int | None,
    destinations: tuple[Destination, ...],
    verbose: int,
    quiet: int,
    width: int | None,
    color: str,
    **more: Any,
) -> ExitCode:
    """Run the checks of config files and folders.

    PATH is a file, a folder with .yaml files, or - for standard input; PATH::NAME is one check. The default is `paths`
    of [tool.gradcheck] in pyproject.toml, else configs.

    \b
    Examples:
      gradcheck run configs/homework
      gradcheck run configs/homework/linear.yaml::warm-up --seed 7
      gradcheck run -k "softmax and not jacobian" -x
      gradcheck run --report json=result.json
      gradcheck run -n 4 --report jsonl=results.jsonl --resume results.jsonl
    """
    kept, shown = rows(everything, top), verbosity(verbose, quiet)
    settings = project.read(Path.cwd())
    destinations = destinations or project.destinations(settings)
    only_one_on_stdout(destinations)
    wanted, gate, workers = _part(Wanted, more), _part(Gate, more), _part(Workers, more)
    effort = _part(Effort, more)
    effort.must_agree()
    workers = _with_defaults(workers, settings, allow)
    checks = _loaded(paths or settings.paths or DEFAULT_PATHS, workers, seed)
    chosen = wanted.chosen(checks)
    positions = wanted.here(chosen)
    chosen = tuple(effort.on(chosen[k]) for k in positions)
    if listed:
        show("".join(f"{check.id}\n" for check in chosen))
        return ExitCode.MET

    from gradcheck_cli.spec import RunSpec

    manner = Manner(workers, gate, resume, wanted.shard, positions, remember=True)
    stop_at = 1 if first else maxfail
    return execute(RunSpec(chosen, kept, stop_at), destinations, Look(width, color), shown, manner)


def _part(kind: type[P], settings: dict[str, Any]) -> P:
    """Those of the settings that are fields of this class, as one."""
    return kind(**{field.name: settings[field.name] for field in fields(kind) if field.name in settings})


def _with_defaults(workers: Workers, settings: project.Project, allow: tuple[str, ...]) -> Workers:
    """What the project says holds where the command line says nothing."""
    asked = workers.jobs is not None or workers.executor is not None
    return replace(
        workers,
        jobs=workers.jobs if asked else settings.jobs,
        allow=(*allow, *settings.allow),
        folders=settings.pythonpath or (".",),
    )


def _loaded(paths: tuple[str, ...], workers: Workers, seed: int | None) -> tuple[CheckSpec, ...]:
    """The checks of all files. Code can be imported from the working directory only where some is allowed."""
    from gradcheck_cli import config
    from gradcheck_cli.adapters.references import allow_imports

    with config_errors_told():
        checks = config.load(paths, allow=workers.allow, seed=seed, stdin=sys.stdin, pythonpath=workers.folders)
    if workers.allow:
        allow_imports(workers.folders)
    return checks

"""`gradcheck run`: the checks of config files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradcheck_cli.cli import project, selection
from gradcheck_cli.cli.execution import config_errors_told, execute
from gradcheck_cli.cli.options import (
    look_options,
    module,
    only_one_on_stdout,
    result_options,
    rows,
    verbosity,
    verbosity_options,
)
from gradcheck_cli.cli.output import Destination, Look, Refusal
from gradcheck_cli.results import ExitCode

if TYPE_CHECKING:
    from gradcheck_cli.spec import CheckSpec

DEFAULT_PATHS = ("configs",)


@click.command("run")
@click.argument("paths", nargs=-1, metavar="[PATH or PATH::NAME]...")
@click.option("-k", "expression", metavar="EXPR", help="Only checks whose id holds this; and, or, not, parentheses.")
@click.option("-x", "first", is_flag=True, help="Stop after the first check that is not as expected.")
@click.option("--maxfail", type=click.IntRange(min=1), metavar="N", help="Stop after N such checks.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Draw from this seed, whatever the configs say.")
@click.option(
    "--allow", multiple=True, type=module, metavar="MODULE", help="Let configs name code in this module. Repeatable."
)
@result_options
@verbosity_options
@look_options
def run(
    paths: tuple[str, ...],
    expression: str | None,
    first: bool,
    maxfail: int | None,
    seed: int | None,
    allow: tuple[str, ...],
    everything: bool,
    top: int | None,
    destinations: tuple[Destination, ...],
    verbose: int,
    quiet: int,
    width: int | None,
    color: str,
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
    """
    kept, shown = rows(everything, top), verbosity(verbose, quiet)
    only_one_on_stdout(destinations)
    settings = project.read(Path.cwd())
    checks = _loaded(paths or settings.paths or DEFAULT_PATHS, (*allow, *settings.allow), settings.pythonpath, seed)
    chosen = _chosen(checks, expression)

    from gradcheck_cli.spec import RunSpec

    stop_at = 1 if first else maxfail
    return execute(RunSpec(chosen, kept, stop_at), destinations, Look(width, color), shown)


def _loaded(
    paths: tuple[str, ...], allow: tuple[str, ...], folders: tuple[str, ...], seed: int | None
) -> tuple[CheckSpec, ...]:
    """The checks of all files. Code can be imported from the working directory only where some is allowed."""
    from gradcheck_cli import config
    from gradcheck_cli.adapters.references import allow_imports

    folders = folders or (".",)
    with config_errors_told():
        checks = config.load(paths, allow=allow, seed=seed, stdin=sys.stdin, pythonpath=folders)
    if allow:
        allow_imports(folders)
    return checks


def _chosen(checks: tuple[CheckSpec, ...], expression: str | None) -> tuple[CheckSpec, ...]:
    if expression is None:
        return checks
    selects = selection.parse(expression)
    chosen = tuple(check for check in checks if selects(check.id))
    if not chosen:
        raise Refusal(f"gradcheck: none of {len(checks)} checks matches -k {expression!r}", ExitCode.NOTHING)
    return chosen

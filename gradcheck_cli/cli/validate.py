"""`gradcheck validate`: reads configs and runs nothing."""

from __future__ import annotations

import sys

import click

from gradcheck_cli.cli.execution import config_errors_told
from gradcheck_cli.cli.output import show
from gradcheck_cli.results import ExitCode


@click.command("validate")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def validate(paths: tuple[str, ...]) -> ExitCode:
    """Read and check configs; run nothing.

    Every problem of every file is told at once, each with file, line and column. No user code is imported, and no
    allowance is needed. PATH is a file, a folder, PATH::NAME for one check, or - for standard input.

    \b
    Examples:
      gradcheck validate configs
      gradcheck validate configs/homework/linear.yaml
    """
    from gradcheck_cli import config

    with config_errors_told():
        checks = config.validate(paths, stdin=sys.stdin)
    files = len({check.file for check in checks})
    show(f"{len(checks)} check{'s' * (len(checks) != 1)} in {files} file{'s' * (files != 1)} can be run\n")
    return ExitCode.MET

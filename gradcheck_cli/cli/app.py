"""The command `gradcheck`: its subcommands by name, each imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

import click

from gradcheck_cli import __version__
from gradcheck_cli.cli.output import closed_pipe_noticed
from gradcheck_cli.registry import did_you_mean

COMMANDS = (
    "run",
    "check",
    "layers",
    "validate",
    "merge",
    "schema",
)  # each a module of this package with a command of the same name

HELP = """Tell whether a hand-written gradient is right, which elements are wrong, and why.

The derivative that a layer gives is compared with finite differences of its forward pass, element by element. Steps and
tolerances are found automatically.

\b
Examples:
  gradcheck run configs/homework
  gradcheck check softmax x:5 beta=2.0
  gradcheck layers softmax

\b
Exit codes:
  0  every check met its expectation
  1  a check did not
  2  wrong usage or configuration; nothing was run
  3  internal error
  5  nothing was checked
  130  interrupted
"""


class Commands(click.Group):
    """A group that imports a command only when it is called or described."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in COMMANDS:
            ctx.fail(f"no such command {cmd_name!r}{did_you_mean(cmd_name, COMMANDS)}")
        command: click.Command = getattr(importlib.import_module(f"gradcheck_cli.cli.{cmd_name}"), cmd_name)
        return command

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """Read the words; --help prints already here."""
        with closed_pipe_noticed():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command."""
        with closed_pipe_noticed():
            return super().invoke(ctx)


app = Commands("gradcheck", help=HELP, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
click.version_option(__version__, prog_name="gradcheck", message="%(prog)s %(version)s")(app)

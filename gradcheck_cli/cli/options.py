"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gradcheck_cli import registry, reports
from gradcheck_cli.cli.output import NARROWEST, Destination
from gradcheck_cli.results import Rows

F = TypeVar("F", bound=Callable[..., Any])


def report_names() -> list[str]:
    """The report formats by the names of their modules: known without importing what draws them."""
    return sorted(info.name for info in pkgutil.iter_modules(reports.__path__) if not info.name.startswith("_"))


def report(text: str) -> Destination:
    """Read FORMAT[=PATH]; without a path, or with -, it is standard output.

    Raises `click.BadParameter` for a format that is unknown and a file that can't be written, before anything runs.
    """
    form, equals, where = text.partition("=")
    if form not in report_names():
        known = ", ".join(report_names())
        raise click.BadParameter(
            f"unknown format {form!r}{registry.did_you_mean(form, report_names())}; there are {known}."
        )
    if equals and not where:
        raise click.BadParameter(f"{text!r} names no file; write {form}=PATH, or {form} for standard output.")
    if where in ("", "-"):
        return Destination(form, None)
    path = Path(where)
    if path.is_dir():
        raise click.BadParameter(f"{where!r} is a folder; name a file in it.")
    if not path.absolute().parent.is_dir():
        raise click.BadParameter(f"the folder of {where!r} does not exist; make it first.")
    return Destination(form, path)


def module(text: str) -> str:
    """Read the name of a module that configs may name code in."""
    from gradcheck_cli.adapters.references import misnamed

    wrong = misnamed(text)
    if wrong:
        raise click.BadParameter(wrong)
    return text


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


look_options = _together(
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        help="Colours; auto means on a terminal, and keeps NO_COLOR and FORCE_COLOR.",
    ),
    click.option(
        "--width",
        type=click.IntRange(min=NARROWEST),
        metavar="COLUMNS",
        help="Width of the table; default is the terminal's, 100 in a pipe.",
    ),
)


verbosity_options = _together(
    click.option(
        "-v", "--verbose", "verbose", count=True, help="Every check with methods, steps and evaluations by tier."
    ),
    click.option("-q", "--quiet", "quiet", count=True, help="Only what is not as expected, one line each."),
)

report_option: Callable[[Any], Any] = click.option(
    "--report",
    "destinations",
    type=report,
    multiple=True,
    metavar="FORMAT[=PATH]",
    help=f"Write a report ({', '.join(report_names())}); without PATH to standard output, in place of the table."
    " Repeatable.",
)

result_options = _together(
    click.option("--all", "everything", is_flag=True, help="Show and report every element."),
    click.option(
        "--top",
        type=click.IntRange(min=1),
        metavar="N",
        help="Show and report the N worst elements; default is all of up to 24, else the worst 10.",
    ),
    report_option,
)


def rows(everything: bool, top: int | None) -> Rows:
    """How many elements are kept."""
    if everything and top is not None:
        raise click.UsageError("--all and --top contradict each other; give one of them.")
    if everything:
        return Rows(limit=None)
    return Rows() if top is None else Rows(limit=top, beyond=top)


def verbosity(verbose: int, quiet: int) -> int:
    """1 for -v, -1 for -q."""
    if verbose and quiet:
        raise click.UsageError("-v and -q contradict each other; give one of them.")
    return min(verbose, 1) - min(quiet, 1)


def only_one_on_stdout(destinations: tuple[Destination, ...]) -> None:
    """Two reports on one stream can't be told apart."""
    formats = [one.format for one in destinations if one.path is None]
    if len(formats) > 1:
        raise click.UsageError(f"the reports {' and '.join(formats)} both go to standard output; give one a =PATH.")

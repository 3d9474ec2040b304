"""`gradcheck layers`: what can be checked by name, and one layer's page."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from gradcheck_cli.cli.output import Look, show
from gradcheck_cli.results import ExitCode

if TYPE_CHECKING:
    from gradcheck_cli.cli.pages import ArrayEntry, Page


@click.command("layers", short_help="List the layers, or show the page of one.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an array of all layers, or the object of one.")
def layers(name: str | None, as_json: bool) -> ExitCode:
    """List the layers, or show one: formula, arrays, options, VJP and source.

    \b
    Examples:
      gradcheck layers
      gradcheck layers softmax
      gradcheck layers --json
    """
    import json

    from gradcheck_cli.cli.pages import page
    from gradcheck_cli.registry import LAYERS, UnknownNameError, did_you_mean

    try:
        pages = [page(one, LAYERS[one]) for one in ([name] if name else LAYERS)]
    except UnknownNameError as error:
        hint = "" if did_you_mean(error.name, LAYERS) else "; gradcheck layers lists them"
        raise click.UsageError(f"{error}{hint}") from error
    if as_json:
        plain = [one.to_dict() for one in pages]
        show(json.dumps(plain[0] if name else plain, indent=2, ensure_ascii=False) + "\n")
    else:
        show(_told(pages[0], Look().width) if name else _listed(pages, Look().width))
    return ExitCode.MET


def _listed(pages: list[Page], width: int) -> str:
    """Names with their summaries, family by family."""
    column = max(len(one.name) for one in pages) + 4
    families: dict[str, list[str]] = {}
    for one in pages:
        line = f"  {one.name:<{column - 2}}{one.summary}"
        wrapped = textwrap.fill(
            line, width, subsequent_indent=" " * column, break_long_words=False, break_on_hyphens=False
        )
        families.setdefault(one.family, []).append(wrapped)
    blocks = ["\n".join([family, *lines]) for family, lines in sorted(families.items())]
    return "\n\n".join([*blocks, "gradcheck layers NAME shows formula, arrays, options and VJP of one."]) + "\n"


def _told(one: Page, width: int) -> str:
    """The page of one layer."""
    about = [textwrap.fill(" ".join(part.split()), width) for part in one.about.split("\n\n") if part]
    blocks = ["\n".join([f"{one.name} ({one.family})", *about[:1]]), *about[1:]]
    for title in ("Formula", "Arrays", "Options", "VJP", "Source"):
        body = _options(one) if title == "Options" else one.sections.get(title, "")
        if title == "Arrays" and one.arrays:
            body += f"\nunless given: {', '.join(map(_shape, one.arrays))}"
        if body:
            blocks.append("\n".join([title, *(_wrapped(line, width) for line in body.strip("\n").splitlines())]))
    words = "".join(f" {entry.name}:{','.join(map(str, entry.shape))}" for entry in one.arrays[:1] if entry.shape)
    blocks.append(f"Check it\n  gradcheck check {one.name}{words}")
    return "\n\n".join(blocks) + "\n"


def _wrapped(line: str, width: int) -> str:
    """A line of a section, in as many as it takes; spaces that align it stay."""
    return textwrap.fill(
        line, width, initial_indent="  ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    )


def _shape(entry: ArrayEntry) -> str:
    return f"{entry.name} {entry.shape}" + (f" {entry.kind}" if entry.kind != "float" else "")


def _options(one: Page) -> str:
    names = max((len(option.name) for option in one.options), default=0)
    types = max((len(option.type) for option in one.options), default=0)
    return "\n".join(
        f"{option.name:<{names}}  {option.type:<{types}}  default {option.default!r}" for option in one.options
    )

"""`gradcheck check`: one check with no file."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click

from gradcheck_cli.cli.effort import Effort, effort_options
from gradcheck_cli.cli.execution import config_errors_told, execute
from gradcheck_cli.cli.options import (
    look_options,
    only_one_on_stdout,
    result_options,
    rows,
    verbosity,
    verbosity_options,
)
from gradcheck_cli.cli.output import Destination, Look
from gradcheck_cli.results import ExitCode


@click.command("check")
@click.argument("layer")
@click.argument("words", nargs=-1, metavar="[NAME:SHAPE or NAME=VALUE]...")
@click.option("--view", type=click.Choice(["vjp", "jacobian"]), help="Judge dL/d(array), or every dy_j/dx_i.")
@click.option("--dtype", type=click.Choice(["float64", "float32", "float16"]), help="The dtype of the float arrays.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Draw arrays from this seed.")
@click.option("--wrt", metavar="NAMES", help="Judge only these arrays: names with commas between.")
@click.option("--points", type=click.IntRange(min=1), metavar="N", help="Check at so many random points.")
@click.option("--expect", type=click.Choice(["pass", "fail"]), help="What is right; fail for a gradient known wrong.")
@effort_options
@result_options
@verbosity_options
@look_options
def check(
    layer: str,
    words: tuple[str, ...],
    everything: bool,
    top: int | None,
    destinations: tuple[Destination, ...],
    verbose: int,
    quiet: int,
    width: int | None,
    color: str,
    **settings: Any,
) -> ExitCode:
    """Check one layer at random arrays.

    NAME:4,5 gives an array its shape, NAME=VALUE an option its value, or an array when it has that name. What is left
    out is drawn or has its default. `gradcheck layers` lists the layers.

    \b
    Examples:
      gradcheck check softmax x:5 beta=2.0
      gradcheck check linear x:4,3 in_features=3 out_features=2
      gradcheck check relu "x=[-1.0, 2.0]" --view jacobian
    """
    kept, shown = rows(everything, top), verbosity(verbose, quiet)
    only_one_on_stdout(destinations)

    from gradcheck_cli.config.words import from_words
    from gradcheck_cli.spec import RunSpec

    effort = Effort(**{field.name: settings.pop(field.name) for field in fields(Effort)})
    effort.must_agree()
    given = {name: value for name, value in settings.items() if value is not None}
    if "wrt" in given:
        given["wrt"] = [name.strip() for name in given["wrt"].split(",")]
    with config_errors_told():
        spec = from_words(layer, words, **given)
    return execute(RunSpec((effort.on(spec),), kept), destinations, Look(width, color), shown)

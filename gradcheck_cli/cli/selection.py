"""Which checks of the configs are meant: by -k, layers, shards, what failed last time."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gradcheck_cli.cli import last_failed
from gradcheck_cli.cli.output import Refusal
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.results import ExitCode
from gradcheck_cli.values import dataclass

if TYPE_CHECKING:
    from gradcheck_cli.spec import CheckSpec

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Wanted:
    """What the command line says about the checks that are meant; all of it must hold."""

    expression: str | None = None
    layers: tuple[str, ...] = ()
    last_failed: bool = False
    shard: tuple[int, int] | None = None

    def chosen(self, checks: Sequence[CheckSpec]) -> tuple[CheckSpec, ...]:
        """The checks that are meant, of all shards.

        Raises `Refusal` where there are none.
        """
        kept = list(checks) if self.expression is None else _matching(self.expression, checks)
        if not kept:
            raise Refusal(f"gradcheck: none of {len(checks)} checks matches -k {self.expression!r}", ExitCode.NOTHING)
        for name in self.layers:
            _must_be_there(name, checks)
        kept = [check for check in kept if not self.layers or not set(self.layers).isdisjoint(layers_of(check))]
        if not kept:
            raise Refusal(f"gradcheck: no check of {' or '.join(self.layers)} is among the chosen", ExitCode.NOTHING)
        return tuple(self._failed(kept) if self.last_failed else kept)

    def _failed(self, checks: list[CheckSpec]) -> list[CheckSpec]:
        """Those that were not as expected; all, if none was: then there is nothing to go back to."""
        ids = last_failed.recall()
        failed = [check for check in checks if check.id in ids]
        if not failed:
            print("gradcheck: none of these checks failed last time; all of them are run", file=sys.stderr)
        return failed or checks

    def here(self, checks: Sequence[CheckSpec]) -> tuple[int, ...]:
        """The positions of those that belong to this shard."""
        from gradcheck_cli.batch.plan import shard_of

        if self.shard is None:
            return tuple(range(len(checks)))
        index, count = self.shard
        return tuple(k for k, check in enumerate(checks) if shard_of(check.id, count) == index)


def _matching(expression: str, checks: Sequence[CheckSpec]) -> list[CheckSpec]:
    from gradcheck_cli.cli.expressions import parse

    selects = parse(expression)
    return [check for check in checks if selects(check.id)]


def layers_of(check: CheckSpec) -> Iterator[str]:
    """The name of the layer, and those of the links of a chain."""
    yield check.layer_name
    if check.layer_name == "chain":
        yield from getattr(check.layer, "labels", ())


def _must_be_there(name: str, checks: Sequence[CheckSpec]) -> None:
    here = sorted({layer for check in checks for layer in layers_of(check)})
    if name not in here:
        hint = did_you_mean(name, here) or f"; they are of {', '.join(here)}"
        raise click.UsageError(f"--layer {name!r}: no check of the configs is of it{hint}")


def shard(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:  # noqa: ARG001 - click's signature
    """Read K/N."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise click.BadParameter(f"{text!r}; must be K/N with K from 1 to N, as in 2/5.")
    return index, count


def selection_options(command: F) -> F:
    """Add the options by which checks are selected, which a command gets by the names of the fields of `Wanted`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "-k", "expression", metavar="EXPR", help="Only checks whose id holds this; and, or, not, parentheses."
    ),
    click.option("--layer", "layers", multiple=True, metavar="NAME", help="Only checks of this layer. Repeatable."),
    click.option("--last-failed", is_flag=True, help="Only what was not as expected when it last ran here."),
    click.option("--shard", callback=shard, metavar="K/N", help="Only the K-th of N parts; see gradcheck merge."),
)

"""Which checks of the configs are meant: the expressions of -k, layers, shards, what failed last time."""

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
Selects = Callable[[str], bool]

_TOKEN = re.compile(r"""\s*(?:(?P<sign>[()])|(?P<quote>["'])(?P<quoted>.*?)(?P=quote)|(?P<word>[^\s()"']+))""")


def parse(expression: str) -> Selects:
    """Return whether an id is meant: parts of ids, joined by `and`, `or`, `not` and parentheses; case does not matter.

    A part with spaces or parentheses stands in quotes.
    """
    return _Parser(expression).whole()


class _Parser:
    """Descends by precedence: or, and, not, then a part or parentheses."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = self._split()
        self.depth = 0

    def _split(self) -> list[tuple[str, bool]]:
        """The words with whether they are plain text; keywords and parentheses are not."""
        tokens, at = [], 0
        text = self.expression.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._refused("a quote is not closed")
            at = match.end()
            if match["quote"]:
                tokens.append((match["quoted"].casefold(), True))
            else:
                word = match["sign"] or match["word"].casefold()
                tokens.append((word, word not in ("and", "or", "not", "(", ")")))
        return tokens

    def _refused(self, why: str) -> click.UsageError:
        return click.UsageError(
            f"-k {self.expression!r}: {why}; must be parts of ids joined by and, or, not and parentheses."
        )

    def _accept(self, *words: str) -> bool:
        if self.tokens and self.tokens[0] in [(word, False) for word in words]:
            self.tokens.pop(0)
            return True
        return False

    def whole(self) -> Selects:
        """The whole expression."""
        selects = self._any()
        if self.tokens:
            raise self._refused(f"{self.tokens[0][0]!r} is out of place")
        return selects

    def _any(self) -> Selects:
        choices = [self._every()]
        while self._accept("or"):
            choices.append(self._every())
        return lambda id_: any(choice(id_) for choice in choices)

    def _every(self) -> Selects:
        needs = [self._one()]
        while self._accept("and"):
            needs.append(self._one())
        return lambda id_: all(need(id_) for need in needs)

    def _one(self) -> Selects:
        self.depth += 1
        if self.depth > 50:
            raise self._refused("it is nested too deep")
        try:
            return self._negated() if self._accept("not") else self._part()
        finally:
            self.depth -= 1

    def _negated(self) -> Selects:
        inner = self._one()
        return lambda id_: not inner(id_)

    def _part(self) -> Selects:
        if self._accept("("):
            inner = self._any()
            if not self._accept(")"):
                raise self._refused("a parenthesis is not closed")
            return inner
        if not self.tokens:
            raise self._refused("it ends where a part of an id is expected")
        word, is_text = self.tokens.pop(0)
        if not is_text:
            raise self._refused(f"{word!r} is out of place")
        return lambda id_: word in id_.casefold()


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
        kept = [check for check in checks if self.expression is None or parse(self.expression)(check.id)]
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

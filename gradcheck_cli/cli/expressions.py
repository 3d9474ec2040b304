"""The expressions of -k, by which ids of checks are selected."""

from __future__ import annotations

import re
from collections.abc import Callable

import click

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

"""Calls of functions in expressions: what may be called, with which arguments, at which size."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.adapters.expressions import numbers, shaping
from gradcheck_cli.adapters.expressions.function import DTYPE, Function
from gradcheck_cli.adapters.expressions.limits import LimitError

FUNCTIONS: Mapping[str, Function] = {**numbers.FUNCTIONS, **shaping.FUNCTIONS}
_FAILURES = (ValueError, TypeError, IndexError, ArithmeticError)
_STAND_IN = np.zeros(())  # for an unknown argument: no array is smaller that a formula has any use for
_SPEC = re.compile(r"(?:[A-Za-z ]|\.\.\.|,)*(?:->(?:[A-Za-z ]|\.\.\.)*)?")


class Unknown:
    """The static value of what is known only when the arrays are there."""


UNKNOWN = Unknown()


def computation(function: Function, positional: int, words: Sequence[str]) -> Callable[..., Any]:
    """One function of all operands in a row: the positional ones, then those of the keywords."""

    def compute(*operands: Any) -> Any:
        given, named = operands[:positional], dict(zip(words, operands[positional:], strict=True))
        function.check_size(given, {word: value for word, value in named.items() if word != DTYPE})
        return function.compute(*given, **named)

    return compute


def static_problem(function: Function, positional: Sequence[Any], keywords: Mapping[str, Any]) -> Exception | None:
    """Why the size of the result is refused, as far as its arguments are known before any array is there."""
    known = not any(value is UNKNOWN for value in (*positional, *keywords.values()))
    given = [_STAND_IN if value is UNKNOWN else value for value in positional]
    named = {word: _STAND_IN if value is UNKNOWN else value for word, value in keywords.items()}
    try:
        function.check_size(given, named)
    except LimitError as problem:
        return problem
    except _FAILURES as problem:
        return problem if known else None
    return None


def spec_problem(spec: str, operands: int) -> str | None:
    """What is wrong with the first argument of einsum, if anything."""
    if not _SPEC.fullmatch(spec):
        return f"'{spec[:40]}' is no einsum; write letters for axes, as in 'ij,jk->ik'"
    terms = spec.partition("->")[0].count(",") + 1
    if terms != operands:
        return f"'{spec[:40]}' needs as many arrays as it has terms: {terms}, and {operands} came"
    return None

"""One function that expressions may call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradcheck_cli.adapters.expressions.limits import bounded
from gradcheck_cli.adapters.expressions.stacks import Rule
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.values import dataclass

DTYPE = "_dtype"  # a function with this keyword is told the dtype of the check


@dataclass(frozen=True)
class Function:
    """How to compute it, and how many elements come out, told from the same arguments before any is made.

    `stacked` is the rule that computes it for many points at once, if it has one.
    """

    compute: Callable[..., Any]
    elements: Callable[..., int] | None = None
    stacked: Rule | None = None

    @property
    def signature(self) -> inspect.Signature:
        """What a formula may pass to it."""
        parameters = inspect.signature(self.compute).parameters.values()
        return inspect.Signature([one.replace(annotation=one.empty) for one in parameters if one.name != DTYPE])

    @property
    def typed(self) -> bool:
        """Whether it makes an array out of nothing, and must be told of which dtype."""
        return DTYPE in inspect.signature(self.compute).parameters

    def refusal(self, name: str, positional: int, keywords: list[str]) -> str | None:
        """What is wrong with calling it so, if anything."""
        parameters = self.signature.parameters
        for word in keywords:
            if keywords.count(word) > 1:
                return f"{name}{self.signature}: {word!r} is given twice"
            if word not in parameters:
                return f"{name}{self.signature} has no argument {word!r}{did_you_mean(word, parameters)}"
        try:
            self.signature.bind(*(None,) * positional, **dict.fromkeys(keywords))
        except TypeError as problem:
            return f"{name}{self.signature}: {problem}"
        return None

    def rule(self, positional: int, words: Sequence[str]) -> Rule | None:
        """The rule for all operands in a row: the positional ones, then those of the keywords."""
        stacked = self.stacked
        if stacked is None:
            return None
        names = [*list(inspect.signature(self.compute).parameters)[:positional], *words]
        return lambda _, *operands: stacked(self.compute, **dict(zip(names, operands, strict=True)))

    def check_size(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        """Raise `LimitError` when the result would be too large."""
        if self.elements is not None:
            bounded(self.elements(*positional, **keywords))

"""One check for each combination of the values in its `matrix`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import product
from typing import TypeAlias

from gradcheck_cli.config.nodes import Node
from gradcheck_cli.config.paths import put, split
from gradcheck_cli.config.problems import Place, Problems
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.values import dataclass

COMBINATIONS = 10_000
_SPECIAL = ("include", "exclude")
_FIXED = ("name", "matrix", "extends")


@dataclass(frozen=True)
class Choice:
    """A value for a path, and where the path is written."""

    value: Node
    place: Place


Combination: TypeAlias = Mapping[str, Choice]


def expand(check: Node, problems: Problems) -> list[tuple[str, Node]]:
    """Return the checks that a check stands for, each with what is added to its name, as in "[beta=2.0]".

    The cross product of the lists, less every combination that fits a mapping of `exclude`, and one more for each
    mapping of `include`. Without a matrix, or with a wrong one, it is the check alone.
    """
    matrix = check.mapping.get("matrix")
    check = check.without("matrix")
    if matrix is None or matrix.value is None:
        return [("", check)]
    before = len(problems)
    combinations = _combinations(matrix, problems)
    if not combinations and len(problems) == before:
        problems.add(matrix.place, "no combination is left; must have at least one")
    if len(problems) > before:
        return [("", check)]
    return [(_suffix(combination), _apply(check, combination, problems)) for combination in combinations]


def _combinations(matrix: Node, problems: Problems) -> list[Combination]:
    if not isinstance(matrix.value, dict):
        problems.add(matrix.place, f"{matrix.shown()}; must be a mapping of lists")
        return []
    axes = {path: node for path, node in matrix.mapping.items() if path not in _SPECIAL}
    for path, node in axes.items():
        _check_path(path, matrix.key(path), problems)
        if not node.items:
            problems.add(node.place, f"{node.shown()}; must be a list of values")
    sizes = [len(node.items) for node in axes.values()]
    if math.prod(sizes) > COMBINATIONS:
        problems.add(matrix.place, f"{math.prod(sizes)} combinations; must be at most {COMBINATIONS}")
        return []
    included, excluded = (_mappings(matrix, word, problems) for word in _SPECIAL)
    for one in excluded:
        for path, choice in one.items():
            if path not in axes:
                problems.add(choice.place, f"{path!r} is not in the matrix{did_you_mean(path, axes) or '; must be'}")
    choices = [[(path, Choice(value, matrix.key(path))) for value in node.items] for path, node in axes.items()]
    crossed: list[Combination] = [dict(one) for one in product(*choices)] if axes else []
    return [one for one in crossed if not any(_fits(one, gone) for gone in excluded)] + included


def _mappings(matrix: Node, word: str, problems: Problems) -> list[Combination]:
    """The mappings of `include` or of `exclude`."""
    node = matrix.mapping.get(word)
    if node is None:
        return []
    if not node.items or not all(item.mapping for item in node.items):
        odd = next((item for item in node.items if not item.mapping), node)
        problems.add(odd.place, f"{odd.shown()}; must be {'a list of mappings' if odd is node else 'a mapping'}")
        return []
    for item in node.items:
        for path in item.mapping:
            _check_path(path, item.key(path), problems)
    return [{path: Choice(value, item.key(path)) for path, value in item.mapping.items()} for item in node.items]


def _check_path(path: str, place: Place, problems: Problems) -> None:
    if path.split(".")[0] in _FIXED:
        problems.add(place, f"{path!r} in a matrix; must be the path of another key of the check, as in options.beta")


def _fits(combination: Combination, gone: Combination) -> bool:
    values = {path: choice.value.plain() for path, choice in combination.items()}
    return all(path in values and values[path] == choice.value.plain() for path, choice in gone.items())


def _suffix(combination: Combination) -> str:
    """The values by the last component of their paths, or by the whole path where that says too little."""
    last = {path: path.rpartition(".")[2] for path in combination}
    often = Counter(last.values())
    return f"[{','.join(_labels(combination, {p: p if often[key] > 1 else key for p, key in last.items()}))}]"


def _labels(combination: Combination, keys: Mapping[str, str]) -> Iterable[str]:
    return (f"{keys[path]}={choice.value.label()}" for path, choice in combination.items())


def _apply(check: Node, combination: Combination, problems: Problems) -> Node:
    for path, choice in combination.items():
        check = put(check, split(check, path), choice.value, choice.place, problems)
    return check

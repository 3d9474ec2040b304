"""From a node to the values of its keys, and from the errors of pydantic's core to located sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, get_args

from pydantic_core import ValidationError

from gradcheck_cli.config.hints import Keys, hints_of, validator
from gradcheck_cli.config.nodes import Node, Step
from gradcheck_cli.config.problems import Place, Problems
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.values import dataclass

K = TypeVar("K", bound=Keys)

_MUST = {
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "none_required": "must be null",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length}",
    "too_long": "must have at most {max_length}",
}


@dataclass(frozen=True)
class _Error:
    """One error of pydantic's: the steps to what it is about, as far as no branch of a union is one, and the rest."""

    steps: tuple[Step, ...]
    depth: int
    place: Place
    came: str
    must: str


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """Say that a name is not known, and which is near, or all that are."""
    others = f"; must be one of {', '.join(known)}" if known else "; there are none"
    return f"unknown {what} {name!r}{did_you_mean(name, known) or others}"


def fit(
    cls: type[K],
    node: Node,
    problems: Problems,
    *,
    also: Callable[[], Collection[str]] = tuple,
    part: bool = False,
) -> K | None:
    """Return the keys that a mapping has, and note all that is wrong with it.

    `also` tells known keys beside those of the class. With `part`, keys with a wrong value are left out, so that the
    others can be looked at further.
    """
    errors: list[Any] = []
    keys: K | None = _fitted(cls, node, problems, "key", also, errors)
    wrong = {str(one["loc"][0]) for one in errors if one["loc"]}
    if not part or not wrong or any(one["type"] == "missing" and len(one["loc"]) == 1 for one in errors):
        return keys
    return fit(cls, node.without(*wrong), Problems())


def fit_fields(cls: type, node: Node, problems: Problems, what: str) -> dict[str, Any] | None:
    """Return those fields of a dataclass that a mapping gives, by their keys, and note all that is wrong with it.

    `what` is the word for one of them.
    """
    given: dict[str, Any] | None = _fitted(cls, node, problems, what, tuple, [])
    return given


def _fitted(
    cls: type, node: Node, problems: Problems, what: str, also: Callable[[], Collection[str]], errors: list[Any]
) -> Any:
    try:
        # JSON mode: strict, and yet a list may become a tuple
        return validator(cls).validate_json(json.dumps(node.plain()))
    except ValidationError as error:
        errors += error.errors(include_url=False, include_input=False)
    _note([_read(one, cls, node, what, also) for one in errors], problems)
    return None


def _note(read: list[_Error], problems: Problems) -> None:
    """Note the errors, those of the branches of one union as one: the branch that fits deepest speaks."""
    branches: dict[tuple[Step, ...], list[_Error]] = {}
    for one in read:
        branches.setdefault(one.steps, []).append(one)
    for group in branches.values():
        deepest = max(one.depth for one in group)
        spoken: dict[Place, list[_Error]] = {}
        for one in group:
            if one.depth == deepest:
                spoken.setdefault(one.place, []).append(one)
        for place, errors in spoken.items():
            musts = list(dict.fromkeys(one.must.removeprefix("must be ") for one in errors))
            must = errors[0].must if len(musts) == 1 else f"must be {' or '.join(musts)}"
            problems.add(place, f"{errors[0].came}; {must}" if errors[0].came else must)


def _read(error: Mapping[str, Any], cls: type, node: Node, what: str, also: Callable[[], Collection[str]]) -> _Error:
    kind, loc = error["type"], error["loc"]
    if kind == "extra_forbidden":
        parent, depth = node.at(loc[:-1])
        known = [*_known(cls, loc[:-1]), *(also() if len(loc) == 1 else ())]
        return _Error(loc, depth, parent.key(loc[-1]), "", unknown(what, loc[-1], known))
    found, depth = node.at(loc)
    if kind == "missing":
        if isinstance(loc[-1], str):
            return _Error(loc, depth, found.place, f"no {what} {loc[-1]!r}", "must be given")
        return _Error(_before_branch(loc, node), depth, found.place, found.shown(), "must be a longer list")
    limits = {key: f"{one:g}" if isinstance(one, float) else one for key, one in error.get("ctx", {}).items()}
    must = _MUST[kind].format(**limits) if kind in _MUST else error["msg"]
    if kind == "literal_error":
        must += did_you_mean(str(found.value), re.findall(r"'([^']*)'", must))
    return _Error(_before_branch(loc, node), depth, found.place, found.shown(), must)


def _before_branch(loc: tuple[Step, ...], node: Node) -> tuple[Step, ...]:
    """The steps up to pydantic's name for the branch of a union, which leads nowhere."""
    for count, step in enumerate(loc):
        found = node.child(step)
        if found is None:
            return loc[:count]
        node = found
    return loc


def _known(cls: type, loc: tuple[Step, ...]) -> list[str]:
    """The keys of the class to which the steps lead."""
    for step in loc:
        hint = hints_of(cls).get(str(step))
        cls = next((one for one in (hint, *get_args(hint)) if isinstance(one, type) and issubclass(one, Keys)), cls)
    return list(hints_of(cls))

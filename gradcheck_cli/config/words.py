"""The words of `gradcheck check LAYER x:4,5 beta=2.0` as a check."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradcheck_cli.config.assembly import Origin, assemble
from gradcheck_cli.config.kinds import read_subject
from gradcheck_cli.config.nodes import Node
from gradcheck_cli.config.problems import ConfigError, Place, Problems
from gradcheck_cli.config.reading import read
from gradcheck_cli.config.sentences import unknown
from gradcheck_cli.layer import ArrayError, OptionError
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.spec import CheckSpec, Foreign

_WORD = re.compile(r"(?P<name>[^:=]+)(?P<sign>[:=])(?P<text>.*)", re.DOTALL)
_SHAPE = re.compile(r"(\d+(,\d+)*,?)?")


def from_words(layer: str, words: Sequence[str], **settings: Any) -> CheckSpec:
    """Return the check of a built-in layer that the words describe.

    `name:4,5` is the shape of an array, `name=value` an option, or an array's value when it names one; values are YAML.
    `settings` are further keys of a check, such as view, dtype, seed, wrt; those that are None are left out.

    Raises `ConfigError` whose problems name the word, or the option `--key`, that is wrong.
    """
    problems = Problems()
    entries: dict[str, dict[str, Node]] = {"options": {}, "arrays": {}}
    places: dict[str, Place] = {}
    for word in words:
        _take(word, _options(layer), entries, places, problems)
    origin = Origin(None, Path.cwd())
    check = _check(layer, entries, places, settings)
    strange = _strange(check, words)
    for name, known in strange.items():
        problems.add(places[name], unknown("option or array", name, known))
        del entries["arrays"][name]
    spec = assemble(_check(layer, entries, places, settings) if strange else check, layer, origin, problems)
    if spec is None or problems:
        raise ConfigError(problems)
    return replace(spec, reproduce=_reproduce(layer, words, spec.seed, settings))


def _options(layer: str) -> list[str]:
    """The names of the options of a layer."""
    cls = LAYERS[layer] if layer in LAYERS else None  # noqa: SIM401 - get knows no UnknownNameError
    return [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def _take(
    word: str,
    options: Collection[str],
    entries: Mapping[str, dict[str, Node]],
    places: dict[str, Place],
    problems: Problems,
) -> None:
    """Take one word as an option or an array."""
    place, match = Place(None, path=word), _WORD.fullmatch(word)
    if match is None:
        problems.add(place, "neither a shape nor a value; must be name:4,5 or name=value")
        return
    name, sign, text = match.groups()
    if name in places:
        problems.add(place, f"{name!r} again, after {places[name].path!r}; must be given once")
        return
    places[name] = place
    node = _shape(text, place, problems) if sign == ":" else _value(text, place, problems)
    if node is not None:
        entries["options" if sign == "=" and name in options else "arrays"][name] = node


def _shape(text: str, place: Place, problems: Problems) -> Node | None:
    if not _SHAPE.fullmatch(text):
        problems.add(place, f"the shape {text!r}; must be lengths, as in x:4,5")
        return None
    return _node({"shape": [int(length) for length in text.split(",") if length]}, place)


def _value(text: str, place: Place, problems: Problems) -> Node | None:
    if not text.strip():
        problems.add(place, "no value; must be name=value")
        return None
    found = Problems()
    node = read(text, None, found)
    for problem in found:
        problems.add(place, problem.message)
    return None if node is None else _moved(node, place)


def _moved(node: Node, place: Place) -> Node:
    """The node, written at another place."""
    value = node.value
    if isinstance(value, dict):
        return Node({key: _moved(one, place) for key, one in value.items()}, place, dict.fromkeys(value, place))
    return replace(node, value=[_moved(one, place) for one in value] if isinstance(value, list) else value, place=place)


def _node(value: Any, place: Place) -> Node:
    """Plain values as a node."""
    if isinstance(value, Mapping):
        return Node({key: _node(one, place) for key, one in value.items()}, place, dict.fromkeys(value, place))
    if isinstance(value, (list, tuple)):
        return Node([_node(one, place) for one in value], place)
    return Node(value, place, written=str(value))


def _check(
    layer: str, entries: Mapping[str, dict[str, Node]], places: Mapping[str, Place], settings: Mapping[str, Any]
) -> Node:
    named = Place(None, path=layer)
    given = {
        key: Place(None, path=f"--{key.replace('_', '-')}") for key, value in settings.items() if value is not None
    }
    value = {"layer": _node(layer, named)} | {key: _node(settings[key], place) for key, place in given.items()}
    value |= {key: Node(dict(one), named, places) for key, one in entries.items() if one}
    return Node(value, Place(None), {"layer": named, **given})


def _strange(check: Node, words: Sequence[str]) -> dict[str, list[str]]:
    """The names given a value that are neither an option nor an array, with all that would be, if that can be told."""
    subject = read_subject(check, Problems())
    if subject is None or isinstance(subject.layer, Foreign) or "arrays" not in check.mapping:
        return {}
    given = check.mapping["arrays"].mapping
    valued = [name for name in given if any(word.startswith(f"{name}=") for word in words)]
    shapes = {name: tuple(given[name].mapping["shape"].plain()) for name in given if name not in valued}
    try:
        arrays = subject.layer.arrays(**shapes)
    except (ArrayError, OptionError):
        return {}
    known = [*_options(str(check.mapping["layer"].value)), *arrays]
    return {name: known for name in valued if name not in known}


def _reproduce(layer: str, words: Sequence[str], seed: int, settings: Mapping[str, Any]) -> str:
    flags: list[str] = []
    for key, value in {**settings, "seed": seed}.items():
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            flags += [f"--{key.replace('_', '-')}", text]
    return shlex.join(["gradcheck", "check", layer, *words, *flags])

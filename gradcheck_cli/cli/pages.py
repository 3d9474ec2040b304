"""What can be told of a layer: read from its docstring, its fields and its arrays at the defaults."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
import types
import typing
from typing import Any, Literal

from gradcheck_cli.values import dataclass

BUILT_IN = "gradcheck_cli.layers."
SECTIONS = ("Formula", "Arrays", "VJP", "Source")


@dataclass(frozen=True)
class Option:
    """A field of the layer: a key of `options:` in a config."""

    name: str
    type: str
    default: Any


@dataclass(frozen=True)
class ArrayEntry:
    """An array of the layer as it is when nothing is given."""

    name: str
    shape: tuple[int, ...]
    kind: str
    differentiable: bool


@dataclass(frozen=True)
class ExampleEntry:
    """A set of options, with the shapes of all arrays there."""

    options: dict[str, Any]
    arrays: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Page:
    """One layer, told. `sections` are the docstring's, one fact to a line; the paragraphs before them are `about`."""

    name: str
    family: str
    about: str
    sections: dict[str, str]
    arrays: tuple[ArrayEntry, ...]
    options: tuple[Option, ...]
    examples: tuple[ExampleEntry, ...]

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring on one line."""
        return " ".join(self.about.split("\n\n")[0].split())

    def to_dict(self) -> dict[str, Any]:
        """The page for programs."""
        return {
            "name": self.name,
            "family": self.family,
            "summary": self.summary,
            "formula": self.sections.get("Formula", ""),
            "arrays": [vars(entry) for entry in self.arrays],
            "options": [vars(option) for option in self.options],
            "source": self.sections.get("Source", ""),
            "examples": [vars(example) for example in self.examples],
        }


def page(name: str, layer: type[Any]) -> Page:
    """Read the page of a layer; a plug-in that tells less has a shorter one."""
    about, sections = _parts(inspect.getdoc(layer) if layer.__doc__ else None)
    examples = getattr(layer, "EXAMPLES", ())
    return Page(
        name=name,
        family=_family(layer),
        about=about,
        sections=sections,
        arrays=tuple(_arrays(layer)),
        options=tuple(_options(layer)),
        examples=tuple(_example(layer, example) for example in examples),
    )


def _family(layer: type[Any]) -> str:
    """What the module of a layer calls its `FAMILY`, else the module's own name."""
    own = layer.__module__.removeprefix(BUILT_IN).replace("_", " ")
    return str(getattr(inspect.getmodule(layer), "FAMILY", own))


def _parts(docstring: str | None) -> tuple[str, dict[str, str]]:
    """The paragraphs before the first section, and each section's own text."""
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in (docstring or "").splitlines():
        if line.endswith(":") and line[:-1] in SECTIONS:
            current = line[:-1]
            parts[current] = []
        else:
            parts[current].append(line)
    texts = {title: textwrap.dedent("\n".join(lines)).strip("\n") for title, lines in parts.items()}
    return texts.pop("").strip(), {title: _joined(text) for title, text in texts.items()}


def _joined(text: str) -> str:
    """The lines of a section, each with what continues it: a line that is indented deeper."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(" ") and lines:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _fields(layer: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(layer) if dataclasses.is_dataclass(layer) else ()


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _arrays(layer: type[Any]) -> list[ArrayEntry]:
    """The arrays at the defaults; none where an option has no default."""
    if any(_default(field) is dataclasses.MISSING for field in _fields(layer)):
        return []
    specs = layer().arrays()
    return [ArrayEntry(name, spec.shape, spec.kind, spec.differentiable) for name, spec in specs.items()]


def _options(layer: type[Any]) -> list[Option]:
    hints = typing.get_type_hints(layer) if _fields(layer) else {}
    defaults = {field.name: _default(field) for field in _fields(layer)}
    return [
        Option(name, type_text(hints[name]), None if default is dataclasses.MISSING else default)
        for name, default in defaults.items()
    ]


def _example(layer: type[Any], example: Any) -> ExampleEntry:
    arrays = layer(**example.options).arrays(**example.shapes)
    return ExampleEntry(dict(example.options), {name: spec.shape for name, spec in arrays.items()})


def type_text(hint: Any) -> str:
    """A type as people write it: int | null, "mean" | "sum"."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        return " | ".join(repr(value) for value in typing.get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_text(part) for part in typing.get_args(hint))
    if hint is types.NoneType:
        return "None"
    return hint.__name__ if origin is None and isinstance(hint, type) else str(hint).removeprefix("typing.")

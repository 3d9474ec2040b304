"""From the hints of a class to what pydantic's core validates by.

Pydantic's own models would do the same, but to import and build them takes as long as half a small check.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from pydantic_core import SchemaValidator

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

Schema: TypeAlias = dict[str, Any]  # a core schema: what the functions of pydantic_core.core_schema would return

_PLAIN = {Any: "any", NoneType: "none", bool: "bool", int: "int", float: "float", str: "str"}
_STRICT = {"strict": True}  # nothing is converted


class Limits:
    """What must hold of a value beside its type, in the words of the core schema of that type."""

    def __init__(self, **words: Any) -> None:
        self.words = words


class Keys:
    """A mapping whose keys are the attributes; what it lacks is as the class says, or must be given."""

    def __init__(self, **given: Any) -> None:
        vars(self).update(given)
        self.agree()

    def agree(self) -> None:
        """Raise `PydanticCustomError` if the values contradict each other."""


@cache
def validator(cls: type) -> SchemaValidator:
    """Validates the keys of a class: those of `Keys` into one, any other's into a dictionary."""
    return SchemaValidator(cast("CoreSchema", schema(cls)))


def schema(cls: type) -> Schema:
    """The core schema of a mapping with the keys of a class, and no others."""
    into_keys, defaults = issubclass(cls, Keys), _defaults(cls)
    fields: Schema = {}
    for key, hint in hints_of(cls).items():
        inner = _schema(hint)
        if into_keys and key in defaults:
            inner = {"type": "default", "schema": inner, "default": defaults[key]}
        fields[key] = {"type": "typed-dict-field", "schema": inner, "required": key not in defaults}
    ref = f"{cls.__module__}.{cls.__qualname__}:{id(cls)}"  # the name in a JSON Schema, in pydantic's way
    mapping: Schema = {"type": "typed-dict", "fields": fields, "extra_behavior": "forbid", "config": _STRICT}
    if not into_keys:
        return {**mapping, "ref": ref}
    made = {"type": "no-info", "function": lambda given: cls(**given)}
    return {"type": "function-after", "schema": mapping, "function": made, "ref": ref}


@cache
def hints_of(cls: Any) -> Mapping[str, Any]:
    """The keys of a class, or of the fields of a dataclass, with their hints."""
    hints, into_keys = get_type_hints(cls, include_extras=True), issubclass(cls, Keys)
    return hints if into_keys else {key: hints[field.name] for key, field in fields_of(cls).items()}


@cache
def fields_of(cls: Any) -> Mapping[str, dataclasses.Field[Any]]:
    """The fields of a dataclass by their keys; a trailing underscore, as in `class_`, is none of the key's."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return {field.name.rstrip("_"): field for field in fields if field.init}


def _defaults(cls: Any) -> Mapping[str, Any]:
    """The keys that may be left out."""
    if issubclass(cls, Keys):
        return {key: getattr(cls, key) for key in hints_of(cls) if hasattr(cls, key)}
    none = dataclasses.MISSING
    return {
        key: one.default for key, one in fields_of(cls).items() if (one.default, one.default_factory) != (none, none)
    }


def _schema(hint: Any) -> Schema:
    """The core schema of a value."""
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Keys):
        return schema(hint)
    if origin is None and hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if origin is Annotated and all(isinstance(one, Limits) for one in inner[1:]):
        return {**_schema(inner[0]), **{word: limit for one in inner[1:] for word, limit in one.words.items()}}
    if origin is Literal:
        return {"type": "literal", "expected": list(inner)}
    if origin in (Union, UnionType):
        return _union([_schema(one) for one in inner if one is not NoneType], optional=NoneType in inner)
    if origin in (list, Sequence):
        return {"type": "list", "items_schema": _schema(inner[0])}
    if origin is tuple:
        variadic = {"variadic_item_index": 0} if inner[-1:] == (...,) else {}
        return {"type": "tuple", "items_schema": [_schema(one) for one in inner if one is not ...], **variadic}
    if origin in (dict, Mapping):
        return {"type": "dict", "keys_schema": _schema(inner[0]), "values_schema": _schema(inner[1])}
    return _any_other(hint)


def _union(choices: list[Schema], *, optional: bool) -> Schema:
    one = choices[0] if len(choices) == 1 else {"type": "union", "choices": choices}
    return {"type": "nullable", "schema": one} if optional else one


def _any_other(hint: Any) -> Schema:
    """Whatever else an option of an installed layer may be is left to pydantic."""
    from pydantic import TypeAdapter

    return cast("Schema", TypeAdapter(hint).core_schema)

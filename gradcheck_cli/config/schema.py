"""The JSON Schema of a config, for editors: the models of its keys, the layers with their options, and the adapters.

It knows less than the reader of configs: shapes, names of arrays, and what defaults or a matrix bring along are not in
it, so that a file that it accepts can still be wrong, and one that it refuses is wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic.json_schema import GenerateJsonSchema

from gradcheck_cli.config.hints import Schema, fields_of, schema
from gradcheck_cli.config.keys import ArrayKeys, CheckKeys
from gradcheck_cli.config.kinds import BESIDE, kinds
from gradcheck_cli.registry import ADAPTERS, LAYERS, METHODS

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> Schema:
    """The schema of a whole file, for the layers and adapters that are installed."""
    classes = {"check": CheckKeys, "array": ArrayKeys, **ADAPTERS, **LAYERS}
    mode: Literal["validation"] = "validation"
    schemas = [(name, mode, cast("CoreSchema", schema(cls))) for name, cls in classes.items()]
    found, definitions = GenerateJsonSchema().generate_definitions(schemas)
    refs = {name: str(found[name, mode]["$ref"]) for name in classes}
    defs: Schema = {name: _loose(one) for name, one in definitions.items()}
    for name, thing in {**ADAPTERS, **LAYERS}.items():
        _describe(_inner(defs, refs[name]), name, thing)
    check = _inner(defs, refs["check"])
    check["properties"] |= _check_properties(refs)
    check["oneOf"] = _at_most_one(kinds())
    check["allOf"] = _options_by_layer(refs)
    difference = _inner(defs, check["properties"]["difference"]["anyOf"][0]["$ref"])
    difference["properties"]["method"] |= {"enum": list(METHODS)}
    defs |= {"numbers": _numbers(), "given": _given(refs), "link": _link(refs)}
    return {"$schema": DIALECT, "title": "gradcheck config, version 1", **_file(refs), "$defs": defs}


def _inner(defs: Schema, ref: str) -> Schema:
    inner: Schema = defs[ref.rpartition("/")[2]]
    return inner


def _loose(whole: Schema) -> Schema:
    """The schema without its required keys: defaults, `extends` and a matrix may bring them."""
    return {key: value for key, value in whole.items() if key not in ("required", "description", "title")}


def _describe(described: Schema, name: str, thing: Any) -> None:
    """Say what a layer or an adapter is, and the defaults of its options."""
    defaults = {key: field.default for key, field in fields_of(thing).items()}
    for key, one in described.get("properties", {}).items():
        one.pop("title", None)
        if isinstance(defaults[key], (bool, int, float, str)):
            one["default"] = defaults[key]
    described |= {"title": name, "description": (inspect.getdoc(thing) or "").partition("\n")[0]}


def _file(refs: Mapping[str, str]) -> Schema:
    check = {"$ref": refs["check"]}
    return {
        "type": "object",
        "properties": {
            "version": {"const": 1},
            "extends": {"type": "string", "description": "A config whose defaults this one takes over."},
            "defaults": {**check, "description": "Keys that every check has unless it says otherwise."},
            "checks": {"type": "array", "minItems": 1, "items": check},
        },
        "required": ["version"],
        "anyOf": [{"required": [key]} for key in ("checks", "defaults", "extends")],
        "additionalProperties": False,
    }


def _check_properties(refs: Mapping[str, str]) -> Schema:
    given = {"$ref": "#/$defs/given"}
    mappings = {"type": "array", "minItems": 1, "items": {"type": "object", "minProperties": 1}}
    return {
        **_kind_properties(refs),
        "chain": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/link"}},
        "arrays": {"anyOf": [{"type": "object", "additionalProperties": given}, {"type": "null"}]},
        "cotangent": {"anyOf": [given, {"type": "array", "items": given}, {"type": "null"}]},
        "extends": {"type": "string", "description": "A config whose defaults this check takes over."},
        "matrix": {
            "anyOf": [
                {
                    "type": "object",
                    "description": "Lists of values by the paths of keys: one check for each combination.",
                    "properties": {"include": mappings, "exclude": mappings},
                    "additionalProperties": {"type": "array", "minItems": 1},
                },
                {"type": "null"},
            ]
        },
    }


def _kind_properties(refs: Mapping[str, str]) -> Schema:
    """What is checked: a layer by its name, or somebody's code."""
    properties: Schema = {"layer": {"enum": list(LAYERS)}}
    for name, adapter in ADAPTERS.items():
        keys = {"$ref": refs[name]}
        properties[name] = {"anyOf": [keys, {"type": "string"}]} if getattr(adapter, "short", None) else keys
    return properties


def _at_most_one(names: Iterable[str]) -> list[Schema]:
    """One of these keys, or none where the defaults have it."""
    each: list[Schema] = [{"required": [name]} for name in names]
    return [*each, {"not": {"anyOf": each}}]


def _options_by_layer(refs: Mapping[str, str]) -> list[Schema]:
    """What the options of each layer are."""
    return [
        {
            "if": {"properties": {"layer": {"const": name}}, "required": ["layer"]},
            "then": {"properties": {"options": {"anyOf": [{"$ref": refs[name]}, {"type": "null"}]}}},
        }
        for name in LAYERS
    ]


def _link(refs: Mapping[str, str]) -> Schema:
    properties: Schema = {**_kind_properties(refs), **dict.fromkeys(BESIDE, True)}
    names = [name for name in kinds() if name != "chain"]
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in names],
        "allOf": _options_by_layer(refs),
    }


def _given(refs: Mapping[str, str]) -> Schema:
    """One array: numbers, or keys that say where they come from."""
    return {"anyOf": [{"$ref": "#/$defs/numbers"}, {"$ref": refs["array"]}]}


def _numbers() -> Schema:
    """A number, or lists of numbers, nested."""
    inner = {"type": "array", "items": {"$ref": "#/$defs/numbers"}}
    return {"anyOf": [{"type": ["number", "boolean"]}, inner]}

"""What is validated by hints alone is validated as pydantic does it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, get_type_hints

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import SchemaValidator

from gradcheck_cli.config import hints
from gradcheck_cli.config.keys import ArrayKeys, CheckKeys, FileKeys
from gradcheck_cli.registry import ADAPTERS, LAYERS


class Colour(Enum):
    RED = "red"


class Inner(BaseModel):
    depth: int


PLAIN = [
    Any,
    bool,
    int,
    float,
    str,
    int | None,
    int | tuple[int, ...] | None,
    list[float],
    tuple[int, ...],
    tuple[int, str],
    tuple[()],
    dict[str, int],
    Mapping[str, str | None],
    Sequence[str | None],
    Literal["a", 1],
    Literal["a"] | None,
]
FOREIGN = [Colour, Annotated[int, Field(gt=2)], list[Colour], list, dict[str, Any] | Colour]
VALUES = [None, True, 0, 1, 3, 2.0, 2.5, 1e400, "", "a", "red", "3", [], [1], [1, 2.5], [1, "a"], ["a"], {}, {"a": 1}]
VALUES += [{"a": None}, [[1]], {"a": {"b": [1]}}, 2**70]


def read(validator: Any, value: Any) -> Any:
    """The value, or the kinds and places of the errors."""
    try:
        return validator.validate_json(json.dumps(value))
    except ValidationError as error:
        alike = {"mapping_type": "dict_type"}
        return [(alike.get(one["type"], one["type"]), one["loc"]) for one in error.errors()]


@pytest.mark.parametrize("hint", [*PLAIN, *FOREIGN], ids=str)
def test_hint_is_read_as_pydantic_reads_it(hint: Any) -> None:
    @dataclasses.dataclass
    class Options:
        value: Any

    Options.__annotations__["value"] = hint
    model = create_model("Options", __config__=ConfigDict(strict=True, extra="forbid"), value=(hint, ...))
    ours = hints.validator(Options)
    for value in VALUES:
        for given in ({"value": value}, {"value": value, "more": 1}, {}, value):
            found, theirs = read(ours, given), read(TypeAdapter(model), given)
            if isinstance(theirs, BaseModel):
                assert found == {"value": getattr(theirs, "value")}, given  # noqa: B009 - a field made at run time
            elif isinstance(given, dict):
                assert found == theirs, given
            else:  # a model is no dictionary, which is all that differs
                assert isinstance(found, list), given


def test_inner_models_stay_what_they_are() -> None:
    @dataclasses.dataclass
    class Options:
        inner: Inner | None = None

    Options.__annotations__["inner"] = Inner | None
    assert hints.validator(Options).validate_json('{"inner": {"depth": 2}}') == {"inner": Inner(depth=2)}
    assert read(hints.validator(Options), {"inner": {"depth": "a"}})[0][1] == ("inner", "depth")


@pytest.mark.parametrize("name", [*LAYERS, *ADAPTERS])
def test_no_option_of_ours_needs_pydantic(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(hint: Any) -> Any:
        raise AssertionError(f"{hint} is left to pydantic")

    monkeypatch.setattr(hints, "_any_other", refuse)
    assert hints.schema({**LAYERS, **ADAPTERS}[name])["type"] == "typed-dict"


@pytest.mark.parametrize("cls", [FileKeys, CheckKeys, ArrayKeys])
def test_keys_have_their_values_and_defaults(cls: type[hints.Keys]) -> None:
    schema = hints.schema(cls)
    assert GenerateJsonSchema().generate(schema)["additionalProperties"] is False  # type: ignore[arg-type]
    given: dict[str, Any] = {"version": 1} if cls is FileKeys else {}
    keys = SchemaValidator(schema).validate_python(given)  # type: ignore[arg-type]
    assert isinstance(keys, cls)
    assert vars(keys) == {key: given.get(key, getattr(cls, key, None)) for key in get_type_hints(cls)}

"""Calling somebody's code: arguments by name, and clear words for what comes back wrong."""

from __future__ import annotations

import copy
import inspect
import linecache
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Kind, Shape
from gradcheck_cli.values import dataclass


class UserCodeError(Exception):
    """Somebody's code does not keep its convention. `line` says where it begins, as file:line: text."""

    def __init__(self, message: str, line: str | None = None) -> None:
        super().__init__(message)
        self.message, self.line = message, line

    def __reduce__(self) -> tuple[type[UserCodeError], tuple[str, str | None]]:
        return type(self), (self.message, self.line)


@dataclass(frozen=True, eq=False)
class Recall:
    """A draw that gives back values that are there already, repeated or cut where another shape is wanted."""

    values: Array

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:  # noqa: ARG002 - the signature of a draw
        return np.array(self.values) if self.values.shape == shape else np.resize(self.values, shape)


@dataclass(frozen=True)
class Code:
    """A function of somebody's: its name, its parameters, and how it is called.

    `given` maps the names of arrays and constants to values; a call deep-copies the constants, so that a running mean
    kept in one of them stays in that call.
    """

    function: Callable[..., Any]
    name: str

    @classmethod
    def named(cls, reference: str, thing: object) -> Code:
        """Wrap what a reference led to, called by its own name where it has one."""
        if not callable(thing):
            raise UserCodeError(f"{reference} is a {type(thing).__name__}; must be a function")
        own = getattr(thing, "__name__", "<unnamed>")
        return cls(thing, own if own.isidentifier() else reference)

    @cached_property
    def parameters(self) -> list[inspect.Parameter]:
        """Its parameters in order."""
        try:
            return list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError) as error:
            raise self.error(f"{self.name} does not say which parameters it takes; wrap it in a function") from error

    def call(self, first: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Call it: `first` by position, of `named` what the parameters after them ask for."""
        positional: list[Any] = list(first)
        by_name: dict[str, Any] = {}
        for parameter in self.parameters[len(first) :]:
            if parameter.kind is parameter.VAR_KEYWORD:
                by_name |= {name: value for name, value in named.items() if name not in self.names}
            elif parameter.name not in named:
                continue
            elif parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(named[parameter.name])
            else:
                by_name[parameter.name] = named[parameter.name]
        return self.function(*positional, **by_name)

    @cached_property
    def names(self) -> list[str]:
        """The names of its parameters in order, without *args and **kwargs."""
        return [one.name for one in self.parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]

    @property
    def required(self) -> list[str]:
        """The names of those without a default."""
        return [one.name for one in self.parameters if one.name in self.names and one.default is one.empty]

    @property
    def takes_any_name(self) -> bool:
        """Whether it has **kwargs."""
        return any(one.kind is one.VAR_KEYWORD for one in self.parameters)

    def error(self, message: str) -> UserCodeError:
        """An error that points to where this function is defined."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        if code is None:
            return UserCodeError(message)
        text = linecache.getline(code.co_filename, code.co_firstlineno).strip()
        return UserCodeError(message, f"{code.co_filename}:{code.co_firstlineno}: {text}")

    def check_names(self, arrays: Collection[str], constants: Collection[str]) -> None:
        """Every array and constant must be a parameter, and every required parameter must be one of them."""
        for name in set(arrays) & set(constants):
            raise self.error(f"{name!r} is an array and a constant; name it under one of them")
        for kind, given in (("array", arrays), ("constant", constants)):
            for name in given:
                if name not in self.names and not self.takes_any_name:
                    raise self.error(f"{self.name} takes no {kind} {name!r}; its parameters are {listed(self.names)}")
        missing = [name for name in self.required if name not in arrays and name not in constants]
        if missing:
            raise self.error(f"{self.name} takes {listed(missing)} too; name it under arrays or constants")

    def array(self, value: Any, what: str) -> Array:
        """Turn a value that came back into an array of numbers."""
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise self.error(f"{self.name} returned something ragged as {what}; must be an array of numbers") from error
        if array.dtype.kind not in "fiubc":
            came = "None" if value is None else f"a {type(value).__name__}"
            raise self.error(f"{self.name} returned {came} as {what}; must be an array of numbers")
        return array

    def gradients(self, value: Any, order: Sequence[str | None], how: str) -> dict[str, Array]:
        """Name the gradients that came back: a mapping by its keys (`w`, `dw`, `grad_w`), others by `order`.

        `how` says how the order is told, for the message when the number is wrong.
        """
        wanted = [name for name in order if name is not None]
        if value is None and wanted:
            raise self.error(f"{self.name} returned None; must return the gradient for {listed(wanted)}")
        if isinstance(value, Mapping):
            keys = {name: [key for key in spellings(name) if key in value] for name in wanted}
            for name, found in keys.items():
                if not found:
                    raise self.error(f"{self.name} returned no gradient for {name}; its keys are {listed(value)}")
            return {name: self.array(value[found[0]], f"the gradient for {name}") for name, found in keys.items()}
        several = isinstance(value, tuple) or (isinstance(value, list) and len(order) != 1)
        parts = list(value) if several else [value]
        if len(parts) != len(order):
            raise self.error(
                f"{self.name} returned {count(len(parts), 'gradient')} for {count(len(order), 'array')} "
                f"({listed(str(name or 'null') for name in order)}); {how}"
            )
        pairs = zip(order, parts, strict=True)
        return {name: self.array(part, f"the gradient for {name}") for name, part in pairs if name is not None}


def spec_of(values: Array) -> ArraySpec:
    """Describe an array that was given: integers and booleans are passed on as they are, floats can be drawn anew."""
    kinds: dict[str, Kind] = {"i": "integer", "u": "integer", "b": "boolean"}
    kind = kinds.get(values.dtype.kind, "float")
    return ArraySpec(values.shape, kind) if kind == "float" else ArraySpec(values.shape, kind, Recall(values))


def spellings(name: str) -> tuple[str, ...]:
    """The keys and attributes under which the gradient for an array is looked for."""
    return (name, f"d{name}", f"grad_{name}", f"{name}_grad", f"d_{name}")


def fresh(constants: Mapping[str, Any]) -> dict[str, Any]:
    """Constants for one call, which may change them."""
    return copy.deepcopy(dict(constants))


def listed(names: Any) -> str:
    """Names in a row, or "none"."""
    return ", ".join(str(name) for name in names) or "none"


def count(number: int, what: str) -> str:
    """The number with its noun: 1 gradient, 2 gradients."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

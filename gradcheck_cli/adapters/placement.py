"""Which argument of somebody's function each named array becomes, for functions that take arrays by position."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gradcheck_cli.adapters.user_code import UserCodeError, count, listed
from gradcheck_cli.values import dataclass

_STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Placement:
    """The arguments of a call: `roles` maps arrays to parameters, `extra` are the arrays for *args, in order."""

    parameters: tuple[inspect.Parameter, ...]
    roles: Mapping[str, str]
    extra: tuple[str, ...]

    def arguments(self, arrays: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments; what is left out before a positional one gets its default."""
        given = {self.roles[name]: value for name, value in arrays.items() if name in self.roles} | dict(constants)
        args: list[Any] = []
        by_name: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += [arrays[name] for name in self.extra]
            elif parameter.kind is parameter.VAR_KEYWORD:
                by_name |= {name: value for name, value in given.items() if name not in _names(self.parameters)}
            elif parameter.kind is parameter.KEYWORD_ONLY:
                by_name |= {name: value for name, value in given.items() if name == parameter.name}
            elif parameter.name in given or parameter.default is not parameter.empty:
                args.append(given.get(parameter.name, parameter.default))
        return args, by_name


def place(
    label: str, parameters: Sequence[inspect.Parameter], arrays: Collection[str], constants: Collection[str]
) -> Placement:
    """Give every array its parameter: by name where they are named alike, else by position, in the order given.

    Raises `UserCodeError` for what no parameter takes, and for a parameter that nothing fills.
    """
    names = _names(parameters)
    any_name = any(one.kind is one.VAR_KEYWORD for one in parameters)
    any_number = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    for name in constants:
        if name in arrays:
            raise UserCodeError(f"{name!r} is an array and a constant; name it under one of them")
        if name not in names and not any_name:
            raise UserCodeError(f"{label} takes no constant {name!r}; its parameters are {listed(names)}")
    strangers = [name for name in arrays if name not in names and not (any_name and not any_number)]
    roles, extra = {name: name for name in arrays}, tuple[str, ...]()
    if strangers and len(strangers) == len(arrays):
        free = [one.name for one in parameters if one.kind not in (*_STARS, one.KEYWORD_ONLY)]
        free = [name for name in free if name not in constants]
        roles, extra = dict(zip(arrays, free, strict=False)), tuple(arrays)[len(free) :]
        if extra and not any_number:
            came = f"{count(len(arrays), 'array')} ({listed(arrays)})"
            raise UserCodeError(f"{label} takes {count(len(free), 'array')} ({listed(free)}), and {came} came")
    elif strangers:
        raise UserCodeError(f"{label} takes no array {strangers[0]!r}; its parameters are {listed(names)}")
    required = [one.name for one in parameters if one.name in names and one.default is one.empty]
    missing = [name for name in required if name not in roles.values() and name not in constants]
    if missing:
        raise UserCodeError(f"{label} takes {listed(missing)} too; name it under arrays or constants")
    return Placement(tuple(parameters), roles, extra)


def input_names(
    parameters: Sequence[inspect.Parameter], arrays: Collection[str], constants: Collection[str]
) -> tuple[str, ...]:
    """The parameters that are arrays, in order, as a chain names them."""
    required = {one.name for one in parameters if one.default is one.empty}
    return tuple(name for name in _names(parameters) if name not in constants and (name in arrays or name in required))


def parameters_of(function: Any) -> tuple[inspect.Parameter, ...]:
    """The parameters of somebody's function; one that does not tell takes arrays by position, constants by name."""
    try:
        return tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a function written in C
        return tuple(inspect.signature(lambda *arrays, **constants: (arrays, constants)).parameters.values())


def _names(parameters: Sequence[inspect.Parameter]) -> list[str]:
    return [one.name for one in parameters if one.kind not in _STARS]

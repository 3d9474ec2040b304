"""Whether somebody's callable is for torch or JAX, told by where it comes from and what it uses; imports neither."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

LIBRARIES = {"torch": "torch", "jax": "jax", "jaxlib": "jax"}  # by the root of a module's name
DEPTH = 8  # of functions that call one another


def made_by(thing: Any) -> str | None:
    """The library to whose kinds of things a callable belongs: its class, one above it, or it is one of its own."""
    if isinstance(thing, partial):
        return made_by(thing.func)
    owner = getattr(thing, "__self__", None)
    classes = [*_bases(thing), *(_bases(owner) if owner is not None else ())]
    homes = [*(cls.__module__ for cls in classes), getattr(thing, "__module__", None)]
    return next(filter(None, map(_library, homes)), None)


def used_by(thing: Any) -> set[str]:
    """The libraries that the code of a callable uses: both, one or none."""
    return set(_used_by(thing, set(), DEPTH))


def imported() -> set[str]:
    """The libraries that are imported already."""
    return set(LIBRARIES.values()) & sys.modules.keys()


def _bases(thing: Any) -> tuple[type, ...]:
    """The classes of an object, or a class with those above it."""
    return inspect.getmro(thing if isinstance(thing, type) else type(thing))


def _library(home: object) -> str | None:
    return LIBRARIES.get(home.partition(".")[0]) if isinstance(home, str) else None


def _used_by(thing: Any, seen: set[int], depth: int) -> Iterator[str]:
    """By the names that the code uses, and by the functions that it calls."""
    if id(thing) in seen or depth == 0:
        return
    seen.add(id(thing))
    if isinstance(thing, ModuleType):
        yield from filter(None, [_library(thing.__name__)])
        return
    yield from filter(None, [made_by(thing)])
    function = _function(thing)
    for value in _values(function) if function is not None else ():
        yield from _used_by(value, seen, depth - 1)


def _function(thing: Any) -> FunctionType | None:
    """The function in Python behind a callable."""
    if isinstance(thing, partial):
        return _function(thing.func)
    if isinstance(thing, MethodType):
        return _function(thing.__func__)
    if isinstance(thing, FunctionType):
        inner: Any = inspect.unwrap(thing)
        return inner if isinstance(inner, FunctionType) else _function(inner)
    if isinstance(thing, type) or not callable(thing):
        return None
    called = vars(type(thing)).get("__call__")
    return called if isinstance(called, FunctionType) else None


def _values(function: FunctionType) -> Iterator[Any]:
    """What the names in the code of a function stand for: globals, and what it closes over."""
    code = function.__code__
    for name in _names(code):
        if name in function.__globals__:
            yield function.__globals__[name]
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)

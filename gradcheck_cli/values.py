"""Dataclasses that take little time to define.

`dataclasses` writes and compiles up to six methods for each class, and a hundred classes take as long as a small check.
Here all classes share five of them, and the sixth, `__init__`, is written when the first value of a class is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError
from dataclasses import field as field
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, *, frozen: bool = False, eq: bool = True) -> Any:
        """Make a dataclass of a class, as `dataclasses.dataclass` does; one that derives from another is left to it."""

        def made(cls: type) -> type:
            if any(map(dataclasses.is_dataclass, cls.__mro__[1:])):
                return dataclasses.dataclass(cls, frozen=frozen, eq=eq)
            equal = {"__eq__": _eq, "__hash__": _hash if frozen else None} if eq else {}
            fixed = {"__setattr__": _set, "__delattr__": _delete} if frozen else {}
            for name, method in {"__init__": _first(cls), "__repr__": _repr, **equal, **fixed}.items():
                if name not in vars(cls):
                    setattr(cls, name, method)
            dataclasses.dataclass(cls, init=False, repr=False, eq=False)
            cls.__dataclass_params__.frozen = frozen  # for dataclasses that derive from it
            return cls

        return made if cls is None else made(cls)


def _first(cls: type) -> Callable[..., None]:
    """What makes the first value: it writes `__init__`, which then takes its place."""

    def __init__(self: Any, *args: Any, **given: Any) -> None:  # noqa: N807 - called so in messages
        written = _written(cls)
        type.__setattr__(cls, "__init__", written)
        written(self, *args, **given)

    return __init__


def _written(cls: Any) -> Callable[..., None]:
    """The `__init__` of a class: a parameter for each field, with its default, and an assignment that none refuses."""
    parameters, lines = ["self"], list[str]()
    scope: dict[str, Any] = {"_MISSING": MISSING, "_put": object.__setattr__}
    for one in dataclasses.fields(cls):
        name, value = one.name, one.name
        if one.default_factory is not MISSING:
            scope[f"_new_{name}"] = one.default_factory
            parameters += [f"{name}=_MISSING"] if one.init else []
            value = f"_new_{name}() if {name} is _MISSING else {name}" if one.init else f"_new_{name}()"
        elif one.init:
            scope[f"_{name}"] = one.default
            parameters.append(name if one.default is MISSING else f"{name}=_{name}")
        lines += [f"_put(self, {name!r}, {value})"] if one.init or value != name else []
    lines += ["self.__post_init__()"] if hasattr(cls, "__post_init__") else []
    exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines or ["pass"]), scope)
    scope["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    written: Callable[..., None] = scope["__init__"]
    return written


def _set(self: Any, name: str, value: Any) -> None:  # noqa: ARG001 - Python's signature
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> None:  # noqa: ARG001 - Python's signature
    raise FrozenInstanceError(f"cannot delete field {name!r}")


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: object) -> Any:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple([getattr(value, one.name) for one in dataclasses.fields(value) if one.compare])

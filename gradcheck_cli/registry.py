"""From a name to the thing that carries it: one folder, one name space, did-you-mean."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


class UnknownNameError(LookupError):
    """A name that nothing carries."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        self.what, self.name, self.known = what, name, tuple(known)
        super().__init__(f"unknown {what} {name!r}{did_you_mean(name, self.known)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.name, self.known)


class Registry(Mapping[str, T], Generic[T]):
    """The classes in the modules of one package that have a `name` of their own.

    A new file in the package is found with no further registration; installed packages add theirs, which must have
    `members`, through the group `entry_points`. `what` is the word for one of them in messages.
    """

    def __init__(self, package: str, what: str, entry_points: str | None = None, members: tuple[str, ...] = ()) -> None:
        self.package, self.what, self.entry_points, self.members = package, what, entry_points, members

    @cached_property
    def _things(self) -> dict[str, T]:
        things: dict[str, T] = {}
        package = importlib.import_module(self.package)
        for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
            module = importlib.import_module(f"{self.package}.{info.name}")
            for _, thing in inspect.getmembers(module, inspect.isclass):
                name = vars(thing).get("name")
                if thing.__module__ != module.__name__ or not isinstance(name, str):
                    continue
                if name in things:
                    raise ImportError(f"two {self.what}s are named {name!r}: the second is in {module.__name__}")
                things[name] = cast("T", thing)
        for entry in metadata.entry_points(group=self.entry_points) if self.entry_points else ():
            added = self._installed(entry, things)
            if added is not None:
                things[entry.name] = added
        return dict(sorted(things.items()))

    def _installed(self, entry: metadata.EntryPoint, taken: Mapping[str, T]) -> T | None:
        """What an installed package adds; one that is broken must not keep the others from being used."""
        package = f" of {entry.dist.name}" if entry.dist else ""
        if entry.name in taken:
            why = "its name is taken"
        else:
            try:
                thing: T = entry.load()
            except Exception as error:  # noqa: BLE001 - anything may be wrong with somebody's package
                why = f"{entry.value} can't be imported ({type(error).__name__}: {error})"
            else:
                if dataclasses.is_dataclass(thing) and all(hasattr(thing, member) for member in self.members):
                    return thing
                why = f"{entry.value} must be a dataclass with {', '.join(self.members)}"
        warnings.warn(f"the {self.what} {entry.name!r}{package} is left out: {why}", stacklevel=2)
        return None

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            raise UnknownNameError(self.what, name, self._things)
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)


LAYERS: Registry[Any] = Registry(
    "gradcheck_cli.layers", "layer", "gradcheck_cli.layers", members=("arrays", "forward", "vjp")
)
METHODS: Registry[Any] = Registry("gradcheck_cli.differences", "difference method")
REPORTS: Registry[Any] = Registry("gradcheck_cli.reports", "report format")
ADAPTERS: Registry[Any] = Registry("gradcheck_cli.adapters", "adapter")

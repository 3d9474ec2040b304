"""From a name to the thing that carries it: one folder, one name space, did-you-mean."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from importlib import metadata

T = TypeVar("T")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known word, or nothing."""
    import difflib

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
        self._found: dict[str, T] = {}

    @cached_property
    def _things(self) -> dict[str, T]:
        """All of them; imports every module and every installed package that adds one."""
        from importlib import metadata

        things: dict[str, T] = {}
        for module in self._modules:
            for name, thing in self._carried(module):
                if name in things:
                    raise ImportError(f"two {self.what}s are named {name!r}: the second is in {self.package}.{module}")
                things[name] = thing
        for entry in metadata.entry_points(group=self.entry_points) if self.entry_points else ():
            added = self._installed(entry, things)
            if added is not None:
                things[entry.name] = added
        return dict(sorted(things.items()))

    @cached_property
    def _modules(self) -> list[str]:
        package = importlib.import_module(self.package)
        return sorted(info.name for info in pkgutil.iter_modules(package.__path__))

    def _carried(self, module: str) -> Iterator[tuple[str, T]]:
        """The things of one module, which is imported, with their names."""
        imported = importlib.import_module(f"{self.package}.{module}")
        for thing in list(vars(imported).values()):
            if isinstance(thing, type) and thing.__module__ == imported.__name__:
                name = vars(thing).get("name")
                if isinstance(name, str):
                    yield name, cast("T", thing)

    def _find(self, name: str) -> T | None:
        """Look first into the modules that assign the name, for to import all of them takes longer than a check."""
        if name in self._found:
            return self._found[name]
        for module in self._modules if "_things" not in vars(self) else ():
            if self._assigns(module, name):
                self._found |= self._carried(module)
                if name in self._found:
                    return self._found[name]
        return self._things.get(name)

    def _assigns(self, module: str, name: str) -> bool:
        try:
            text = pkgutil.get_data(self.package, f"{module}.py")
        except OSError:  # a folder, or installed without its source: it is looked into with all others
            return False
        return text is not None and re.search(rf'\bname\b[^=\n]*= *"{re.escape(name)}"'.encode(), text) is not None

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
        thing = self._find(name)
        if thing is None:
            raise UnknownNameError(self.what, name, self._things)
        return thing

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

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

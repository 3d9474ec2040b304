"""What is handed over in Python to be checked: which of the kinds it is, and as a layer."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from gradcheck_cli.adapters.functions import from_pair
from gradcheck_cli.adapters.library import imported, made_by, used_by
from gradcheck_cli.adapters.object import from_object
from gradcheck_cli.adapters.user_code import UserCodeError, listed, spec_of
from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.values import dataclass

KINDS = "a layer with forward(**arrays) and vjp(dy, **arrays), a pair (forward, backward), or a torch or JAX callable"


@dataclass(frozen=True)
class Subject:
    """What is checked, as a layer or what becomes one; its name; and the word for its kind."""

    layer: Any
    name: str
    kind: str


def subject_of(thing: Any, arrays: Mapping[str, Array], seed: int, hints: Collection[str] = ()) -> Subject:
    """Tell what was handed over, and wrap it for these arrays. None of its code is run.

    `hints` are the libraries of which the arrays were; they count where a callable does not show its own.

    Raises TypeError for what can't be checked, and for arrays that it does not take; ValueError for none.
    """
    if not arrays and not _has(thing, "vjp", "arrays"):
        raise ValueError("arrays is empty; must name each array that the code takes")
    library = made_by(thing)
    if library is not None:
        return _of_library(thing, library, arrays, seed)
    if isinstance(thing, (tuple, list)):
        return _pair(thing, arrays)
    if isinstance(thing, type) and hasattr(thing, "forward"):
        raise TypeError(f"{thing.__name__} is a class; must be an object of it, as in {thing.__name__}(...)")
    if _has(thing, "forward", "vjp"):
        return _layer(thing, arrays)
    if _has(thing, "forward", "backward"):
        build = partial(from_object, thing, arrays, seed)
        return Subject(Delayed(build), type(thing).__name__, "object")
    if not callable(thing):
        raise TypeError(f"{thing!r} can't be checked; must be {KINDS}")
    return _of_library(thing, _library_of(thing, hints), arrays, seed)


def _has(thing: Any, *methods: str) -> bool:
    return all(callable(getattr(thing, method, None)) for method in methods)


@dataclass(frozen=True, eq=False)
class Described:
    """A layer that does not describe its arrays: they are those that were given."""

    layer: Any
    specs: Mapping[str, ArraySpec]

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:  # noqa: ARG002 - nothing is fitted
        """The arrays as they were given."""
        return self.specs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)


@dataclass(frozen=True, eq=False)
class Delayed:
    """Code that becomes a layer when its check runs, for wrapping it runs it: a `Foreign` of spec.py."""

    wrap: Callable[[], Any]

    def references(self) -> Mapping[str, str]:
        """No code is named in text."""
        return {}

    def problems(self, arrays: Any, constants: Any) -> list[tuple[str, str]]:  # noqa: ARG002 - the protocol's
        """None that can be told without running it."""
        return []

    def build(self, arrays: Any, constants: Any, seed: int) -> Any:  # noqa: ARG002 - the arrays are bound already
        """Wrap it."""
        return self.wrap()


def _layer(layer: Any, arrays: Mapping[str, Array]) -> Subject:
    own = getattr(type(layer), "name", None)
    name = own if isinstance(own, str) else type(layer).__name__
    if _has(layer, "arrays"):
        return Subject(layer, name, name)
    for method, first in (("forward", ()), ("vjp", (None,))):
        try:
            inspect.signature(getattr(layer, method)).bind(*first, **arrays)
        except TypeError as error:
            took = "".join(["dy and "] if first else []) + listed(arrays)
            raise TypeError(f"{name}.{method} can't take {took} by name: {error}") from None
        except ValueError:  # a method in C does not tell its parameters
            continue
    return Subject(Described(layer, {name: spec_of(array) for name, array in arrays.items()}), name, name)


def _pair(pair: Any, arrays: Mapping[str, Array]) -> Subject:
    if len(pair) != 2 or not all(map(callable, pair)):
        came = ", ".join(type(one).__name__ for one in pair)
        raise TypeError(f"a {type(pair).__name__} of ({came}); must be (forward, backward), two functions")
    own = getattr(pair[0], "__name__", "")
    try:
        layer = from_pair(pair[0], pair[1], arrays)
    except UserCodeError as error:
        raise TypeError(_told(error)) from None
    return Subject(layer, own if own.isidentifier() else "functions", "functions")


def _of_library(thing: Any, library: str, arrays: Mapping[str, Array], seed: int) -> Subject:
    adapter = importlib.import_module(f"gradcheck_cli.adapters.{library}")
    name = adapter.label_of(thing)
    if isinstance(thing, type) and hasattr(thing, "named_parameters"):
        raise TypeError(f"{name} is a class of modules; must be a module, as in {name}(...)")
    try:
        adapter.check_names(thing, arrays)
    except UserCodeError as error:
        raise TypeError(_told(error)) from None
    options = {"seed": seed} if library == "torch" else {}
    return Subject(Delayed(partial(adapter.from_callable, thing, arrays, **options)), name, library)


def _told(error: UserCodeError) -> str:
    """What does not fit, with what to do about it in Python, where there are no constants."""
    return error.message.replace("name it under arrays or constants", "add it to arrays, or bind it before")


def _library_of(thing: Any, hints: Collection[str]) -> str:
    """The one library that a callable is for: what it uses, or else what the arrays are of, or what is imported."""
    name, used = getattr(thing, "__name__", type(thing).__name__), used_by(thing)
    candidates = used or set(hints) or imported()
    if len(candidates) == 1:
        return candidates.pop()
    if not candidates:
        raise TypeError(f"{name} uses neither torch nor jax, and has no backward; must be {KINDS}")
    does = "uses both torch and jax" if used else "does not show whether it is for torch or jax"
    raise TypeError(
        f"{name} {does}; say which: from gradcheck_cli.adapters.torch (or .jax) import from_callable, and check "
        f"from_callable({name}, arrays)"
    )

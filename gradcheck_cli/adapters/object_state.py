"""The state of somebody's object: what initialises it, which arrays are parameters, where their gradients are."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradcheck_cli.adapters.user_code import UserCodeError, listed, spellings
from gradcheck_cli.layer import Array
from gradcheck_cli.values import dataclass

PARAMETERS = ("parameters", "params")
GRADIENTS = ("gradients", "grads")
Place: TypeAlias = tuple[str, ...]  # an attribute, or an attribute that is a mapping and a key in it


@dataclass(frozen=True, eq=False)
class Parameter:
    """A float array of an object: the array itself, and where its gradient is after a backward pass."""

    values: Array
    gradient: Place | None


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of numpy and Python, and put them back afterwards."""
    before, before_python = np.random.get_state(), random.getstate()  # noqa: NPY002 - somebody's code draws from it
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
        random.setstate(before_python)


def copied(thing: Any, replaced: Sequence[tuple[Array, Array]] = ()) -> Any:
    """Copy an object in depth; wherever it refers to one of the first arrays, the copy refers to the second."""
    try:
        return copy.deepcopy(thing, {id(old): new for old, new in replaced})
    except Exception as error:
        raise UserCodeError(
            f"{type(thing).__name__} cannot be copied ({type(error).__name__}: {error}); every evaluation needs a copy "
            f"of it, so that state it keeps from one call stays out of the next"
        ) from error


def initialised(
    made: object, run: Callable[[object, Mapping[str, Array]], Any], inputs: Mapping[str, Array], seed: int
) -> tuple[object, set[str]]:
    """Run a new object once, for what it initialises at its first forward, and clear what that call remembered.

    Two copies run on different inputs under the same seed: an attribute in which they differ depends on the input. It
    goes back to what it was when the object was new, unless it was not there or None (then the next call sets it
    anyway). Returns the object, and the names of the attributes that depend on the input.
    """
    first, second = copied(made), copied(made)
    others = {name: nudged(values) for name, values in inputs.items()}
    for thing, values in ((first, inputs), (second, others)):
        with seeded(seed):
            run(thing, values)
    varying = {key for key, value in _attributes(first).items() if not _same(value, _attributes(second).get(key))}
    _restore(first, second, copied(made))
    return first, varying


def nudged(values: Array) -> Array:
    """Another input like this one; integers are turned around, for they may be labels."""
    if values.dtype.kind == "f":
        return values * 1.01 + 0.001
    turned = np.flip(values)
    return np.roll(values, 1) if np.array_equal(turned, values) else turned


def _attributes(thing: object) -> dict[str, Any]:
    return vars(thing) if hasattr(thing, "__dict__") else {}


def _restore(thing: object, other: object, new: object) -> None:
    mine, theirs, before = ((one if isinstance(one, dict) else _attributes(one)) for one in (thing, other, new))
    for key, value in mine.items():
        old = before.get(key)
        if old is None or _same(value, theirs.get(key)):
            continue
        if type(old) is type(value) and (isinstance(value, dict) or hasattr(value, "__dict__")):
            _restore(value, theirs.get(key), old)
        else:
            mine[key] = old


def _same(one: Any, two: Any) -> bool:
    """Whether two values are equal in depth; objects that hold nothing comparable count as equal."""
    if one is two:
        return True
    if type(one) is not type(two):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == two.dtype and np.array_equal(one, two, equal_nan=one.dtype.kind in "fc")
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_same(value, two[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, (bool, int, float, complex, str, bytes, np.generic)):
        return bool(one == two)
    return _same(_attributes(one), _attributes(two))


@dataclass(frozen=True)
class Search:
    """Where the parameters and gradients of an object are looked for; None means by convention.

    `parameters` is an attribute, or the names of the parameters; `gradients` an attribute, or one for each parameter,
    None for a parameter without. `what` names the class in messages.
    """

    what: str
    parameters: str | Sequence[str] | None
    gradients: str | Mapping[str, str | None] | None

    def find(self, state: object, trial: object, varying: Collection[str]) -> dict[str, Parameter]:
        """The float parameters of an initialised object; `trial` is a copy that has run forward and backward.

        `varying` are its attributes that depend on the input. Raises `UserCodeError` for a parameter that is not there,
        or that has no gradient.
        """
        holder = self._holder(state, self.parameters, PARAMETERS, "its first forward", "parameters")
        values = entries(holder, getattr(state, holder)) if holder else _attributes(state)
        floats = {name: value for name, value in values.items() if _is_float(value)}
        if holder is None and self.parameters is None:
            places = {name: self._place(name, trial) for name in floats if name not in varying}
            return {name: Parameter(floats[name], place) for name, place in places.items() if place is not None}
        names = list(floats) if holder else list(self.parameters or ())
        found = {}
        for name in names:
            if name not in floats:
                has = f"it has {listed(floats)}"
                raise UserCodeError(f"{self.what} has no float array {name!r} after its first forward; {has}")
            place = self._place(name, trial)
            if place is None and not self._without_gradient(name):
                raise UserCodeError(
                    f"{self.what} has no gradient for its parameter {name!r} after backward; looked for "
                    f"{listed(spellings(name)[1:])} and in {listed(GRADIENTS)}; "
                    f"say where it is: gradients: {{{name}: attribute}}, null if it has none"
                )
            found[name] = Parameter(floats[name], place)
        return found

    def _without_gradient(self, name: str) -> bool:
        return isinstance(self.gradients, Mapping) and name in self.gradients

    def _holder(self, thing: object, named: object, usual: Sequence[str], when: str, option: str) -> str | None:
        """The attribute that holds several arrays: the one that is named, or one of the usual if nothing is."""
        if isinstance(named, str):
            if not entries(named, getattr(thing, named, None)):
                raise UserCodeError(f"{self.what} has no mapping of arrays {named!r} after {when}; see {option}:")
            return named
        filled = (name for name in usual if any(map(_is_float, entries(name, getattr(thing, name, None)).values())))
        return next(filled, None) if named is None else None

    def _place(self, name: str, trial: object) -> Place | None:
        """Where the gradient for a parameter is: in a mapping under its name or `dname`, else in an attribute."""
        if isinstance(self.gradients, Mapping) and name in self.gradients:
            attribute = self.gradients[name]
            if attribute is not None and not hasattr(trial, attribute):
                raise UserCodeError(f"{self.what} has no {attribute!r} after backward, the gradient for {name!r}")
            return None if attribute is None else (attribute,)
        named = self.gradients if isinstance(self.gradients, str) else None
        holder = self._holder(trial, named, GRADIENTS, "backward", "gradients")
        if holder is not None:
            there = entries(holder, getattr(trial, holder))
            key = next((key for key in (*spellings(name), _sibling(name, holder)) if key in there), None)
            if key is not None:
                return holder, key
        attributes = [key for key in spellings(name)[1:] if hasattr(trial, key)]
        # One that is still None counts too: a backward pass that forgets to set it must not hide its parameter.
        return (max(attributes, key=lambda key: getattr(trial, key) is not None),) if attributes else None


def entries(holder: str, value: object) -> dict[str, Any]:
    """What a mapping holds by key, or a list by number: `params.0`, `params.1`."""
    if isinstance(value, Mapping):
        return {str(key): part for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return {f"{holder}.{number}": part for number, part in enumerate(value)}
    return {}


def _sibling(name: str, holder: str) -> str:
    """The gradient beside the parameter `params.0` of a list is `grads.0`."""
    return f"{holder}.{name.rpartition('.')[2]}"


def gradient_of(thing: object, place: Place) -> Any:
    """The value at a place."""
    value = getattr(thing, place[0], None)
    return entries(place[0], value).get(place[1]) if len(place) == 2 else value


def unchecked(state: object, found: Collection[str], varying: Collection[str]) -> list[str]:
    """Float arrays among the attributes that are neither parameters nor computed from the input."""
    return [key for key, one in _attributes(state).items() if _is_float(one) and key not in {*found, *varying}]


def _is_float(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"

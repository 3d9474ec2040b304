"""The arrays of a check: numbers, a way to draw them, or a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck_cli.config.hints import hints_of
from gradcheck_cli.config.keys import ArrayKeys
from gradcheck_cli.config.nodes import Node, clipped
from gradcheck_cli.config.problems import Problems
from gradcheck_cli.config.sentences import fit
from gradcheck_cli.layer import Array, Draw, Fill, Integers, Normal, Shape, Uniform
from gradcheck_cli.spec import Given

ELEMENTS = 2**28  # of one array: 2 GiB in float64
DRAWS = ("normal", "uniform", "integers", "fill")
KEYS = tuple(hints_of(ArrayKeys))


def read_array(node: Node, folder: Path, problems: Problems) -> Given | None:
    """Return what is said about one array, or note what is wrong with it."""
    if not isinstance(node.value, dict):
        values = numbers(node, problems)
        return None if values is None else Given(values=values)
    keys = fit(ArrayKeys, node, problems)
    empty = [entry for entry in node.mapping.values() if entry.value is None]
    for entry in empty:
        problems.add(entry.place, "nothing; must be given or left out")
    if keys is None or empty:
        return None
    sources = [name for name in ("values", "file", "shape", *DRAWS) if name in node.mapping]
    draws = [name for name in sources if name in DRAWS]
    if len(draws) > 1 or (len(sources) > 1 and sources[0] in ("values", "file")):
        problems.add(node.place, f"{' and '.join(sources)} together; must be values, a file, or a shape and one draw")
        return None
    if not sources:
        problems.add(node.place, "neither values nor a file nor a shape; must have one of them")
        return None
    if sources[0] in ("values", "file"):
        return _given_values(node.mapping[sources[0]], sources[0], keys.dtype, folder, problems)
    if keys.shape is not None and math.prod(keys.shape) > ELEMENTS:
        came = clipped(str(math.prod(keys.shape)))
        problems.add(node.mapping["shape"].place, f"{came} elements; must be at most {ELEMENTS}")
        return None
    return Given(shape=keys.shape, draw=_draw(keys), dtype=keys.dtype)


def _draw(keys: ArrayKeys) -> Draw | None:
    if keys.normal is not None:
        return Normal(keys.normal.mean, keys.normal.scale)
    if keys.uniform is not None:
        return Uniform(keys.uniform.low, keys.uniform.high)
    if keys.integers is not None:
        return Integers(keys.integers.low, keys.integers.high)
    return None if keys.fill is None else Fill(keys.fill)


def _given_values(node: Node, source: str, dtype: str | None, folder: Path, problems: Problems) -> Given | None:
    values = numbers(node, problems) if source == "values" else _from_file(node, folder, problems)
    if values is None:
        return None
    if dtype is not None and (wrong := misfit(values, dtype)):
        problems.add(node.place, wrong)
        return None
    return Given(values=values, dtype=dtype)


def _from_file(node: Node, folder: Path, problems: Problems) -> Array | None:
    from gradcheck_cli.config.files import FileError, load_array  # with zipfile, which only files of arrays need

    try:
        values = load_array(folder, str(node.value))
    except FileError as error:
        problems.add(node.place, str(error))
        return None
    finite = np.isfinite(values)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        problems.add(node.place, f"{str(node.value)!r} holds {values[index]} at {list(index)}; must be finite")
        return None
    return values


def misfit(values: Array, dtype: str) -> str | None:
    """Say why a dtype can't hold the values, if so. Rounding of floats is no reason."""
    with np.errstate(all="ignore"):
        held = values.astype(dtype)
    if held.dtype.kind == "f":
        wrong = ~np.isfinite(held)
    else:
        wrong = np.trunc(values) != values if values.dtype.kind == "f" else np.zeros(values.shape, bool)
        wrong = wrong | (held != values)
    return f"the number {values[wrong].flat[0]}; must fit {dtype}" if wrong.any() else None


def numbers(node: Node, problems: Problems) -> Array | None:
    """Return nested lists of numbers as an array, or note the first entry that does not belong, and how many more."""
    shape = _shape(node)
    wrong = list(_ragged(node, shape))
    leaves = list(node.leaves()) if not wrong else []
    wrong = wrong or [(leaf, must) for leaf in leaves if (must := _wrong(leaf))]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        problems.add(wrong[0][0].place, f"{wrong[0][1]}{more}")
        return None
    return _array(leaves, shape, problems)


def _shape(node: Node) -> Shape:
    """The shape that the first entries have."""
    if not isinstance(node.value, list):
        return ()
    return (len(node.value), *_shape(node.value[0])) if node.value else (0,)


def _ragged(node: Node, shape: Shape) -> Iterator[tuple[Node, str]]:
    """The entries whose shape is another."""
    if not shape and isinstance(node.value, (list, dict)):
        yield node, f"{node.shown()}; must be a number"
    elif shape and not isinstance(node.value, list):
        yield node, f"{node.shown()}; must be a list of {shape[0]}, like the first"
    elif shape and len(node.items) != shape[0]:
        yield node, f"a list of {len(node.items)}; must be of {shape[0]}, like the first"
    elif shape:
        for item in node.items:
            yield from _ragged(item, shape[1:])


def _wrong(leaf: Node) -> str | None:
    if not isinstance(leaf.value, (bool, int, float)):
        return f"{leaf.shown()}; must be a number"
    finite = isinstance(leaf.value, int) or math.isfinite(leaf.value)  # an integer may be too large for isfinite
    return None if finite else f"{leaf.shown()}; must be finite"


def _array(leaves: list[Node], shape: Shape, problems: Problems) -> Array | None:
    values: list[Any] = [leaf.value for leaf in leaves]
    booleans = [isinstance(value, bool) for value in values]
    if any(booleans):
        if not all(booleans):
            odd = leaves[booleans.index(True)]
            problems.add(odd.place, f"{odd.shown()} among numbers; must be a number")
            return None
        return np.array(values, bool).reshape(shape)
    whole = bool(values) and all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in values)
    try:
        return np.array(values, np.int64 if whole else np.float64).reshape(shape)
    except OverflowError:
        large = next(leaf for leaf in leaves if isinstance(leaf.value, int) and abs(leaf.value) >= 2**1023)
        problems.add(large.place, f"{large.shown()}; must fit float64")
        return None

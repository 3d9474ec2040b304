"""Numbers that a gradient is off by: options of the layer, 2, sizes of axes, and what can be made of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np

from gradcheck_cli.diagnosis.suspect import Evidence, along, number

Meaning: TypeAlias = tuple[float, str]

PLAIN = {
    "3": 3.0,
    "4": 4.0,
    "π": math.pi,
    "2π": 2 * math.pi,
    "ln 2": math.log(2),
    "ln 10": math.log(10),
    "√2": math.sqrt(2),
    "√π": math.sqrt(math.pi),
    "√(2π)": math.sqrt(2 * math.pi),
}


def recognised(evidence: Evidence) -> Iterator[tuple[bool, tuple[Meaning, ...]]]:
    """Ratios of a wrong gradient to the right one, each with what it means, in groups, the likeliest first.

    A group comes with whether it says nothing new where a likelier one fits.
    """
    yield False, tuple(_of_options(evidence))
    yield True, _plain({"2": 2.0})
    yield False, tuple(_of_sizes(evidence))
    yield True, _plain(PLAIN)


def _plain(numbers: Mapping[str, float]) -> tuple[Meaning, ...]:
    too_many = ((value, f"a factor {text} too many") for text, value in numbers.items())
    missing = ((1 / value, f"the factor {text} is missing") for text, value in numbers.items())
    return (*too_many, *missing)


def options(layer: object, depth: int = 2) -> Iterator[tuple[str, float]]:
    """The real-valued options of a layer, and of the layers that it wraps."""
    if not dataclasses.is_dataclass(layer) or isinstance(layer, type):
        return
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, float) or (type(value) is int and "float" in str(field.type)):
            yield field.name, float(value)
        elif depth > 1:
            yield from options(value, depth - 1)
    constants = getattr(layer, "constants", None)
    if isinstance(constants, dict):
        yield from ((str(name), value) for name, value in constants.items() if isinstance(value, float))


def _of_options(evidence: Evidence) -> Iterator[Meaning]:
    known = dict(options(evidence.layer))
    known |= {name: float(array) for name, array in evidence.arrays.items() if np.ndim(array) == 0}
    for name, value in known.items():
        if not 1e-100 < value < 1e100 or value == 1:
            continue
        text = f"{name} = {number(value)}"
        yield value, f"a factor {text} too many"
        yield 1 / value, f"the factor {text} is missing"
        yield value**2, f"a factor {text} twice too many"
        yield 1 / value**2, f"the factor {text} is missing twice"
        yield math.sqrt(value), f"a square root of {text} too many"
        yield 1 / math.sqrt(value), f"the square root of {text} is missing"
        if value < 1:
            yield 1 - value, f"a factor 1 - {name} = {number(1 - value)} too many"
            yield 1 / (1 - value), f"the factor 1 - {name} = {number(1 - value)} is missing"


def _of_sizes(evidence: Evidence) -> Iterator[Meaning]:
    axes, products = sizes(evidence)
    for n, text in (axes | {n: text for n, text in products.items() if n not in axes}).items():
        yield float(n), f"the factor 1/{n} is missing ({n} is {text}: a sum where the mean is needed)"
        yield 1 / n, f"a factor 1/{n} too many ({n} is {text}: a mean where the sum is needed)"
    for n, text in axes.items():
        yield math.sqrt(n), f"the factor 1/√{n} is missing ({n} is {text})"
        yield 1 / math.sqrt(n), f"a factor 1/√{n} too many ({n} is {text})"
        if n == 2:
            continue
        yield n / (n - 1), f"divided by {n} - 1 where {n} is needed ({n} is {text})"
        yield (n - 1) / n, f"divided by {n} where {n} - 1 is needed ({n} is {text})"
        yield float(n) ** 2, f"the factor 1/{n} is missing twice ({n} is {text})"
        yield float(n) ** -2, f"a factor 1/{n} twice too many ({n} is {text})"


def sizes(evidence: Evidence) -> tuple[dict[int, str], dict[int, str]]:
    """Every size above 1 of an axis, and of axes that lie together, up to whole arrays; with what it is first."""
    single: dict[int, str] = {}
    several: dict[int, str] = {}
    shapes = [(name, np.shape(array)) for name, array in (*evidence.named_outputs(), *evidence.arrays.items())]
    for name, shape in shapes:
        for axis, size in enumerate(shape):
            single.setdefault(size, f"the size of axis {axis} of {name}")
        several.setdefault(math.prod(shape), f"the number of elements of {name}")
    for name, shape in shapes:
        for first in range(len(shape)):
            for last in range(first + 2, len(shape) + 1):
                text = f"the size of {along(range(first, last))} of {name} together"
                several.setdefault(math.prod(shape[first:last]), text)
    for found in (single, several):
        found.pop(0, None)
        found.pop(1, None)
    return single, several

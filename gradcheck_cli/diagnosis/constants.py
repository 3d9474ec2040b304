"""Numbers that a gradient is off by: options of the layer, 2, sizes of axes, and what can be made of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from gradcheck_cli.diagnosis.suspect import Evidence, along, number

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


def recognised(evidence: Evidence) -> Iterator[tuple[float, str]]:
    """Ratios of a wrong gradient to the right one, each with what it means, the likeliest first."""
    yield from _of_options(evidence)
    yield 2.0, "a factor 2 too many"
    yield 0.5, "the factor 2 is missing"
    yield from _of_sizes(evidence)
    for text, value in PLAIN.items():
        yield value, f"a factor {text} too many"
        yield 1 / value, f"the factor {text} is missing"


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


def _of_options(evidence: Evidence) -> Iterator[tuple[float, str]]:
    known = dict(options(evidence.layer))
    known |= {name: float(array) for name, array in evidence.arrays.items() if np.ndim(array) == 0}
    for name, value in known.items():
        if not math.isfinite(value) or value <= 0 or value == 1:
            continue
        text = f"{name} = {number(value)}"
        yield value, f"a factor {text} too many"
        yield 1 / value, f"the factor {text} is missing"
        yield value**2, f"the factor {text} is there twice too often"
        yield 1 / value**2, f"the factor {text} is missing twice"
        yield math.sqrt(value), f"the square root of {text} is missing in a divisor, or there once too often"
        yield 1 / math.sqrt(value), f"the square root of {text} is missing, or divided by once too often"
        if value < 1:
            yield 1 - value, f"the division by 1 - {name} = {number(1 - value)} is missing"
            yield 1 / (1 - value), f"divided by 1 - {name} = {number(1 - value)} once too often"


def _of_sizes(evidence: Evidence) -> Iterator[tuple[float, str]]:
    found = sizes(evidence)
    for size, text in found.items():
        yield float(size), f"{size} is {text}: the factor 1/{size} is missing (a sum where the mean is needed)"
        yield 1 / size, f"{size} is {text}: a factor 1/{size} too many (a mean where the sum is needed)"
    for size, text in found.items():
        yield math.sqrt(size), f"{size} is {text}: the factor 1/√{size} is missing"
        yield 1 / math.sqrt(size), f"{size} is {text}: a factor 1/√{size} too many"
    for size, text in found.items():
        yield size / (size - 1), f"{size} is {text}: divided by {size} - 1 where {size} is needed"
        yield (size - 1) / size, f"{size} is {text}: divided by {size} where {size} - 1 is needed"
    for size, text in found.items():
        yield float(size) ** 2, f"{size} is {text}: the factor 1/{size} is missing twice"
        yield float(size) ** -2, f"{size} is {text}: the factor 1/{size} is there twice too often"


def sizes(evidence: Evidence) -> dict[int, str]:
    """Every size above 1 of an axis, of axes that lie together, and of a whole array, with what it is first."""
    found: dict[int, str] = {}
    named = [*evidence.named_outputs(), *evidence.arrays.items()]
    shapes = [(name, np.shape(array)) for name, array in named]
    for name, shape in shapes:
        for axis, size in enumerate(shape):
            found.setdefault(size, f"the size of axis {axis} of {name}")
    for name, shape in shapes:
        found.setdefault(math.prod(shape), f"the number of elements of {name}")
    for name, shape in shapes:
        for first in range(len(shape)):
            for last in range(first + 2, len(shape) + 1):
                axes = range(first, last)
                found.setdefault(math.prod(shape[first:last]), f"the size of {along(axes)} of {name} together")
    return {size: text for size, text in found.items() if size > 1}

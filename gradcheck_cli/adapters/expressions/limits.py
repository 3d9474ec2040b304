"""What an expression may not exceed, checked before anything is computed, and the error that says where."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array, Shape

LENGTH = 2_000  # characters of one expression
NODES = 500  # parts of one expression, as Python's parser counts them
DEPTH = 100  # operations inside operations
STEPS = 50  # let steps of one formula
ELEMENTS = 2**24  # of one array: the weights of a 4096 × 4096 layer
STACK = 2**18  # of the largest array of a stack, so that it stays in cache
PRODUCTS = 2**33  # multiplications of one einsum
INTEGER = 2**63 - 1  # beyond it numpy has no integers


class LimitError(ValueError):
    """A result would be too large, so it was not computed."""


class FormulaError(ValueError):
    """An expression could not be computed: which part of the formula, where in it, and why."""

    def __init__(self, part: str, column: int, sentence: str) -> None:
        super().__init__(f"formula.{part}, column {column}: {sentence}")
        self.part, self.column, self.sentence = part, column, sentence

    def __reduce__(self) -> tuple[type[FormulaError], tuple[str, int, str]]:
        return type(self), (self.part, self.column, self.sentence)


def bounded(elements: int) -> int:
    """Let so many elements pass, or raise `LimitError`."""
    if elements > ELEMENTS:
        raise LimitError(f"the result would have {elements:.3g} elements; at most {ELEMENTS} are allowed")
    return elements


def integer(value: Any) -> Any:
    """Let a number pass unless it is a Python integer that numpy cannot hold."""
    if isinstance(value, int) and abs(value) > INTEGER:
        raise LimitError("the integer is too large; at most 2**63 - 1 is allowed; write a float, as in 1e30")
    return value


def size(value: Any) -> int:
    """How many elements a value has, nested lists included."""
    if isinstance(value, (list, tuple)):
        return sum(map(size, value))
    return int(np.size(value))


def whole(value: Any) -> int:
    """A size as an integer; booleans, floats and negative numbers are refused."""
    if np.ndim(value) or isinstance(value, (bool, np.bool_)) or np.asarray(value).dtype.kind not in "iu" or value < 0:
        raise TypeError(f"{value!r} is not a size; it must be a whole number of at least 0")
    return int(value)


def as_shape(value: Any) -> Shape:
    """A shape from a size or a sequence of sizes."""
    return tuple(map(whole, value)) if np.ndim(value) else (whole(value),)


def broadcast_elements(*values: Any) -> int:
    """How many elements come out when the values are broadcast against each other."""
    if math.prod(map(size, values)) <= ELEMENTS:  # the quick way: no broadcast is larger than that
        return 0
    return math.prod(np.broadcast_shapes(*map(np.shape, values)))


def matmul_elements(a: Any, b: Any) -> int:
    """How many elements `a @ b` has."""
    left, right = np.shape(a), np.shape(b)
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    return math.prod((*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else ())))


def index_elements(value: Array, index: Any) -> int:
    """How many elements `value[index]` has at most, when arrays or lists of indices are among the index."""
    items = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(item, (list, np.ndarray)) for item in items):
        return 0
    consumed = [0 if item is None else np.ndim(item) if _is_mask(item) else 1 for item in items if item is not ...]
    hidden = value.ndim - sum(consumed)  # the axes that the ellipsis stands for, or that follow the index
    rest, axis = value.size, 0
    counts: list[int] = []
    for item in items:
        taken = hidden if item is ... else 0 if item is None else np.ndim(item) if _is_mask(item) else 1
        if isinstance(item, (list, np.ndarray)):
            rest //= max(math.prod(value.shape[axis : axis + taken]), 1)
            counts.append(size(item))
        axis += max(taken, 0)
    return rest * max(counts) if len(set(counts)) == 1 else rest * math.prod(counts)


def _is_mask(item: Any) -> bool:
    return isinstance(item, (list, np.ndarray)) and np.asarray(item).dtype.kind == "b"


def einsum_elements(spec: str, *operands: Any) -> int:
    """How many elements an einsum gives; `LimitError` if it takes too many multiplications."""
    left, arrow, right = spec.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    dots = 1
    for term, operand in zip(left.split(","), operands, strict=True):
        before, ellipsis, after = term.partition("...")
        shape = np.shape(operand)
        named = len(before) + len(after)
        if named > len(shape) or (named < len(shape) and not ellipsis):
            raise ValueError(f"the term {term!r} does not fit an array of shape {shape}")
        tail = len(shape) - len(after)
        dots = max(dots, math.prod(shape[len(before) : tail]))
        for letter, length in zip(before + after, (*shape[: len(before)], *shape[tail:]), strict=True):
            sizes[letter] = max(sizes.get(letter, 1), length)
    if dots * math.prod(sizes.values()) > PRODUCTS:
        raise LimitError(f"it would take more than {PRODUCTS:.3g} multiplications")
    letters = left.replace(",", "").replace(".", "")
    kept = right if arrow else "".join(letter for letter in sizes if letters.count(letter) == 1) + "..."
    return math.prod(sizes.get(letter, 1) for letter in kept if letter != ".") * (dots if "..." in kept else 1)

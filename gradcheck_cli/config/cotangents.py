"""The cotangent of a check: dL/dy for each output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradcheck_cli.config.arrays import misfit, numbers, read_array
from gradcheck_cli.config.nodes import Node
from gradcheck_cli.config.problems import Problems
from gradcheck_cli.layer import Array, Shape


def read_cotangent(
    node: Node, shapes: Sequence[Shape] | None, count: int | None, folder: Path, dtype: str, problems: Problems
) -> tuple[Array, ...] | None:
    """Return one array for each output, or note what is wrong.

    `shapes` are those of the outputs and `count` is their number, as far as they are known. An unknown number is one if
    the entries make one array, else the number of entries.
    """
    count = len(shapes) if shapes is not None else count
    if count is None:
        count = 1 if isinstance(node.value, dict) or numbers(node, Problems()) is not None else max(len(node.items), 1)
    if count > 1 and len(node.items) != count:
        came = f"{len(node.items)} arrays" if node.items else node.shown()
        problems.add(node.place, f"{came}; must be a list of {count}, one for each output")
        return None
    parts = node.items if count > 1 else [node]
    wanted = shapes if shapes is not None else [None] * count
    read = [_one(part, shape, folder, dtype, problems) for part, shape in zip(parts, wanted, strict=True)]
    arrays = tuple(one for one in read if one is not None)
    return arrays if len(arrays) == count else None


def _one(node: Node, shape: Shape | None, folder: Path, dtype: str, problems: Problems) -> Array | None:
    given = read_array(node, folder, problems)
    if given is None:
        return None
    if given.values is None:
        problems.add(node.place, f"{node.shown()} with no values; must be values or a file")
        return None
    if shape is not None and given.values.shape != shape:
        problems.add(node.place, f"shape {given.values.shape}; must be {shape}, the shape of the output")
        return None
    if wrong := misfit(given.values, dtype):
        problems.add(node.place, wrong)
        return None
    return given.values.astype(dtype)

"""Dotted paths of keys, as in `options.beta`, along nodes whose keys may hold dots themselves, as in `0.W`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradcheck_cli.config.arrays import KEYS
from gradcheck_cli.config.nodes import Node, Step
from gradcheck_cli.config.problems import Place, Problems


def split(node: Node, dotted: str) -> list[Step]:
    """Return the steps of a path: where a longer key is there it is one step; `chain[1]` is `chain.1`."""
    parts = re.sub(r"\[(\d+)\]", r".\1", dotted).split(".") if dotted else []
    steps: list[Step] = []
    here: Node | None = node
    while parts:
        taken = _taken(here, parts, in_arrays=steps == ["arrays"])
        step: Step = ".".join(parts[:taken])
        if here is not None and isinstance(here.value, list) and str(step).isdecimal():
            step = int(step)
        steps.append(step)
        here, parts = (here.child(step) if here is not None else None), parts[taken:]
    return steps


def _taken(node: Node | None, parts: Sequence[str], in_arrays: bool) -> int:
    """How many parts make the next key."""
    if node is not None:
        for count in range(len(parts), 0, -1):
            if ".".join(parts[:count]) in node.mapping:
                return count
    if in_arrays:  # the new name of an array goes up to a key of its entry
        return next((k for k in range(1, len(parts)) if parts[k] in KEYS), len(parts))
    return 1


def note_at(node: Node, dotted: str, sentence: str, problems: Problems) -> None:
    """Note what is wrong at a path below a node; what is not written is named in the sentence."""
    steps = split(node, dotted)
    found, depth = node.at(steps)
    missing = ".".join(map(str, steps[depth:]))
    unsaid = missing and isinstance(found.value, (dict, list))
    problems.add(found.place, f"{missing}: {sentence}" if unsaid else sentence)


def put(node: Node, steps: Sequence[Step], value: Node, place: Place, problems: Problems) -> Node:
    """Return the node with a value at the end of the steps; what is missing on the way is made, at `place`."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, int) and step < len(node.items):
        items = list(node.items)
        items[step] = put(items[step], rest, value, place, problems)
        return Node(items, node.place)
    if isinstance(step, int) or not (isinstance(node.value, dict) or node.value is None):
        problems.add(place, f"leads to {step!r} in {node.shown()}; must lead through mappings that are there")
        return node
    child = node.mapping.get(step) or Node({}, place)
    base = node if node.value is not None else Node({}, node.place)
    return base.with_entry(step, put(child, rest, value, place, problems), base.keys.get(step, place))

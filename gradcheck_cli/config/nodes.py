"""Values that know where they are written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from gradcheck_cli.config.problems import Place
from gradcheck_cli.values import dataclass, field

Step: TypeAlias = str | int
Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, eq=False)
class Node:
    """A scalar, a list of nodes or a mapping of nodes. `keys` says where each key of a mapping is written."""

    value: Scalar | list[Node] | dict[str, Node]
    place: Place
    keys: Mapping[str, Place] = field(default_factory=dict)
    written: str = ""

    @property
    def mapping(self) -> dict[str, Node]:
        """The entries by key; none if this is no mapping."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The entries of a list; none if this is no list."""
        return self.value if isinstance(self.value, list) else []

    def plain(self) -> Any:
        """The value with nothing of where it is written."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, step: Step) -> Node | None:
        """The entry of a mapping or a list."""
        if isinstance(step, str):
            return self.mapping.get(step)
        return self.items[step] if -1 < step < len(self.items) else None

    def at(self, steps: Sequence[Step]) -> tuple[Node, int]:
        """The deepest node along the steps, and how many of them led there; steps that lead nowhere are skipped."""
        node, depth = self, 0
        for step in steps:
            found = node.child(step)
            if found is not None:
                node, depth = found, depth + 1
        return node, depth

    def key(self, name: str) -> Place:
        """Where a key is written, or else the mapping."""
        return self.keys.get(name, self.place)

    def without(self, *names: str) -> Node:
        """The mapping less some keys."""
        return replace(self, value={key: node for key, node in self.mapping.items() if key not in names})

    def with_entry(self, name: str, node: Node, place: Place) -> Node:
        """The mapping with one more, or another, entry."""
        return replace(self, value={**self.mapping, name: node}, keys={**self.keys, name: place})

    def leaves(self) -> Iterator[Node]:
        """Every scalar, in order."""
        if isinstance(self.value, (dict, list)):
            for node in self.value.values() if isinstance(self.value, dict) else self.value:
                yield from node.leaves()
        else:
            yield self

    def shown(self) -> str:
        """What came, in a few words."""
        if self.value is None:
            return "nothing"
        if isinstance(self.value, bool):
            return f"the word {str(self.value).lower()}"
        if isinstance(self.value, str):
            return f"the text {clipped(repr(self.value))}"
        if isinstance(self.value, (int, float)):
            return f"the number {clipped(self.written or str(self.value))}"
        return ("a list" if self.value else "an empty list") if isinstance(self.value, list) else "a mapping"

    def label(self) -> str:
        """The value as the id of a check shows it: numbers as they are written."""
        if isinstance(self.value, (dict, list)):
            return json.dumps(self.plain(), separators=(",", ":"), ensure_ascii=False).replace('"', "")
        return self.written or str(self.value)


def clipped(text: str, width: int = 60) -> str:
    """The text, or its beginning."""
    return text if len(text) <= width else f"{text[:width]}..."

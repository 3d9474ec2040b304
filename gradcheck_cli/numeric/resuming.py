"""A chain of links at one point: where an array moves, only its own link and those behind it are evaluated again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from gradcheck_cli.layer import Array, Outputs, as_outputs
from gradcheck_cli.numeric.objective import Objective, flatten, quiet


def link_of(name: str) -> int:
    """The link that an array of a chain belongs to."""
    return int(name.split(".", 1)[0])


class Resuming(Objective):
    """The objective of a chain: forward resumes at the first link of which an array moves."""

    @cached_property
    def handed(self) -> list[Outputs]:
        """What each link is handed at the point."""
        self.ledger.evaluations[self.ledger.phase] += 1
        layer: Any = self.layer
        with quiet:
            return [(), *layer.outputs(**{name: array.copy() for name, array in self.arrays.items()})]

    @cached_property
    def by_link(self) -> list[tuple[int, str, Array]]:
        """The arrays, each with the link that it belongs to."""
        return [(link_of(name), name, array) for name, array in self.arrays.items()]

    def changed(self, changes: Mapping[str, Array]) -> Array:
        """All outputs with some arrays replaced."""
        first = min((link_of(name) for name in changes), default=0)
        return super().changed(changes) if first == 0 else self.resumed(first, None, changes)

    def resumed(self, first: int, stop: int | None, changes: Mapping[str, Array]) -> Array:
        """What some links hand on with some of their arrays replaced; user code gets copies."""
        self.ledger.evaluations[self.ledger.phase] += 1
        own = {name: array.copy() for name, array in changes.items()}
        handed = self.handed[first]
        handed = tuple(part.copy() for part in handed) if isinstance(handed, tuple) else handed.copy()
        return flatten(as_outputs(self.part(first, stop, handed, own)))

    def stacked(self, name: str, stack: Array) -> Outputs:
        """Outputs for a stack of one array, of which every output has a row each."""
        return self.resumed_stacked(name, None, stack)

    def resumed_stacked(self, name: str, stop: int | None, stack: Array) -> Outputs:
        """What the links from an array's own one on hand on for a stack of it."""
        first = link_of(name)
        return self.part(first, stop, one_row(self.handed[first]), {name: stack}, "forward_stacked")

    def part(
        self, first: int, stop: int | None, y: Outputs, own: Mapping[str, Array], method: str = "forward"
    ) -> Outputs:
        """Run some links on what the caller hands over and on copies of their other arrays."""
        layer: Any = self.layer
        others = [
            (name, array)
            for link, name, array in self.by_link
            if first <= link and (stop is None or link < stop) and name not in own
        ]
        stacks = method == "forward_stacked"
        arrays = {name: array[None].copy() if stacks else array.copy() for name, array in others}
        with quiet:
            return layer.part(first, stop, y, arrays | dict(own), method)  # type: ignore[no-any-return]


def one_row(y: Outputs) -> Outputs:
    """A copy of outputs as a stack of one."""
    return tuple(part[None].copy() for part in y) if isinstance(y, tuple) else y[None].copy()


class Part(Objective):
    """The links from an array's own one to before `stop`, as a function of that array."""

    def __init__(self, chain: Resuming, name: str, stop: int) -> None:
        outputs = as_outputs(chain.handed[stop])
        super().__init__(chain.layer, {name: chain.arrays[name]}, outputs, "vjp", chain.ledger)
        self.chain, self.first, self.stop = chain, link_of(name), stop
        self.threads, self.room = chain.threads, chain.room

    def changed(self, changes: Mapping[str, Array]) -> Array:
        """What the last of these links hands on."""
        return self.chain.resumed(self.first, self.stop, changes)

    def stacked(self, name: str, stack: Array) -> Outputs:
        """The same for a stack."""
        return self.chain.resumed_stacked(name, self.stop, stack)

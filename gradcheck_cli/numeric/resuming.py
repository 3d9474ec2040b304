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

    def changed(self, changes: Mapping[str, Array]) -> Array:
        """All outputs with some arrays replaced."""
        first = min((link_of(name) for name in changes), default=0)
        if first == 0:
            return super().changed(changes)
        self.ledger.evaluations[self.ledger.phase] += 1
        return flatten(as_outputs(self.part(first, None, self.handed[first], changes)))

    def stacked(self, name: str, stack: Array) -> Outputs:
        """Outputs for a stack of one array, of which every output has a row each."""
        first = link_of(name)
        return self.part(first, None, one_row(self.handed[first]), {name: stack}, "forward_stacked")

    def part(
        self, first: int, stop: int | None, y: Outputs, changes: Mapping[str, Array], method: str = "forward"
    ) -> Outputs:
        """Run some links on copies."""
        layer: Any = self.layer
        arrays = {name: array for name, array in self.arrays.items() if link_of(name) >= first}
        rows = {name: array[None] for name, array in arrays.items()} if method == "forward_stacked" else arrays
        copies = {name: array.copy() for name, array in (rows | dict(changes)).items()}
        y = tuple(part.copy() for part in y) if isinstance(y, tuple) else y.copy()
        with quiet:
            return layer.part(first, stop, y, copies, method)  # type: ignore[no-any-return]


def one_row(y: Outputs) -> Outputs:
    """Outputs as a stack of one."""
    return tuple(part[None] for part in y) if isinstance(y, tuple) else y[None]


class Part(Objective):
    """The links from an array's own one to before `stop`, as a function of that array."""

    def __init__(self, chain: Resuming, name: str, stop: int) -> None:
        outputs = as_outputs(chain.handed[stop])
        super().__init__(chain.layer, {name: chain.arrays[name]}, outputs, "vjp", chain.ledger)
        self.chain, self.first, self.stop, self.threads = chain, link_of(name), stop, chain.threads

    def changed(self, changes: Mapping[str, Array]) -> Array:
        """What the last of these links hands on."""
        self.ledger.evaluations[self.ledger.phase] += 1
        return flatten(as_outputs(self.chain.part(self.first, self.stop, self.chain.handed[self.first], changes)))

    def stacked(self, name: str, stack: Array) -> Outputs:
        """The same for a stack."""
        return self.chain.part(
            self.first, self.stop, one_row(self.chain.handed[self.first]), {name: stack}, "forward_stacked"
        )

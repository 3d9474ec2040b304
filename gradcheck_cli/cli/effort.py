"""How much each check may cost: the options --exhaustive, --budget, --max-memory and --threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gradcheck_cli.cli.workers import memory
from gradcheck_cli.values import dataclass

if TYPE_CHECKING:
    from gradcheck_cli.spec import CheckSpec

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Effort:
    """What is said about the cost of each check: None is up to the check."""

    exhaustive: bool = False
    budget: int | None = None
    max_memory: int | None = None
    threads: int = 1

    def must_agree(self) -> None:
        """Refuse what can't be kept, before anything is started."""
        if self.exhaustive and self.budget is not None:
            raise click.UsageError(
                "--exhaustive and --budget contradict each other: every element is visited, or no more than the budget."
            )

    def on(self, check: CheckSpec) -> CheckSpec:
        """The check at this cost."""
        told = [
            "--exhaustive" if self.exhaustive else "",
            f"--budget {self.budget}" if self.budget is not None else "",
            f"--max-memory {self.max_memory}" if self.max_memory is not None else "",
        ]
        return replace(
            check,
            exhaustive=self.exhaustive,
            budget=self.budget,
            max_memory=self.max_memory,
            threads=self.threads,
            reproduce=" ".join(filter(None, [check.reproduce, *told])),
        )


def effort_options(command: F) -> F:
    """Add the options about cost, which a command gets by the names of the fields of `Effort`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--exhaustive", is_flag=True, help="Visit every element of every array, whatever it takes; chains end to end."
    ),
    click.option(
        "--budget",
        type=click.IntRange(min=1),
        metavar="N",
        help="Evaluations of forward that visiting the elements may take; what is too large is searched by probes."
        " Default: what takes 30 seconds.",
    ),
    click.option(
        "--max-memory",
        callback=memory,
        metavar="SIZE",
        help="Memory that a check may take, as in 1.5G; a larger array is searched by probes, or refused. Default: 1G"
        " for the tables of an array.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1, max=256),
        default=1,
        metavar="N",
        help="Threads that evaluate large layers, with the same results; so many in each worker of -n. Default: 1.",
    ),
)

"""Checks on their way to a worker and back."""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_cli.results import CheckResult, Rows
from gradcheck_cli.spec import CheckSpec
from gradcheck_cli.values import dataclass


class WorkersError(Exception):
    """The workers themselves do not work: nothing can be said about any check."""


class TransferError(Exception):
    """A check or its result cannot travel between processes."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Checks that are made one after the other by one worker, with their numbers in the run.

    One that is `alone` is suspected of having ended a worker; it gets a worker of its own.
    """

    numbers: tuple[int, ...]
    specs: tuple[CheckSpec, ...]
    rows: Rows
    alone: bool = False
    attempt: int = 1

    @property
    def timeout(self) -> float | None:
        """The time limit of its only check."""
        return self.specs[0].timeout if len(self.specs) == 1 else None


@dataclass(frozen=True)
class Reason:
    """Why there is no result. One that is `certain` needs no second try."""

    type: str
    message: str
    certain: bool = False


@dataclass(frozen=True)
class Ended:
    """A chunk that came back: the results of its first checks, or why there are none.

    `suspect` is the number of the check that was being made when its worker ended, where that is known.
    """

    chunk: Chunk
    results: Sequence[CheckResult] = ()
    reason: Reason | None = None
    suspect: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Running:
    """A check that is being made, and since when."""

    number: int
    since: float

"""Who follows a run on behalf of the command line: shows results, keeps journals, moves the progress."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from gradcheck_cli.batch.chunk import Running
from gradcheck_cli.batch.dispatch import Watch
from gradcheck_cli.cli.gate import Gate
from gradcheck_cli.cli.interruption import Interruption
from gradcheck_cli.cli.output import show
from gradcheck_cli.cli.progress import Tally
from gradcheck_cli.reports.table import Table
from gradcheck_cli.results import CheckResult

if TYPE_CHECKING:
    from gradcheck_cli.cli.journal import Journal


class Follower(Watch):
    """Shows each check in the order of the run, and saves each as it ends.

    `table` is None where standard output belongs to a report.
    """

    def __init__(
        self,
        table: Table | None,
        count: int,
        gate: Gate,
        journals: Sequence[Journal],
        interruption: Interruption,
        progress: Tally,
    ) -> None:
        self._table, self._count, self._gate = table, count, gate
        self._journals, self._progress, self._interruption = journals, progress, interruption
        self._results: list[str] = []
        self._remarks: list[str] = []

    def told(self, check: CheckResult) -> None:
        """Have a result shown, in the order of the run."""
        if self._table is not None:
            self._results.append(self._table.check(check, self._count))
        if check.printed and not check.met:
            self._remarks.append(f"{check.id} printed:\n{check.printed.rstrip()}\n")

    def ended(self, check: CheckResult) -> CheckResult:
        """Save a result, in whatever order."""
        check = self._gate.accepted(check)
        for journal in self._journals:
            journal.add(check)
        self._progress.add(check)
        return check

    def tell(self, sentence: str) -> None:
        """Have it read at once, not after a check that may take long."""
        self._progress.tell(sentence)

    def tick(self, running: Sequence[Running]) -> None:
        """Show what there is."""
        self._progress.tick(running)
        if self._progress.may_pause:
            self._show()

    @property
    def stopping(self) -> bool:
        """Whether somebody wants the run to stop."""
        return self._interruption.asked

    def undisturbed(self) -> AbstractContextManager[None]:
        """Meanwhile `stopping` alone tells of a signal."""
        return self._interruption.kept()

    def closing(self) -> None:
        """Show the rest."""
        self._interruption.too_late()
        self._show()
        self._progress.close()

    def _show(self) -> None:
        if not self._results and not self._remarks:
            return
        with self._progress.paused():
            show("".join(self._results))
            print("".join(self._remarks), end="", file=sys.stderr, flush=True)
        self._results, self._remarks = [], []

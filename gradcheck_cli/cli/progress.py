"""How far a run is: a bar on a terminal, a line each minute in CI, else nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradcheck_cli.batch.chunk import Running
from gradcheck_cli.reports._text import plain
from gradcheck_cli.results import CheckResult

if TYPE_CHECKING:
    from rich.text import Text

OFTEN, MINUTE = 0.25, 60.0  # seconds between two interruptions of the bar, between two lines
LONGEST_NAME = 48


def following(ids: Sequence[str], count: int, quiet: bool, colour: bool) -> Tally:
    """What suits standard error. `ids` name all checks of the run by number, of which `count` are to be made."""
    if quiet or count < 2 or sys.stderr is None:
        tally = Tally(ids, count)
        tally.stderr = None if quiet else sys.stderr
        return tally
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        return Lines(ids, count)
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Bar(ids, count, colour)
    return Tally(ids, count)


class Tally:
    """Counts, and shows nothing but what it is told to tell."""

    def __init__(self, ids: Sequence[str], count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ids, self._clock = ids, clock
        self._begun = clock()
        self.count, self.done, self.unmet = count, 0, 0
        self._running: Sequence[Running] = ()
        self.stderr = sys.stderr

    def add(self, check: CheckResult) -> None:
        """Count a check that ended."""
        self.done += 1
        self.unmet += not check.met

    def tick(self, running: Sequence[Running]) -> None:
        """Note what is under way."""
        self._running = running

    def tell(self, sentence: str) -> None:
        """Print a sentence about the check that is under way; what it prints itself is caught meanwhile."""
        if self.stderr is not None:
            with self.paused():
                print(f"gradcheck: {plain(sentence)}", file=self.stderr, flush=True)

    @property
    def may_pause(self) -> bool:
        """Whether results can be shown now."""
        return True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Results are shown meanwhile."""
        yield

    def close(self) -> None:
        """The run is over."""

    @property
    def slowest(self) -> str:
        """The check that is under way for the longest time, if for a second."""
        if not self._running:
            return ""
        longest = min(self._running, key=lambda one: one.since)
        seconds = self._clock() - longest.since
        name = plain(self._ids[longest.number])
        name = name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
        return f"{name} ({span(seconds)})" if seconds >= 1 else ""

    @property
    def left(self) -> float | None:
        """The seconds that the rest takes if it goes on as so far."""
        return (self._clock() - self._begun) / self.done * (self.count - self.done) if self.done else None


class Lines(Tally):
    """One line each minute, for logs."""

    def __init__(self, ids: Sequence[str], count: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(ids, count, clock)
        self._told = self._begun

    def tick(self, running: Sequence[Running]) -> None:
        """Print a line if the last one is a minute old."""
        super().tick(running)
        if self._clock() - self._told >= MINUTE:
            self._told = self._clock()
            print(self.line, file=sys.stderr, flush=True)

    @property
    def line(self) -> str:
        """How far it is."""
        left = "" if self.left is None else f", about {span(self.left)} left"
        slowest = f"; slowest now: {self.slowest}" if self.slowest else ""
        return f"gradcheck: {self.done} of {self.count} checks, {self.unmet} not as expected{left}{slowest}"


class Bar(Tally):
    """A bar that moves on a terminal, and leaves it as it was."""

    def __init__(self, ids: Sequence[str], count: int, colour: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task

        super().__init__(ids, count)
        tally = self

        class Counts(ProgressColumn):
            """Failures, time left, the slowest check. User text is never markup."""

            def render(self, task: Task) -> Text:  # noqa: ARG002 - rich's signature
                return tally.told()

        console = Console(file=sys.stderr, no_color=not colour, highlight=False)
        columns = (BarColumn(bar_width=24), MofNCompleteColumn(), Counts())
        self._progress = Progress(*columns, console=console, transient=True, refresh_per_second=4)
        self._task = self._progress.add_task("", total=count)
        self._progress.start()
        self._shown = self._clock()

    def add(self, check: CheckResult) -> None:
        """Move on."""
        super().add(check)
        self._progress.update(self._task, completed=self.done)

    def told(self) -> Text:
        """What stands behind the bar."""
        from rich.text import Text

        unmet = (f"{self.unmet} not as expected", "red" if self.unmet else "dim")
        left = "" if self.left is None else f"  {span(self.left)} left"
        return Text.assemble(unmet, left, (f"  {self.slowest}" if self.slowest else "", "dim"), no_wrap=True)

    @property
    def may_pause(self) -> bool:
        """Not too often: each time costs milliseconds."""
        return self._clock() - self._shown >= OFTEN

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The bar is gone meanwhile."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()
            self._shown = self._clock()

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()


def span(seconds: float) -> str:
    """A time as people say it: 35 s, 4 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

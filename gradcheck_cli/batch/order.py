"""Results that come in any order, told in the order of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradcheck_cli.results import CheckResult
from gradcheck_cli.spec import RunSpec


class Order:
    """The results of a run so far. `tell` hears each as soon as all before it are there.

    So `stop_at` counts as it does where checks are made one by one: what comes after the last one is not part of
    the run, though it may have been computed.
    """

    def __init__(self, asked: RunSpec, known: Mapping[str, CheckResult], tell: Callable[[CheckResult], None]) -> None:
        self._asked, self._tell = asked, tell
        self._results = [known.get(spec.id) for spec in asked.checks]
        self._told = 0
        self._unmet = 0
        self.missing = [number for number, result in enumerate(self._results) if result is None]
        self._go_on()

    @property
    def complete(self) -> bool:
        """Whether nothing more is needed: all is there, or enough is not as expected."""
        return self.stopped or self._told == len(self._results)

    @property
    def stopped(self) -> bool:
        """Whether enough checks were not as expected."""
        return self._asked.stop_at is not None and self._unmet >= self._asked.stop_at

    def put(self, number: int, result: CheckResult) -> None:
        """Add a result."""
        self._results[number] = result
        self._go_on()

    def _go_on(self) -> None:
        while not self.complete:
            result = self._results[self._told]
            if result is None:
                return
            self._told += 1
            self._unmet += not result.met
            self._tell(result)

    @property
    def results(self) -> tuple[CheckResult, ...]:
        """The results that are part of the run, in its order."""
        kept = self._results[: self._told] if self.stopped else self._results
        return tuple(result for result in kept if result is not None)

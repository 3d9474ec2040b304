"""The checks of a run, made in this process or by a crew, and their results in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import Protocol

from gradcheck_cli import runner
from gradcheck_cli.batch.chunk import Chunk, Ended, Running
from gradcheck_cli.batch.lost import without_result
from gradcheck_cli.batch.order import Order
from gradcheck_cli.batch.plan import chunk, chunks
from gradcheck_cli.results import CheckResult, RunResult
from gradcheck_cli.spec import RunSpec

TICK = 0.1  # seconds between two looks at the workers


class Watch:
    """Who follows a run; as it stands, nobody."""

    def told(self, check: CheckResult) -> None:
        """A result, in the order of the run."""

    def ended(self, check: CheckResult) -> CheckResult:
        """A result that was computed now, in the order in which checks end; returned as it is to be counted."""
        return check

    def tick(self, running: Sequence[Running]) -> None:
        """A moment of the run, and what is under way."""

    def tell(self, sentence: str) -> None:
        """What is to be known of a check that is under way in this process."""

    @property
    def stopping(self) -> bool:
        """Whether somebody wants the run to stop."""
        return False

    def undisturbed(self) -> AbstractContextManager[None]:
        """Meanwhile `stopping` alone tells so; else it may come as a KeyboardInterrupt at any time."""
        return nullcontext()

    def closing(self) -> None:
        """No more checks are made: what follows is to be left in peace."""


class Workforce(Protocol):
    """Who makes chunks of checks."""

    size: int
    attempts: int

    def takes(self, chunk: Chunk) -> bool:
        """Whether the chunk can be sent now."""

    def send(self, chunk: Chunk) -> Ended | None:
        """Send it; it comes straight back if it cannot travel."""

    def wait(self, seconds: float) -> list[Ended]:
        """The chunks that came back."""

    @property
    def running(self) -> list[Running]:
        """What is under way."""

    def close(self) -> None:
        """Stop everything."""


class _Enough(Exception):  # noqa: N818 - no error: the run has what it needs
    """Nothing more is needed."""


def run(
    asked: RunSpec, watch: Watch, crew: Workforce | None = None, known: Mapping[str, CheckResult] | None = None
) -> RunResult:
    """Make every check whose result is not known, by the crew or in this process; an interruption keeps what is done.

    Verdicts and their order do not depend on who makes them.
    """
    start, interrupted = time.perf_counter(), False
    try:
        order = Order(asked, known or {}, watch.told)
        if crew is None:
            interrupted = _here(asked, order, watch)
        else:
            with watch.undisturbed():
                interrupted = _Dispatch(asked, order, watch, crew).run()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        try:
            watch.closing()
        finally:
            if crew is not None:
                crew.close()
    return RunResult(order.results, time.perf_counter() - start, interrupted)


def _here(asked: RunSpec, order: Order, watch: Watch) -> bool:
    """Make the checks one by one; say whether that was interrupted."""
    numbers = deque(order.missing)
    todo = tuple(asked.checks[number] for number in numbers)

    def look() -> None:
        watch.tick([Running(number, time.monotonic()) for number in islice(numbers, 1)])

    def keep(check: CheckResult) -> None:
        with watch.undisturbed():
            order.put(numbers.popleft(), watch.ended(check))
            look()
        if watch.stopping:
            raise KeyboardInterrupt
        if order.complete:
            raise _Enough

    if order.complete:
        return False
    look()
    try:
        return runner.run(replace(asked, checks=todo, stop_at=None), keep, watch.tell).interrupted
    except _Enough:
        return False


class _Dispatch:
    """Sends chunks as there is room, and makes sense of what comes back."""

    def __init__(self, asked: RunSpec, order: Order, watch: Watch, crew: Workforce) -> None:
        self._asked, self._order, self._watch, self._crew = asked, order, watch, crew
        self._queue = deque(chunks(asked, order.missing, crew.size))

    def run(self) -> bool:
        """Go on until all is there; say whether it was interrupted."""
        while not self._order.complete:
            if self._watch.stopping:
                return True
            ended = self._send() or self._crew.wait(TICK)
            for one in ended:
                self._take(one)
            self._watch.tick(self._crew.running)
        return False

    def _send(self) -> list[Ended]:
        returned = []
        while self._queue and self._crew.takes(self._queue[0]):
            ended = self._crew.send(self._queue.popleft())
            if ended is not None:
                returned.append(ended)
        return returned

    def _take(self, ended: Ended) -> None:
        done, numbers = len(ended.results), ended.chunk.numbers
        for number, result in zip(numbers, ended.results, strict=False):
            self._order.put(number, self._watch.ended(result))
        if ended.reason is not None:
            self._lost(ended)
        elif done < len(numbers):
            self._queue.appendleft(chunk(self._asked, numbers[done:], ended.chunk.alone))

    def _lost(self, ended: Ended) -> None:
        """Try the checks of a lost chunk again; one that is lost by itself is an error."""
        reason, one = ended.reason, ended.chunk
        assert reason is not None
        tried = one.alone and one.attempt >= self._crew.attempts
        if len(one.numbers) == 1 and (reason.certain or tried):
            result = without_result(one.specs[0], reason, ended.seconds)
            self._order.put(one.numbers[0], self._watch.ended(result))
            return
        attempt = one.attempt + 1 if one.alone else 1
        self._queue.extendleft(reversed(list(self._apart(one.numbers, ended.suspect, attempt))))

    def _apart(self, numbers: Sequence[int], suspect: int | None, attempt: int) -> Iterator[Chunk]:
        """The suspect by itself between the others; where none is known, each is one."""
        if suspect not in numbers:
            yield from (chunk(self._asked, [number], alone=True, attempt=attempt) for number in numbers)
            return
        k = numbers.index(suspect)
        if k:
            yield chunk(self._asked, numbers[:k])
        yield chunk(self._asked, [numbers[k]], alone=True, attempt=attempt)
        if k + 1 < len(numbers):
            yield chunk(self._asked, numbers[k + 1 :])

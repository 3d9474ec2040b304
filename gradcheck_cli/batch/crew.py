"""Workers of this machine, each ended and replaced without harm to the others."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from pebble import ProcessExpired, ProcessPool

from gradcheck_cli.batch import lost
from gradcheck_cli.batch.chunk import Chunk, Ended, Reason, Running, TransferError, WorkersError
from gradcheck_cli.batch.work import NO_MEMORY, NOTICE, STARTED, Desk, packed, prepare, run_chunk

GRACE = 1.0  # seconds in which the end of a worker is reported by those who watch it
HOPELESS = 3  # workers in a row that end before they take a check


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C is for this process: what is started meanwhile never hears of it, not even while it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Slot:
    """The place of one worker: a pool of one process, so that the loss of a worker costs its own chunk only."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.chunk: Chunk | None = None
        self.pid: int | None = None
        self.number: int | None = None
        self.since = 0.0  # of the check under way, or of the chunk
        self._begun = 0.0  # of the chunk
        self._gone: float | None = None
        self._no_memory = False
        self._future: Any = None
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPool(1, initializer=prepare, initargs=(self.desk,), context=get_context("spawn"))
        with _interrupts_held():
            _ = self._pool.active  # starts it
        self._fresh, self._tainted = True, False

    def stop(self) -> None:
        """End the worker, whatever it does."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def _replace(self) -> None:
        self.stop()
        self._start()

    def send(self, chunk: Chunk, payload: bytes) -> None:
        """Give the worker a chunk; one that is alone gets a new worker, and leaves none behind."""
        if self._tainted or (chunk.alone and not self._fresh) or not self._pool.active:
            self._replace()
        self._future = self._pool.schedule(run_chunk, args=(payload,), timeout=chunk.timeout)
        self.chunk, self.number, self.pid = chunk, None, None
        self.since = self._begun = time.monotonic()
        self._gone, self._no_memory = None, False

    @property
    def future(self) -> Any:
        """What becomes of the chunk."""
        return self._future

    def hear(self, kind: int, pid: int, number: int) -> None:
        """Take a notice of the worker."""
        if self.chunk is None or number not in self.chunk.numbers:
            return
        if kind == STARTED:
            self.pid, self.number, self.since = pid, number, time.monotonic()
        self._no_memory |= kind == NO_MEMORY

    def ended(self) -> Ended | None:
        """The chunk, if it came back or its worker ended."""
        chunk = self.chunk
        if chunk is None or not (self._future.done() or self._vanished()):
            return None
        self.chunk, seconds = None, time.monotonic() - self._begun
        if not self._future.done():  # an exit with status 0 ends no task of the pool
            self._replace()
            return Ended(chunk, reason=lost.died(0), suspect=self.number, seconds=seconds)
        error = self._future.exception()
        if error is None:
            self._fresh, self._tainted = False, chunk.alone
            return Ended(chunk, pickle.loads(self._future.result()))
        return Ended(chunk, reason=self._reason(chunk, error), suspect=self.number, seconds=seconds)

    def _vanished(self) -> bool:
        """Whether the worker is gone, and was when last looked at."""
        if self.pid is None:
            return False
        with suppress(PermissionError):
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                self._gone = self._gone or time.monotonic()
                return time.monotonic() - self._gone > GRACE
        return False

    def _reason(self, chunk: Chunk, error: BaseException) -> Reason:
        if isinstance(error, TimeoutError) and chunk.timeout is not None:
            self._fresh = True
            return lost.timed_out(chunk.timeout)
        if isinstance(error, ProcessExpired):
            self._fresh = True
            limit = self.desk.memory
            return lost.no_memory(limit) if self._no_memory and limit else lost.died(error.exitcode)
        self._tainted = True
        if isinstance(error, BrokenExecutor):
            return lost.died(None)
        if isinstance(error, MemoryError) and self.desk.memory:
            return lost.no_memory(self.desk.memory)
        if isinstance(error, (TransferError, KeyboardInterrupt)):
            return Reason(type(error).__name__, str(error) or "raised by the code of the check")
        raise error


class Crew:
    """So many workers. Each is told apart, so that it is known what it is doing and what ended it."""

    attempts = 1  # for a check that is alone: whatever ends its worker is its own doing

    def __init__(self, jobs: int, memory: int | None, folders: Sequence[str] = ()) -> None:
        self.size, self._folders = jobs, folders
        self._notices, teller = get_context("spawn").Pipe(duplex=False)
        self._teller: Connection = teller
        self._slots = [Slot(Desk(number, teller, memory)) for number in range(jobs)]
        self._failures = 0

    def send(self, chunk: Chunk) -> Ended | None:
        """Give a chunk to a worker that is free. It comes straight back if it cannot travel."""
        try:
            payload = packed(chunk, self._folders)
        except TransferError as error:
            return Ended(chunk, reason=Reason("TransferError", str(error)))
        next(slot for slot in self._slots if slot.chunk is None).send(chunk, payload)
        return None

    def takes(self, chunk: Chunk) -> bool:  # noqa: ARG002 - other crews look at the chunk
        """Whether a worker is free."""
        return any(slot.chunk is None for slot in self._slots)

    def wait(self, seconds: float) -> list[Ended]:
        """The chunks that came back, as soon as there are some, or after so many seconds."""
        busy = [slot for slot in self._slots if slot.chunk is not None]
        wait_for([slot.future for slot in busy], seconds, FIRST_COMPLETED)
        while self._notices.poll():
            slot, kind, pid, number = NOTICE.unpack(os.read(self._notices.fileno(), NOTICE.size))
            self._slots[slot].hear(kind, pid, number)
            self._failures = 0
        found = [ended for slot in busy if (ended := slot.ended()) is not None]
        self._despair(found)
        return found

    def _despair(self, found: Sequence[Ended]) -> None:
        """Give up where workers cannot even start."""
        self._failures += sum(ended.reason == lost.died(None) for ended in found)
        if self._failures > HOPELESS * self.size:
            raise WorkersError("workers end as soon as they are started; -n 0 does without them")

    @property
    def running(self) -> list[Running]:
        """What the workers are at."""
        return [
            Running(slot.number, slot.since)
            for slot in self._slots
            if slot.chunk is not None and slot.number is not None
        ]

    def close(self) -> None:
        """End all workers at once."""
        with ThreadPoolExecutor(self.size) as stoppers:
            list(stoppers.map(Slot.stop, self._slots))
        self._notices.close()
        self._teller.close()

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
from typing import Any

from pebble import ProcessExpired, ProcessPool

from gradcheck_cli.batch import lost
from gradcheck_cli.batch.chunk import Chunk, Ended, Reason, Running, TransferError, WorkersError
from gradcheck_cli.batch.work import NO_MEMORY, NOTICE, READY, STARTED, TAKEN, Desk, packed, prepare, run_chunk

CONTEXT = get_context("spawn")
LONGEST_START = 10.0  # seconds that a worker is waited for before it is ended
GRACE = 1.0  # seconds in which the end of a worker is reported by those who watch it
HOPELESS = 3  # workers in a row that end before they take a check


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C is for this process: what is started meanwhile never hears of it, not even while it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # when it starts it lets go of the signals that are held
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Slot:
    """The place of one worker: a pool of one process, so that the loss of a worker costs its own chunk only."""

    def __init__(self, memory: int | None) -> None:
        self._hear, tell = CONTEXT.Pipe(duplex=False)
        self._desk = Desk(tell, memory)
        self.chunk: Chunk | None = None
        self.number: int | None = None  # of the check under way
        self.since = self._begun = 0.0  # of the check, and of its chunk
        self._pid: int | None = None  # of the worker that took the chunk
        self._gone: float | None = None
        self._no_memory = False
        self.future: Any = None  # what becomes of the chunk
        self._start()

    def _start(self) -> None:
        self._ready: int | None = None  # the last worker that got through its start
        self._lost: int | None = None  # the last one that ended, which the pool replaces
        self._pool = ProcessPool(1, initializer=prepare, initargs=(self._desk,), context=CONTEXT)
        with _interrupts_held():
            _ = self._pool.active  # starts it
        self._fresh, self._tainted = True, False

    def stop(self) -> None:
        """End the worker, whatever it does; one that is starting first starts: it would lament the loss of its pool."""
        deadline = time.monotonic() + LONGEST_START
        while self._ready == self._lost and self._pool.active and time.monotonic() < deadline:
            self.listen(0.05)
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def close(self) -> None:
        """End the worker for good."""
        self.stop()
        self._hear.close()
        self._desk.notices.close()

    def _replace(self) -> None:
        self.stop()
        self._start()

    def send(self, chunk: Chunk, payload: bytes) -> None:
        """Give the worker a chunk; one that is alone gets a new worker, and leaves none behind."""
        if self._tainted or (chunk.alone and not self._fresh) or not self._pool.active:
            self._replace()
        self.future = self._pool.schedule(run_chunk, args=(payload,), timeout=chunk.timeout)
        self.chunk, self.number = chunk, None
        self.since = self._begun = time.monotonic()
        self._pid, self._gone, self._no_memory = None, None, False

    def listen(self, seconds: float = 0.0) -> bool:
        """Take what the worker tells; say whether there was something."""
        heard = False
        while self._hear.poll(0 if heard else seconds):
            heard = True
            kind, pid, number = NOTICE.unpack(os.read(self._hear.fileno(), NOTICE.size))
            if kind == READY:
                self._ready = pid
            elif kind == TAKEN:
                self._pid = pid
            elif kind == STARTED:
                self.number, self.since = number, time.monotonic()
            elif kind == NO_MEMORY:
                self._no_memory = True
        return heard

    def ended(self) -> Ended | None:
        """The chunk, if it came back or its worker ended."""
        chunk = self.chunk
        if chunk is None or not (self.future.done() or self._vanished()):
            return None
        self.chunk, seconds = None, time.monotonic() - self._begun
        self._lost = self._pid or self._ready if not self.future.done() or self.future.exception() else self._lost
        if not self.future.done():  # an exit with status 0 ends no task of the pool
            self._replace()
            return Ended(chunk, reason=lost.died(0), suspect=self.number, seconds=seconds)
        error = self.future.exception()
        if error is None:
            self._fresh, self._tainted = False, chunk.alone
            return Ended(chunk, pickle.loads(self.future.result()))
        return Ended(chunk, reason=self._reason(chunk, error), suspect=self.number, seconds=seconds)

    def _vanished(self) -> bool:
        """Whether the worker is gone, and was when last looked at."""
        if self._pid is None:
            return False
        with suppress(PermissionError):
            try:
                os.kill(self._pid, 0)
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
            limit = self._desk.memory
            return lost.no_memory(limit) if self._no_memory and limit else lost.died(error.exitcode)
        self._tainted = True
        if isinstance(error, BrokenExecutor):
            return lost.died(None)
        if isinstance(error, MemoryError) and self._desk.memory:
            return lost.no_memory(self._desk.memory)
        if isinstance(error, (TransferError, KeyboardInterrupt)):
            return Reason(type(error).__name__, str(error) or "raised by the code of the check")
        raise error


class Crew:
    """So many workers. Each is told apart, so that it is known what it is doing and what ended it."""

    attempts = 1  # for a check that is alone: whatever ends its worker is its own doing

    def __init__(self, jobs: int, memory: int | None, folders: Sequence[str] = ()) -> None:
        self.size, self._memory, self._folders = jobs, memory, folders
        self._slots: list[Slot] = []  # started when there is something to do
        self._failures = 0

    def send(self, chunk: Chunk) -> Ended | None:
        """Give a chunk to a worker that is free. It comes straight back if it cannot travel."""
        try:
            payload = packed(chunk, self._folders)
        except TransferError as error:
            return Ended(chunk, reason=Reason("TransferError", str(error)))
        slot = next((slot for slot in self._slots if slot.chunk is None), None)
        if slot is None:
            with _interrupts_held():
                slot = Slot(self._memory)
                self._slots.append(slot)
        slot.send(chunk, payload)
        return None

    def takes(self, chunk: Chunk) -> bool:  # noqa: ARG002 - other crews look at the chunk
        """Whether a worker is free."""
        return len(self._slots) < self.size or any(slot.chunk is None for slot in self._slots)

    def wait(self, seconds: float) -> list[Ended]:
        """The chunks that came back, as soon as there are some, or after so many seconds."""
        busy = [slot for slot in self._slots if slot.chunk is not None]
        wait_for([slot.future for slot in busy], seconds, FIRST_COMPLETED)
        heard = [slot.listen() for slot in busy]
        if any(heard):
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
            list(stoppers.map(Slot.close, self._slots))

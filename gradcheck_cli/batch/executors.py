"""Chunks sent through an executor: of a dask cluster, or any other of `concurrent.futures`."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future
from concurrent.futures import wait as wait_for

from gradcheck_cli.batch.chunk import Chunk, Ended, Reason, Running, TransferError, WorkersError
from gradcheck_cli.batch.work import packed, run_chunk

BROKEN_IN_A_ROW = 20


class Hired:
    """Workers that somebody else starts and ends.

    `make` gives the executor, and a new one when it broke; `leave` is called when the run is over.

    A check that is suspected of having ended a worker is sent when nothing else is under way, for an executor that
    breaks takes all with it.
    """

    attempts = 2  # a worker may be lost for reasons of its own
    size = 8  # the number of workers is not known

    def __init__(
        self, make: Callable[[], Executor], folders: Sequence[str] = (), leave: Callable[[], object] = lambda: None
    ) -> None:
        self._make, self._folders, self._leave = make, folders, leave
        self._executor = make()
        self._chunks: dict[Future[bytes], tuple[Chunk, float]] = {}
        self._broken = 0

    def takes(self, chunk: Chunk) -> bool:
        """Whether it can be sent now: any number at once, but what is alone alone."""
        return not self._chunks or not (chunk.alone or any(other.alone for other, _ in self._chunks.values()))

    def send(self, chunk: Chunk) -> Ended | None:
        """Send a chunk. It comes straight back if it cannot travel."""
        try:
            payload = packed(chunk, self._folders)
        except TransferError as error:
            return Ended(chunk, reason=Reason("TransferError", str(error)))
        try:
            future = self._executor.submit(run_chunk, payload)
        except BrokenExecutor:
            self._renew()
            future = self._executor.submit(run_chunk, payload)
        self._chunks[future] = (chunk, time.monotonic())
        return None

    def wait(self, seconds: float) -> list[Ended]:
        """The chunks that came back, as soon as there are some, or after so many seconds."""
        done, _ = wait_for(self._chunks, seconds, FIRST_COMPLETED)
        return [self._ended(future) for future in done]

    def _ended(self, future: Future[bytes]) -> Ended:
        chunk, begun = self._chunks.pop(future)
        seconds = time.monotonic() - begun
        try:
            results = pickle.loads(future.result())
        except WorkersError:
            raise
        except (Exception, CancelledError) as error:  # noqa: BLE001 - each executor has errors of its own for a lost worker
            return Ended(chunk, reason=Reason(type(error).__name__, str(error)), seconds=seconds)
        self._broken = 0
        return Ended(chunk, results)

    def _renew(self) -> None:
        self._broken += 1
        if self._broken > BROKEN_IN_A_ROW:
            raise WorkersError(f"the executor broke {self._broken} times in a row; see what its workers say")
        self._executor.shutdown(wait=False)
        self._executor = self._make()

    @property
    def running(self) -> list[Running]:
        """Nothing is known of what the workers are at."""
        return []

    def close(self) -> None:
        """Take back what has not begun."""
        for future in self._chunks:
            future.cancel()
        self._executor.shutdown(wait=False)
        self._leave()

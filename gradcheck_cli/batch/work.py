"""What happens inside a worker: a chunk of checks is made within its memory, and the results go back."""

from __future__ import annotations

import os
import pickle
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

from gradcheck_cli import __version__
from gradcheck_cli.adapters.references import allow_imports
from gradcheck_cli.batch.chunk import Chunk, TransferError, WorkersError
from gradcheck_cli.registry import METHODS
from gradcheck_cli.results import CheckResult
from gradcheck_cli.runner import run_check
from gradcheck_cli.values import dataclass

PATIENCE = 1.0  # seconds after which a chunk goes back as far as it is done: a killed run loses no more
NOTICE = struct.Struct("=BIi")  # kind, pid, number of the check: one write of so few bytes is never torn
READY, TAKEN, STARTED, NO_MEMORY = range(4)


@dataclass(frozen=True)
class Desk:
    """What a worker of this machine knows of itself: where to tell which check it is at, and its memory."""

    notices: Connection
    memory: int | None

    def tell(self, kind: int, number: int = 0) -> None:
        """Say what happens now. Without a lock, which a worker that dies could not give back."""
        os.write(self.notices.fileno(), NOTICE.pack(kind, os.getpid(), number))


_desk: Desk | None = None  # of this process, where it is such a worker
_one_at_a_time = threading.Lock()  # an executor may have threads; what a check prints is caught for the whole process


def packed(chunk: Chunk, folders: Sequence[str]) -> bytes:
    """A chunk as it travels, with the folders from which code may be imported."""
    try:
        return pickle.dumps((__version__, tuple(folders), chunk))
    except Exception as error:
        raise TransferError(f"cannot be sent to a worker: {type(error).__name__}: {error}") from error


def prepare(desk: Desk) -> None:
    """Make this process a worker: all is imported now, outside of any time limit."""
    global _desk
    _desk = desk
    len(METHODS)
    with suppress(OSError):
        os.dup2(2, 1)  # standard output belongs to the reports, whatever a library prints
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if desk.memory is not None:
        _limit_memory(desk.memory)
    desk.tell(READY)


def _end_with_parent() -> None:
    """A worker in an endless loop must not outlive a run that was killed."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _limit_memory(limit: int) -> None:
    """Allow so much more than what a started worker has. Where the system cannot, there is no limit.

    Counted is what is written to (RLIMIT_DATA), for libraries reserve far more addresses than they use.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[5])
        most = limit + pages * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))
    except (ImportError, OSError, ValueError):
        return


def run_chunk(payload: bytes) -> bytes:
    """Make the checks of a chunk, in order; return the results, of its first checks only where it takes long."""
    if _desk is not None:
        _desk.tell(TAKEN)
    try:
        version, folders, chunk = pickle.loads(payload)
    except Exception as error:
        raise TransferError(f"cannot be read by the worker: {type(error).__name__}: {error}") from error
    if version != __version__:
        raise WorkersError(f"a worker has gradcheck {__version__}, this is {version}; install the same version there")
    allow_imports(folders)
    with _one_at_a_time:
        results = _made(chunk)
    try:
        return pickle.dumps(results)
    except Exception as error:
        raise TransferError(f"the result cannot be sent back: {type(error).__name__}: {error}") from error


def _made(chunk: Chunk) -> list[CheckResult]:
    start, results = time.perf_counter(), []
    for number, spec in zip(chunk.numbers, chunk.specs, strict=True):
        if _desk is not None:
            _desk.tell(STARTED, number)
        result = run_check(spec, chunk.rows)
        if _desk is not None and _desk.memory is not None and out_of_memory(result):
            _desk.tell(NO_MEMORY, number)
            os._exit(1)  # what holds the memory may be kept for good, and would fail the checks that follow
        results.append(result)
        if time.perf_counter() - start > PATIENCE:
            break
    return results


def out_of_memory(result: CheckResult) -> bool:
    """Whether a check ended because an allocation was refused."""
    error = result.error
    return error is not None and (error.type.endswith("MemoryError") or "allocate memory" in error.message)

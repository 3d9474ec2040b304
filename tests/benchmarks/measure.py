"""Measures checkers in processes of their own, which take turns, so that a busy machine slows all of them alike.

A worker, `python -m tests.benchmarks.measure WHO WORK`, prepares its check, makes it once to count and to warm up, and
then answers a line on standard input with a line of JSON: "go" with the seconds of some calls, "end" with the rest.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tests.benchmarks.peers import BY_NAME, OURS, Peer
from tests.benchmarks.scale import GROWTH, GROWTH_QUICK, LARGE, LARGE_QUICK
from tests.benchmarks.works import QUICK, SPREAD, SPREAD_QUICK, WORKS, Work

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
TURN = 0.1  # seconds for which quick calls are repeated in one turn
ENOUGH = 12.0  # seconds after which a slow check has had its turns, if they were three
SLOW = 5.0  # seconds of a check for which the first one counts: what warms up is nothing beside it
LIMIT = 600.0  # seconds after which a worker ends itself


@dataclass(frozen=True)
class Row:
    """What is told of one checker on one work. `ratio` is its time over ours; `note` says what numbers can't."""

    who: str
    work: str
    seconds: float | None = None
    evaluations: int | None = None
    max_abs_error: float | None = None
    per_element: bool | None = None
    peak_rss_mb: float | None = None
    ratio: float | None = None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON holds it."""
        return asdict(self)


class Worker:
    """A process that makes one check when told to."""

    def __init__(self, who: str, work: str, quick: bool = False, limit: float = LIMIT) -> None:
        self.who, self.work, self.limit, self.seconds, self.spent = who, work, limit, list[float](), 0.0
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT), "OPENMDAO_REPORTS": "0"}
        words = [sys.executable, "-m", "tests.benchmarks.measure", who, work, "quick" if quick else "full", str(limit)]
        self.folder = tempfile.TemporaryDirectory()  # some peers leave files where they run
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
            cwd=self.folder.name,
        )

    def ask(self, word: str) -> Any:
        """Say a word and return the answer; None when the process is gone."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ready(self) -> bool:
        """Wait for the first check; whether it came back."""
        first = self.ask("ready")
        if first is not None and first > SLOW:
            self.seconds.append(first)
            self.spent = first
        return first is not None

    def turn(self) -> bool:
        """One turn; whether it came back."""
        if self.spent > ENOUGH and len(self.seconds) >= 3:
            return True
        seconds = self.ask("go")
        if seconds is None:
            return False
        self.seconds.append(median(seconds))
        self.spent += sum(seconds)
        return True

    def row(self, per_element: bool) -> Row:
        """End the process and tell what it measured."""
        end = self.ask("end")
        self.process.wait()
        if end is None:
            row = Row(self.who, self.work, per_element=per_element, note=self._why())
        else:
            row = Row(self.who, self.work, median(self.seconds), per_element=per_element, **end)
        self.close()
        return row

    def _why(self) -> str:
        """Why there is no answer."""
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines() or ["it said nothing"]
        if any(line.startswith("Timeout (") for line in lines):  # faulthandler's word
            return f"no answer in {self.limit:.0f} s"
        return f"ended early: {lines[-1]}"

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what was to be said to a process that is gone
                    stream.close()
        self.folder.cleanup()


def side_by_side(work: str, peers: Sequence[Peer], repeats: int, quick: bool = False) -> list[Row]:
    """All checkers on one work, turn and turn about."""
    rows = [Row(p.who, work, per_element=p.per_element, note="not installed") for p in peers if not p.installed]
    there = [peer for peer in peers if peer.installed and work in peer.works]
    workers: list[Worker] = []
    try:
        workers += [Worker(peer.who, work, quick) for peer in there]
        alive = {worker.who for worker in workers if worker.ready()}
        for _ in range(repeats):
            alive &= {worker.who for worker in workers if worker.who in alive and worker.turn()}
        measured = [worker.row(peer.per_element) for worker, peer in zip(workers, there, strict=True)]
    finally:
        for worker in workers:
            worker.close()
    return with_ratios([*measured, *rows])


def alone(work: str, peer: Peer, repeats: int, quick: bool = False, limit: float = LIMIT) -> Row:
    """One checker on one work."""
    worker = Worker(peer.who, work, quick, limit)
    try:
        going = worker.ready()
        for _ in range(0 if worker.seconds else repeats):
            going = going and worker.turn()
        return worker.row(peer.per_element)
    finally:
        worker.close()


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """Each time over ours on the same work."""
    our = {row.work: row.seconds for row in rows if row.who == OURS and row.seconds}
    return [
        Row(**row.to_dict() | {"ratio": row.seconds / our[row.work]}) if row.seconds and row.work in our else row
        for row in rows
    ]


def peak_rss_mb() -> float:
    """The most memory that this process has had. The kernel's `ru_maxrss` would count the parent's, too."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if peak is None else peak) / 1024


def one_turn(run: Any) -> list[float]:
    """The seconds of one slow call, or of several quick ones but the first, which finds cold caches."""
    seconds: list[float] = []
    while not seconds or (sum(seconds) < TURN and len(seconds) < 50):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds[1:] or seconds


def largest_error(work: Work, values: Any) -> float | None:
    """The largest error of numeric values against the truth; None where the checker keeps them to itself."""
    if values is None:
        return None
    errors = [np.abs(values[name] - true) for name, true in work.gradient().items() if name in values]
    return max((float(np.nanmax(error)) for error in errors if not np.isnan(error).all()), default=None)


def serve(who: str, name: str, size: str, limit: str) -> None:
    """The worker."""
    faulthandler.dump_traceback_later(float(limit), exit=True)
    answers, sys.stdout = sys.stdout, sys.stderr  # what a peer prints is no answer
    quick, full = QUICK | SPREAD_QUICK | LARGE_QUICK | GROWTH_QUICK, WORKS | SPREAD | LARGE | GROWTH
    work = (quick if size == "quick" else full)[name]()
    prepared = BY_NAME[who].prepare(work)
    start = time.perf_counter()
    first = prepared.run()
    seconds, evaluations = time.perf_counter() - start, prepared.evaluations(first)
    for word in sys.stdin:
        answer: Any = seconds
        if word == "go\n":
            answer = one_turn(prepared.run)
        elif word == "end\n":
            answer = {"evaluations": evaluations, "peak_rss_mb": peak_rss_mb(), "note": prepared.note(first)}
            answer["max_abs_error"] = largest_error(work, prepared.look(first))
        print(json.dumps(answer), file=answers, flush=True)
        if word == "end\n":
            return


if __name__ == "__main__":
    serve(*sys.argv[1:])

"""How a run is spread: who needs a worker, how many workers, how much memory, chunks and shards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from gradcheck_cli.batch.chunk import Chunk
from gradcheck_cli.spec import CheckSpec, Foreign, RunSpec

FEW = 12  # so many checks are made in this process unless one of them needs a worker: starting workers takes longer
LARGEST = 64  # checks of a chunk
SHARE = 8  # chunks for each worker: the last ones to end are then short
LEAST_MEMORY = 2**26


def takes_user_code(spec: CheckSpec) -> bool:
    """Whether somebody's code is run; formulas and built-in layers are none."""
    return isinstance(spec.layer, Foreign) and bool(spec.layer.references())


def jobs_for(specs: Sequence[CheckSpec]) -> int:
    """The number of workers where none is asked for; 0 is this process."""
    alone = len(specs) <= FEW and not any(spec.timeout or takes_user_code(spec) for spec in specs)
    return 0 if alone else processors()


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_memory(jobs: int) -> int | None:
    """Half of the memory of the machine, or of the container, over the number of workers."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    with suppress(OSError, ValueError):  # "max", or no such file: the machine's own is the limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return max(total // (2 * jobs), LEAST_MEMORY)


def chunks(asked: RunSpec, numbers: Sequence[int], workers: int) -> Iterator[Chunk]:
    """Cut the checks with these numbers into chunks; one with a time limit travels alone, for it may end its worker."""
    size = min(max(len(numbers) // (SHARE * max(workers, 1)), 1), LARGEST)
    gathered: list[int] = []
    for number in numbers:
        if asked.checks[number].timeout is not None:
            yield chunk(asked, [number])
            continue
        gathered.append(number)
        if len(gathered) == size:
            yield chunk(asked, gathered)
            gathered = []
    if gathered:
        yield chunk(asked, gathered)


def chunk(asked: RunSpec, numbers: Sequence[int], alone: bool = False, attempt: int = 1) -> Chunk:
    """The chunk of the checks with these numbers."""
    return Chunk(tuple(numbers), tuple(asked.checks[number] for number in numbers), asked.rows, alone, attempt)


def shard_of(ident: str, count: int) -> int:
    """Which of so many shards a check belongs to, from 1 on: the same for ever, whatever else is in the run."""
    digest = hashlib.blake2b(ident.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count + 1

"""Calls made by several threads at a time, their results taken in turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")


class Threads:
    """So many threads, started when there is work for two of them, ended with the check."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.single = threading.RLock()  # whoever calls a layer at one point: it may not bear two at a time
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *info: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def in_turn(self, calls: Sequence[Callable[[], T]]) -> Generator[T]:
        """What each call returns or raises, in order; each in the context of the caller.

        No more are made ahead than there are threads. A caller that stops early waits for those under way.
        """
        if self.count < 2 or len(calls) < 2:
            yield from (call() for call in calls)
            return
        pool = self._started()
        ahead: deque[Future[T]] = deque()
        try:
            for call in calls:
                ahead.append(pool.submit(copy_context().run, call))
                if len(ahead) > self.count:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for left in ahead:
                if not left.cancel():
                    left.exception()

    def _started(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.count, "gradcheck")
        return self._pool

"""Ctrl-C and SIGTERM while checks are made: both stop the run, neither can tear a report."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Let SIGTERM interrupt as Ctrl-C does. From the call of what this yields on, both are ignored.

    What follows then is short: workers are stopped, reports written.
    """
    if threading.current_thread() is not threading.main_thread():  # others can't set handlers
        yield lambda: None
        return
    before = {one: signal.getsignal(one) for one in SIGNALS}
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield _ignore
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    raise KeyboardInterrupt


def _ignore() -> None:
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)

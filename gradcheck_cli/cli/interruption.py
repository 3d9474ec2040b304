"""Ctrl-C and SIGTERM while checks are made: both stop the run, neither tears a report or loses a result."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """What a signal does: it interrupts at once, or is kept in mind for a moment, or comes too late to matter."""

    def __init__(self) -> None:
        self.asked = False
        self._kept = False
        self._late = False

    def heard(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        """Handle a signal; whoever asks twice need not wait."""
        if self._late:
            return
        again, self.asked = self.asked, True
        if again or not self._kept:
            raise KeyboardInterrupt

    def too_late(self) -> None:
        """From now on signals do nothing: what is left is short, to stop workers and to write reports."""
        self._late = True

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Signals are noted in `asked` only."""
        before, self._kept = self._kept, True
        try:
            yield
        finally:
            self._kept = before


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Let Ctrl-C and SIGTERM act as the yielded value says; who ignored Ctrl-C before still does."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():  # others can't set handlers
        yield interruption
        return
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    for one, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(one, interruption.heard)
    try:
        yield interruption
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

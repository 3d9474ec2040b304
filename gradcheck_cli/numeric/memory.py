"""Memory for tables that come and go."""

from __future__ import annotations

import numpy as np

KEPT = 31_000_000  # bytes; the C library takes no example from blocks above 32 MB


def keep_freed_memory() -> None:
    """Let the process keep memory that it frees, for the next table.

    Tables of some hundred kB are otherwise returned to the system when freed and cleared by it when asked for again,
    which takes longer than what is computed in them. The C library of Linux stops doing so for blocks up to the largest
    one that it has seen freed: one is, without ever being touched. Elsewhere this does nothing.
    """
    np.empty(KEPT, np.uint8)

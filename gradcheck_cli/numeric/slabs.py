"""Large arrays in slabs, so that what is computed on the way stays small."""

from __future__ import annotations

from collections.abc import Iterator

SLAB = 2**18  # elements: 2 MB in float64


def slabs(size: int) -> Iterator[slice]:
    """Slices that cover so many elements in order."""
    for start in range(0, size, SLAB):
        yield slice(start, min(start + SLAB, size))

"""What numpy.linalg computes, in half precision too: there in single precision, then rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _with_half(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which takes float16 arrays as well."""

    def call(*arrays: Any, **options: Any) -> Any:
        if any(array.dtype != np.float16 for array in arrays):
            return function(*arrays, **options)
        found = function(*(array.astype(np.float32) for array in arrays), **options)
        if isinstance(found, tuple):
            return tuple(part.astype(np.float16) for part in found)
        return found.astype(np.float16)

    return call


inv = _with_half(np.linalg.inv)
solve = _with_half(np.linalg.solve)
slogdet = _with_half(np.linalg.slogdet)
cholesky = _with_half(np.linalg.cholesky)
eigvalsh = _with_half(np.linalg.eigvalsh)
eigh = _with_half(np.linalg.eigh)
svd = _with_half(np.linalg.svd)

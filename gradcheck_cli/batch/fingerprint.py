"""A short text that changes with whatever a result depends on, as far as that is known before the check is made."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from collections.abc import Iterator, Mapping

import numpy as np

from gradcheck_cli import __version__
from gradcheck_cli.results import Rows
from gradcheck_cli.spec import CheckSpec


def fingerprint(spec: CheckSpec, rows: Rows) -> str:
    """Of a check as it was asked, the elements that are kept, and the versions that matter.

    What code of the user's does is not in it, only the names of its functions; nor is by how many threads it is run.
    """
    asked = dataclasses.replace(spec, threads=1)
    digest = hashlib.blake2b(digest_size=12)
    for part in _parts((__version__, np.__version__, platform.python_version(), asked, rows)):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: object) -> Iterator[bytes]:
    """A value as bytes that tell it from every other one."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        yield from _parts((type(value).__module__, type(value).__qualname__, fields))
    elif isinstance(value, Mapping):
        yield b"{"
        for key, entry in value.items():
            yield from _parts((key, entry))
        yield b"}"
    elif isinstance(value, (list, tuple)):
        yield b"["
        for entry in value:
            yield from _parts(entry)
        yield b"]"
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    else:
        yield f"{type(value).__name__}:{value!r};".encode(errors="surrogatepass")

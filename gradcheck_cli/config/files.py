"""Arrays from .npy and .npz files below the folder of a configuration: no pickle, no way out of the folder."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from gradcheck_cli.config.nodes import clipped
from gradcheck_cli.layer import Array
from gradcheck_cli.registry import did_you_mean

BYTES = 2**30


class FileError(Exception):
    """A file that can't be taken: the sentence says why and what must hold."""


def load_array(folder: Path, written: str) -> Array:
    """Return the numbers in `a.npy`, or in `b.npz#name`.

    Raises `FileError` for whatever is not a file of numbers below the folder.
    """
    name, hash_, member = written.partition("#")
    path = _inside(folder, name)
    if (path.suffix == ".npz") != bool(hash_):
        must = "must name one of its arrays, as in a.npz#x" if path.suffix == ".npz" else "must have no #"
        raise FileError(f"{written!r}; {must}")
    if path.suffix not in (".npy", ".npz"):
        raise FileError(f"{name!r}; must be a .npy file, or an array of a .npz file as in a.npz#x")
    try:
        size = path.stat().st_size
        if size > BYTES:
            raise FileError(f"{name!r} has {size} bytes; must be at most {BYTES}")
        array = _member(path, member) if member else np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise FileError(
            f"{name!r} can't be read ({clipped(str(error), 200)}); must be what numpy.save writes"
        ) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise FileError(f"{written!r} holds {getattr(array, 'dtype', 'several arrays')}; must be an array of numbers")
    return array


def _inside(folder: Path, name: str) -> Path:
    """The file, if it is one and lies below the folder, links resolved."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or ".." in path.parts or "\0" in name:
            raise FileError(f"{name!r}; must be a relative path below the folder of the config, without '..'")
    target = folder / name
    try:
        real = target.resolve()
    except (OSError, RuntimeError):  # a link that leads to itself
        raise FileError(f"{name!r}; must be a file") from None
    if not real.is_relative_to(folder.resolve()):
        raise FileError(f"{name!r} is a link that leads out of the folder of the config; must stay below it")
    if not real.is_file():
        near = [one.name for one in target.parent.glob("*.np[yz]")] if target.parent.is_dir() else []
        raise FileError(f"no file {name!r}; must be below the folder of the config{did_you_mean(target.name, near)}")
    return real


def _member(path: Path, member: str) -> Array:
    with zipfile.ZipFile(path) as archive:
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
        if member not in names:
            near = did_you_mean(member, names) or f"; must be one of {', '.join(names)}"
            raise FileError(f"no array {member!r} in {path.name!r}{near}")
        size = archive.infolist()[names.index(member)].file_size
        if size > BYTES:
            raise FileError(f"{member!r} in {path.name!r} has {size} bytes; must be at most {BYTES}")
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays[member])

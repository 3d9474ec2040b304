"""What somebody's code raised, told by the line of theirs that did."""

from __future__ import annotations

import itertools
import sysconfig
import traceback
from enum import IntEnum
from pathlib import Path
from traceback import FrameSummary

import gradcheck_cli
from gradcheck_cli.results import ErrorInfo

OURS, PYTHON = Path(gradcheck_cli.__file__).parent, Path(sysconfig.get_path("stdlib"))
INSTALLED = {"site-packages", "dist-packages"}
LIBRARIES = {"numpy", "torch", "functorch", "jax", "jaxlib"}


class Owner(IntEnum):
    """Whose line it is, the more telling the larger."""

    NOBODY = 0
    PACKAGE = 1
    USER = 2


def error_info(exception: BaseException) -> ErrorInfo:
    """What was raised, and the user's last line on the way there; failing that, the last of an installed package."""
    frames = {owner_of(frame): frame for frame in traceback.extract_tb(exception.__traceback__)}
    line = getattr(exception, "line", None)  # where code begins that broke its convention
    if Owner.USER in frames or (line is None and Owner.PACKAGE in frames):
        frame = frames[max(frames)]
        line = f"{frame.filename}:{frame.lineno}" + (f": {frame.line}" if frame.line else "")
    return ErrorInfo(type(exception).__name__, _message(exception), line if isinstance(line, str) else None)


def owner_of(frame: FrameSummary) -> Owner:
    """Lines of ours, of Python and of the libraries that code is written for explain nothing to a user."""
    path = Path(frame.filename)
    if path.is_relative_to(OURS) or frame.filename.startswith(("<frozen ", "<__array_function__")):
        return Owner.NOBODY
    package = next((inside for folder, inside in itertools.pairwise(path.parts) if folder in INSTALLED), None)
    if package is not None:
        return Owner.NOBODY if package in LIBRARIES else Owner.PACKAGE
    return Owner.NOBODY if path.is_relative_to(PYTHON) else Owner.USER


def _message(exception: BaseException) -> str:
    if isinstance(exception, SystemExit):
        return f"the code ended the program with exit code {exception.code!r}; it must return or raise an exception"
    try:
        return str(exception)
    except Exception:  # noqa: BLE001 - an exception of the user's may fail to say what it is
        return ""

"""Where results go: standard output as it is, files whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import click

from gradcheck_cli.results import ExitCode
from gradcheck_cli.values import dataclass

PIPED_WIDTH, NARROWEST = 100, 40


class OutputError(click.ClickException):
    """Results could not be delivered."""

    code = ExitCode.INTERNAL

    def __init__(self, place: str, problem: OSError) -> None:
        super().__init__(f"cannot write {place}: {problem.strerror or problem}")


class ClosedPipeError(Exception):
    """Whoever read the output went away. No OSError, for click would end the process with the code of a verdict."""


@contextmanager
def closed_pipe_noticed() -> Iterator[None]:
    """Turn the error of the system into ours."""
    try:
        yield
    except BrokenPipeError as closed:
        raise ClosedPipeError from closed


class Refusal(click.ClickException):
    """Why nothing is run: lines for standard error as they stand, and the exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the lines."""
        click.echo(self.message, file=file, err=file is None)


def show(text: str) -> None:
    """Write results to standard output now: who watches a long run sees each check when it ends."""
    if sys.stdout is None:  # closed by the caller
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise OutputError("to standard output", problem) from problem


@contextmanager
def stdout_kept_for_results() -> Iterator[None]:
    """Let what is written past sys.stdout, by C code or child processes of somebody's layer, go to standard error."""
    results = sys.stdout
    try:
        number, errors = results.fileno(), sys.stderr.fileno()
        aside = os.dup(number)
    except (AttributeError, OSError, ValueError):  # closed, or no file of the system: there is nothing to protect
        yield
        return
    os.dup2(errors, number)
    buffering = 1 if results.line_buffering else -1
    kept = sys.stdout = open(aside, "w", buffering, results.encoding, results.errors, closefd=False)  # noqa: SIM115
    try:
        yield
    finally:
        sys.stdout = results
        with suppress(OSError):  # told already by who wrote
            kept.close()
        with suppress(Exception):  # C code may hold its output back; not on every system can it be told to write
            import ctypes

            ctypes.CDLL(None).fflush(None)
        os.dup2(aside, number)
        os.close(aside)


@dataclass(frozen=True)
class Look:
    """What the user said about width and colour, and what follows from it for standard output."""

    width_given: int | None = None
    color: str = "auto"

    @property
    def width(self) -> int:
        """The given width, else COLUMNS, else the terminal's, else one that pipes get."""
        columns = self.width_given or _columns()
        return max(columns, NARROWEST)

    @property
    def colour(self) -> bool:
        """Whether to colour: as said, else by NO_COLOR, FORCE_COLOR, and whether a terminal reads."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _columns() -> int:
    """What shutil.get_terminal_size says, which comes with every kind of archive."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        columns = 0
    if columns <= 0:
        with suppress(AttributeError, ValueError, OSError):
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    return columns if columns > 0 else PIPED_WIDTH


@dataclass(frozen=True)
class Destination:
    """One report: its format, and its file, or None for standard output."""

    format: str
    path: Path | None

    def write(self, text: str) -> None:
        """Deliver the report."""
        if self.path is None:
            show(text)
            return
        try:
            _write_whole(self.path, text)
        except OSError as problem:
            raise OutputError(str(self.path), problem) from problem


def _write_whole(path: Path, text: str) -> None:
    """Write beside the file and rename, so that a file is whole or absent; a device or pipe is written to as it is."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8")
        return
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        aside.write_text(text, encoding="utf-8", newline="\n")
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)

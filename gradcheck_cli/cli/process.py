"""The process around a command: exit codes, streams, Ctrl-C, closed pipes, and what to say about a bug of our own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from gradcheck_cli.cli.output import ClosedPipeError, OutputError, Refusal
from gradcheck_cli.results import ExitCode

CLOSED_PIPE = 141  # what a shell reports of any program whose reader went away: 128 + SIGPIPE
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_process(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code of the process."""
    for variable in BLAS_THREADS:  # matrices of a check are small: more threads cost more than they bring
        os.environ.setdefault(variable, "1")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks ∂ shows ? and goes on
    try:
        code = _command(arguments)
        _flush()
    except BrokenPipeError:
        code = CLOSED_PIPE
    except OSError as problem:
        print(f"gradcheck: cannot write the output: {problem.strerror}", file=sys.stderr)
        code = ExitCode.INTERNAL
    _silence_broken_streams()
    return int(code)


def _command(arguments: Sequence[str]) -> int:
    from gradcheck_cli.cli.app import app

    try:
        return int(app.main(list(arguments), prog_name="gradcheck", standalone_mode=False) or ExitCode.MET)
    except click.ClickException as problem:
        problem.show()
        return problem.code if isinstance(problem, (OutputError, Refusal)) else ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        print("gradcheck: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except ClosedPipeError:
        return CLOSED_PIPE
    except Exception as bug:  # noqa: BLE001 - the last line of defence: a crash must not look like a verdict
        _report_bug(bug)
        return ExitCode.INTERNAL


def _report_bug(bug: Exception) -> None:
    import traceback

    where = traceback.extract_tb(bug.__traceback__)[-1]
    traceback.print_exception(bug, file=sys.stderr)
    place = f"{where.filename}:{where.lineno}, in {where.name}"
    print(
        f"gradcheck: internal error: {type(bug).__name__} at {place}; this is a bug in gradcheck, not in the gradient:"
        " no verdict was reached. Please report it with the traceback above and the command that was run.",
        file=sys.stderr,
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _silence_broken_streams() -> None:
    """Point a stream that cannot be flushed at nothing, so that the interpreter does not complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

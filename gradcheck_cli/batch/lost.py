"""Checks that have no result of their own, because their worker ended: why, in words."""

from __future__ import annotations

import signal

from gradcheck_cli.batch.chunk import Reason
from gradcheck_cli.results import CheckResult, ErrorInfo, Verdict
from gradcheck_cli.spec import CheckSpec


def died(exit_code: int | None) -> Reason:
    """The worker ended by itself."""
    if exit_code is None:
        return Reason("WorkerDied", "the worker died before it took the check")
    if exit_code >= 0:
        return Reason("WorkerDied", f"the worker died: exit status {exit_code}")
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    guess = "; the system ends what takes its last memory so" if name == "SIGKILL" else ""
    return Reason("WorkerDied", f"the worker died: {name}{guess}")


def timed_out(seconds: float) -> Reason:
    """The worker was ended because the check took too long."""
    return Reason("TimeoutError", f"no verdict within the timeout of {seconds:g} s; the worker was ended", certain=True)


def no_memory(limit: int) -> Reason:
    """The worker was refused memory."""
    return Reason("MemoryError", f"the worker reached its memory limit of {size(limit)}; --memory-limit sets it")


def size(count: int) -> str:
    """Bytes as people write them: 1.2 GiB."""
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


def without_result(spec: CheckSpec, reason: Reason, seconds: float) -> CheckResult:
    """The result of a check whose worker ended: an error, which meets no expectation."""
    return CheckResult(
        id=spec.id,
        name=spec.name,
        layer=spec.layer_name,
        verdict=Verdict.ERROR,
        expected=Verdict(spec.expect),
        met=False,
        file=spec.file,
        line=spec.line,
        column=spec.column,
        seed=spec.seed,
        dtype=spec.dtype,
        view=spec.view,
        points=spec.points,
        seconds=seconds,
        reproduce=spec.reproduce,
        error=ErrorInfo(reason.type, reason.message),
    )

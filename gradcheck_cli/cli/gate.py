"""What a run means to the process that called it: the exit code, and lines about durations and a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from gradcheck_cli import as_json
from gradcheck_cli.reports import _text, _unmet
from gradcheck_cli.results import CheckResult, ExitCode, RunResult, Verdict
from gradcheck_cli.values import dataclass

F = TypeVar("F", bound=Callable[..., Any])

TEN = 10.0  # a wrong gradient is worse if its error is so many times larger; below, seeds and machines differ


@dataclass(frozen=True)
class Decision:
    """The exit code of the process, and what there is to say beside the reports."""

    exit_code: ExitCode
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """What is accepted of a run. `baseline` is an earlier run, of which nothing may get worse."""

    allow_inconclusive: bool = False
    exit_zero: bool = False
    durations: int | None = None
    baseline: RunResult | None = None

    def accepted(self, check: CheckResult) -> CheckResult:
        """The check as every report and count is to see it: an inconclusive one is met if that is allowed.

        It is not where a failure is expected: nothing was caught.
        """
        allowed = self.allow_inconclusive and check.verdict is Verdict.INCONCLUSIVE and check.expected is Verdict.PASS
        return replace(check, met=True) if allowed and not check.met else check

    def decide(self, run: RunResult) -> Decision:
        """Decide on a run whose checks went through `accepted`."""
        code, lines = run.exit_code, list(self._slowest(run))
        if self.baseline is not None:
            changes = compared(run, replace(self.baseline, checks=tuple(map(self.accepted, self.baseline.checks))))
            lines += changes.lines()
            if code is ExitCode.UNMET and not (changes.new or changes.worse):
                code = ExitCode.MET
        if self.exit_zero and code is ExitCode.UNMET:
            code = ExitCode.MET
        return Decision(code, tuple(lines))

    def _slowest(self, run: RunResult) -> Iterator[str]:
        if self.durations is None or not run.checks:
            return
        slowest = sorted(run.checks, key=lambda check: check.seconds, reverse=True)[: self.durations]
        yield f"slowest {len(slowest)} of {_text.counted(len(run.checks), 'check')}:"
        times = [_text.seconds(check.seconds) for check in slowest]
        for time, check in zip(times, slowest, strict=True):
            yield f"  {time:>{max(map(len, times))}}  {_text.plain(check.id)}"


@dataclass(frozen=True)
class Changes:
    """What became of a run since a baseline. `gone` were not as expected then, and are not in the run now."""

    new: tuple[CheckResult, ...] = ()
    worse: tuple[tuple[CheckResult, str], ...] = ()
    known: tuple[CheckResult, ...] = ()
    fixed: tuple[CheckResult, ...] = ()
    gone: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """What changed, check by check; what is as bad as before is counted only."""
        counts = {"new": self.new, "worse": self.worse, "known": self.known, "fixed": self.fixed, "not run": self.gone}
        yield f"against the baseline: {', '.join(f'{len(checks)} {word}' for word, checks in counts.items())}"
        for check in self.new:
            yield f"  new: {_text.plain(check.id)}  {_text.headline(check)}; {_text.plain(check.reproduce)}"
        for check, why in self.worse:
            yield f"  worse: {_text.plain(check.id)}  {why}; {_text.plain(check.reproduce)}"
        yield from (f"  fixed: {_text.plain(check.id)}" for check in self.fixed)
        yield from (f"  not run: {_text.plain(ident)}" for ident in self.gone)


def compared(run: RunResult, baseline: RunResult) -> Changes:
    """Compare check by check, by id."""
    before = {check.id: check for check in baseline.checks if not check.met}
    unmet = [check for check in run.checks if not check.met]
    reasons = {check.id: _worse(check, before[check.id]) for check in unmet if check.id in before}
    here = {check.id for check in run.checks}
    return Changes(
        new=tuple(check for check in unmet if check.id not in before),
        worse=tuple((check, why) for check in unmet if (why := reasons.get(check.id))),
        known=tuple(check for check in unmet if reasons.get(check.id) == ""),
        fixed=tuple(check for check in run.checks if check.met and check.id in before),
        gone=tuple(ident for ident in before if ident not in here),
    )


def _worse(now: CheckResult, before: CheckResult) -> str:
    """How a check is worse than it was, or nothing."""
    verdict, earlier = _unmet.verdict(now), _unmet.verdict(before)
    if verdict.severity > earlier.severity:
        return f"{verdict}, was {earlier}"
    if now.error and before.error and now.error.type != before.error.type:
        return f"{now.error.type}, was {before.error.type}"
    wrong, was = _wrong(now), _wrong(before)
    for name, (count, error) in wrong.items():
        old_count, old_error = was.get(name, (0, 0.0))
        if count > old_count:
            return f"{_text.plain(name)} has {_text.counted(count, 'wrong element')}, had {old_count}"
        if error > TEN * old_error:
            errors = f"{_text.short(error)}, was {_text.short(old_error)}"
            return f"the relative error of {_text.plain(name)} is {errors}"
    return ""


def _wrong(check: CheckResult) -> Mapping[str, tuple[int, float]]:
    """Of each array with wrong elements, how many there are, and the largest relative error."""
    counts = {array.name: (array.failed + array.nonfinite, array.max_rel_error) for array in check.arrays}
    return {name: one for name, one in counts.items() if one[0]}


def read_result(path: Path) -> RunResult:
    """Read a JSON report; raises `click.BadParameter` where it is none."""
    try:
        return as_json.run_from_text(path.read_bytes())
    except OSError as problem:
        raise click.BadParameter(f"{str(path)!r} can't be read: {problem.strerror}.") from problem
    except ValueError as problem:
        first, *others = str(problem).splitlines()
        more = f" (and {len(others)} more)" if others else ""
        raise click.BadParameter(
            f"{str(path)!r} is no result of gradcheck: {first}{more}; must be written by --report json=PATH."
        ) from problem


def _baseline(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> RunResult | None:  # noqa: ARG001 - click's signature
    return None if value is None else read_result(value)


def gate_options(command: F) -> F:
    """Add the options of a gate, which a command gets by the names of the fields of `Gate`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--allow-inconclusive", is_flag=True, help="Accept checks whose gradient can't be judged."),
    click.option("--exit-zero", is_flag=True, help="Exit 0 even if a check is not as expected."),
    click.option("--durations", type=click.IntRange(min=1), metavar="N", help="Show the N slowest checks."),
    click.option(
        "--baseline",
        type=click.Path(path_type=Path),
        callback=_baseline,
        metavar="FILE",
        help="Fail only on what is new or worse than in this JSON report.",
    ),
)

"""What reports for machines and for reviews say about a check that is not as expected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gradcheck_cli.reports import _text
from gradcheck_cli.results import ArrayResult, CheckResult, Element, Outcome, RunResult, Verdict

_LONGEST = 2000  # characters of one line that user code wrote


def verdict(check: CheckResult) -> Verdict:
    """The verdict of an unmet check; a pass where a failure was expected counts as fail."""
    return Verdict.FAIL if check.verdict is Verdict.PASS else check.verdict


def worst_first(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """The checks that are not as expected: errors, failures, then inconclusive ones, each kind by its worst element."""
    return sorted((check for check in checks if not check.met), key=_badness, reverse=True)


def _badness(check: CheckResult) -> tuple[int, tuple[int, float]]:
    ranks = (element.rank for array in check.arrays for element in array.worst)
    return verdict(check).severity, max(ranks, default=(0, -math.inf))


def where(check: CheckResult) -> str:
    """The file of a check, or what it is called on the command line."""
    return check.file or check.id


def reason(check: CheckResult) -> str:
    """Why, in one line: the error, the first finding of severity error, or what became of the elements."""
    if check.error:
        return _clipped(f"{check.error.type}: {check.error.message}".split("\n")[0])
    errors = [finding for finding in check.findings if finding.severity == "error"]
    if errors:
        return sentence(errors[0].array, errors[0].sentence)
    if check.verdict is not Verdict.PASS:
        return _text.tallied(_text.tally(check.arrays)) or _text.headline(check)
    return "every element passes"


def sentence(array: str | None, told: str) -> str:
    """A finding with the name of its array in front, once."""
    return _clipped(told if array is None or told.startswith(array) else f"{array}: {told}")


def elements(check: CheckResult) -> list[tuple[ArrayResult, Element]]:
    """The worst elements that do not pass, worst first."""
    return [pair for pair in check.worst() if pair[1].outcome not in (Outcome.PASS, Outcome.KINK)]


def lines(check: CheckResult) -> Iterator[str]:
    """All there is to say, line by line; the last one reproduces the check."""
    yield f"{_text.headline(check)}: {reason(check)}"
    if check.error:
        yield from map(_clipped, check.error.message.split("\n")[1:])
        yield from map(_clipped, (check.error.traceback_line or "").splitlines())
    first = reason(check)
    for finding in check.findings:
        told = sentence(finding.array, finding.sentence)
        if told != first:
            yield told
    yield from map(_element, elements(check))
    yield from map(_clipped, check.notes)
    yield f"reproduce: {_text.plain(check.reproduce)}"


def _element(pair: tuple[ArrayResult, Element]) -> str:
    array, element = pair
    analytic, numeric = _text.pair(element.analytic, element.numeric)
    told = f"{_text.label(array, element)}: analytic {analytic}, numeric {numeric} ± {_text.short(element.uncertainty)}"
    return f"{told}, {element.outcome}{f' ({_text.plain(element.reason)})' if element.reason else ''}"


def _clipped(text: str) -> str:
    told = _text.plain(text)
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}..."


def totals(run: RunResult) -> str:
    """What the run amounts to, in one line."""
    summary = run.summary
    counts = {
        Verdict.PASS: summary.passed,
        Verdict.FAIL: summary.failed,
        Verdict.INCONCLUSIVE: summary.inconclusive,
        Verdict.ERROR: summary.errors,
    }
    checks = _text.counted(summary.checks, "check")
    told = f"{summary.unmet} of {checks} not as expected" if summary.unmet else f"{checks}, all as expected"
    stopped = "interrupted; " if run.interrupted else ""
    return f"{stopped}{told}: {_text.verdicts(counts)}" if summary.checks else f"{stopped}no checks"

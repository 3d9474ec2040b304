"""The run as JUnit XML, for CI servers.

Stability: stable. The file is a `testsuites` with one `testsuite` for each config file and one `testcase` for each
check, with the attributes and properties written here; later versions add to them at most. A met expectation is a
success; what is not as expected is an `error` if the check could not be made, and else a `failure`, inconclusive ones
included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gradcheck_cli.reports import _text, _unmet
from gradcheck_cli.results import CheckResult, RunResult, Verdict
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class JUnit:
    """JUnit XML, indented, in UTF-8. What XML can't hold is escaped as in Python, so that it is valid for any name."""

    name: ClassVar[str] = "junit"

    def render(self, run: RunResult) -> str:
        """The whole run."""
        root = Element("testsuites", {"name": "gradcheck", **_counts(run.checks), "time": f"{run.seconds:.6f}"})
        suites: dict[str, list[CheckResult]] = {}
        for check in run.checks:
            suites.setdefault(_unmet.where(check), []).append(check)
        for file, checks in suites.items():
            time = f"{sum(check.seconds for check in checks):.6f}"
            suite = SubElement(root, "testsuite", {"name": _text.plain(file), **_counts(checks), "time": time})
            for check in checks:
                _case(suite, check)
        indent(root)
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _counts(checks: Sequence[CheckResult]) -> dict[str, str]:
    unmet = [_unmet.verdict(check) for check in checks if not check.met]
    errors = unmet.count(Verdict.ERROR)
    counts = {"tests": len(checks), "failures": len(unmet) - errors, "errors": errors, "skipped": 0}
    return {key: str(count) for key, count in counts.items()}


def _case(suite: Element, check: CheckResult) -> None:
    known = {"file": check.file, "line": check.line}
    place = {key: _text.plain(str(value)) for key, value in known.items() if value is not None}
    time = f"{check.seconds:.6f}"
    words = {"classname": _text.plain(_unmet.where(check)), "name": _text.plain(check.name), **place, "time": time}
    case = SubElement(suite, "testcase", words)
    properties = SubElement(case, "properties")
    for key, value in (("seed", check.seed), ("evaluations", check.evaluations)):
        SubElement(properties, "property", {"name": key, "value": str(value)})
    if check.met:
        return
    verdict = _unmet.verdict(check)
    kind = check.error.type if check.error else str(verdict)
    told = {"type": _text.plain(kind), "message": f"{_text.headline(check)}: {_unmet.reason(check)}"}
    SubElement(case, "error" if verdict is Verdict.ERROR else "failure", told).text = "\n".join(_unmet.lines(check))

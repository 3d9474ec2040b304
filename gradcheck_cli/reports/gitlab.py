"""What is not as expected as a code quality report of GitLab: a JSON array with one issue for each check.

Stability: stable. The schema is GitLab's for code quality reports; `fingerprint` depends on nothing but the id of the
check, so that an issue stays the same over commits, seeds and versions.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar

from gradcheck_cli.reports import _text, _unmet
from gradcheck_cli.results import CheckResult, RunResult, Verdict
from gradcheck_cli.values import dataclass

_SEVERITY = {Verdict.ERROR: "critical", Verdict.FAIL: "major", Verdict.INCONCLUSIVE: "minor"}


@dataclass(frozen=True)
class GitLab:
    """The issues, worst first."""

    name: ClassVar[str] = "gitlab"

    def render(self, run: RunResult) -> str:
        """The whole run; an empty array if all is as expected."""
        issues = [_issue(check) for check in _unmet.worst_first(run.checks)]
        return json.dumps(issues, indent=2, ensure_ascii=False) + "\n"


def _issue(check: CheckResult) -> dict[str, Any]:
    rules = [finding.rule for finding in check.findings if finding.severity == "error"]
    why = f"{_text.plain(check.name)} {_text.headline(check)}: {_unmet.reason(check)}"
    return {
        "type": "issue",
        "check_name": f"gradcheck/{rules[0] if rules else _unmet.verdict(check)}",
        "description": f"{why}; reproduce: {_text.plain(check.reproduce)}",
        "fingerprint": hashlib.sha256(check.id.encode("utf-8", "backslashreplace")).hexdigest(),
        "severity": _SEVERITY[_unmet.verdict(check)],
        "location": {"path": _text.plain(_unmet.where(check)), "lines": {"begin": check.line or 1}},
    }

"""One line of JSON for each check, as it stands under `checks` in the JSON report: whole up to wherever it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from gradcheck_cli import as_json
from gradcheck_cli.results import CheckResult, RunResult
from gradcheck_cli.values import dataclass, field

KEY = "fingerprint"  # beside the keys of the check: what it was made from


@dataclass(frozen=True)
class Jsonl:
    """A line for each check, in UTF-8. `gradcheck run` writes it as soon as the check ends, with its fingerprint.

    `fingerprints` maps ids of checks to a text that changes with what the check was made from: a run that is resumed
    makes those again whose text is another one now.
    """

    name: ClassVar[str] = "jsonl"

    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def render(self, run: RunResult) -> str:
        """Every check of a run."""
        return "".join(map(self.line, run.checks))

    def line(self, check: CheckResult) -> str:
        """One check."""
        known = self.fingerprints.get(check.id)
        plain = check.to_dict() if known is None else check.to_dict() | {KEY: known}
        return json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"

    def read(self, text: str) -> dict[str, CheckResult]:
        """The checks in a text by id, the last of each, of those whose fingerprints are the ones here.

        A last line that is torn, and lines that are no results, are left out.
        """
        found: dict[str, CheckResult] = {}
        for line in text.split("\n"):
            check = self._check(line)
            if check is not None:
                found[check.id] = check
        return found

    def _check(self, line: str) -> CheckResult | None:
        try:
            plain = json.loads(line)
        except ValueError:
            return None
        ident = plain.get("id") if isinstance(plain, dict) else None
        if not isinstance(ident, str) or ident not in self.fingerprints:
            return None
        if plain.pop(KEY, None) != self.fingerprints[ident]:
            return None
        try:
            return as_json.check_from_dict(plain)
        except ValueError:
            return None

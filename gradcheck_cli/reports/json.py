"""The run as JSON, for programs: the keys of `RunResult.to_dict`, strict JSON, the same from version to version."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from gradcheck_cli.results import RunResult


@dataclass(frozen=True)
class Json:
    """One JSON object, indented, in UTF-8; NaN and infinities are strings."""

    name: ClassVar[str] = "json"

    def render(self, run: RunResult) -> str:
        """The whole run."""
        return json.dumps(run.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

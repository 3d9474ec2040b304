"""The run as JSON, for programs: the keys of `RunResult.to_dict`, strict JSON, the same from version to version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from gradcheck_cli import as_json
from gradcheck_cli.results import RunResult
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class Json:
    """One JSON object, indented, in UTF-8; NaN and infinities are strings."""

    name: ClassVar[str] = "json"

    def render(self, run: RunResult) -> str:
        """The whole run."""
        return "".join(_parts(run))


def _parts(run: RunResult) -> Iterator[str]:
    """Check by check: a mapping of ten thousand of them would take ten times the memory of the text."""
    yield _dumped(as_json.head_of_run(run)).removesuffix("\n}") + ',\n  "checks": ['
    for number, check in enumerate(run.checks):
        yield (",\n    " if number else "\n    ") + _dumped(check.to_dict()).replace("\n", "\n    ")
    yield "\n  ]\n}\n" if run.checks else "]\n}\n"


def _dumped(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)

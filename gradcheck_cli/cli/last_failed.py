"""Which checks were not as expected when they were last run in this working directory."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from gradcheck_cli.results import RunResult

FOLDER = Path(".gradcheck")
FILE = FOLDER / "last-failed.json"


def recall() -> frozenset[str]:
    """The ids; none where nothing is remembered, or what is there can't be read."""
    try:
        ids = json.loads(FILE.read_bytes())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(filter(lambda ident: isinstance(ident, str), ids if isinstance(ids, list) else ()))


def remember(run: RunResult) -> None:
    """Note which checks of a run were not as expected; those that were not in it stay as they were.

    A working directory that can't be written to remembers nothing.
    """
    unmet = {check.id for check in run.checks if not check.met}
    ids = sorted(recall() - {check.id for check in run.checks} | unmet)
    if not ids and not FILE.exists():
        return
    with suppress(OSError):
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / ".gitignore").write_text("*\n")
        aside = FILE.with_suffix(".part")
        aside.write_text(json.dumps(ids, indent=0) + "\n")
        aside.replace(FILE)

"""Configs as text, for the tests of gradcheck_cli.config."""

from pathlib import Path
from typing import Any

from gradcheck_cli import config
from gradcheck_cli.spec import CheckSpec


def loaded(folder: Path, text: str, **settings: Any) -> tuple[CheckSpec, ...]:
    """The checks of a file with this text."""
    file = folder / "a.yaml"
    file.write_text(text, encoding="utf-8")
    return config.load([str(file)], **settings)


def complaints(folder: Path, text: str, **settings: Any) -> list[str]:
    """The problems of a file with this text, less the name of the file; none if it is right."""
    try:
        loaded(folder, text, **settings)
    except config.ConfigError as error:
        return [str(problem).replace(f"{folder / 'a.yaml'}:", "", 1).strip() for problem in error.problems]
    return []


def check(entries: str) -> str:
    """A config of one check, whose keys stand at column 5; the first of them is on line 3."""
    lines = entries.strip("\n").split("\n")
    return "version: 1\nchecks:\n  - " + "\n    ".join(lines) + "\n"

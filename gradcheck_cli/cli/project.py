"""What the working directory's own pyproject.toml says under [tool.gradcheck]."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from gradcheck_cli.adapters.references import misnamed
from gradcheck_cli.cli.output import Destination, Refusal
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.values import dataclass

FILE = "pyproject.toml"


@dataclass(frozen=True)
class Project:
    """Defaults of `gradcheck run`; each key is a list of strings, but `jobs` is what -n takes."""

    paths: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    pythonpath: tuple[str, ...] = ()
    jobs: int | str | None = None
    reports: tuple[str, ...] = ()


def read(folder: Path) -> Project:
    """Read the file of this folder, if there is one; every problem in it is told at once."""
    try:
        raw = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return Project()
    except OSError as problem:
        raise Refusal(f"{FILE}: cannot be read: {problem.strerror}") from problem
    table = _table(raw)
    problems = [told for key, value in table.items() if (told := _problem(key, value))]
    if problems:
        raise Refusal("\n".join(problems))
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Project(**values)


def destinations(project: Project) -> tuple[Destination, ...]:
    """Where the reports go."""
    from gradcheck_cli.cli.options import report

    try:
        return tuple(map(report, project.reports))
    except click.BadParameter as wrong:
        raise Refusal(f"{FILE}: tool.gradcheck.reports: {wrong.message}") from wrong


def _table(raw: bytes) -> dict[str, Any]:
    import tomllib

    try:
        document = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise Refusal(f"{FILE}: {problem}; must be TOML") from problem
    tool = document.get("tool", {})
    table = tool.get("gradcheck", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise Refusal(f"{FILE}: tool.gradcheck: {table!r}; must be a table")
    return table


def _problem(key: str, value: object) -> str | None:
    known = [field.name for field in fields(Project)]
    if key not in known:
        hint = did_you_mean(key, known) or f"; must be one of {', '.join(known)}"
        return f"{FILE}: tool.gradcheck: unknown key {key!r}{hint}"
    if key == "jobs":
        right = value == "auto" or (type(value) is int and value >= 0)
        return None if right else f"{FILE}: tool.gradcheck.jobs: {value!r}; must be a number from 0 on, or 'auto'"
    if not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
        return f"{FILE}: tool.gradcheck.{key}: {value!r}; must be a list of strings"
    wrong = [told for module in value if (told := misnamed(module))] if key == "allow" else []
    return f"{FILE}: tool.gradcheck.allow: {wrong[0]}" if wrong else None

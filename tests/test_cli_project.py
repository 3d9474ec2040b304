"""[tool.gradcheck] of the working directory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gradcheck_cli.cli.options import report_names
from gradcheck_cli.cli.output import Destination, Refusal
from gradcheck_cli.cli.project import Project, destinations, read


def test_folder_without_a_file_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == Project()


def test_file_about_other_tools_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 120\n")
    assert read(tmp_path) == Project()


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.gradcheck]\npaths = ["a", "b"]\nallow = ["m"]\npythonpath = ["src"]\n'
        'jobs = "auto"\nreports = ["json=a"]\n'
    )
    assert read(tmp_path) == Project(("a", "b"), ("m",), ("src",), "auto", ("json=a",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[tool.gradcheck]\npath = ["a"]\n',
            "pyproject.toml: tool.gradcheck: unknown key 'path'; did you mean 'paths'?",
        ),
        (
            "[tool.gradcheck]\nzzz = 1\n",
            "pyproject.toml: tool.gradcheck: unknown key 'zzz'; must be one of paths, allow, pythonpath, jobs, reports",
        ),
        (
            '[tool.gradcheck]\npaths = "configs"\n',
            "pyproject.toml: tool.gradcheck.paths: 'configs'; must be a list of strings",
        ),
        ("[tool.gradcheck]\nallow = [1]\n", "pyproject.toml: tool.gradcheck.allow: [1]; must be a list of strings"),
        (
            "[tool.gradcheck]\njobs = -1\n",
            "pyproject.toml: tool.gradcheck.jobs: -1; must be a number from 0 on, or 'auto'",
        ),
        (
            '[tool.gradcheck]\njobs = "two"\n',
            "pyproject.toml: tool.gradcheck.jobs: 'two'; must be a number from 0 on, or 'auto'",
        ),
        ("[tool]\ngradcheck = 3\n", "pyproject.toml: tool.gradcheck: 3; must be a table"),
        (
            '[tool.gradcheck]\npath = []\nallow = ""\n',
            """pyproject.toml: tool.gradcheck: unknown key 'path'; did you mean 'paths'?
pyproject.toml: tool.gradcheck.allow: ''; must be a list of strings""",
        ),
    ],
)
def test_what_is_wrong_is_told_at_once(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(Refusal, match=f"^{re.escape(message)}$"):
        read(tmp_path)


def test_broken_toml_is_located(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.gradcheck\n")
    with pytest.raises(Refusal, match=r"^pyproject\.toml: .*\(at line 1, column 16\); must be TOML$"):
        read(tmp_path)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff")
    with pytest.raises(Refusal, match=r"^pyproject\.toml: 'utf-8' codec .*; must be TOML$"):
        read(tmp_path)


def test_reports_are_destinations(tmp_path: Path) -> None:
    project = Project(reports=("json=out.json", "table"))
    assert destinations(project) == (Destination("json", Path("out.json")), Destination("table", None))


def test_report_of_no_format_is_refused() -> None:
    message = (
        "pyproject.toml: tool.gradcheck.reports: unknown format 'jsn'; did you mean 'json'?; there are "
        f"{', '.join(report_names())}."
    )
    with pytest.raises(Refusal, match=f"^{re.escape(message)}$"):
        destinations(Project(reports=("jsn",)))

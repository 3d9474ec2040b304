"""The README is true: its configs are valid, its commands print what it shows. As a program, this rewrites them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import gradcheck_cli

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
INSTALL = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/gradcheck run configs/homework"
TEST = "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest"

BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)```\n", re.DOTALL)
NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


def blocks(kind: str, text: str) -> list[re.Match[str]]:
    return [block for block in BLOCK.finditer(text) if block["kind"] == kind]


TEXT = README.read_text(encoding="utf-8")
CONSOLES = {block["body"].split("\n")[0].removeprefix("$ "): block["body"] for block in blocks("console", TEXT)}
FILES = {block["file"]: block["body"] for kind in ("yaml", "python") for block in blocks(kind, TEXT) if block["file"]}


COMMANDS = ("run", "check", "layers", "validate", "merge", "schema")
REFUSED = {"mistakes.yaml", "typo.yaml", "course_one.yaml"}


def workplace(folder: Path) -> Path:
    """The working directory that the README has in mind: the examples, and the configs that it shows."""
    (folder / "configs").symlink_to(ROOT / "configs")
    for name, body in FILES.items():
        (folder / name).write_text(body, encoding="utf-8")
    return folder


def output(command: str, folder: Path) -> str:
    """What a command prints, errors included, as a terminal shows it."""
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    script = f'python() {{ "{sys.executable}" "$@"; }}; gradcheck() {{ python -m gradcheck_cli "$@"; }}; {command}'
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(Path(gradcheck_cli.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    return done.stdout


def numbers_aside(text: str) -> list[str]:
    """Its lines in any order, for the worst of elements that pass is a matter of the last digit."""
    return sorted(re.sub(r"[─\s]+", " ", NUMBER.sub("#", line)).strip() for line in text.splitlines())


@pytest.mark.parametrize("command", CONSOLES)
def test_command_prints_what_is_shown(command: str, tmp_path: Path) -> None:
    shown = CONSOLES[command].partition("\n")[2]
    assert shown
    assert numbers_aside(output(command, workplace(tmp_path))) == numbers_aside(shown)


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith(".yaml") and file not in REFUSED])
def test_config_that_is_shown_is_valid(file: str, tmp_path: Path) -> None:
    assert output(f"gradcheck validate {file}", workplace(tmp_path)).endswith(" in 1 file can be run\n")


def test_it_opens_with_one_sentence_and_the_two_commands() -> None:
    title, sentence, *_ = TEXT.split("\n\n")
    assert title == "# gradcheck"
    assert sentence.count(".") == 1
    assert [block["body"] for block in blocks("sh", TEXT)] == [f"{INSTALL}\n", f"{TEST}\n"]


def test_ci_runs_the_two_commands() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines.index(INSTALL) < lines.index(TEST)


def test_every_option_that_is_named_exists() -> None:
    helps = "".join(output(f"gradcheck {command} -h", ROOT) for command in COMMANDS)
    named = set(re.findall(r"(?<![\w.-])--?[a-z]+(?=[ `=])", BLOCK.sub("", TEXT)))
    named -= {"--strict", "--check", "-m", "-p"}  # of mypy, ruff, python and pytest
    assert named <= set(re.findall(r"--?[a-z]+", helps))
    assert {"--all", "--top", "--report", "--seed", "--width", "--maxfail", "-k", "-x", "-v", "-q"} <= named


def rewrite() -> None:
    """Put the outputs of the commands into the README."""
    with tempfile.TemporaryDirectory() as folder:
        place = workplace(Path(folder))
        text = BLOCK.sub(
            lambda block: _renewed(block[0], block["body"], place) if block["kind"] == "console" else block[0], TEXT
        )
    README.write_text(text, encoding="utf-8")


def _renewed(whole: str, body: str, place: Path) -> str:
    command = body.split("\n")[0]
    return whole.replace(body, f"{command}\n{output(command.removeprefix('$ '), place)}")


if __name__ == "__main__":
    rewrite()

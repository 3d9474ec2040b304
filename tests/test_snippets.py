"""What users copy into their CI: it parses, and its commands do what they should, in a project of a user."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

import gradcheck_cli

ROOT = Path(__file__).parents[1]
CI = ROOT / "configs" / "ci"
WORKFLOWS = CI / ".github" / "workflows"
PACKAGE = str(Path(gradcheck_cli.__file__).parents[1])
CONFIG = """\
version: 1
checks:
  - {name: right, layer: softmax, arrays: {x: {shape: [3]}}}
  - {name: wrong, layer: tanh, arrays: {x: {shape: [2]}}, expect: fail}
  - {name: last, layer: relu, arrays: {x: {shape: [2]}}}
"""
INSTALL = "pip install gradcheck-cli"


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text("utf-8"))


def steps(workflow: str, job: str) -> Iterator[dict[str, Any]]:
    yield from read(WORKFLOWS / f"{workflow}.yml")["jobs"][job]["steps"]


def commands(workflow: str, job: str) -> list[str]:
    """The commands of gradcheck; what else runs is the installation."""
    lines = [step["run"] for step in steps(workflow, job) if "run" in step]
    assert lines[0] == INSTALL
    assert all(line.startswith("gradcheck ") for line in lines[1:])
    return lines[1:]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a.yaml").write_text(CONFIG)
    return tmp_path


def run(command: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell, as a CI service runs it."""
    script = f'gradcheck() {{ {shlex.quote(sys.executable)} -m gradcheck_cli "$@"; }}; {command}'
    environment = {key: value for key, value in os.environ.items() if key != "GITHUB_STEP_SUMMARY"}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={**environment, "PYTHONPATH": PACKAGE, "PYTHONIOENCODING": "utf-8", **more},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_configs_are_found_beside_the_snippets() -> None:
    assert run("gradcheck validate configs", ROOT).returncode == 0


def test_github_workflow_annotates_and_keeps_reports(project: Path) -> None:
    (command,) = commands("gradcheck", "gradcheck")
    done = run(command, project, GITHUB_STEP_SUMMARY=str(project / "summary.md"))
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "slowest 3 of 3 checks:")
    assert done.stdout.startswith("::error file=configs/a.yaml,line=4,col=5,title=wrong::passes, but was expected to")
    assert (project / "summary.md").read_text("utf-8").startswith("## gradcheck: 1 of 3 checks not as expected")
    assert ElementTree.parse(project / "gradcheck.xml").getroot().get("tests") == "3"
    assert json.loads((project / "gradcheck.json").read_text("utf-8"))["summary"]["unmet"] == 1
    (upload,) = (step["with"]["path"] for step in steps("gradcheck", "gradcheck") if "upload" in step.get("uses", ""))
    assert {path.name for path in project.glob(upload)} == {"gradcheck.xml", "gradcheck.json"}


def test_github_shards_make_one_verdict(project: Path) -> None:
    jobs = read(WORKFLOWS / "gradcheck-shards.yml")["jobs"]
    shards = jobs["shard"]["strategy"]["matrix"]["shard"]
    (command,) = commands("gradcheck-shards", "shard")
    for shard in shards:
        done = run(command.replace("${{ matrix.shard }}", str(shard)), project)
        assert done.returncode == 0, done.stderr
    assert len(list(project.glob("shard-*.json"))) == len(shards)
    (merge,) = commands("gradcheck-shards", "verdict")
    done = run(merge, project)
    assert done.returncode == 1
    assert done.stdout.startswith("::error file=configs/a.yaml,line=4,col=5,title=wrong::")
    assert ElementTree.parse(project / "gradcheck.xml").getroot().get("tests") == "3"
    assert jobs["verdict"]["needs"] == "shard"


def test_gitlab_job_writes_the_artifacts_that_it_names(project: Path) -> None:
    job = read(CI / ".gitlab-ci.yml")["gradcheck"]
    install, command = job["script"]
    assert install == INSTALL
    assert run(command, project).returncode == 1
    reports = job["artifacts"]["reports"]
    assert set(reports) == {"junit", "codequality"}
    assert ElementTree.parse(project / reports["junit"]).getroot().get("failures") == "1"
    (issue,) = json.loads((project / reports["codequality"]).read_text("utf-8"))
    assert issue["location"] == {"path": "configs/a.yaml", "lines": {"begin": 4}}


def hooks() -> dict[str, dict[str, Any]]:
    return {hook["id"]: hook for hook in read(ROOT / ".pre-commit-hooks.yaml")}


def called(hook: dict[str, Any], files: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What pre-commit does with the files of a commit that a hook is for."""
    mine = [file for file in files if re.search(hook.get("files", ""), file)]
    mine = [file for file in mine if not re.search(hook.get("exclude", "^$"), file)]
    return run(f"{hook['entry']} {shlex.join(mine if hook.get('pass_filenames', True) else [])}", folder)


def test_hooks_have_what_pre_commit_asks_for() -> None:
    assert list(hooks()) == ["gradcheck-validate", "gradcheck"]
    assert all({"id", "name", "entry", "language"} <= set(hook) for hook in hooks().values())
    assert all(hook["language"] == "python" for hook in hooks().values())


def test_validate_hook_reads_the_configs_that_changed(project: Path) -> None:
    hook, files = hooks()["gradcheck-validate"], ["configs/a.yaml", "README.md", "ci.yml", "configs/.hidden.yml"]
    (project / "configs" / "base.yaml").write_text("version: 1\ndefaults: {seed: 1}\n")
    done = called(hook, [*files, "configs/base.yaml"], project)
    assert (done.returncode, done.stdout) == (0, "3 checks in 1 file can be run\n")
    (project / "configs" / "a.yaml").write_text(CONFIG.replace("relu", "rleu"))
    done = called(hook, files, project)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "configs/a.yaml:5:25: checks[2].layer: unknown layer 'rleu'; did you mean 'relu'?\n"


def test_run_hook_runs_every_check(project: Path) -> None:
    done = called(hooks()["gradcheck"], ["layers.py"], project)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith("✗  configs/a.yaml::wrong  passes, but was expected to fail")
    assert done.stdout.splitlines()[1].startswith("1 of 3 checks not as expected: 3 pass;")

"""What the options of `gradcheck run` choose, refuse and remember."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from batch_runs import gradcheck, write_culprits
from click.testing import CliRunner, Result

from gradcheck_cli.cli import last_failed
from gradcheck_cli.cli.output import Refusal
from gradcheck_cli.cli.run import run
from gradcheck_cli.cli.workers import memory
from gradcheck_cli.results import CheckResult, RunResult, Verdict

CHECKS = """\
version: 1
checks:
  - {name: soft, layer: softmax, arrays: {x: {shape: [3]}}}
  - {name: softer, layer: softmax, options: {beta: 0.5}, arrays: {x: {shape: [3]}}}
  - {name: linked, chain: [{layer: tanh}, {layer: softmax}], arrays: {0.x: {shape: [3]}}}
  - {name: bad, formula: {forward: x * x, gradients: {x: x * dy}}, arrays: {x: {shape: [3]}}}
  - {name: right, formula: {forward: x * x, gradients: {x: 2 * x * dy}}, arrays: {x: {shape: [3]}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a.yaml").write_text(CHECKS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(*words: str) -> Result:
    return CliRunner().invoke(run, words, standalone_mode=False)


def ids(*words: str) -> list[str]:
    done = called(*words, "--list")
    assert done.exception is None, done.exception
    return [line.removeprefix("configs/a.yaml::") for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["soft", "softer", "linked", "bad", "right"]),
        (["configs/a.yaml::bad"], ["bad"]),
        (["-k", "soft"], ["soft", "softer"]),
        (["-k", "soft and not softer"], ["soft"]),
        (["--layer", "softmax"], ["soft", "softer", "linked"]),
        (["--layer", "formula"], ["bad", "right"]),
        (["--layer", "tanh", "--layer", "formula"], ["linked", "bad", "right"]),
        (["--layer", "softmax", "-k", "linked or bad"], ["linked"]),
        (["--shard", "1/1"], ["soft", "softer", "linked", "bad", "right"]),
    ],
)
def test_selection_is_listed(words: list[str], names: list[str], folder: Path) -> None:
    assert ids(*words) == names


def test_shards_share_the_selection_out(folder: Path) -> None:
    parts = [ids("-k", "soft or right", "--shard", f"{k}/3") for k in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == ["right", "soft", "softer"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layer", "sofmax"], "--layer 'sofmax': no check of the configs is of it; did you mean 'softmax'?"),
        (
            ["--layer", "zzz"],
            "--layer 'zzz': no check of the configs is of it; they are of chain, formula, softmax, tanh",
        ),
        (["--shard", "0/3"], "'0/3'; must be K/N with K from 1 to N, as in 2/5."),
        (["--shard", "4/3"], "'4/3'; must be K/N with K from 1 to N, as in 2/5."),
        (["--shard", "two"], "'two'; must be K/N with K from 1 to N, as in 2/5."),
        (["-n", "-1"], "'-1'; must be a number of workers, 0 for none, or auto."),
        (["-n", "many"], "'many'; must be a number of workers, 0 for none, or auto."),
        (["--memory-limit", "lots"], "'lots'; must be a number with a unit, as in 1.5G or 800M."),
        (["--memory-limit", "1M"], "'1M'; must be at least 64M."),
        (
            ["--memory-limit", "1G", "-n", "0"],
            "--memory-limit is for workers of this machine; leave it or -n 0 out.",
        ),
        (
            ["--memory-limit", "1G", "--executor", "m:f"],
            "--memory-limit is for workers of this machine; leave it or --executor out.",
        ),
    ],
)
def test_usage_is_told(words: list[str], message: str, folder: Path) -> None:
    error = called(*words).exception
    assert isinstance(error, click.UsageError)
    assert error.message == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", "nothing"], "gradcheck: none of 5 checks matches -k 'nothing'"),
        (["-k", "bad", "--layer", "softmax"], "gradcheck: no check of softmax is among the chosen"),
    ],
)
def test_empty_selection_is_nothing_checked(words: list[str], message: str, folder: Path) -> None:
    error = called(*words).exception
    assert isinstance(error, Refusal)
    assert (error.message, error.code) == (message, 5)


@pytest.mark.parametrize(
    ("text", "count"), [("64M", 2**26), ("1.5G", 3 * 2**29), ("2 GiB", 2**31), ("1tb", 2**40), ("100000000", 10**8)]
)
def test_memory_is_read(text: str, count: int) -> None:
    assert memory(click.Context(run), click.Option(["--memory-limit"]), text) == count


def test_timeout_needs_a_worker(tmp_path: Path) -> None:
    write_culprits(tmp_path, ["double", "endless"], endless={"timeout": "1"})
    refused = gradcheck("run", "a.yaml", "--allow", "culprits", "-n", "0", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[-1] == (
        "Error: a.yaml::c001 has a timeout, which -n 0 can't keep: the worker can't be ended; "
        "use -n 1 or more, or leave the timeout out."
    )
    assert gradcheck("run", "a.yaml", "--allow", "culprits", "-q", cwd=tmp_path).returncode == 1


def test_user_code_gets_a_worker_unless_told_otherwise(tmp_path: Path) -> None:
    write_culprits(tmp_path, ["leave"])
    words = ["run", "a.yaml", "--allow", "culprits", "-q"]
    assert gradcheck(*words, "-n", "0", cwd=tmp_path).returncode == 3  # it ends the process itself
    done = gradcheck(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "WorkerDied: the worker died: exit status 3" in done.stdout


def test_last_failed_are_chosen_again(folder: Path) -> None:
    assert called("-q").return_value == 1
    assert json.loads(last_failed.FILE.read_text()) == ["configs/a.yaml::bad"]
    assert (last_failed.FOLDER / ".gitignore").read_text() == "*\n"
    assert ids("--last-failed") == ["bad"]
    called("-q", "configs/a.yaml::soft")
    assert ids("--last-failed") == ["bad"]  # it was not in the run
    config = folder / "configs" / "a.yaml"
    config.write_text(CHECKS.replace("{x: x * dy}", "{x: 2 * x * dy}"))
    assert called("-q", "--last-failed").return_value == 0
    done = called("--last-failed", "--list")
    assert done.stderr == "gradcheck: none of these checks failed last time; all of them are run\n"
    assert len(done.stdout.splitlines()) == 5


def test_nothing_is_remembered_where_nothing_failed(folder: Path) -> None:
    called("-q", "-k", "soft")
    assert not last_failed.FOLDER.exists()


@pytest.mark.parametrize("text", ["", "{}", "[1, null]", "\x00"])
def test_unreadable_memory_is_none(text: str, folder: Path) -> None:
    last_failed.FOLDER.mkdir()
    last_failed.FILE.write_text(text)
    assert last_failed.recall() == frozenset()
    unmet = CheckResult("a", "a", "tanh", Verdict.FAIL, met=False)
    last_failed.remember(RunResult((unmet,)))
    assert last_failed.recall() == {"a"}


def test_working_directory_that_is_read_only_remembers_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "mkdir", refused)
    assert called("-q").return_value == 1
    assert not last_failed.FOLDER.exists()


def test_project_gives_jobs_and_reports(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.gradcheck]\njobs = 0\nreports = ["json=out.json", "table=out.txt"]\n')
    assert called("-q").return_value == 1
    assert json.loads((folder / "out.json").read_text())["summary"]["checks"] == 5
    assert (folder / "out.txt").exists()
    (folder / "out.txt").unlink()
    called("-q", "--report", "json=other.json")
    assert (folder / "other.json").exists()
    assert not (folder / "out.txt").exists()  # the command line replaces them


def test_jobs_of_the_project_are_kept(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.gradcheck]\njobs = 0\n")
    config = folder / "configs" / "a.yaml"
    config.write_text(CHECKS.replace("{name: soft,", "{name: soft, timeout: 60,"))
    message = "configs/a.yaml::soft has a timeout, which -n 0 can't keep: "
    assert re.match(re.escape(message), str(called().exception))
    assert called("-n", "1", "-q").return_value == 1

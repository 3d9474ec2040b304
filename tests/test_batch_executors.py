"""Checks sent through executors: any of `concurrent.futures`, and a real dask cluster that loses a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from batch_runs import environment, gradcheck, read, seconds_aside, start, write_culprits, write_files

FACTORIES = """\
import concurrent.futures
import multiprocessing

def processes():
    return concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))

def threads():
    return concurrent.futures.ThreadPoolExecutor(4)

def nothing():
    return None

def fails():
    return 1 / 0
"""
CLUSTER = """\
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL")
    print(cluster.scheduler_address, *(nanny.process.pid for nanny in cluster.workers.values()), flush=True)
    sys.stdin.read()
    cluster.close()
"""
REPORT = ["-q", "--report", "json=out.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "factories.py").write_text(FACTORIES)
    return write_files(tmp_path, 3)


@pytest.mark.parametrize("factory", ["processes", "threads"])
def test_any_executor_makes_the_same_report(factory: str, folder: Path) -> None:
    words = ["--executor", f"factories:{factory}", "--allow", "factories"]
    assert gradcheck("run", *words, *REPORT, cwd=folder).returncode == 1
    sent = read(folder / "out.json")
    gradcheck("run", "-n", "0", *REPORT, cwd=folder)
    assert sent == read(folder / "out.json")


def test_executor_that_breaks_is_made_again_and_only_the_guilty_check_is_an_error(folder: Path) -> None:
    functions = ["double"] * 130
    functions[5] = functions[70] = "segfault"
    write_culprits(folder, functions)
    words = ["--executor", "factories:processes", "--allow", "factories", "--allow", "culprits"]
    assert gradcheck("run", "a.yaml", *words, *REPORT, cwd=folder).returncode == 1
    report = read(folder / "out.json")
    assert report["summary"]["checks"] == 130
    errors = {check["name"]: check["error"]["type"] for check in report["checks"] if check["error"]}
    assert errors == {"c005": "BrokenProcessPool", "c070": "BrokenProcessPool"}
    assert report["summary"]["passed"] == 128


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--executor", "factories:processes"],
            (
                """Error: --executor: module 'factories' is not allowed; add --allow factories, """
                """or allow = ["factories"] under [tool.gradcheck] in pyproject.toml"""
            ),
        ),
        (
            ["--executor", "factories:proceses", "--allow", "factories"],
            (
                "Error: --executor: 'proceses' is not defined in factories.py; module 'factories' must define it "
                "itself, not import it; did you mean 'processes'?"
            ),
        ),
        (
            ["--executor", "factories:fails", "--allow", "factories"],
            "gradcheck: --executor factories:fails: ZeroDivisionError: division by zero",
        ),
        (
            ["--executor", "factories:nothing", "--allow", "factories"],
            (
                "gradcheck: --executor factories:nothing: the function returned a NoneType; must return a "
                "concurrent.futures.Executor"
            ),
        ),
        pytest.param(
            ["--executor", "dask://127.0.0.1:1"],
            "Error: --executor dask://127.0.0.1:1: no scheduler answers there (OSError); must be its HOST:PORT.",
            marks=pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed"),
        ),
        (
            ["--executor", "factories:processes", "--allow", "factories", "-n", "2"],
            "Error: -n and --executor contradict each other: an executor has workers of its own.",
        ),
    ],
)
def test_executor_that_is_none_is_refused(words: list[str], message: str, folder: Path) -> None:
    done = gradcheck("run", *words, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == message


def test_timeout_cannot_be_kept_by_an_executor(folder: Path) -> None:
    write_culprits(folder, ["double"], double={"timeout": "5"})
    words = ["--allow", "culprits", "--allow", "factories", "--executor", "factories:threads"]
    done = gradcheck("run", "a.yaml", *words, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "Error: a.yaml::c000 has a timeout, which --executor can't keep: the worker can't be ended; "
        "use -n 1 or more, or leave the timeout out."
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """The address of a cluster of two worker processes, and their pids."""
    pytest.importorskip("distributed")
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    (tmp_path / "elsewhere").mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path / "elsewhere",
        env=environment(DASK_TEMPORARY_DIRECTORY=str(tmp_path / "elsewhere")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert process.stdout is not None
    address, *pids = process.stdout.readline().split()
    yield address.replace("tcp://", "dask://"), [int(pid) for pid in pids]
    process.communicate(timeout=60)


def test_cluster_loses_no_check_when_a_worker_is_killed(cluster: tuple[str, list[int]], folder: Path) -> None:
    address, pids = cluster
    write_culprits(folder, ["double", "quick"] * 60 + ["ends_one_worker"] + ["double"] * 20)
    words = ["run", "a.yaml", "--allow", "culprits", "--report", "jsonl=out.jsonl", *REPORT]
    process = start(*words, "--executor", address, cwd=folder)
    while not (folder / "out.jsonl").exists() or (folder / "out.jsonl").read_bytes().count(b"\n") < 10:
        assert process.poll() is None
    os.kill(pids[0], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out.splitlines()[:-1]) == (0, []), err
    assert out.startswith("141 checks pass; ")
    sent = read(folder / "out.json")
    assert (folder / "culprits.py.ended").exists()
    done = gradcheck("run", "a.yaml", "--allow", "culprits", "-n", "0", "-q", "--report", "json=out.json", cwd=folder)
    assert done.returncode == 0
    assert read(folder / "out.json") == sent


def test_cluster_is_left_at_once_when_interrupted(cluster: tuple[str, list[int]], folder: Path) -> None:
    write_culprits(folder, ["slow"] * 60)
    words = ["run", "a.yaml", "--allow", "culprits", "--report", "jsonl=out.jsonl", *REPORT]
    process = start(*words, "--executor", cluster[0], cwd=folder)
    while not (folder / "out.jsonl").exists() or not (folder / "out.jsonl").read_bytes():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    report = json.loads((folder / "out.json").read_text())
    assert 1 <= seconds_aside(report)["summary"]["checks"] < 60

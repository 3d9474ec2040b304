"""Runs of a size at which it shows whether nothing is lost, slow or kept in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from batch_runs import GRADCHECK, IN_A_FILE, environment, gradcheck, read, write_culprits, write_files

FILES = int(os.environ.get("GRADCHECK_SCALE_FILES", "50"))  # 1000 is 10,000 checks


def test_thousand_checks_are_the_same_from_workers_in_process_and_in_shards(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    reports = {}
    for jobs in ("auto", "0"):
        assert largest(tmp_path, "run", "-q", "-n", jobs, "--report", "json=out.json") < 500 * 2**20
        reports[jobs] = read(tmp_path / "out.json")
    assert reports["auto"]["summary"]["checks"] == IN_A_FILE * FILES
    assert reports["auto"] == reports["0"]
    shards = [f"{k}.json" for k in range(1, 6)]
    for k, shard in enumerate(shards, 1):
        gradcheck("run", "-q", "--shard", f"{k}/5", "--report", f"json={shard}", cwd=tmp_path)
    gradcheck("merge", *shards, "-q", "--report", "json=merged.json", cwd=tmp_path)
    assert read(tmp_path / "merged.json") == reports["0"]


MEASURED = """
import resource, subprocess, sys
assert subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode == 1
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def largest(folder: Path, *words: str) -> int:
    """The bytes that the process needs, or any of its workers, for a run that is not as expected.

    A small process starts it: what starts a process counts for it, and the one that runs the tests may be large.
    """
    command = [sys.executable, "-c", MEASURED, *GRADCHECK, *words]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


def test_four_bad_checks_among_two_hundred(tmp_path: Path) -> None:
    functions = ["double"] * 200
    functions[20], functions[75], functions[130], functions[170] = "endless", "segfault", "leave", "hoard"
    write_culprits(tmp_path, functions, endless={"timeout": "3"})
    words = ["run", "a.yaml", "--allow", "culprits", "-n", "2", "--memory-limit", "1.2G", "-q"]
    assert gradcheck(*words, "--report", "json=out.json", cwd=tmp_path).returncode == 1
    report = read(tmp_path / "out.json")
    assert report["summary"] == {
        "checks": 200,
        "passed": 196,
        "failed": 0,
        "inconclusive": 0,
        "errors": 4,
        "unmet": 4,
    }
    assert {check["name"]: check["error"]["message"] for check in report["checks"] if check["error"]} == {
        "c020": "no verdict within the timeout of 3 s; the worker was ended",
        "c075": "the worker died: SIGSEGV",
        "c130": "the worker died: exit status 3",
        "c170": "the worker reached its memory limit of 1.2 GiB; --memory-limit sets it",
    }

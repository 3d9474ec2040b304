"""Runs of many checks: generated configs, the command in processes of its own, reports with the seconds aside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gradcheck_cli

GRADCHECK = [sys.executable, "-m", "gradcheck_cli"]
PACKAGE = str(Path(gradcheck_cli.__file__).parents[1])  # the copy under test, installed or not

CULPRITS = """\
import ctypes, os, time
import numpy as np

HOARD = []

def double(x):
    return 2 * x, None

def double_back(dout, cache):
    return 2 * dout

def endless(x):
    while True:
        pass

def segfault(x):
    ctypes.string_at(0)

def leave(x):
    os._exit(3)

def leave_quietly(x):
    os._exit(0)

def killed(x):
    os.kill(os.getpid(), 9)

def hoard(x):
    while True:
        HOARD.append(np.ones(10**6))

def slow(x):
    time.sleep(0.05)
    return 2 * x, None

def quick(x):
    time.sleep(0.002)
    return 2 * x, None

def chatty(x):
    os.write(1, b"past sys.stdout")
    print("through sys.stdout")
    return 3 * x, None

def ends_one_worker(x):
    \"\"\"Ends the first process that calls it.\"\"\"
    try:
        os.close(os.open(__file__ + ".ended", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return 2 * x, None
    os.kill(os.getpid(), 9)
"""

FILE = """\
version: 1
defaults: {{seed: {number}}}
checks:
  - name: soft
    layer: softmax
    arrays: {{x: {{shape: [4]}}}}
    matrix: {{options.beta: [0.5, 2.0], seed: [0, {number}7]}}
  - {{name: linear, layer: linear, options: {{in_features: 2, out_features: 3}}, matrix: {{dtype: [float64, float32]}}}}
  - {{name: tanh, layer: tanh, arrays: {{x: {{shape: [2, 3]}}}}}}
  - {{name: relu, layer: relu, arrays: {{x: [0.0, -1.0, 2.0]}}}}
  - {{name: wrong, formula: {{forward: x * x, gradients: {{x: x * dy}}}}, arrays: {{x: {{shape: [3]}}}}, expect: fail}}
  - {{name: unmet, formula: {{forward: x * x, gradients: {{x: x * dy}}}}, arrays: {{x: {{shape: [{size}]}}}}}}
"""
IN_A_FILE = 10


def write_files(folder: Path, count: int) -> Path:
    """A working directory with so many configs of ten small checks each, of which one is not as expected."""
    (folder / "configs").mkdir()
    for number in range(count):
        text = FILE.format(number=number, size=1 + number % 3)
        (folder / "configs" / f"c{number:03}.yaml").write_text(text)
    return folder


def write_culprits(folder: Path, functions: list[str], **keys: dict[str, str]) -> Path:
    """A config of checks of these functions of `culprits`, c000, c001 and so on; `keys` adds to those of a function."""
    (folder / "culprits.py").write_text(CULPRITS)
    checks = []
    for number, function in enumerate(functions):
        code = f"functions: {{forward: 'culprits:{function}', backward: 'culprits:double_back'}}"
        more = "".join(f", {key}: {value}" for key, value in keys.get(function, {}).items())
        checks.append(f"  - {{name: c{number:03}, {code}, arrays: {{x: {{shape: [3]}}}}{more}}}\n")
    (folder / "a.yaml").write_text("version: 1\nchecks:\n" + "".join(checks))
    return folder


def environment(**more: str) -> dict[str, str]:
    """That of the caller, less what changes how things look."""
    ignored = {"COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "CI"}
    kept = {key: value for key, value in os.environ.items() if key not in ignored}
    return {**kept, "PYTHONPATH": PACKAGE, "PYTHONIOENCODING": "utf-8", **more}


def start(*words: str, cwd: Path, **more: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [*GRADCHECK, *words],
        cwd=cwd,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,  # as in a terminal of its own
    )


def gradcheck(*words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, after which nothing of it is left."""
    process = start(*words, cwd=cwd, **more)
    out, err = process.communicate(timeout=300)
    assert_nothing_is_left(cwd)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def assert_nothing_is_left(cwd: Path, seconds: float = 5.0) -> None:
    """No process has this working directory any more, soon at least."""
    deadline = time.monotonic() + seconds
    while left := processes_in(cwd):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


def processes_in(cwd: Path) -> dict[str, str]:
    """The processes in a folder, by pid; a test's folder is its own, so whatever is there it has started."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and (process / "cwd").readlink() == cwd.resolve():
                found[process.name] = (process / "cmdline").read_text()
        except OSError:  # it has just ended, or is somebody else's
            continue
    return found


def seconds_aside(report: Any) -> Any:
    """A JSON report without what differs from run to run."""
    if isinstance(report, dict):
        return {key: seconds_aside(value) for key, value in report.items() if key != "seconds"}
    return [seconds_aside(value) for value in report] if isinstance(report, list) else report


def read(path: Path) -> Any:
    """A JSON report, the seconds aside."""
    return seconds_aside(json.loads(path.read_text(encoding="utf-8")))


def read_lines(path: Path) -> list[Any]:
    """The lines of a jsonl report, the seconds aside."""
    return [seconds_aside(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]

"""How long whole commands take, imports and all, turn and turn about."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from tests.benchmarks.measure import ONE_THREAD, ROOT, Row

IMPORTS = "import numpy, click, rich.table, pydantic, ruamel.yaml"
IMPORTED = "python -c 'import numpy, click, ...'"
SMALL = "version: 1\nchecks: [{name: small, layer: linear, options: {in_features: 3, out_features: 2}}]\n"
W1 = "version: 1\nchecks: [{name: W1, layer: linear, arrays: {x: {shape: [32, 64]}, W: {shape: [64, 64]}}}]\n"
TORCH = """
import torch
torch.set_num_threads(1)
x, W, b, dy = (torch.randn(*shape, dtype=torch.float64) for shape in ((32, 64), (64, 64), (64,), (32, 64)))
arguments = [array.requires_grad_() for array in (x, W, b)]
torch.autograd.gradcheck(lambda *arrays: (torch.nn.functional.linear(*arrays) * dy).sum(), arguments)
"""
BASE = {"gradcheck --version": "python -c pass", "gradcheck run, small": IMPORTED}
BASE["python, torch gradcheck on W1"] = "gradcheck run, W1"


def commands() -> dict[str, list[str]]:
    """The commands by name; those of our tool are what the shell would find, else the module."""
    script = Path(sys.executable).with_name("gradcheck")
    ours = [str(script)] if script.exists() else [sys.executable, "-m", "gradcheck_cli"]
    found = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "gradcheck --version": [*ours, "--version"],
        IMPORTED: [sys.executable, "-c", IMPORTS],
        "gradcheck run, small": [*ours, "run", "small.yaml"],
        "gradcheck run, W1": [*ours, "run", "W1.yaml"],
    }
    if find_spec("torch"):
        found["python, torch gradcheck on W1"] = [sys.executable, "-c", TORCH]
    return found


def startup(repeats: int) -> list[Row]:
    """A row for each command; `ratio` is its time over that of what it is compared with."""
    seconds: dict[str, list[float]] = {name: [] for name in commands()}
    failed: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "small.yaml").write_text(SMALL, encoding="utf-8")
        Path(folder, "W1.yaml").write_text(W1, encoding="utf-8")
        for turn in range(repeats + 1):
            for name, words in commands().items():
                spent, code = once(words, folder)
                if code:
                    failed[name] = code
                elif turn:  # the first one compiles what is imported
                    seconds[name].append(spent)
    times = {name: median(several) for name, several in seconds.items() if several and name not in failed}
    return [_row(name, times, failed.get(name)) for name in seconds]


def _row(name: str, times: Mapping[str, float], code: int | None) -> Row:
    base = BASE.get(name)
    if code is not None:
        return Row(name, "startup", note=f"ended with exit code {code}")
    ratio = times[name] / times[base] if base is not None and base in times else None
    return Row(name, "startup", times[name], ratio=ratio, note=f"ratio to {base}" if base else None)


def once(words: list[str], folder: str) -> tuple[float, int]:
    """The seconds and the exit code of a process. Modules are compiled once, as where the tool is installed."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= ONE_THREAD | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": os.path.join(folder, "compiled")}
    start = time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start, done.returncode

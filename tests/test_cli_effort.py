"""--exhaustive, --budget, --max-memory: what they refuse, announce and leave in the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batch_runs import gradcheck

LINEAR = ["check", "linear", "x:8,20", "in_features=20", "out_features=20"]


def the_check(folder: Path) -> Any:
    (check,) = json.loads((folder / "r.json").read_text())["checks"]
    return check


def test_exhaustive_and_budget_contradict_each_other(tmp_path: Path) -> None:
    done = gradcheck(*LINEAR, "--exhaustive", "--budget", "5", cwd=tmp_path)
    assert done.returncode == 2
    assert "--exhaustive and --budget contradict each other" in done.stderr


def test_a_search_is_announced_and_told(tmp_path: Path) -> None:
    done = gradcheck(*LINEAR, "--budget", "6", "--report", "json=r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "W: 400 elements take 800 evaluations one by one" in done.stderr
    assert "the budget is 6" in done.stderr
    check = the_check(tmp_path)
    assert check["reproduce"].endswith("--budget 6")
    found = {one["name"]: one for one in check["arrays"]}["W"]
    assert (found["elements"], found["visited"], found["covered"]) == (400, 0, 400)
    assert 0 < found["covered_resolution"] < 1e-5


def test_links_of_a_chain_are_announced_by_their_names(tmp_path: Path) -> None:
    chain = "chain: [{layer: linear}, {layer: tanh}]"
    arrays = "arrays: {0.x: {shape: [3, 20]}, 0.W: {shape: [20, 20]}, 0.b: {shape: [20]}}"
    (tmp_path / "chain.yaml").write_text(f"version: 1\nchecks:\n  - {{name: net, {chain}, {arrays}}}\n")
    done = gradcheck("run", "chain.yaml", "--budget", "100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "link 0 (linear): W: 400 elements take 800 evaluations" in done.stderr


def test_quiet_announces_nothing(tmp_path: Path) -> None:
    done = gradcheck(*LINEAR, "--budget", "6", "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_exhaustive_visits_every_element(tmp_path: Path) -> None:
    done = gradcheck(*LINEAR, "--exhaustive", "--report", "json=r.json", cwd=tmp_path)
    assert done.returncode == 0
    check = the_check(tmp_path)
    assert check["reproduce"].endswith("--exhaustive")
    assert all(one["visited"] == one["elements"] and one["covered"] == 0 for one in check["arrays"])


def test_what_does_not_fit_into_memory_is_an_error(tmp_path: Path) -> None:
    words = ["check", "linear", "x:1,1024", "in_features=1024", "out_features=1024"]
    done = gradcheck(*words, "--max-memory", "64M", "--report", "json=r.json", cwd=tmp_path)
    assert done.returncode == 1
    check = the_check(tmp_path)
    assert check["verdict"] == "error"
    assert "must fit into --max-memory" in check["error"]["message"]

"""The benchmarks measure what they say: each checker that is installed finds the gradient, and the rows are whole."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import startup
from tests.benchmarks.measure import ROOT, Row, alone, largest_error, side_by_side, with_ratios
from tests.benchmarks.peers import BY_NAME, OURS, PEERS, THREADED, Peer
from tests.benchmarks.run import arguments, measured, power
from tests.benchmarks.scale import LARGE_QUICK, large_name
from tests.benchmarks.works import END_TO_END, QUICK, WORKS

HERE = [peer for peer in PEERS if peer.installed and peer.needs != "jax"]  # jax's 64 bits hold for a whole process
PAIRS = [pytest.param(peer, work, id=f"{peer.who}-{work}") for peer in HERE for work in peer.works]
ROW = {"who", "work", "seconds", "evaluations", "max_abs_error", "per_element", "peak_rss_mb", "ratio", "note"}
MISSING = Peer("somebody", BY_NAME[OURS].prepare, "no_such_package")


@pytest.mark.parametrize("name", WORKS)
def test_sizes_are_those_of_the_works(name: str) -> None:
    elements = {"W1": 6208, "W2": 256, "W3": 6858, END_TO_END: 6858, "W4": 5264}
    assert WORKS[name]().elements == elements[name]


@pytest.mark.filterwarnings("ignore")  # what other packages warn of at this point is theirs
@pytest.mark.parametrize(("peer", "name"), PAIRS)
def test_peer_finds_the_gradient(peer: Peer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some leave files where they run
    work = QUICK[name]()
    prepared = peer.prepare(work)
    found = prepared.run()
    assert prepared.evaluations(found) >= (2 if peer.per_element else 1)
    assert prepared.note(found) is None
    error = largest_error(work, prepared.look(found))
    assert error is None or error < 1e-7  # of central differences with a step of 1e-6, OpenMDAO's, at values near 10


@pytest.mark.parametrize("name", WORKS)
def test_layer_is_the_function(name: str) -> None:
    work = QUICK[name]()
    layer = work.layer.forward(**work.arrays, **work.constants)
    np.testing.assert_allclose(layer, work.forward(*work.arrays.values()), rtol=1e-12)


def test_rows_of_workers() -> None:
    jax = [BY_NAME["jax check_grads"]] if find_spec("jax") else []
    rows = side_by_side("W1", [BY_NAME[OURS], *jax, MISSING], 1, quick=True)
    assert [row.who for row in rows] == [OURS, *(peer.who for peer in jax), "somebody"]
    assert set(rows[0].to_dict()) == ROW
    assert rows[0].ratio == 1
    assert rows[-1] == Row("somebody", "W1", per_element=True, note="not installed")
    for row in rows[:-1]:
        assert row.note is None
        assert row.seconds is not None
        assert row.evaluations is not None
        assert row.seconds > 0
        assert row.evaluations >= 2


def test_threads_are_measured_beside_one() -> None:
    title, (one, two) = measured("threads", arguments(["--quick", "--repeats", "1"]))
    assert title.startswith("threads: conv2d")
    assert (one.who, two.who, one.ratio) == (OURS, THREADED, 1)
    assert one.evaluations == two.evaluations
    assert two.ratio is not None


def test_a_worker_that_fails_is_told() -> None:
    nobody = Peer("nobody", BY_NAME[OURS].prepare, per_element=False)
    assert alone("W1", nobody, 1, quick=True) == Row(
        "nobody", "W1", per_element=False, note="ended early: KeyError: 'nobody'"
    )


def test_a_worker_that_takes_too_long_is_told() -> None:
    row = alone("W1", BY_NAME[OURS], 1, quick=True, limit=0.01)
    assert row == Row(OURS, "W1", per_element=True, note="no answer in 0 s")


@pytest.mark.parametrize("what", ["", "mixing", "tanh"])
def test_large_works_have_wrong_weights(what: str) -> None:
    work = LARGE_QUICK[large_name(what, 5)]()
    prepared = BY_NAME[OURS].prepare(work)
    assert prepared.note(prepared.run()) == "5 of 5 named, 0 in error"
    wrong = work.layer.vjp(work.dy, **work.arrays)["W"] != work.gradient()["W"]
    assert wrong.sum() == 5


def test_ratios_and_powers() -> None:
    rows = with_ratios([Row(OURS, "W1", 2.0), Row("other", "W1", 5.0), Row("gone", "W1"), Row("other", "W2", 1.0)])
    assert [row.ratio for row in rows] == [1.0, 2.5, None, None]
    small, big = Row(OURS, "growth, 100 elements", 1.0), Row(OURS, "growth, 10000 elements", 100.0)
    assert power(small, big) == "time grew like elements^1.00"


def test_startup_compares_commands() -> None:
    assert set(startup.BASE) | set(startup.BASE.values()) <= {*startup.commands(), "python, torch gradcheck on W1"}


def test_a_command_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "gradcheck --version": [sys.executable, "-c", "exit(3)"],
    }
    monkeypatch.setattr(startup, "commands", lambda: failing)
    fine, failed = startup.startup(1)
    assert (fine.who, fine.ratio, fine.note) == ("python -c pass", None, None)
    assert failed == Row("gradcheck --version", "startup", note="ended with exit code 3")


def test_the_command_writes_json(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "tests/benchmarks/run.py"), "growth", "--quick", "--repeats", "1"]
    done = subprocess.run([*words, "--json", str(tmp_path / "b.json")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "b.json").read_text())
    assert [row["work"] for row in rows] == ["growth, 52 elements", "growth, 136 elements"]
    assert all(set(row) == ROW for row in rows)
    assert "growth, 52 elements" in done.stdout


def test_an_unknown_part_is_refused() -> None:
    words = [sys.executable, str(ROOT / "tests/benchmarks/run.py"), "W9"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "run.py: error: unknown part 'W9'; must be of W1, W2, W3, W3-end-to-end, W4, threads, large, growth, startup"
    )

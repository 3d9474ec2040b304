"""`gradcheck run` over many checks: whoever makes them the reports are the same, and a bad one costs only itself."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from batch_runs import (
    IN_A_FILE,
    assert_nothing_is_left,
    gradcheck,
    processes_in,
    read,
    read_lines,
    seconds_aside,
    start,
    write_culprits,
    write_files,
)

REPORTS = ["--report", "json=out.json", "--report", "jsonl=out.jsonl", "-q"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path, 6)


def made(folder: Path, *words: str, code: int = 1, reports: tuple[str, ...] = ("json", "jsonl")) -> dict[str, Any]:
    """The reports of a run, by format."""
    done = gradcheck("run", *words, *REPORTS, cwd=folder)
    assert (done.returncode, done.stderr) == (code, "")
    found = {"json": read(folder / "out.json"), "jsonl": read_lines(folder / "out.jsonl")}
    return {**found, "table": done.stdout.splitlines()[:-1]}


def test_reports_do_not_depend_on_workers(files: Path) -> None:
    alone = made(files, "-n", "0")
    counts = {"checks": 6 * IN_A_FILE, "passed": 8 * 6, "failed": 2 * 6, "inconclusive": 0, "errors": 0, "unmet": 6}
    assert alone["json"]["summary"] == counts
    assert [line["id"] for line in alone["jsonl"]] == [check["id"] for check in alone["json"]["checks"]]
    assert len(alone["table"]) == 6
    assert made(files, "-n", "2") == alone
    assert made(files, "-n", "3") == alone


def test_stopping_does_not_depend_on_workers(files: Path) -> None:
    def stopped(*words: str) -> tuple[list[str], Any, Any]:
        done = gradcheck("run", "--maxfail", "3", *words, *REPORTS, cwd=files)
        assert done.returncode == 1
        assert done.stderr == "gradcheck: stopped early; 30 of 60 checks were not run\n"
        return done.stdout.splitlines()[:-1], read(files / "out.json"), read_lines(files / "out.jsonl")

    alone = stopped("-n", "0")
    assert alone[1]["checks"][-1]["id"] == "configs/c002.yaml::unmet"
    assert stopped("-n", "2") == alone


def test_shards_merge_to_the_undivided_run(files: Path) -> None:
    whole = made(files, "-n", "0")["json"]
    parts = []
    for shard in (1, 2, 3):
        gradcheck("run", "-q", "--shard", f"{shard}/3", "--report", f"json={shard}.json", cwd=files)
        parts.append({check["id"] for check in read(files / f"{shard}.json")["checks"]})
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60
    assert min(map(len, parts)) > 10
    done = gradcheck("merge", "3.json", "1.json", "2.json", "-q", "--report", "json=merged.json", cwd=files)
    assert done.returncode == 1
    assert read(files / "merged.json") == whole


def test_shard_without_a_check_is_met_and_can_be_merged(files: Path) -> None:
    one = ["run", "configs/c000.yaml::relu", "-q"]
    assert {
        gradcheck(*one, "--shard", f"{k}/2", "--report", f"json={k}.json", cwd=files).returncode for k in (1, 2)
    } == {0}
    done = gradcheck("merge", "1.json", "2.json", "--report", "json", cwd=files)
    assert json.loads(done.stdout)["summary"]["checks"] == 1


def test_bad_checks_cost_only_themselves(tmp_path: Path) -> None:
    functions = ["double"] * 24
    functions[3], functions[8], functions[9] = "endless", "segfault", "leave"
    functions[15], functions[20], functions[23] = "leave_quietly", "killed", "hoard"
    write_culprits(tmp_path, functions, endless={"timeout": "1.5"})
    words = ["run", "a.yaml", "--allow", "culprits", "-n", "2", "--memory-limit", "300M", *REPORTS]
    done = gradcheck(*words, cwd=tmp_path)
    assert done.returncode == 1
    checks = read(tmp_path / "out.json")["checks"]
    assert [check["name"] for check in checks] == [f"c{number:03}" for number in range(24)]
    assert {check["name"]: check["error"] for check in checks if check["verdict"] != "pass"} == {
        "c003": {
            "type": "TimeoutError",
            "message": "no verdict within the timeout of 1.5 s; the worker was ended",
            "traceback_line": None,
        },
        "c008": {"type": "WorkerDied", "message": "the worker died: SIGSEGV", "traceback_line": None},
        "c009": {"type": "WorkerDied", "message": "the worker died: exit status 3", "traceback_line": None},
        "c015": {"type": "WorkerDied", "message": "the worker died: exit status 0", "traceback_line": None},
        "c020": {
            "type": "WorkerDied",
            "message": "the worker died: SIGKILL; the system ends what takes its last memory so",
            "traceback_line": None,
        },
        "c023": {
            "type": "MemoryError",
            "message": "the worker reached its memory limit of 300 MiB; --memory-limit sets it",
            "traceback_line": None,
        },
    }
    assert {check["verdict"] for check in checks if check["error"] is None} == {"pass"}
    assert (checks[8]["met"], checks[8]["expected"], checks[8]["line"]) == (False, "pass", 11)
    assert checks[8]["reproduce"] == "gradcheck run a.yaml::c008 --seed 0 --allow culprits"


def test_what_a_check_prints_stays_out_of_the_report(tmp_path: Path) -> None:
    write_culprits(tmp_path, ["chatty", "double"])
    for jobs in ("0", "1"):
        done = gradcheck("run", "a.yaml", "--allow", "culprits", "-n", jobs, "--report", "json", cwd=tmp_path)
        assert json.loads(done.stdout)["summary"]["failed"] == 1
        assert "a.yaml::c000 printed:\nthrough sys.stdout\n" in done.stderr
        assert "past sys.stdout" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", ["0", "2"])
def test_interrupted_run_writes_every_report_and_leaves_nothing(
    number: signal.Signals, jobs: str, tmp_path: Path
) -> None:
    write_culprits(tmp_path, ["slow"] * 60)
    process = start("run", "a.yaml", "--allow", "culprits", "-n", jobs, *REPORTS, cwd=tmp_path)
    until(lambda: lines(tmp_path / "out.jsonl") >= 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert_nothing_is_left(tmp_path)
    report = read(tmp_path / "out.json")
    count = report["summary"]["checks"]
    assert 2 <= count < 60
    assert report["exit_code"] == 130
    assert err == f"gradcheck: interrupted; {count} of 60 checks were done\n"
    assert out.startswith(f"interrupted; {count} checks pass; ")
    assert [line["id"] for line in read_lines(tmp_path / "out.jsonl")] == [check["id"] for check in report["checks"]]


@pytest.mark.parametrize("started", [2, 4])
def test_ctrl_c_of_a_terminal_ends_workers_quietly(started: int, tmp_path: Path) -> None:
    write_culprits(tmp_path, ["leave", "slow"] * 20)
    process = start("run", "a.yaml", "--allow", "culprits", "-n", "2", "-q", cwd=tmp_path)
    until(lambda: len(processes_in(tmp_path)) >= started)  # the first workers are just about to start, or did
    until(lambda: "resource_tracker" in " ".join(processes_in(tmp_path).values()))
    os.killpg(process.pid, signal.SIGINT)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert_nothing_is_left(tmp_path)
    assert re.fullmatch(r"gradcheck: interrupted(; \d+ of 40 checks were done)?\n", err)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def until(happened: Any) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("jobs", ["0", "2"])
def test_killed_run_is_resumed(jobs: str, files: Path) -> None:
    whole = made(files, "-n", jobs)
    (files / "out.jsonl").unlink()
    words = ["run", "-n", jobs, "--resume", "out.jsonl", *REPORTS]
    process = start(*words, cwd=files)
    until(lambda: lines(files / "out.jsonl") >= 20)
    process.kill()
    process.communicate()
    assert_nothing_is_left(files)
    saved = lines(files / "out.jsonl")
    assert 20 <= saved < 60
    with (files / "out.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "configs/c005.yaml::relu", "na')
    done = gradcheck(*words, cwd=files)
    told = f"{saved} of 60 checks are there already; 1 line can't be used: torn, or of other checks or versions"
    assert done.stderr == f"gradcheck: --resume out.jsonl: {told}\n"
    assert done.stdout.splitlines()[:-1] == whole["table"]
    assert read(files / "out.json") == whole["json"]
    assert read_lines(files / "out.jsonl") == whole["jsonl"]


def test_resume_alone_goes_on_in_the_same_file(files: Path) -> None:
    gradcheck("run", "configs/c000.yaml", "--report", "jsonl=out.jsonl", cwd=files)
    before = (files / "out.jsonl").read_text().splitlines()
    done = gradcheck("run", "--resume", "out.jsonl", "-q", cwd=files)
    assert done.stderr == "gradcheck: --resume out.jsonl: 10 of 60 checks are there already\n"
    after = (files / "out.jsonl").read_text().splitlines()
    assert after[:10] == before  # to the last digit, seconds too: they were not made again
    assert len(after) == 60


def test_resume_makes_again_what_was_asked_otherwise(files: Path) -> None:
    gradcheck("run", "configs/c000.yaml", "--report", "jsonl=out.jsonl", "-q", cwd=files)
    config = files / "configs" / "c000.yaml"
    config.write_text(config.read_text().replace("[0.0, -1.0, 2.0]", "[0.0, -1.0, 3.0]"))
    done = gradcheck("run", "configs/c000.yaml", "--resume", "out.jsonl", "--report", "json", cwd=files)
    told = "9 of 10 checks are there already; 1 line can't be used: torn, or of other checks or versions"
    assert done.stderr == f"gradcheck: --resume out.jsonl: {told}\n"
    assert seconds_aside(json.loads(done.stdout)) == made(files, "configs/c000.yaml")["json"]


def test_resume_needs_its_file(files: Path) -> None:
    done = gradcheck("run", "--resume", "none.jsonl", cwd=files)
    assert (done.returncode, done.stdout) == (2, "")
    must = "must be one of --report jsonl=none.jsonl, or be given beside that"
    assert done.stderr == f"gradcheck: --resume none.jsonl: no such file; {must}\n"


def test_accepted_is_decided_anew_when_resumed(tmp_path: Path) -> None:
    check = (
        "{name: a, formula: {forward: sin(1e17 * x), gradients: {x: 1e17 * cos(1e17 * x) * dy}}, arrays: {x: [0.5]}}"
    )
    (tmp_path / "a.yaml").write_text(f"version: 1\nchecks: [{check}]\n")
    accepting = ["run", "a.yaml", "--allow-inconclusive", "-q"]
    assert gradcheck(*accepting, "--report", "jsonl=out.jsonl", cwd=tmp_path).returncode == 0
    assert gradcheck("run", "a.yaml", "-q", "--resume", "out.jsonl", cwd=tmp_path).returncode == 1
    assert gradcheck(*accepting, "--resume", "out.jsonl", cwd=tmp_path).returncode == 0


def test_jsonl_goes_to_standard_output_line_by_line(files: Path) -> None:
    done = gradcheck("run", "configs/c000.yaml", "--report", "jsonl", cwd=files)
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == [
        check["name"] for check in made(files, "configs/c000.yaml")["json"]["checks"]
    ]

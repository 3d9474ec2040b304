"""`gradcheck merge`: one report from shards, or the reasons why not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import constructed_results as constructed
import pytest
from click.testing import CliRunner, Result

from gradcheck_cli.cli.merge import merge, merged
from gradcheck_cli.cli.output import Refusal
from gradcheck_cli.cli.run import run
from gradcheck_cli.reports.json import Json
from gradcheck_cli.results import CheckResult, ExitCode, RunResult, Verdict, Versions

CHECKS = constructed.run().checks
NOTHING_COMMON, WRITTEN = "must have no check in common", "must be written by --report json=PATH."
HERE = Versions("0.1.0", "2.1.0", "3.12.1")


def shard(index: int, count: int = 3, **more: Any) -> RunResult:
    """Every so manieth check of the run."""
    positions = tuple(range(index - 1, len(CHECKS), count))
    checks = tuple(CHECKS[k] for k in positions)
    usual: dict[str, Any] = {"checks": checks, "shard": (index, count), "positions": positions, "versions": HERE}
    return RunResult(seconds=0.5, **(usual | more))


def named(*runs: RunResult) -> Mapping[str, RunResult]:
    return {f"{letter}.json": run for letter, run in zip("abcdefgh", runs, strict=False)}


def called(folder: Path, runs: Mapping[str, RunResult], *words: str) -> Result:
    for name, one in runs.items():
        (folder / name).write_text(Json().render(one), "utf-8")
    return CliRunner().invoke(merge, [*(str(folder / name) for name in runs), *words], standalone_mode=False)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_make_the_undivided_run(order: tuple[int, ...]) -> None:
    whole = merged(named(*(shard(index) for index in order)))
    assert whole == RunResult(CHECKS, 1.5, versions=HERE)
    assert whole.to_dict() == RunResult(CHECKS, 1.5, versions=HERE).to_dict()


def test_shards_may_be_empty() -> None:
    empty = RunResult((), shard=(2, 2), versions=HERE)
    assert merged(named(shard(1, 1, shard=(1, 2)), empty)).checks == CHECKS


def test_runs_without_shards_follow_each_other() -> None:
    one, other = RunResult(CHECKS[3:], 2.0, versions=HERE), RunResult(CHECKS[:3], 1.0, versions=HERE)
    assert merged(named(one, other)) == RunResult(CHECKS[3:] + CHECKS[:3], 3.0, versions=HERE)


def test_interruption_of_a_shard_is_one_of_the_whole() -> None:
    whole = merged(named(shard(1), shard(2, interrupted=True), shard(3)))
    assert whole.interrupted
    assert whole.exit_code is ExitCode.INTERRUPTED


def test_machines_may_differ() -> None:
    runs = [shard(k, versions=replace(HERE, numpy=f"2.{k % 2}.0")) for k in (1, 2, 3)]
    assert merged(named(*runs)).versions == Versions("0.1.0", "2.0.0, 2.1.0", "3.12.1")


def test_report_of_another_version_says_so() -> None:
    old = replace(HERE, gradcheck="0.0.1", numpy="1.0.0")
    assert merged(named(*(shard(k, versions=old) for k in (1, 2, 3)))).to_dict()["gradcheck"] == "0.0.1"


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([shard(1), shard(3)], "missing: shard 2/3; must be all 3"),
        ([shard(1, 9)], "missing: shard 2/9, 3/9, 4/9, 5/9, 6/9 and 3 more; must be all 9"),
        (
            [shard(1), shard(2), shard(3), shard(2, positions=(), checks=())],
            "shard 2/3 is there 2 times; must be once",
        ),
        ([shard(1), shard(2, 4)], "a.json is one of 3, b.json is one of 4; must be shards of one run"),
        (
            [shard(1), RunResult(CHECKS[1:2], versions=HERE)],
            "b.json is no shard, a.json is one; must be shards of one run, or runs without shards",
        ),
        (
            [shard(1), shard(2), shard(3, versions=replace(HERE, gradcheck="0.2.0"))],
            "b.json was made by gradcheck 0.1.0, c.json was made by gradcheck 0.2.0; must be one version",
        ),
        (
            [RunResult(CHECKS, versions=HERE), RunResult(CHECKS[:1], versions=HERE)],
            f"a.json and b.json both have configs/a.yaml::warm-up; {NOTHING_COMMON}",
        ),
        (
            [RunResult(CHECKS, versions=HERE), RunResult(CHECKS, versions=HERE)],
            f"a.json and b.json both have {', '.join(check.id for check in CHECKS[:5])} and 1 more; {NOTHING_COMMON}",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(runs: list[RunResult], message: str) -> None:
    with pytest.raises(Refusal, match=f"^{re.escape(f'gradcheck merge: {message}')}$") as raised:
        merged(named(*runs))
    assert raised.value.code is ExitCode.USAGE


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Refusal) as raised:
        merged(named(shard(1), shard(3, versions=replace(HERE, gradcheck="0.2.0"), positions=(0,), checks=CHECKS[:1])))
    assert raised.value.message.splitlines() == [
        "gradcheck merge: missing: shard 2/3; must be all 3",
        "gradcheck merge: a.json was made by gradcheck 0.1.0, b.json was made by gradcheck 0.2.0; must be one version",
        "gradcheck merge: a.json and b.json both have configs/a.yaml::warm-up; must have no check in common",
    ]


def test_command_writes_the_report_of_the_whole(tmp_path: Path) -> None:
    runs = named(shard(1), shard(2), shard(3))
    done = called(tmp_path, runs, "--report", f"json={tmp_path / 'whole.json'}", "--report", "junit")
    assert done.return_value is ExitCode.UNMET
    assert done.stdout.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="gradcheck" tests="6"')
    assert json.loads((tmp_path / "whole.json").read_text("utf-8")) == merged(runs).to_dict()


def test_command_shows_the_table(tmp_path: Path) -> None:
    done = called(tmp_path, named(RunResult(CHECKS[:1], versions=HERE)), "-q")
    assert done.return_value is ExitCode.MET
    assert done.stdout == "1 check passes; 7 elements, 42 evaluations, 0 s\n"


def test_command_keeps_the_gate(tmp_path: Path) -> None:
    run = RunResult(CHECKS[:3], versions=HERE)
    done = called(
        tmp_path, named(run), "--baseline", str(tmp_path / "a.json"), "--durations", "1", "--report", "gitlab"
    )
    assert done.return_value is ExitCode.MET
    assert [issue["severity"] for issue in json.loads(done.stdout)] == ["major", "minor"]
    assert done.stderr.splitlines() == [
        "slowest 1 of 3 checks:",
        "  0.012 s  configs/a.yaml::warm-up",
        "against the baseline: 0 new, 0 worse, 2 known, 0 fixed, 0 not run",
    ]


def test_command_accepts_the_inconclusive_in_every_report(tmp_path: Path) -> None:
    jacobian: CheckResult = CHECKS[2]
    assert jacobian.verdict is Verdict.INCONCLUSIVE
    words = ["--allow-inconclusive", "--report", "json"]
    done = called(tmp_path, named(RunResult((jacobian,), versions=HERE)), *words)
    plain = json.loads(done.stdout)
    assert done.return_value is ExitCode.MET
    assert (plain["exit_code"], plain["summary"]["unmet"], plain["checks"][0]["met"]) == (0, 0, True)


def test_github_report_brings_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    called(tmp_path, named(RunResult(CHECKS, versions=HERE)), "--report", "junit")
    assert not (tmp_path / "summary.md").exists()
    called(tmp_path, named(RunResult(CHECKS, versions=HERE)), "--report", "github")
    assert (tmp_path / "summary.md").read_text("utf-8").startswith("## gradcheck: 4 of 6 checks not as expected")


def test_files_that_are_no_results_are_all_told(tmp_path: Path) -> None:
    bad, missing = tmp_path / "bad.json", tmp_path / "missing.json"
    bad.write_text("[]")
    with pytest.raises(Refusal) as raised:
        CliRunner().invoke(merge, [str(bad), str(missing)], standalone_mode=False, catch_exceptions=False)
    assert raised.value.message.splitlines() == [
        f"gradcheck merge: '{bad}' is no result of gradcheck: []; must be an object; {WRITTEN}",
        f"gradcheck merge: '{missing}' can't be read: No such file or directory.",
    ]


def test_file_is_given_once(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(Json().render(constructed.run()), "utf-8")
    with pytest.raises(
        Refusal, match=f"^{re.escape(f'gradcheck merge: {str(path)!r} is given twice; must be once.')}$"
    ):
        CliRunner().invoke(merge, [str(path), str(path)], standalone_mode=False, catch_exceptions=False)


def seconds_aside(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: seconds_aside(value) for key, value in plain.items() if key != "seconds"}
    return [seconds_aside(value) for value in plain] if isinstance(plain, list) else plain


def test_shards_of_real_checks_merge_to_what_the_undivided_run_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.yaml", "a.yaml"):
        Path(name).write_text(
            "version: 1\nchecks:\n"
            "  - {layer: softmax, arrays: {x: {shape: [3]}}, matrix: {seed: [3, 1, 2], dtype: [float64, float32]}}\n"
            "  - {layer: relu, arrays: {x: {shape: [2]}}, expect: fail}\n"
        )
    call = CliRunner().invoke
    for words in ([], *(["--shard", f"{k}/3"] for k in (1, 2, 3))):
        report = f"json={words[1].replace('/', '-') if words else 'whole'}.json"
        assert call(run, ["b.yaml", "a.yaml", "-n", "0", "--report", report, *words], standalone_mode=False).stdout
    parts = [f"{k}-3.json" for k in (2, 3, 1)]
    assert call(merge, [*parts, "--report", "json=merged.json"], standalone_mode=False).return_value is ExitCode.UNMET
    whole, put_together = (json.loads(Path(f"{name}.json").read_text("utf-8")) for name in ("whole", "merged"))
    assert len(whole["checks"]) == 14
    assert seconds_aside(put_together) == seconds_aside(whole)

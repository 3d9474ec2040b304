"""GitLab's code quality report: its schema, stable fingerprints, severities."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import constructed_results as constructed
import jsonschema
from hypothesis import given
from hypothesis import strategies as some

from gradcheck_cli.reports.gitlab import GitLab
from gradcheck_cli.results import CheckResult, ErrorInfo, Finding, RunResult, Verdict

# What GitLab asks of a code quality report: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "location", "severity"],
        "properties": {
            "type": {"const": "issue"},
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "minLength": 1},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}
ANY_TEXT = some.text(some.characters(exclude_categories=()))


def issues(*checks: CheckResult) -> list[dict[str, Any]]:
    text = GitLab().render(RunResult(checks))
    text.encode()
    plain: list[dict[str, Any]] = json.loads(text)
    jsonschema.validate(plain, SCHEMA)
    return plain


def test_issues_are_what_is_not_as_expected_worst_first() -> None:
    found = issues(*constructed.run().checks)
    assert [(one["check_name"], one["severity"]) for one in found] == [
        ("gradcheck/error", "critical"),
        ("gradcheck/transposed", "major"),
        ("gradcheck/elements", "major"),
        ("gradcheck/inconclusive", "minor"),
    ]
    assert found[1] == {
        "type": "issue",
        "check_name": "gradcheck/transposed",
        "description": "transposed fails: W is transposed: analytic equals the transpose of numeric to 1.3e-10; "
        "reproduce: gradcheck run configs/a.yaml::transposed --seed 0",
        "fingerprint": "6b0c1b29a433b9465c2e094e7a25b9f8718ad1fdad46df9fa1c47687d97c74a4",
        "severity": "major",
        "location": {"path": "configs/a.yaml", "lines": {"begin": 3}},
    }


def test_nothing_to_say_is_an_empty_array() -> None:
    assert GitLab().render(constructed.run(constructed.warm_up(), constructed.caught())) == "[]\n"


def test_fingerprint_follows_the_id_alone() -> None:
    check = constructed.transposed()
    moved = dataclasses.replace(check, seed=3, line=90, verdict=Verdict.ERROR, error=ErrorInfo("E", "m"), findings=())
    other = dataclasses.replace(check, id="configs/a.yaml::other")
    (one,), (same,), (different,) = issues(check), issues(moved), issues(other)
    assert one["fingerprint"] == same["fingerprint"] != different["fingerprint"]


def test_check_without_file_stands_at_its_id() -> None:
    check = constructed.check("a", "linear", Verdict.FAIL, met=False, id="check::linear", file=None, line=None)
    assert issues(check)[0]["location"] == {"path": "check::linear", "lines": {"begin": 1}}


@given(name=ANY_TEXT, message=ANY_TEXT)
def test_report_is_valid_for_any_text(name: str, message: str) -> None:
    finding = Finding("elements", "error", message, message)
    assert len(issues(constructed.check(name, name, Verdict.FAIL, met=False, findings=(finding,)))) == 1

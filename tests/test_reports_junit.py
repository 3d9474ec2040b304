"""JUnit XML of constructed results: valid whatever a name or message holds, and the counts agree."""

from __future__ import annotations

import dataclasses
from typing import Any
from xml.etree import ElementTree

import constructed_results as constructed
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gradcheck_cli.reports.junit import JUnit
from gradcheck_cli.results import CheckResult, ErrorInfo, Finding, RunResult, Verdict

ANY_TEXT = some.text(some.characters(exclude_categories=()))
NASTY = ["\x00\x01\x1b[31m", "]]>", "<b>&amp;\"'", "🙂", "\ud800", "\ufffe\uffff", "a\nb\tc\rd", "\x85\u2028", ""]


def parsed(*checks: CheckResult, **more: Any) -> ElementTree.Element:
    return ElementTree.fromstring(JUnit().render(RunResult(checks, 1.25, **more)).encode())


def named(name: str, message: str) -> tuple[CheckResult, ...]:
    """One check of each kind with a name and messages of a user."""
    wrong = constructed.array(message, (), [constructed.element(analytic=2.0, numeric=1.0, reason=message)])
    finding = Finding("elements", "error", message, message)
    return (
        constructed.check(name, name, Verdict.PASS, file=message),
        constructed.check(name, name, Verdict.FAIL, wrong, met=False, findings=(finding,), reproduce=message),
        constructed.check(name, name, Verdict.INCONCLUSIVE, met=False, notes=(message,)),
        constructed.check(name, name, Verdict.ERROR, met=False, error=ErrorInfo(message, message, message)),
    )


def test_golden_report() -> None:
    run = constructed.run(constructed.warm_up(), constructed.transposed())
    assert JUnit().render(run) == GOLDEN


GOLDEN = """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="gradcheck" tests="2" failures="1" errors="0" skipped="0" time="1.250000">
  <testsuite name="configs/a.yaml" tests="2" failures="1" errors="0" skipped="0" time="0.024600">
    <testcase classname="configs/a.yaml" name="warm-up" file="configs/a.yaml" line="3" time="0.012300">
      <properties>
        <property name="seed" value="0" />
        <property name="evaluations" value="42" />
      </properties>
    </testcase>
    <testcase classname="configs/a.yaml" name="transposed" file="configs/a.yaml" line="3" time="0.012300">
      <properties>
        <property name="seed" value="0" />
        <property name="evaluations" value="42" />
      </properties>
      <failure type="fail" message="fails: W is transposed: analytic equals the transpose of numeric to 1.3e-10">\
fails: W is transposed: analytic equals the transpose of numeric to 1.3e-10
W: the analytic gradient is nan at [1, 1], where forward is finite
W[1, 1]: analytic nan, numeric 0.250000 ± 1.0e-10, nonfinite
W[0, 1]: analytic 0.321751, numeric -1.25000 ± 1.3e-10, fail
W[1, 0]: analytic -1.25000, numeric 0.321751 ± 1.3e-10, fail
forward was evaluated in float64 although x was given as float32, which hides rounding errors of the layer
reproduce: gradcheck run configs/a.yaml::transposed --seed 0</failure>
    </testcase>
  </testsuite>
</testsuites>
"""


def test_outcomes_follow_what_was_met() -> None:
    cases = {case.get("name"): case for case in parsed(*constructed.run().checks).iter("testcase")}
    outcomes = {name: [part.tag for part in case if part.tag != "properties"] for name, case in cases.items()}
    assert outcomes == {
        "warm-up": [],
        "transposed": ["failure"],
        "jacobian": ["failure"],
        "broken [bold]": ["error"],
        "caught": [],
        "searched": ["failure"],
    }
    assert [case.find("failure").get("type") for case in (cases["transposed"], cases["jacobian"])] == [
        "fail",
        "inconclusive",
    ]
    assert cases["broken [bold]"].find("error").get("type") == "ValueError"


def test_pass_where_failure_was_expected_is_a_failure() -> None:
    check = constructed.check("a", "linear", Verdict.PASS, expected=Verdict.FAIL, met=False)
    (failure,) = parsed(check).iter("failure")
    assert failure.get("message") == "passes, but was expected to fail: every element passes"


def test_seed_and_evaluations_are_properties() -> None:
    (case,) = parsed(dataclasses.replace(constructed.warm_up(), seed=7)).iter("testcase")
    assert [one.attrib for one in case.iter("property")] == [
        {"name": "seed", "value": "7"},
        {"name": "evaluations", "value": "42"},
    ]


def test_check_without_file_is_called_by_its_id() -> None:
    check = constructed.check("softmax", "softmax", Verdict.PASS, id="check::softmax", file=None, line=None)
    (suite,) = parsed(check).iter("testsuite")
    (case,) = suite
    assert suite.get("name") == case.get("classname") == "check::softmax"
    assert "file" not in case.attrib
    assert "line" not in case.attrib


def test_each_file_is_a_suite() -> None:
    files = ["a.yaml", "b.yaml", "a.yaml"]
    root = parsed(*(constructed.check(str(k), "linear", Verdict.PASS, file=file) for k, file in enumerate(files)))
    names = [(suite.get("name"), [case.get("name") for case in suite]) for suite in root]
    assert names == [("a.yaml", ["0", "2"]), ("b.yaml", ["1"])]


def counts_agree(root: ElementTree.Element, checks: int) -> None:
    assert root.get("tests") == str(checks)
    for group in (root, *root.iter("testsuite")):
        for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert group.get(count) == str(len(list(group.iter(tag))))


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_report_is_valid_for_nasty_text(text: str) -> None:
    counts_agree(parsed(*named(text, text)), 4)


@given(name=ANY_TEXT, message=ANY_TEXT)
def test_report_is_valid_for_any_text(name: str, message: str) -> None:
    root = parsed(*named(name, message))
    counts_agree(root, 4)
    assert [len(list(root.iter(tag))) for tag in ("failure", "error")] == [2, 1]


def test_text_that_xml_holds_comes_back() -> None:
    (case,) = parsed(constructed.check("a <b> & ]]> 'c' \"d\" ∂ 🙂", "linear", Verdict.PASS)).iter("testcase")
    assert case.get("name") == "a <b> & ]]> 'c' \"d\" ∂ 🙂"


def test_run_without_checks_is_a_report() -> None:
    assert parsed().attrib == {
        "name": "gradcheck",
        "tests": "0",
        "failures": "0",
        "errors": "0",
        "skipped": "0",
        "time": "1.250000",
    }

"""The jsonl report: lines that stand for themselves, and what can be read of a file that is torn."""

from __future__ import annotations

import json

import constructed_results as constructed
import pytest

from gradcheck_cli.reports.jsonl import Jsonl

RUN = constructed.run()
PRINTS = {check.id: f"print of {check.id}" for check in RUN.checks}


def test_line_is_the_check_of_the_json_report() -> None:
    lines = Jsonl().render(RUN).splitlines()
    assert [json.loads(line) for line in lines] == RUN.to_dict()["checks"]


def test_fingerprint_stands_beside_the_check() -> None:
    check = RUN.checks[0]
    plain = json.loads(Jsonl(PRINTS).line(check))
    assert plain.pop("fingerprint") == f"print of {check.id}"
    assert plain == check.to_dict()


def test_what_is_written_is_read() -> None:
    report = Jsonl(PRINTS)
    text = report.render(RUN)
    found = report.read(text)
    assert list(found) == [check.id for check in RUN.checks]
    assert report.render(type(RUN)(tuple(found.values()))) == text


@pytest.mark.parametrize("cut", [1, 2, 40, 400])
def test_torn_line_is_left_out(cut: int) -> None:
    text = Jsonl(PRINTS).render(RUN)
    assert len(Jsonl(PRINTS).read(text[:-cut])) == len(RUN.checks) - (cut > 1)


@pytest.mark.parametrize(
    "line",
    ["", "null", "[]", "{}", '{"id": 3}', '{"id": "configs/a.yaml::x"}', "NaN", "{" * 50, "\0"],
)
def test_line_that_is_no_result_is_left_out(line: str) -> None:
    ident = "configs/a.yaml::x"
    assert Jsonl({ident: "p"}).read(line + "\n") == {}
    assert Jsonl({ident: "p"}).read(json.dumps({"id": ident, "fingerprint": "p"})) == {}


def test_other_fingerprint_or_id_is_left_out() -> None:
    text = Jsonl(PRINTS).render(RUN)
    first = RUN.checks[0].id
    assert first not in Jsonl(PRINTS | {first: "another"}).read(text)
    assert first not in Jsonl({ident: text for ident, text in PRINTS.items() if ident != first}).read(text)


def test_last_of_two_lines_counts() -> None:
    report, check = Jsonl(PRINTS), RUN.checks[0]
    other = type(check)(**{**vars(check), "evaluations": 77})
    assert report.read(report.line(check) + report.line(other))[check.id].evaluations == 77

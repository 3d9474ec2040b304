"""From JSON back to results: the inverse of to_dict, and nothing but what to_dict gives."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
from collections.abc import Callable
from typing import Any

import constructed_results as constructed
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gradcheck_cli import from_json, results
from gradcheck_cli.as_json import check_from_dict, check_from_text, run_from_dict, run_from_text
from gradcheck_cli.from_json import ResultError
from gradcheck_cli.reports.json import Json
from gradcheck_cli.results import Outcome, Resolution, RunResult, Verdict, Versions

CHECKS = constructed.run().checks


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_check_comes_back_as_it_was(check: results.CheckResult) -> None:
    plain = check.to_dict()
    back = check_from_dict(plain)
    assert repr(back) == repr(dataclasses.replace(check, printed=""))  # repr, for nan is not nan
    assert back.to_dict() == plain
    assert check_from_text(json.dumps(plain)).to_dict() == plain


def test_parts_come_back_as_their_own_types() -> None:
    back = check_from_dict(constructed.jacobian().to_dict())
    assert isinstance(back.verdict, Verdict)
    assert isinstance(back.arrays[0].worst[0].outcome, Outcome)
    assert (back.arrays[0].shape, back.arrays[0].worst[-1].output) == ((4,), (0,))


@pytest.mark.parametrize(
    "run",
    [
        constructed.run(),
        constructed.run(constructed.warm_up()),
        constructed.run(constructed.caught(), interrupted=True),
        constructed.run(constructed.warm_up(), shard=(2, 5), positions=(3,)),
        RunResult(()),
        constructed.run(constructed.warm_up(), versions=Versions("0.0.9", "1.0.0", "3.9.1")),
    ],
)
def test_run_comes_back_as_it_was(run: RunResult) -> None:
    plain = run.to_dict()
    back = run_from_dict(plain)
    assert back.to_dict() == plain
    assert (back.exit_code, back.interrupted) == (run.exit_code, run.interrupted)
    assert (back.shard, back.positions) == (run.shard, run.positions)
    assert run_from_text(Json().render(run)).to_dict() == plain


@given(
    numbers=some.lists(some.floats(), min_size=4, max_size=4),
    sentence=some.text(some.characters(exclude_categories=())),
    index=some.lists(some.integers(0, 2**40)),
)
def test_any_number_and_text_come_back(numbers: list[float], sentence: str, index: list[int]) -> None:
    analytic, numeric, uncertainty, median = numbers
    element = results.Element(tuple(index), analytic, numeric, uncertainty, math.inf, Outcome.FAIL)
    array = constructed.array("x", (3,), [element])
    check = constructed.check(
        sentence, "linear", Verdict.FAIL, array, met=False, resolution=Resolution(median, -math.inf, sentence)
    )
    plain = check.to_dict()
    text = json.dumps(plain, allow_nan=False, ensure_ascii=False)
    text.encode()  # whatever a message holds can be written
    assert check_from_text(text).to_dict() == plain


def test_text_that_utf8_lacks_is_escaped() -> None:
    assert constructed.check("a\udc80é", "linear", Verdict.PASS).to_dict()["name"] == "a\\udc80é"


def set_to(value: object, *path: str | int) -> Callable[[Any], None]:
    def change(plain: Any) -> None:
        for step in path[:-1]:
            plain = plain[step]
        plain[path[-1]] = value

    return change


def without(*path: str | int) -> Callable[[Any], None]:
    def change(plain: Any) -> None:
        for step in path[:-1]:
            plain = plain[step]
        del plain[path[-1]]

    return change


FIRST = ("arrays", 0, "worst", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_to("abc", "verdict"), "verdict: 'abc'; must be 'pass', 'inconclusive', 'fail' or 'error'"),
        (set_to(1, "met"), "met: 1; must be a valid boolean"),
        (set_to(1.5, "seed"), "seed: 1.5; must be a valid integer"),
        (set_to("1", "seed"), "seed: '1'; must be a valid integer"),
        (set_to(0, "line"), "line: 0; must be greater than or equal to 1"),
        (set_to(-3, "evaluations"), "evaluations: -3; must be greater than or equal to 0"),
        (set_to(1, "extra"), "unknown key 'extra'; must be one that the schema has"),
        (without("notes"), "no key 'notes'; must be given"),
        (without(*FIRST, "step"), "no key 'arrays[0].worst[0].step'; must be given"),
        (
            set_to("Inf", *FIRST, "analytic"),
            'arrays[0].worst[0].analytic: \'Inf\'; must be a number, "nan", "inf" or "-inf"',
        ),
        (
            set_to(math.nan, *FIRST, "numeric"),
            'arrays[0].worst[0].numeric: nan; must be written as the text "nan", "inf" or "-inf"',
        ),
        (
            set_to({"type": "ValueError"}, "error"),
            "no key 'error.message'; must be given\nno key 'error.traceback_line'; must be given",
        ),
        (set_to("x" * 99, "points"), f"points: '{'x' * 36}...; must be a valid integer"),
    ],
)
def test_what_is_no_check_is_refused(change: Callable[[Any], None], message: str) -> None:
    plain = copy.deepcopy(constructed.transposed().to_dict())
    change(plain)
    with pytest.raises(ResultError, match=f"^{re.escape(message)}$"):
        check_from_dict(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_to(2, "schema_version"), "schema_version: 2; must be 1"),
        (set_to(3, "exit_code"), "exit_code: 3; must be 0, 1, 5 or 130"),
        (set_to(5, "summary", "checks"), "checks: 5; must be 6, as the checks say"),
        (
            set_to("pass", "verdict"),
            "verdict: pass; must be error, as the checks say",
        ),
        (set_to("x", "checks", 1, "seed"), "checks[1].seed: 'x'; must be a valid integer"),
        (
            set_to({"index": 1, "count": 1, "positions": [0]}, "shard"),
            "number of positions: 1; must be 6, as the checks say",
        ),
        (
            set_to({"index": 0, "count": 1, "positions": []}, "shard"),
            "shard.index: 0; must be greater than or equal to 1",
        ),
    ],
)
def test_what_is_no_run_is_refused(change: Callable[[Any], None], message: str) -> None:
    plain = copy.deepcopy(constructed.run().to_dict())
    change(plain)
    with pytest.raises(ResultError, match=f"^{re.escape(message)}$"):
        run_from_dict(plain)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON: EOF while parsing a value at line 1 column 0"),
        ("{", "no JSON: EOF while parsing an object at line 1 column 1"),
        ("[]", "[]; must be an object"),
    ],
)
def test_text_that_is_no_result_is_refused(text: str, message: str) -> None:
    with pytest.raises(ResultError, match=f"^{re.escape(message)}$"):
        check_from_text(text)


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        (from_json.RunKeys, constructed.run(shard=(1, 2), positions=tuple(range(6))).to_dict()),
        (from_json.CheckKeys, CHECKS[0].to_dict()),
        (from_json.ArrayKeys, CHECKS[0].to_dict()["arrays"][0]),
        (from_json.ElementKeys, CHECKS[2].to_dict()["arrays"][0]["worst"][0]),
        (from_json.SummaryKeys, constructed.run().to_dict()["summary"]),
    ],
)
def test_models_have_the_keys_of_the_report_in_its_order(model: Any, plain: dict[str, Any]) -> None:
    assert list(model.model_fields) == list(plain)

"""The expressions of -k."""

from __future__ import annotations

import re

import click
import pytest

from gradcheck_cli.cli.expressions import parse

IDS = ["a.yaml::Softmax[beta=2]", "a.yaml::softmax jacobian", "b.yaml::linear", "b.yaml::not so (fast)"]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("softmax", [0, 1]),
        ("SOFTMAX", [0, 1]),
        ("b.yaml", [2, 3]),
        ("beta=2", [0]),
        ("not softmax", [2, 3]),
        ("softmax and not jacobian", [0]),
        ("linear or beta=2", [0, 2]),
        ("linear or softmax and jacobian", [1, 2]),
        ("(linear or softmax) and jacobian", [1]),
        ("not (linear or softmax)", [3]),
        ("not not linear", [2]),
        ("'softmax jacobian'", [1]),
        ('"so (fast)"', [3]),
        ('"not"', [3]),
        ("nothing", []),
        ("a.yaml::", [0, 1]),
    ],
)
def test_expression_selects(expression: str, chosen: list[int]) -> None:
    selects = parse(expression)
    assert [number for number, id_ in enumerate(IDS) if selects(id_)] == chosen


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "it ends where a part of an id is expected"),
        ("a and", "it ends where a part of an id is expected"),
        ("or a", "'or' is out of place"),
        ("a b", "'b' is out of place"),
        ("(a or b", "a parenthesis is not closed"),
        ("a)", "')' is out of place"),
        ("()", "')' is out of place"),
        ("'a", "a quote is not closed"),
        ("not " * 60 + "a", "it is nested too deep"),
    ],
)
def test_what_is_no_expression_is_refused(expression: str, why: str) -> None:
    message = f"-k {expression!r}: {why}; must be parts of ids joined by and, or, not and parentheses."
    with pytest.raises(click.UsageError, match=f"^{re.escape(message)}$"):
        parse(expression)

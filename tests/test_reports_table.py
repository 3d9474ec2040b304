"""The table, from constructed results: golden outputs, and the promises they rest on."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import constructed_results as constructed
import pytest

from gradcheck_cli.reports import _text
from gradcheck_cli.reports.table import MANY, Table, render_check
from gradcheck_cli.results import Outcome, Resolution, Rows, RunResult, Verdict

GOLDEN = Path(__file__).parent / "golden"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def matches_golden(name: str, text: str) -> None:
    """Compare with a file; WRITE_GOLDEN=1 in the environment writes it instead, to be read before it is committed."""
    path = GOLDEN / name
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 80, 140])
def test_run_is_drawn_as_in_the_golden_file(width: int) -> None:
    matches_golden(f"run-{width}.txt", Table(width).render(constructed.run()))


def test_verbose_run_is_drawn_as_in_the_golden_file() -> None:
    matches_golden("run-140-verbose.txt", Table(140, verbosity=1).render(constructed.run()))


def test_quiet_run_is_drawn_as_in_the_golden_file() -> None:
    matches_golden("run-80-quiet.txt", Table(80, verbosity=-1).render(constructed.run()))


def test_coloured_run_is_drawn_as_in_the_golden_file() -> None:
    matches_golden("run-100-colour.txt", Table(100, colour=True).render(constructed.run()))


def test_printed_check_is_its_table_with_its_power() -> None:
    matches_golden("check-100.txt", render_check(constructed.warm_up()) + "\n")
    assert str(constructed.warm_up()) == render_check(constructed.warm_up())


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_colour_changes_no_word(width: int, verbosity: int) -> None:
    coloured = Table(width, colour=True, verbosity=verbosity).render(constructed.run())
    uncoloured = [line.rstrip() for line in ANSI.sub("", coloured).split("\n")]
    assert "\n".join(uncoloured) == Table(width, verbosity=verbosity).render(constructed.run())


@pytest.mark.parametrize("variable", ["COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM"])
def test_environment_changes_nothing(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Table(80, colour=True).render(constructed.run())
    monkeypatch.setenv(variable, "33")
    assert Table(80, colour=True).render(constructed.run()) == before


@pytest.mark.parametrize("width", range(40, 141, 4))
def test_numbers_are_never_cut(width: int) -> None:
    run = constructed.run()
    drawn = Table(width, rows=Rows(limit=None)).render(run)
    tokens = set(drawn.split())
    for check in run.checks:
        for array in check.arrays:
            for element in array.worst:
                analytic, numeric = _text.pair(element.analytic, element.numeric)
                assert {analytic, numeric, _text.short(element.abs_error)} <= tokens
    assert "…" not in drawn


@pytest.mark.parametrize("width", [80, 100, 140])
def test_only_names_and_commands_are_wider_than_asked(width: int) -> None:
    for line in Table(width).render(constructed.run()).splitlines():
        assert len(line) <= width or "reproduce: " in line or line.startswith("configs/")


def test_columns_go_in_order_as_the_width_shrinks() -> None:
    heads = [Table(width).render(constructed.run(constructed.warm_up())).splitlines()[1] for width in (100, 99, 65)]
    full, without_relative, without_uncertainty = (re.split(r"\s{2,}", head.strip()) for head in heads)
    assert full == ["element", "analytic", "numeric", "± uncertainty", "abs error", "rel error", "outcome"]
    assert without_relative == ["element", "analytic", "numeric", "±", "abs error", "outcome"]
    assert without_uncertainty == ["element", "analytic", "numeric", "abs error", "outcome"]


@pytest.mark.parametrize(
    ("analytic", "numeric", "shown"),
    [
        (0.5, 0.5, ("0.500000", "0.500000")),
        (1.0, 1.0 + 2**-52, ("1.0000000000000000", "1.0000000000000002")),
        (0.1, 0.10000001, ("0.10000000", "0.10000001")),
        (-1.0, 1.0, ("-1.00000", "1.00000")),
        (1e-300, 0.0, ("1.00000e-300", "0")),
        (123456.0, 123457.0, ("123456", "123457")),
        (1e20, 1e20, ("1.00000e20", "1.00000e20")),
        (math.nan, 1.0, ("nan", "1.00000")),
        (math.nan, math.nan, ("nan", "nan")),
        (math.inf, -math.inf, ("inf", "-inf")),
        (5e-324, 1e-323, ("4.94066e-324", "9.88131e-324")),
    ],
)
def test_pair_has_the_digits_that_tell_it_apart(analytic: float, numeric: float, shown: tuple[str, str]) -> None:
    assert _text.pair(analytic, numeric) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (1.26e-9, "1.3e-9"),
        (0.5, "0.50"),
        (12.0, "12"),
        (1e10, "1.0e10"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_short_has_two_digits(value: float, shown: str) -> None:
    assert _text.short(value) == shown


def test_decimal_points_stand_below_each_other() -> None:
    assert _text.aligned(["1.5", "-10.25", "0", "nan"]) == ["  1.5 ", "-10.25", "  0   ", "   nan"]
    assert _text.aligned([]) == []


def big_run(*unmet: int, count: int = MANY + 1) -> RunResult:
    checks = [constructed.transposed() if number in unmet else constructed.warm_up() for number in range(count)]
    return RunResult(tuple(checks), 1.0)


def test_larger_runs_show_elements_of_what_is_not_as_expected_only() -> None:
    drawn = Table(100).render(big_run(3))
    assert drawn.count("  element ") == 1
    assert drawn.count("✓  configs/a.yaml::warm-up  passes: 7 elements; 0.012 s\n") == MANY
    assert Table(100).render(big_run(count=MANY)).count("  element ") == MANY
    assert Table(100, verbosity=1).render(big_run(3)).count("  element ") == MANY + 1


def test_quiet_run_that_is_as_expected_is_one_line() -> None:
    drawn = Table(100, verbosity=-1).render(constructed.run(constructed.warm_up(), constructed.caught()))
    assert drawn == "2 checks as expected: 1 passes, 1 fails; 8 elements, 84 evaluations, 1.2 s\n"


@pytest.mark.parametrize(
    ("others", "line"),
    [
        ({}, "10 of 6208 elements shown, all others pass; --all shows them"),
        (
            {"inconclusive": 2, "kinks": 1},
            "10 of 6208 elements shown, of the others 2 inconclusive, 1 kink, 6195 pass; --all",
        ),
        ({"covered": 6198, "visited": 10}, "10 of 6208 elements shown, 6198 are covered by probes only"),
        (
            {"covered": 1000, "visited": 5208},
            "10 of 6208 elements shown, 5198 others pass, 1000 are covered by probes only; --",
        ),
    ],
)
def test_what_is_not_shown_is_told_truthfully(others: dict[str, int], line: str) -> None:
    shown = [constructed.element(i, analytic=1.0, numeric=1.0 + i * 1e-12) for i in range(10)]
    array = constructed.array("W", (6208,), shown, elements=6208, **others)
    drawn = Table(120).render(constructed.run(constructed.check("big", "linear", Verdict.PASS, array)))
    assert f"  {line}" in drawn


def test_all_rows_need_no_hint() -> None:
    drawn = Table(100, rows=Rows(limit=None)).render(constructed.run(constructed.searched()))
    assert "--all" not in drawn
    assert "1 of 16777216 elements shown, 40 others pass, 16777175 are covered by probes only\n" in drawn


@pytest.mark.parametrize(("count", "rows"), [(24, 24), (25, 10)])
def test_every_element_is_shown_up_to_24_else_the_worst_10(count: int, rows: int) -> None:
    elements = [constructed.element(i, analytic=1.0, numeric=1.0 + i * 1e-12) for i in range(count)]
    drawn = Table(100).render(
        constructed.run(constructed.check("a", "b", Verdict.PASS, constructed.array("W", (count,), elements)))
    )
    labels = re.findall(r"^  W\[(\d+)\]", drawn, re.MULTILINE)
    assert labels == [str(i) for i in reversed(range(count))][:rows]


def test_worst_outcome_comes_first_whatever_the_error() -> None:
    tiny = constructed.element(0, analytic=1e-9, numeric=2e-9, outcome=Outcome.FAIL)
    large = constructed.element(1, analytic=1e6, numeric=1.001e6)
    array = constructed.array("W", (2,), [large, tiny])
    drawn = Table(100).render(constructed.run(constructed.check("a", "b", Verdict.FAIL, array, met=False)))
    assert re.findall(r"W\[\d\]", drawn)[:2] == ["W[0]", "W[1]"]


@pytest.mark.parametrize(
    ("verdict", "expected", "met", "headline"),
    [
        (Verdict.PASS, Verdict.PASS, True, "passes"),
        (Verdict.FAIL, Verdict.PASS, False, "fails"),
        (Verdict.INCONCLUSIVE, Verdict.PASS, False, "inconclusive"),
        (Verdict.ERROR, Verdict.PASS, False, "error"),
        (Verdict.FAIL, Verdict.FAIL, True, "fails, as expected"),
        (Verdict.FAIL, Verdict.FAIL, False, "fails, but not in the arrays that were expected to"),
        (Verdict.PASS, Verdict.FAIL, False, "passes, but was expected to fail"),
        (Verdict.INCONCLUSIVE, Verdict.FAIL, False, "inconclusive, but was expected to fail"),
        (Verdict.ERROR, Verdict.FAIL, False, "error, but was expected to fail"),
    ],
)
def test_headline_tells_the_verdict_beside_what_was_expected(
    verdict: Verdict, expected: Verdict, met: bool, headline: str
) -> None:
    check = constructed.check("a", "b", verdict, expected=expected, met=met)
    assert _text.headline(check) == headline
    assert f"  {headline}: 42 evaluations" in Table(100).render(constructed.run(check))


def test_text_of_users_can_not_harm_the_terminal() -> None:
    name = "a\x1b[2J\r\n\t[bold]W[i,j]\u202e\udc80é"
    drawn = Table(100).render(constructed.run(constructed.check(name, name, Verdict.PASS)))
    assert "configs/a.yaml::a\\x1b[2J\\r\\n\\t[bold]W[i,j]\\u202e\\udc80é" in drawn
    assert all(character.isprintable() or character == "\n" for character in drawn)


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (RunResult((), 0.0), "no checks\n"),
        (RunResult((), 0.0, interrupted=True), "interrupted before the first check ended\n"),
        (constructed.run(constructed.warm_up()), "1 check passes; 7 elements, 42 evaluations, 1.2 s\n"),
        (
            constructed.run(constructed.warm_up(), interrupted=True),
            "interrupted; 1 check passes; 7 elements, 42 eval",
        ),
        (
            constructed.run(constructed.warm_up(), constructed.broken()),
            "1 of 2 checks not as expected: 1 passes, 1 error; 7",
        ),
    ],
)
def test_closing_line_counts(run: RunResult, line: str) -> None:
    assert Table(100).closing(run).startswith(line)


def test_power_of_a_run_is_that_of_its_weakest_check() -> None:
    one, other = Resolution(2e-9, 4e-6, "W[3, 1]"), Resolution(4e-9, 1e-7, "b[0]")
    checks = [
        constructed.check("first", "a", Verdict.PASS, resolution=one),
        constructed.check("second", "a", Verdict.PASS, resolution=other),
    ]
    closing = Table(100).closing(constructed.run(*checks))
    assert closing.endswith("\nmedian resolution 3.0e-9, worst 4.0e-6 at W[3, 1] of first\n")

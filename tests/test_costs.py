"""What a check may cost, and the sentences about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradcheck_cli.costs import COPIES, LEAST, announced, limits_of, must_fit
from gradcheck_cli.layer import ArrayError
from gradcheck_cli.numeric.objective import Ledger
from gradcheck_cli.plumbing.bench import Bench
from gradcheck_cli.spec import CheckSpec
from gradcheck_cli.tiers.point import Limits
from tests.searching import Dense, dense

SPEC = CheckSpec("test::costs", "costs", Dense(), "small")


def bench(seconds: float = 1e-3) -> Bench:
    arrays = dense(20)
    return Bench(Dense(), arrays, ("x", "W", "b"), Ledger(), outputs=(np.zeros((4, 20)),), seconds=seconds)


@pytest.mark.parametrize(("seconds", "budget"), [(1e-3, 30_000), (0.1, 300), (10.0, LEAST)])
def test_the_default_budget_is_half_a_minute(seconds: float, budget: int) -> None:
    limits = limits_of(SPEC, bench(seconds))
    assert limits is not None
    assert limits.budget == budget


def test_what_is_asked_for_is_kept() -> None:
    assert limits_of(replace(SPEC, budget=7, max_memory=99), bench()) == Limits(7, 99)
    assert limits_of(replace(SPEC, exhaustive=True), bench()) is None
    assert limits_of(replace(SPEC, view="jacobian"), bench()) is None


def test_limits_are_crossed_by_evaluations_or_by_memory() -> None:
    limits = Limits(budget=20, memory=10_000)
    assert [limits.crossed_by(n) for n in (10, 11)] == [False, True]
    assert limits.crossed_by(2, size=51)


def test_only_what_is_large_is_announced() -> None:
    (sentence,) = announced(SPEC, Limits(400, 2**30), bench())
    assert sentence.startswith(
        "W: 400 elements take 800 evaluations one by one (about 1 s), the budget is 400 (about 30 s)"
    )
    (sentence,) = announced(SPEC, Limits(10**9, 40_000), bench())
    assert sentence.startswith("W: the tables of 400 elements take more than 0 MB")
    assert not list(announced(SPEC, None, bench()))


@pytest.mark.parametrize("view", ["vjp", "jacobian"])
def test_what_cannot_fit_is_refused(view: str) -> None:
    must_fit(replace(SPEC, view=view), bench())  # type: ignore[arg-type]
    with pytest.raises(ArrayError, match=r"W.*400 elements.*must fit into --max-memory") as refused:
        must_fit(replace(SPEC, view=view, max_memory=1000), bench())  # type: ignore[arg-type]
    assert ("use view: vjp" in str(refused.value)) == (view == "jacobian")


def test_tables_that_can_be_searched_need_not_fit() -> None:
    asked = replace(SPEC, max_memory=COPIES * 400 * 8)
    must_fit(asked, bench())
    with pytest.raises(ArrayError, match="must fit into --max-memory"):
        must_fit(replace(asked, exhaustive=True), bench())

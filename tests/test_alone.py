"""Elements of different rows, judged at once: what they ask of forward and of the VJP is asked together."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.results import Verdict
from tests.searching import BEHIND, Dense, Spoiled, array, dense, named, scaled, search

SIDE = 32
DIAGONAL = [row * SIDE + row for row in range(SIDE)]


def tanh() -> Dense:
    return Dense(*BEHIND["tanh"])


def test_many_wrong_elements_cost_as_much_as_a_few() -> None:
    few, many = (search(Spoiled(tanh(), scaled(places)), dense(SIDE)) for places in (DIAGONAL[:4], DIAGONAL))
    assert (named(few), named(many)) == (DIAGONAL[:4], DIAGONAL)
    assert many.evaluations <= few.evaluations + 12
    assert many.vjp_calls <= few.vjp_calls + 4


def test_a_vjp_that_fails_beside_one_element_leaves_the_others_theirs() -> None:
    arrays, asked = dense(SIDE), list[bool]()

    class Touchy(Spoiled):
        def vjp(self, dy: Any, **given: Array) -> dict[str, Array]:
            asked.append(bool(given["W"][3, 3] != arrays["W"][3, 3]))
            if asked[-1]:
                raise ValueError("not there")
            return super().vjp(dy, **given)

    result = search(Touchy(tanh(), scaled(DIAGONAL[:5])), arrays)
    assert named(result) == DIAGONAL[:5]
    assert any(asked)
    assert not all(asked[asked.index(True) :])


def test_a_slope_that_nearly_cancels_takes_steps_that_suit_its_terms() -> None:
    layer, arrays = tanh(), dense(SIDE)
    dy = np.random.default_rng(3).normal(size=(len(arrays["x"]), SIDE))
    slopes = 1 - layer.forward(**arrays) ** 2
    dy[0, :3] -= ((dy * slopes).sum(axis=0) / slopes[0])[:3] - 1e-3
    result = search(layer, arrays, cotangent=(dy,))
    assert result.verdict is Verdict.PASS
    bias = array(result, "b")
    assert (bias.passed, bias.visited) == (SIDE, SIDE)
    assert {element.tier for element in bias.worst} == {1}

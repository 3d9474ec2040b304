"""Every built-in layer with a known mistake in its gradient is caught."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.draws import draw_arrays, draw_cotangent
from gradcheck_cli.layer import Array, Shape, as_outputs
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from tests.wrong_layers import MISTAKES, Wrong, changes, mistaken

MOST = 4_000  # evaluations of one check: what bounds the time of all of them
IN_ORDER = ("transposed", "reversed_along_last_axis")  # a symmetric gradient shows one of them only


def small_examples(name: str) -> Iterator[tuple[Any, Mapping[str, Shape]]]:
    """The layer at each of its examples, those with the fewest elements first."""
    built = [(LAYERS[name](**example.options), example.shapes) for example in LAYERS[name].EXAMPLES]
    return iter(sorted(built, key=lambda pair: sum(math.prod(s.shape) for s in pair[0].arrays(**pair[1]).values())))


def given_shapes(shapes: Mapping[str, Shape]) -> dict[str, Given]:
    return {name: Given(shape=shape) for name, shape in shapes.items()}


def does_anything(wrong: Wrong, shapes: Mapping[str, Shape]) -> bool:
    """Whether the mistake changes the gradient by more than rounding."""
    arrays = draw_arrays(wrong.arrays(**shapes), given_shapes(shapes), "float64", 0, 0)
    outputs = wrong.forward(**arrays)
    cotangent = draw_cotangent(as_outputs(outputs), 0, 0)
    dy = cotangent if isinstance(outputs, tuple) else cotangent[0]
    found: list[dict[str, Array]] = [
        {name: np.array(value) for name, value in layer.vjp(dy, **arrays).items()} for layer in (wrong.right, wrong)
    ]
    return changes(*found)


def shown(name: str, mistake: str) -> tuple[Wrong, Mapping[str, Shape]] | None:
    """The smallest example at which the mistake changes anything."""
    made = ((mistaken(layer, mistake), shapes) for layer, shapes in small_examples(name))
    return next((pair for pair in made if does_anything(*pair)), None)


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", LAYERS)
def test_mistake_is_caught(name: str, mistake: str) -> None:
    found = shown(name, mistake)
    if found is None and mistake in IN_ORDER:
        assert any(shown(name, other) for other in IN_ORDER)
        pytest.skip("this order of the elements gives the same gradient")
    assert found is not None, "no example shows this mistake: one of them must"
    wrong, shapes = found
    result = run_check(CheckSpec("wrong", "wrong", wrong, "wrong", given_shapes(shapes)), Rows(None))
    assert result.verdict is Verdict.FAIL, str(result)
    assert result.evaluations < MOST


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, layer in LAYERS.items() for number in range(len(layer.EXAMPLES))]
)
def test_one_wrong_element_is_caught_at_every_example(name: str, number: int) -> None:
    example = LAYERS[name].EXAMPLES[number]
    wrong = mistaken(LAYERS[name](**example.options), "one_wrong_element")
    result = run_check(CheckSpec("wrong", "wrong", wrong, "wrong", given_shapes(example.shapes)), Rows(None))
    assert result.verdict is Verdict.FAIL, str(result)
    assert [array.failed for array in result.arrays if array.failed] == [1]

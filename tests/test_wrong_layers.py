"""Every built-in layer with a known mistake in its gradient is caught."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.draws import draw_arrays, draw_cotangent
from gradcheck_cli.layer import as_outputs
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from tests.wrong_layers import MUTATORS, Mutated, changes


def _examples() -> Iterator[Any]:
    for name, layer in LAYERS.items():
        example = layer.EXAMPLES[0]
        for mutator in MUTATORS:
            yield pytest.param(layer(**example.options), dict(example.shapes), mutator, id=f"{name}-{mutator}")


def _does_anything(wrong: Mutated, shapes: dict[str, tuple[int, ...]]) -> bool:
    given = {name: Given(shape=shape) for name, shape in shapes.items()}
    arrays = draw_arrays(wrong.arrays(**shapes), given, "float64", 0, 0)
    outputs = wrong.forward(**arrays)
    cotangent = draw_cotangent(as_outputs(outputs), 0, 0)
    dy = cotangent if isinstance(outputs, tuple) else cotangent[0]
    right = {name: np.array(value) for name, value in wrong.right.vjp(dy, **arrays).items()}
    return bool(right) and changes(right, wrong.mutator(dict(right)))


@pytest.mark.parametrize(("layer", "shapes", "mutator"), list(_examples()))
def test_mistake_is_caught(layer: Any, shapes: dict[str, tuple[int, ...]], mutator: str) -> None:
    wrong = Mutated(layer, MUTATORS[mutator])
    if not _does_anything(wrong, shapes):
        pytest.skip("the mistake leaves this gradient as it is")
    given = {name: Given(shape=shape) for name, shape in shapes.items()}
    result = run_check(CheckSpec("wrong", "wrong", wrong, "wrong", given), Rows(None))
    assert result.verdict is Verdict.FAIL, str(result)

"""Every wrong gradient of the corpus, with the point at which it is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.corpus import (
    misbehaviour,
    mistakes_deep,
    mistakes_dense,
    mistakes_elementwise,
    mistakes_reductions,
)
from tests.corpus.case import Point
from tests.corpus.mistakes import Mistaken, one_element
from tests.corpus.points import BY_NAME

# what no difference quotient can tell from a right gradient, and why; it must still not pass
UNDECIDABLE: Mapping[str, str] = {
    "square-mixed-tiny_elements": "an error of 1e-8 beside outputs of 1e16: their last bits could hide as much",
    "sigmoid-saturated-tail_lost": "a slope of 6e-18 beside outputs of 1: their last bits could hide as much",
}

# right numbers, or nearly, and a broken contract: a finding or an error must tell
CONTRACT = frozenset(
    {
        "cross_entropy-upstream_ignored",
        *(f"linear-{name}" for name in misbehaviour.MISTAKES["linear-plain"]),
        *misbehaviour.STATEFUL,
    }
)

# points whose largest element, one by one and array by array, is put off by little
ONE_ELEMENT_AT = (
    *("exp-again", "log-again", "tiny_tanh-again", "huge_tanh-again", "log_softmax-again", "cross_entropy-again"),
    *("linear-again", "bilinear-again", "perceptron-again", "layer_norm-again", "batch_norm-again", "conv-again"),
    *("attention-again", "recurrent-again", "lstm_cell-again", "solve-again", "inverse-again", "softmax_beta-tiny"),
    *("linear-huge", "unit_length-short", "polar-uneven", "squared_error-tiny"),
)


@dataclass(frozen=True, eq=False)
class Wrong:
    """A wrong gradient: a fresh layer for every use, and the point with its correct layer."""

    name: str
    point: Point
    make: Callable[[], Any]
    undecidable: str | None = None


def _one_element() -> Iterator[tuple[str, str, Any]]:
    for where in ONE_ELEMENT_AT:
        for array in BY_NAME[where].wrt:
            for error in (1e-1, 1e-3, 1e-5):
                yield where, f"{array}_one_element_{error:.0e}", one_element(array, error, -2)


def _reason(name: str, point: Point) -> str | None:
    return UNDECIDABLE.get(name, point.undecidable)


def _assemble() -> Iterator[Wrong]:
    families = (mistakes_elementwise, mistakes_reductions, mistakes_dense, mistakes_deep, misbehaviour)
    listed = (
        (where, name, mistake)
        for family in families
        for where, mistakes in family.MISTAKES.items()
        for name, mistake in mistakes.items()
    )
    for where, name, mistake in (*listed, *_one_element()):
        point = BY_NAME[where]
        full = f"{where.removesuffix('-plain')}-{name}"
        yield Wrong(full, point, partial(Mistaken, point.layer, mistake), _reason(full, point))
    for full, (where, stateful) in misbehaviour.STATEFUL.items():
        yield Wrong(full, BY_NAME[where], stateful, _reason(full, BY_NAME[where]))


WRONG: tuple[Wrong, ...] = tuple(_assemble())

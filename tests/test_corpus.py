"""The acceptance corpus itself: correct gradients equal the truth, wrong ones do not, and it is large enough."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array, as_outputs
from tests.corpus import truth
from tests.corpus.case import UNIT, Point, as_given
from tests.corpus.peers import RULES, accepts
from tests.corpus.points import BY_NAME, POINTS
from tests.corpus.wrong import CONTRACT, WRONG, Wrong

SMOOTH = [point for point in POINTS if not point.edge]


def _gradient(layer: Any, point: Point) -> dict[str, Any]:
    outputs = point.layer.forward(**_copy(point))
    cotangent = as_given(tuple(part.copy() for part in point.cotangent), outputs)
    return dict(layer.vjp(cotangent, **_copy(point)))


def _copy(point: Point) -> dict[str, Array]:
    return {name: value.copy() for name, value in point.arrays.items()}


def test_the_corpus_is_large_enough() -> None:
    assert len({point.name.rsplit("-", 1)[0] for point in POINTS}) >= 60
    assert len(BY_NAME) == len(POINTS) >= 250
    assert len({wrong.name for wrong in WRONG}) == len(WRONG) >= 500


def test_undecidable_points_are_few() -> None:
    assert sum(point.undecidable is not None for point in POINTS) <= 0.05 * len(POINTS)
    assert sum(wrong.undecidable is not None for wrong in WRONG) <= 0.05 * len(WRONG)


@pytest.mark.parametrize("point", SMOOTH, ids=lambda point: point.name)
def test_correct_gradient_is_the_truth(point: Point) -> None:
    gradient, true, slope = _gradient(point.layer, point), truth.gradient(point), truth.natural_slope(point)
    largest = max(float(part.max()) for part in slope.values())
    if point.cancels:
        largest = max(largest, max(float(np.abs(part).max()) for part in point.cotangent))
    for name in point.wrt:
        scale = np.full_like(slope[name], largest) if point.cancels else slope[name]
        assert np.all(np.abs(gradient[name].astype(float) - true[name]) <= point.accuracy * scale), name


def _error_over_floor(wrong: Wrong) -> float:
    """The largest error of the wrong gradient, in floors of the element that has it."""
    gradient, slope, worst = _gradient(wrong.make(), wrong.point), truth.natural_slope(wrong.point), 0.0
    for name, part in truth.gradient(wrong.point).items():
        value = gradient.get(name)
        if value is None or np.shape(value) != part.shape or not np.all(np.isfinite(value)):
            return np.inf
        floor = 256 * UNIT["float64"] * slope[name] + 1e-290
        worst = max(worst, float((np.abs(np.asarray(value, float) - part) / floor).max()))
    return worst


@pytest.mark.parametrize(
    "wrong", [w for w in WRONG if w.name not in CONTRACT and not w.point.edge], ids=lambda wrong: wrong.name
)
def test_wrong_gradient_is_wrong(wrong: Wrong) -> None:
    assert _error_over_floor(wrong) > 1e6


@pytest.mark.parametrize(
    "name", ["softmax-plain", "layer_norm-plain", "conv-plain", "attention-plain", "recurrent-plain"]
)
def test_truth_agrees_with_the_complex_step(name: str) -> None:
    point, h = BY_NAME[name], 1e-30
    for array in point.wrt:
        for index in np.ndindex(point.arrays[array].shape):
            arrays = {key: value.astype(complex) if key in point.wrt else value for key, value in point.arrays.items()}
            arrays[array][index] += 1j * h
            outputs = as_outputs(point.layer.forward(**arrays))
            slope = sum(float((g * y.imag).sum()) for g, y in zip(point.cotangent, outputs, strict=True)) / h
            assert slope == pytest.approx(truth.gradient(point)[array][index], rel=1e-12, abs=1e-14)


PEERS_MISS = {
    "torch gradcheck": ("tiny_tanh-zero", True),
    "JAX check_grads": ("tiny_tanh-zero", True),
    "Chainer check_backward": ("tiny_tanh-factor_10", True),
    "OpenMDAO check_partials": ("linear-nan", True),
}


@pytest.mark.parametrize("name", RULES)
def test_peer_accepts_right_and_refuses_grossly_wrong(name: str) -> None:
    rule = RULES[name]
    assert accepts(rule, BY_NAME["linear-plain"].layer, BY_NAME["linear-plain"])
    wrongs = {wrong.name: wrong for wrong in WRONG}
    for refused in ("linear-transpose_W", "softmax-sign", "exp-factor_2"):
        assert not accepts(rule, wrongs[refused].make(), wrongs[refused].point)
    missed, accepted = PEERS_MISS[name]
    assert accepts(rule, wrongs[missed].make(), wrongs[missed].point) is accepted

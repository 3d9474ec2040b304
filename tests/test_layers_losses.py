"""Losses of regression against torch autograd; every loss against the complex step; kinks, options and shapes."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_truth import (
    assert_complex_step_agrees,
    assert_dtype_is_kept,
    assert_stack_is_single_calls,
    draw,
)
from loss_truth import assert_loss_agrees, with_target

from gradcheck_cli.layer import ArrayError, OptionError
from gradcheck_cli.layers.classification import NLL, SoftmaxCrossEntropy
from gradcheck_cli.layers.divergences import BinaryCrossEntropyWithLogits, KLDivergence
from gradcheck_cli.layers.losses import MAE, MSE, Huber
from gradcheck_cli.layers.margins import Hinge

LAYERS = (MSE, MAE, Huber, Hinge, SoftmaxCrossEntropy, NLL, BinaryCrossEntropyWithLogits, KLDivergence)
EXAMPLES = [
    pytest.param(layer(**example.options), example.shapes, id=f"{layer.name}-{n}")
    for layer in LAYERS
    for n, example in enumerate(layer.EXAMPLES)
]
bounded = settings(max_examples=15, deadline=None, derandomize=True)
shape = st.lists(st.integers(1, 4), max_size=3).map(tuple)
reduction = st.sampled_from(["mean", "sum", "none"])


@bounded
@given(shape, reduction, st.floats(0.1, 4))
def test_regression_losses_agree_with_torch(shape: Any, reduction: Any, delta: float) -> None:
    f = pytest.importorskip("torch").nn.functional
    layers: list[tuple[Any, Any]] = [
        (MSE(reduction), f.mse_loss),
        (MAE(reduction), f.l1_loss),
        (Huber(reduction, delta), partial(f.huber_loss, delta=delta)),
    ]
    for layer, function in layers:
        assert_loss_agrees(layer, draw(layer, {"x": shape}), partial(function, reduction=reduction))


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_vjp_agrees_with_the_complex_step(layer: Any, shapes: Any) -> None:
    arrays = draw(layer, shapes)
    assert_complex_step_agrees(with_target(layer, arrays["target"]), {"x": arrays["x"]})


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_stack_equals_single_calls(layer: Any, shapes: Any) -> None:
    assert_stack_is_single_calls(layer, shapes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_dtype_is_kept(layer: Any, shapes: Any, dtype: Any) -> None:
    assert_dtype_is_kept(layer, shapes, dtype)


@pytest.mark.parametrize("layer", LAYERS)
def test_works_with_no_shapes_given(layer: Any) -> None:
    arrays = draw(layer(), {})
    assert list(arrays) == ["x", "target"]
    assert layer().forward(**arrays).shape == ()


def test_vjp_at_a_tie_is_a_subgradient() -> None:
    one = np.ones(1)
    assert -1 <= MAE().vjp(np.ones(()), one, one)["x"][0] <= 1
    assert -1 <= Hinge("signs").vjp(np.ones(()), one, np.array([1]))["x"][0] <= 0
    gradient = Hinge().vjp(np.ones(()), np.array([2.0, 1.0]), np.array(0))["x"]
    assert 0 <= gradient[1] == -gradient[0] <= 1


def test_default_arrays_keep_their_distance_from_kinks() -> None:
    """Residuals from 0 and delta, scores and their differences from the margin; every piece is visited."""
    for scale in (0.3, 1.0, 2.5):
        arrays = draw(Huber(delta=scale), {"x": (60,)})
        r = abs(arrays["x"] - arrays["target"]) / scale
        assert min(r.min(), abs(r - 1).min()) > 0.25
        assert r.min() < 1 < r.max()
        for shapes, options in (({"x": (60,)}, {"targets": "signs"}), ({"x": (12, 5)}, {})):
            layer = Hinge(margin=scale, **options)
            arrays = draw(layer, shapes)
            x = arrays["x"] / scale
            if not options:
                x = x - np.take_along_axis(x, arrays["target"][:, None], -1)
            gaps = 1 - arrays["target"] * x if options else 1 + x
            assert abs(gaps).min() > 0.1
            assert gaps.min() < 0 < gaps.max()


REDUCTION = "option 'reduction': 'max'; must be 'mean', 'sum' or 'none'"


@pytest.mark.parametrize("layer", LAYERS)
def test_an_unknown_reduction_is_refused(layer: Any) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(REDUCTION)}$"):
        layer(reduction="max")


OPTIONS = [
    (Huber, {"delta": 0.0}, "option 'delta': 0.0; must be positive and finite"),
    (Hinge, {"margin": -1.0}, "option 'margin': -1.0; must be positive and finite"),
    (Hinge, {"targets": "sign"}, "option 'targets': 'sign'; must be 'classes' or 'signs'"),
    (BinaryCrossEntropyWithLogits, {"pos_weight": 0.0}, "option 'pos_weight': 0.0; must be positive and finite"),
    (SoftmaxCrossEntropy, {"targets": "one-hot"}, "option 'targets': 'one-hot'; must be 'classes' or 'probabilities'"),
    (SoftmaxCrossEntropy, {"label_smoothing": 1.5}, "option 'label_smoothing': 1.5; must be in [0, 1]"),
    (
        SoftmaxCrossEntropy,
        {"targets": "probabilities", "ignore_index": 0},
        "option 'ignore_index': 0; must be left out with targets: probabilities",
    ),
    (
        SoftmaxCrossEntropy,
        {"class_weights": (1.0, -1.0)},
        "option 'class_weights': (1.0, -1.0); must be finite, none negative, and not all zero",
    ),
    (NLL, {"class_weights": (0.0,)}, "option 'class_weights': (0.0,); must be finite, none negative, and not all zero"),
]


@pytest.mark.parametrize(("layer", "options", "message"), OPTIONS)
def test_an_impossible_option_is_refused(layer: Any, options: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        layer(**options)


SHAPES = [
    *((layer(), (3,), "must be the shape of x = (3, 4)") for layer in (MSE, MAE, Huber, KLDivergence)),
    (Hinge("signs"), (3,), "must be the shape of x = (3, 4)"),
    (BinaryCrossEntropyWithLogits(), (3,), "must be the shape of x = (3, 4)"),
    (SoftmaxCrossEntropy("probabilities"), (3,), "must be the shape of x = (3, 4)"),
    *((layer(), (4,), "must be the shape of x without its last axis = (3,)") for layer in (Hinge, NLL)),
    (SoftmaxCrossEntropy(), (3, 4), "must be the shape of x without its last axis = (3,)"),
]


@pytest.mark.parametrize(("layer", "target", "must"), SHAPES)
def test_a_target_that_does_not_fit_is_refused(layer: Any, target: Any, must: str) -> None:
    message = f"array 'target': shape {target}; {must}"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer.arrays(x=(3, 4), target=target)

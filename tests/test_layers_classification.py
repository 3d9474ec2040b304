"""Losses of classification against torch autograd; weights, smoothing, ignored targets, extremes, strange targets."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_truth import (
    draw,
)
from loss_truth import assert_loss_agrees

from gradcheck_cli.layer import ArrayError, OptionError
from gradcheck_cli.layers.classification import NLL, SoftmaxCrossEntropy
from gradcheck_cli.layers.divergences import BinaryCrossEntropyWithLogits, KLDivergence
from gradcheck_cli.layers.margins import Hinge

bounded = settings(max_examples=15, deadline=None, derandomize=True)
shape = st.lists(st.integers(1, 4), max_size=3).map(tuple)
rows = st.lists(st.integers(1, 4), max_size=2).map(tuple)
classes = st.integers(2, 5)
reduction = st.sampled_from(["mean", "sum", "none"])


@st.composite
def class_options(draw_from: Any) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Options that softmax_cross_entropy and nll share, and a shape of x."""
    count = draw_from(classes)
    weights = st.lists(st.floats(0.1, 3), min_size=count, max_size=count).map(tuple)
    options = {
        "class_weights": draw_from(st.none() | weights),
        "ignore_index": draw_from(st.none() | st.sampled_from([-100, -1, 0, count - 1])),
        "reduction": draw_from(reduction),
    }
    return options, (*draw_from(rows), count)


def torch_class_loss(function: Any, layer: Any, **more: Any) -> Any:
    """A torch loss with the classes on the second axis, as a function of x with the classes on the last."""
    torch = pytest.importorskip("torch")
    weight = None if layer.class_weights is None else torch.tensor(layer.class_weights, dtype=torch.float64)
    ignored = getattr(layer, "ignore_index", None)
    more |= {} if ignored is None else {"ignore_index": ignored}

    def loss(x: Any, target: Any) -> Any:
        flat = target.reshape(-1, x.shape[-1]) if target.is_floating_point() else target.reshape(-1)
        y = function(x.reshape(-1, x.shape[-1]), flat, weight=weight, reduction=layer.reduction, **more)
        return y.reshape(x.shape[:-1]) if layer.reduction == "none" else y

    return loss


@settings(bounded, max_examples=30)
@given(class_options(), st.sampled_from([0.0, 0.1, 0.7, 1.0]))
def test_softmax_cross_entropy_of_classes_agrees_with_torch(options_and_shape: Any, smoothing: float) -> None:
    f = pytest.importorskip("torch").nn.functional
    options, shape = options_and_shape
    layer = SoftmaxCrossEntropy(label_smoothing=smoothing, **options)
    function = torch_class_loss(f.cross_entropy, layer, label_smoothing=smoothing)
    assert_loss_agrees(layer, draw(layer, {"x": shape}), function)


@settings(bounded, max_examples=30)
@given(class_options(), st.sampled_from([0.0, 0.1, 0.7, 1.0]))
def test_softmax_cross_entropy_of_probabilities_agrees_with_torch(options_and_shape: Any, smoothing: float) -> None:
    f = pytest.importorskip("torch").nn.functional
    options, shape = options_and_shape
    del options["ignore_index"]
    layer = SoftmaxCrossEntropy("probabilities", smoothing, **options)
    function = torch_class_loss(f.cross_entropy, layer, label_smoothing=smoothing)
    assert_loss_agrees(layer, draw(layer, {"x": shape}), function)


@settings(bounded, max_examples=30)
@given(class_options())
def test_nll_agrees_with_torch(options_and_shape: Any) -> None:
    f = pytest.importorskip("torch").nn.functional
    options, shape = options_and_shape
    layer = NLL(**options)
    assert_loss_agrees(layer, draw(layer, {"x": shape}), torch_class_loss(f.nll_loss, layer))


@bounded
@given(rows, classes, reduction, st.floats(0.2, 3))
def test_hinge_of_classes_agrees_with_torch(rows: Any, classes: int, reduction: Any, margin: float) -> None:
    """torch divides by the number of classes."""
    f = pytest.importorskip("torch").nn.functional
    layer = Hinge(margin=margin, reduction=reduction)

    def function(x: Any, target: Any) -> Any:
        flat = x.reshape(-1, classes)
        y = classes * f.multi_margin_loss(flat, target.reshape(-1), margin=margin, reduction=reduction)
        return y.reshape(rows) if reduction == "none" else y

    assert_loss_agrees(layer, draw(layer, {"x": (*rows, classes)}), function)


@bounded
@given(shape, reduction, st.floats(0.2, 3))
def test_hinge_of_signs_agrees_with_torch(shape: Any, reduction: Any, margin: float) -> None:
    pytest.importorskip("torch")
    layer = Hinge("signs", margin, reduction)

    def function(x: Any, target: Any) -> Any:
        y = (margin - target * x).relu()
        return y if reduction == "none" else getattr(y, reduction)()

    assert_loss_agrees(layer, draw(layer, {"x": shape}), function)


@bounded
@given(shape, reduction, st.floats(0.2, 3))
def test_binary_cross_entropy_agrees_with_torch(shape: Any, reduction: Any, weight: float) -> None:
    torch = pytest.importorskip("torch")
    layer = BinaryCrossEntropyWithLogits(weight, reduction)
    function = torch.nn.functional.binary_cross_entropy_with_logits
    pos_weight = torch.tensor(weight, dtype=torch.float64)
    assert_loss_agrees(layer, draw(layer, {"x": shape}), partial(function, pos_weight=pos_weight, reduction=reduction))


@bounded
@given(rows, classes, reduction)
def test_kl_divergence_agrees_with_torch(rows: Any, classes: int, reduction: Any) -> None:
    f = pytest.importorskip("torch").nn.functional
    layer = KLDivergence(reduction)

    def function(x: Any, target: Any) -> Any:
        y = f.kl_div(x, target, reduction="none").sum(-1)
        return y if reduction == "none" else getattr(y, reduction)()

    assert_loss_agrees(layer, draw(layer, {"x": (*rows, classes)}), function)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_logits_of_a_thousand_do_not_overflow(dtype: Any) -> None:
    x = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]], dtype)
    ones = np.ones(2, dtype)
    for smoothing, wanted in ((0.0, [2000.0, 0.0]), (0.5, [1500.0, 500.0])):
        layer = SoftmaxCrossEntropy(label_smoothing=smoothing, reduction="none")
        np.testing.assert_array_equal(layer.forward(x, np.array([1, 1])), wanted)
        gradient = layer.vjp(ones, x, np.array([1, 1]))["x"].astype(float)
        even = smoothing / 2
        np.testing.assert_allclose(gradient, [[1 - even, even - 1], [-even, even]], atol=1e-300)
    binary, target = BinaryCrossEntropyWithLogits(reduction="none"), np.array([1.0, 0.25], dtype)
    np.testing.assert_allclose(binary.forward(x[0], target).astype(float), [0.0, 250.0], atol=1e-300)
    np.testing.assert_allclose(binary.vjp(ones, x[0], target)["x"].astype(float), [0.0, -0.25], atol=1e-300)


def test_softmax_cross_entropy_of_a_forbidden_class() -> None:
    """A score of -inf has probability 0; nothing becomes NaN while it is not the target."""
    x, target = np.array([[0.5, -np.inf, 1.5]]), np.array([2])
    with mpmath.workdps(30):
        wanted = float(mpmath.log(1 + mpmath.exp(-1)))
    assert abs(SoftmaxCrossEntropy().forward(x, target) - wanted) < 1e-15
    assert SoftmaxCrossEntropy().vjp(np.ones(()), x, target)["x"][0, 1] == 0
    assert NLL().forward(x, target) == -1.5


@pytest.mark.parametrize("layer", [SoftmaxCrossEntropy(ignore_index=-100), NLL(ignore_index=-100)])
def test_the_mean_of_no_target_is_zero(layer: Any) -> None:
    x, target = np.ones((3, 4)), np.full(3, -100)
    assert layer.forward(x, target) == 0
    np.testing.assert_array_equal(layer.vjp(np.ones(()), x, target)["x"], np.zeros((3, 4)))


@pytest.mark.parametrize("ignored", [-100, 0, 3])
def test_one_of_the_drawn_targets_is_ignored(ignored: int) -> None:
    for layer in (SoftmaxCrossEntropy(ignore_index=ignored), NLL(ignore_index=ignored)):
        for seed in range(10):
            target = draw(layer, {"x": (6, 4)}, seed)["target"]
            assert np.sum(target == ignored) == 1
            assert np.all((target == ignored) | ((target >= 0) & (target < 4)))


def test_kl_divergence_of_a_probability_of_zero() -> None:
    target, x = np.array([0.0, 0.25, 0.75]), np.log([0.5, 0.25, 0.25])
    assert abs(KLDivergence().forward(x, target) - 0.75 * np.log(3)) < 1e-15
    with_minus_infinity = np.array([-np.inf, *x[1:]])
    assert KLDivergence().forward(with_minus_infinity, target) == KLDivergence().forward(x, target)


@pytest.mark.parametrize("layer", [SoftmaxCrossEntropy, NLL])
def test_class_weights_must_fit_the_classes(layer: Any) -> None:
    message = "option 'class_weights': (1.0, 2.0); must be 3 weights, one for each class"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        layer(class_weights=(1.0, 2.0)).arrays(x=(4, 3))
    assert layer(class_weights=(1.0, 2.0)).arrays()["x"].shape == (4, 2)


@pytest.mark.parametrize("layer", [SoftmaxCrossEntropy, NLL, Hinge])
def test_scores_without_classes_are_refused(layer: Any) -> None:
    message = "array 'x': shape (); must be (C,) or (..., C), with at least one class"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer().arrays(x=())


VALUES = [
    (SoftmaxCrossEntropy(), [0, 4, 1], "class 4; must be in [0, 4)"),
    (NLL(ignore_index=-100), [-1, 2, 1], "class -1; must be in [0, 4) or ignore_index = -100"),
    (Hinge(), [-1, 2, 1], "class -1; must be in [0, 4)"),
]


@pytest.mark.parametrize(("layer", "target", "message"), VALUES)
def test_a_class_that_does_not_exist_is_refused(layer: Any, target: Any, message: str) -> None:
    x, wrong, message = np.ones((3, 4)), np.array(target), f"array 'target': {message}"
    for call in (partial(layer.forward, x, wrong), partial(layer.vjp, np.ones(()), x, wrong)):
        with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
            call()


def test_a_sign_that_is_none_is_refused() -> None:
    with pytest.raises(ArrayError, match=r"^array 'target': value 0; must be -1 or 1$"):
        Hinge("signs").forward(np.ones(2), np.array([1, 0]))

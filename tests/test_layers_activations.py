"""Activations against torch autograd, the complex step and mpmath; tails, kinks and impossible options."""

from __future__ import annotations

import re
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_truth import (
    assert_complex_step_agrees,
    assert_dtype_is_kept,
    assert_stack_is_single_calls,
    assert_torch_agrees,
    draw,
)

from gradcheck_cli.layer import ArrayError, OptionError
from gradcheck_cli.layers.activations import Sigmoid, Softplus, Tanh
from gradcheck_cli.layers.gates import GELU, Mish, SiLU, SwiGLU
from gradcheck_cli.layers.rectifiers import ELU, SELU, HardTanh, LeakyReLU, ReLU
from gradcheck_cli.layers.special import normal_cdf, normal_pdf

LAYERS = (ReLU, LeakyReLU, ELU, SELU, HardTanh, GELU, SiLU, Mish, Softplus, Tanh, Sigmoid, SwiGLU)
EXAMPLES = [
    pytest.param(layer(**example.options), example.shapes, id=f"{layer.name}-{n}")
    for layer in LAYERS
    for n, example in enumerate(layer.EXAMPLES)
]
FIRST = [pytest.param(layer(), id=layer.name) for layer in LAYERS]
EPS = float(np.finfo(np.float64).eps)
bounded = settings(max_examples=15, deadline=None, derandomize=True)
shape = st.lists(st.integers(1, 4), max_size=3).map(tuple)
slope = st.floats(-0.9, 2.5)
positive = st.floats(0.1, 4.0)


def torch_function(layer: Any) -> Any:
    """The same activation in torch, written with its own functions."""
    f = pytest.importorskip("torch").nn.functional
    functions = {
        "relu": lambda x: f.relu(x),
        "leaky_relu": lambda x: f.leaky_relu(x, layer.negative_slope),
        "elu": lambda x: f.elu(x, layer.alpha),
        "selu": lambda x: f.selu(x),
        "hardtanh": lambda x: f.hardtanh(x, layer.min_val, layer.max_val),
        "gelu": lambda x: f.gelu(x, approximate=layer.approximate),
        "silu": lambda x: f.silu(x),
        "mish": lambda x: f.mish(x),
        "softplus": lambda x: f.softplus(x, layer.beta, threshold=1e3),
        "tanh": lambda x: x.tanh(),
        "sigmoid": lambda x: x.sigmoid(),
        "swiglu": lambda x: f.silu(x.chunk(2, -1)[0] * layer.beta) / layer.beta * x.chunk(2, -1)[1],
    }
    return functions[layer.name]


layers = st.one_of(
    st.sampled_from([ReLU(), SELU(), SiLU(), Mish(), Tanh(), Sigmoid(), GELU(), GELU("tanh")]),
    slope.map(LeakyReLU),
    slope.map(ELU),
    positive.map(Softplus),
    st.tuples(st.floats(-3, -0.1), positive).map(lambda bounds: HardTanh(*bounds)),
)


@settings(bounded, max_examples=40)
@given(layers, shape, st.integers(0, 9))
def test_activation_agrees_with_torch(layer: Any, shape: Any, seed: int) -> None:
    assert_torch_agrees(layer, draw(layer, {"x": shape}, seed), torch_function(layer))


@bounded
@given(positive, shape, st.integers(1, 3))
def test_swiglu_agrees_with_torch(beta: float, shape: Any, half: int) -> None:
    layer = SwiGLU(beta)
    assert_torch_agrees(layer, draw(layer, {"x": (*shape, 2 * half)}), torch_function(layer))


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_example_agrees_with_torch(layer: Any, shapes: Any) -> None:
    assert_torch_agrees(layer, draw(layer, shapes), torch_function(layer))


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_vjp_agrees_with_the_complex_step(layer: Any, shapes: Any) -> None:
    assert_complex_step_agrees(layer, draw(layer, shapes))


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_stack_equals_single_calls(layer: Any, shapes: Any) -> None:
    assert_stack_is_single_calls(layer, shapes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_dtype_is_kept(layer: Any, shapes: Any, dtype: Any) -> None:
    assert_dtype_is_kept(layer, shapes, dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("layer", FIRST)
def test_extreme_inputs_neither_overflow_nor_lose_the_limit(layer: Any, dtype: Any) -> None:
    """At 1000 every activation is a line or a constant, and so it is at -1000."""
    x = np.array([1000.0, -1000.0, 3.0, 3.0], dtype)
    dy = np.ones(2 if layer.name == "swiglu" else 4, dtype)
    y, gradient = layer.forward(x), layer.vjp(dy, x)["x"]
    assert np.isfinite(y).all()
    assert np.isfinite(gradient).all()
    right, left = {
        "sigmoid": (0.0, 0.0),
        "tanh": (0.0, 0.0),
        "hardtanh": (0.0, 0.0),
        "leaky_relu": (1.0, 0.01),
        "selu": (1.0507009873554805, 0.0),
        "swiglu": (3.0, 0.0),
    }.get(layer.name, (1.0, 0.0))
    np.testing.assert_allclose(gradient[:2].astype(float), [right, left], rtol=1e-3)


@pytest.mark.parametrize("layer", FIRST)
def test_not_a_number_is_passed_on(layer: Any) -> None:
    assert np.isnan(layer.forward(np.full(2, np.nan))).all()


def mp_error(values: Any, x: Any, truth: Any) -> float:
    """Largest relative error, in units of eps, against a function of mpmath with 60 digits."""
    with mpmath.workdps(60):
        wanted = [truth(mpmath.mpf(float(each))) for each in x]
        return max(float(abs((mpmath.mpf(float(v)) - w) / w)) for v, w in zip(values, wanted, strict=True)) / EPS


@pytest.mark.parametrize(("low", "high"), [(-37.0, 9.0), (-6.0, -0.5), (-0.6, 0.6), (-1e-3, 1e-3)])
def test_normal_distribution_is_right_to_a_few_ulp(low: float, high: float) -> None:
    """6 eps: the exponential, the sum of fifteen terms and the product each round."""
    x = np.random.default_rng(3).uniform(low, high, 400)
    assert mp_error(normal_cdf(x), x, mpmath.ncdf) < 6
    assert mp_error(normal_pdf(x), x, mpmath.npdf) < 3


def test_normal_distribution_joins_without_a_step() -> None:
    """Series and trapezoidal rule meet at 0.5, the residue is dropped near 9.67."""
    for seam in (0.5, 2.0 * np.pi / 0.65):
        for place in (seam, -seam):
            x = place + np.arange(-40, 41) * np.spacing(place)
            assert mp_error(normal_cdf(x), x, mpmath.ncdf) < 6


def test_gelu_is_right_in_the_tail() -> None:
    x = np.random.default_rng(4).uniform(-37.0, -1.0, 300)
    assert mp_error(GELU().forward(x), x, lambda t: t * mpmath.ncdf(t)) < 6
    tail = x[x < -2]
    gradient = GELU().vjp(np.ones_like(tail), tail)["x"]
    assert mp_error(gradient, tail, lambda t: mpmath.ncdf(t) + t * mpmath.npdf(t)) < 12


@pytest.mark.parametrize(
    ("layer", "derivative", "bound"),
    [
        (Sigmoid(), lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2, 5),
        (Tanh(), lambda x: 1 / mpmath.cosh(x) ** 2, 6),
        (Softplus(), lambda x: 1 / (1 + mpmath.exp(-x)), 3),
    ],
    ids=["sigmoid", "tanh", "softplus"],
)
def test_derivative_keeps_its_digits_in_both_tails(layer: Any, derivative: Any, bound: float) -> None:
    """1 - y² or y (1 - y) would lose every digit beyond 20."""
    x = np.random.default_rng(5).uniform(-300.0, 300.0, 300)
    assert mp_error(layer.vjp(np.ones_like(x), x)["x"], x, derivative) < bound


def test_selu_constants_are_the_published_ones() -> None:
    """Fixed point of mean 0 and variance 1, from the closed form in the supplement of the paper."""
    with mpmath.workdps(30):
        half, one, root = mpmath.sqrt(0.5), mpmath.mpf(1), mpmath.e ** mpmath.mpf("0.5")
        alpha = -mpmath.sqrt(2 / mpmath.pi) / (mpmath.erfc(half) * root - 1)
        inside = 2 * mpmath.erfc(mpmath.sqrt(2)) * mpmath.e**2 + mpmath.pi * mpmath.erfc(half) ** 2 * mpmath.e
        inside += -2 * (2 + mpmath.pi) * mpmath.erfc(half) * root + mpmath.pi + 2
        scale = (one - mpmath.erfc(half) * root) * mpmath.sqrt(2 * mpmath.pi) / mpmath.sqrt(inside)
    assert float(alpha) == SELU.ALPHA
    assert float(scale) == SELU.SCALE


@pytest.mark.parametrize(
    ("layer", "kink", "slopes"),
    [
        (ReLU(), 0.0, (0.0, 1.0)),
        (LeakyReLU(0.2), 0.0, (0.2, 1.0)),
        (ELU(0.4), 0.0, (0.4, 1.0)),
        (SELU(), 0.0, (SELU.SCALE, SELU.SCALE * SELU.ALPHA)),
        (HardTanh(-0.5, 2.0), -0.5, (0.0, 1.0)),
        (HardTanh(-0.5, 2.0), 2.0, (0.0, 1.0)),
    ],
)
def test_vjp_at_a_kink_is_a_subgradient(layer: Any, kink: float, slopes: tuple[float, float]) -> None:
    gradient = layer.vjp(np.ones(1), np.array([kink]))["x"][0]
    assert min(slopes) <= gradient <= max(slopes)


def test_hardtanh_is_drawn_on_every_piece_and_off_its_kinks() -> None:
    layer = HardTanh(0.0, 6.0)
    x = draw(layer, {"x": (30,)})["x"]
    assert set(np.digitize(x, [0.0, 6.0])) == {0, 1, 2}
    assert min(abs(x).min(), abs(x - 6.0).min()) > 0.2


OPTIONS = {
    "leaky_relu": (LeakyReLU, {"negative_slope": float("nan")}, "option 'negative_slope': nan; must be finite"),
    "elu": (ELU, {"alpha": float("inf")}, "option 'alpha': inf; must be finite"),
    "hardtanh": (HardTanh, {"min_val": 2.0}, "option 'min_val': 2.0; must be less than max_val = 1.0"),
    "hardtanh-nan": (HardTanh, {"max_val": float("nan")}, "option 'max_val': nan; must be finite"),
    "gelu": (GELU, {"approximate": "erf"}, "option 'approximate': 'erf'; must be 'none' or 'tanh'"),
    "softplus": (Softplus, {"beta": 0.0}, "option 'beta': 0.0; must be positive and finite"),
    "swiglu": (SwiGLU, {"beta": float("nan")}, "option 'beta': nan; must be finite"),
}


@pytest.mark.parametrize(("layer", "options", "message"), OPTIONS.values(), ids=OPTIONS)
def test_an_impossible_option_is_refused(layer: Any, options: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        layer(**options)


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_swiglu_needs_an_even_last_axis(shape: Any) -> None:
    message = f"array 'x': shape {shape}; must be (2n,) or (..., 2n), to be split in halves"
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        SwiGLU().arrays(x=shape)

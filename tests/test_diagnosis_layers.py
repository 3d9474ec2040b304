"""Wrong layers, run through a whole check: the finding names the mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from tests.corpus.mistakes import Mistake, Mistaken, changed, detached, of, swapped, times, transposed


@dataclass(frozen=True)
class Wrong:
    """A built-in layer with a mistake in the gradient of one array, and what must be said of it."""

    layer: str
    mistake: Mistake
    array: str
    rule: str
    says: str
    options: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    view: Any = "vjp"


def checked(wrong: Wrong, dtype: str = "float64") -> CheckResult:
    layer = Mistaken(LAYERS[wrong.layer](**wrong.options), wrong.mistake)
    given = {name: Given(shape=shape) for name, shape in wrong.shapes.items()}
    return run_check(CheckSpec("w", "w", layer, wrong.layer, given, view=wrong.view, dtype=dtype), Rows(3, 3))


def softmax(x: Array) -> Array:
    return np.asarray(np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True))


def normalised(x: Array) -> Array:
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)


LINEAR: dict[str, Shape] = {"x": (3, 4), "W": (4, 4)}
NARROW: dict[str, Shape] = {"x": (3, 5), "W": (2, 5)}
ROWS: dict[str, Shape] = {"x": (3, 4)}

WRONG = {
    "bias: sum over everything": Wrong(
        "linear", lambda g, dy, x, W, b: g | {"b": np.full_like(b, dy.sum())}, "b", "one-number",
        "the sum of the right ones: the sum of dy along axis 0 alone is needed", shapes=NARROW,
    ),
    "bias: sum of one dy": Wrong(
        "linear", lambda g, dy, x, W, b: g | {"b": np.full_like(b, dy.sum())}, "b", "one-number",
        "the sum of the right ones: it is sum(dy) where dy is needed", {"in_features": 3, "out_features": 4},
    ),
    "bias: mean over the batch": Wrong(
        "linear", lambda g, dy, x, W, b: g | {"b": dy.mean(axis=0)}, "b", "factor",
        "a factor 1/3 too many (3 is the size of axis 0 of y: a mean where the sum is needed)", shapes=NARROW,
    ),
    "bias: first row alone": Wrong(
        "linear", lambda g, dy, x, W, b: g | {"b": dy[0].copy()}, "b", "one-row-only",
        "takes only dy at index 0 of axis 0", shapes=LINEAR,
    ),
    "weight: last row alone": Wrong(
        "linear", lambda g, dy, x, W, b: g | {"W": np.outer(dy[-1], x[-1])}, "W", "one-row-only",
        "takes only dy at index 2 of axis 0", shapes=LINEAR,
    ),
    "weight: transposed": Wrong("linear", transposed("W"), "W", "transposed", "is transposed", shapes=LINEAR),
    "weight: detached": Wrong("linear", detached("W"), "W", "zero", "is 0 in every element", shapes=LINEAR),
    "weight: decay": Wrong(
        "linear", lambda g, dy, x, W, b: g | {"W": g["W"] + 0.1 * W}, "W", "missing-term",
        "differs from the right one by 0.1 W", shapes=LINEAR,
    ),
    "input: weight transposed": Wrong(
        "linear", lambda g, dy, x, W, b: g | {"x": dy @ W.T}, "x", "operand-transposed",
        "takes W where Wᵀ is needed", shapes=LINEAR,
    ),
    "product: swapped": Wrong(
        "matmul", swapped("A", "B"), "A", "swapped", "the two are swapped", shapes={"A": (3, 3), "B": (3, 3)}
    ),
    "mse: 1/N missing": Wrong(
        "mse", times("x", 12.0), "x", "factor",
        "the factor 1/12 is missing (12 is the number of elements of x: a sum where the mean is needed)", shapes=ROWS,
    ),
    "mse: 2 missing": Wrong("mse", times("x", 0.5), "x", "factor", "the factor 2 is missing", shapes=ROWS),
    "mse: sign": Wrong("mse", times("x", -1.0), "x", "sign", "has the wrong sign everywhere", shapes=ROWS),
    "softmax: sum missing": Wrong(
        "softmax", lambda g, dy, x: {"x": softmax(x) * dy}, "x", "missing-term",
        "lacks the term -y Σ(y dy), summed along axis 1", shapes=ROWS,
    ),
    "softmax: diagonal": Wrong(
        "softmax", lambda g, dy, x: {"x": softmax(x) * (1 - softmax(x)) * dy}, "x", "diagonal-only",
        "the terms off the diagonal of the Jacobian are missing", shapes=ROWS,
    ),
    "softmax: Jacobian's diagonal": Wrong(
        "softmax", lambda g, dy, x: {"x": softmax(x) * (1 - softmax(x)) * dy}, "x", "diagonal-only",
        "has only a diagonal", shapes={"x": (4,)}, view="jacobian",
    ),
    "softmax: beta missing": Wrong(
        "softmax", times("x", 1 / 1.7), "x", "factor", "the factor beta = 1.7 is missing", {"beta": 1.7}, ROWS
    ),
    "softmax: as if elementwise": Wrong(
        "softmax", lambda g, dy, x: {"x": dy.copy()}, "x", "dy-itself", "is dy itself", shapes=ROWS
    ),
    "layer norm: mean missing": Wrong(
        "layer_norm", lambda g, dy, x, gamma, beta: g | {"x": g["x"] + (dy * gamma).mean(axis=-1, keepdims=True)},
        "x", "missing-term", "its mean along axis 1 is not subtracted", shapes=ROWS,
    ),
    "layer norm: gamma missing": Wrong(
        "layer_norm",
        lambda g, dy, x, gamma, beta: g | {"x": LAYERS["layer_norm"]().vjp(dy / gamma, x, gamma, beta)["x"]},
        "x", "dy-scaled", "the factor gamma is missing", shapes=ROWS,
    ),
    "relu: inverted": Wrong(
        "relu", lambda g, dy, x: {"x": dy * (x < 0)}, "x", "inverted", "look for an inverted mask", shapes=ROWS
    ),
    "leaky relu: as relu": Wrong(
        "leaky_relu", lambda g, dy, x: {"x": dy * (x > 0)}, "x", "somewhere", "is wrong only where x < 0", shapes=ROWS
    ),
    "sigmoid: for its slope": Wrong(
        "sigmoid", lambda g, dy, x: {"x": dy / (1 + np.exp(-x))}, "x", "dy-times", "is dy times y", shapes=ROWS
    ),
    "tanh: of the input": Wrong(
        "tanh", lambda g, dy, x: {"x": dy * (1 - x**2)}, "x", "dy-times", "is dy times (1 - x²)", shapes=ROWS
    ),
    "tanh: dy twice": Wrong(
        "tanh", lambda g, dy, x: {"x": g["x"] * dy}, "x", "dy-twice", "a factor dy too many", shapes=ROWS
    ),
    "max: every element": Wrong(
        "max", lambda g, dy, x: {"x": np.ones_like(x) * dy}, "x", "one-number", "the sum of the right ones", shapes=ROWS
    ),
    "conv: kernel reversed": Wrong(
        "conv1d", lambda g, dy, x, W, b: g | {"x": LAYERS["conv1d"]().vjp(dy, x, W[..., ::-1], b)["x"]},
        "x", "operand-transposed", "takes W where W reversed along its last axis is needed",
    ),
    "conv: padding off by one": Wrong(
        "conv1d", changed("x", lambda v: np.roll(v, 1, axis=-1)), "x", "shifted", "one place too late along axis 2"
    ),
    "embedding: overwritten": Wrong(
        "embedding", lambda g, dy, indices, W: {"W": overwritten(dy, indices, W)}, "W", "somewhere",
        "only in the rows that indices names more than once", shapes={"indices": (6,), "W": (5, 4)},
    ),
    "embedding: reversed": Wrong(
        "embedding", changed("W", lambda v: v[::-1].copy()), "W", "axis-flipped", "is reversed along axis 0"
    ),
    "relu: as sigmoid": Wrong(
        "relu", of(LAYERS["sigmoid"]()), "x", "mismatch", "is wrong in 12 of 12 elements, worst x[", shapes=ROWS
    ),
}  # fmt: skip


def overwritten(dy: Array, indices: Array, W: Array) -> Array:
    gradient = np.zeros_like(W)
    gradient[indices] = dy
    return gradient


@pytest.mark.parametrize("name", WRONG)
def test_wrong_layer_is_named(name: str) -> None:
    wrong = WRONG[name]
    result = checked(wrong)
    assert result.verdict is Verdict.FAIL, result.error
    found = [finding for finding in result.findings if finding.array == wrong.array and finding.rule == wrong.rule]
    assert len(found) == 1, result.findings
    assert wrong.says in found[0].sentence


@pytest.mark.parametrize("name", ["weight: transposed", "bias: mean over the batch", "softmax: sum missing"])
def test_single_precision_is_named_alike(name: str) -> None:
    rules = [[finding.rule for finding in checked(WRONG[name], dtype).findings] for dtype in ("float64", "float32")]
    assert WRONG[name].rule in rules[0]
    assert WRONG[name].rule in rules[1]


def test_homework_bias_in_one_sentence() -> None:
    """dL/db = Σ_i (dL/dy)_i, as printed, for every element."""
    spec = CheckSpec(
        id="warm-up",
        name="warm-up",
        layer=Mistaken(LAYERS["linear"](), lambda g, dy, x, W, b: g | {"b": np.full_like(b, dy.sum())}),
        layer_name="linear",
        arrays={
            "x": Given(values=np.array([1.0, -2.0, 0.5])),
            "W": Given(values=np.array([[0.5, 1.5, -1.0], [2.0, -0.25, 0.75], [-0.5, 1.0, 1.25]])),
            "b": Given(values=np.array([0.5, -0.75, 0.25])),
        },
        cotangent=(np.array([0.5, -1.0, 4.0]),),
    )
    (finding,) = run_check(spec).findings
    assert finding.sentence == (
        "dL/db is one number for all elements, 3.5, the sum of the right ones: it is sum(dy) where dy is needed"
    )


@dataclass(frozen=True)
class Polar:
    """r and the angle of (x, z), with one of the cotangents left out, or the two exchanged."""

    kind: str

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec((4,)), "z": ArraySpec((4,))}

    def forward(self, x: Array, z: Array) -> tuple[Array, Array]:
        return x * x + z * z, x * x * z

    def vjp(self, dy: tuple[Array, Array], x: Array, z: Array) -> dict[str, Array]:
        first, second = dy[::-1] if self.kind == "exchanged" else (dy[0], 0 * dy[1])
        return {"x": first * 2 * x + second * 2 * x * z, "z": first * 2 * z + second * x * x}


@pytest.mark.parametrize(
    ("kind", "rule", "says"),
    [
        ("exchanged", "outputs-swapped", "dL/dx would be right with dy0 and dy1 exchanged"),
        ("left out", "output-ignored", "dL/dx does not use dy1"),
    ],
)
def test_several_outputs(kind: str, rule: str, says: str) -> None:
    result = run_check(CheckSpec("polar", "polar", Polar(kind), "polar"))
    assert [(finding.rule, finding.array) for finding in result.findings] == [(rule, "x"), (rule, "z")]
    assert result.findings[0].sentence.startswith(says)

"""Function pairs in every convention, against their own forward; and what is said when they break it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from gradcheck_cli.adapters.functions import Functions, from_pair
from gradcheck_cli.adapters.references import refusal
from gradcheck_cli.adapters.user_code import UserCodeError
from gradcheck_cli.draws import draw_arrays, draw_cotangent
from gradcheck_cli.layer import Array, ArraySpec, Layer, as_outputs
from gradcheck_cli.spec import Foreign

ROOT = Path(__file__).parents[1]
COURSE = YAML(typ="safe", pure=True).load(ROOT / "configs" / "user_code" / "course.yaml")["checks"]
X = np.array([[0.3, -1.2, 0.8], [1.4, 0.6, -0.7]])
W = np.array([[0.5, -0.4], [1.3, 0.2], [-0.6, 1.7]])


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


def given_array(name: str, entry: Any) -> Array:
    if isinstance(entry, dict) and "shape" in entry:
        return draw_arrays({name: ArraySpec(tuple(entry["shape"]))}, {}, "float64", 0, 0)[name]
    values = entry["values"] if isinstance(entry, dict) else entry
    return np.asarray(values, entry.get("dtype") if isinstance(entry, dict) else None)


def assert_vjp_matches_forward(layer: Layer, arrays: dict[str, Array], gradients: set[str]) -> None:
    """One random direction per array, central differences of dy·y: error O(1e-12 / h + h²) with h = 1e-5."""
    y = as_outputs(layer.forward(**arrays))
    dy = draw_cotangent(y, 1, 0)
    found = layer.vjp(dy if len(dy) > 1 else dy[0], **arrays)
    assert set(found) == gradients
    rng = np.random.default_rng(2)
    for name in gradients:
        assert found[name].shape == arrays[name].shape
        direction = rng.normal(size=arrays[name].shape)

        def objective(h: float, name: str = name, direction: Array = direction) -> float:
            moved = arrays | {name: arrays[name] + h * direction}
            return sum(float((a * b).sum()) for a, b in zip(dy, as_outputs(layer.forward(**moved)), strict=True))

        numeric = (objective(1e-5) - objective(-1e-5)) / 2e-5
        assert float((found[name] * direction).sum()) == pytest.approx(numeric, rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("check", COURSE, ids=lambda check: check["name"])
def test_course_code_is_differentiated_as_it_stands(check: dict[str, Any]) -> None:
    description = Functions(**check["functions"])
    assert isinstance(description, Foreign)
    constants = check.get("constants", {})
    assert list(description.problems(check["arrays"], constants)) == []
    for reference in description.references().values():
        assert refusal(reference, ["configs.user_code.layers"], [ROOT]) is None
    arrays = {name: given_array(name, entry) for name, entry in check["arrays"].items()}
    layer = description.build(arrays, constants, 0)
    specs = layer.arrays()
    integers = {name for name, array in arrays.items() if array.dtype.kind == "i"}
    assert {name for name, spec in specs.items() if spec.kind == "integer"} == integers
    expected = {"w"} if check["name"] == "ridge loss" else set(arrays) - integers
    assert {name for name, spec in specs.items() if spec.differentiable} == expected
    assert_vjp_matches_forward(layer, arrays, expected)


def affine(x: Array, w: Array) -> tuple[Array, Any]:
    return x @ w, (x, w)


def affine_backward(dout: Array, cache: Any) -> tuple[Array, Array]:
    x, w = cache
    return dout @ w.T, x.T @ dout


SKIP = "say which with gradients: [...], in the order returned, null for one to skip"
PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "cache": (affine, affine_backward, {}),
    "no cache": (lambda x, w: x @ w, lambda dout, x, w: (dout @ w.T, x.T @ dout), {}),
    "no cache, other order": (lambda x, w: x @ w, lambda dout, w, x: (dout @ w.T, x.T @ dout), {}),
    "list": (affine, lambda dout, cache: list(affine_backward(dout, cache)), {}),
    "mapping": (affine, lambda dout, cache: dict(zip("xw", affine_backward(dout, cache), strict=True)), {}),
    "mapping of dx": (affine, lambda d, cache: dict(zip(("dx", "dw"), affine_backward(d, cache), strict=True)), {}),
    "named order": (affine, lambda dout, cache: affine_backward(dout, cache)[::-1], {"gradients": ["w", "x"]}),
    "named and skipped": (
        affine,
        lambda dout, cache: (*affine_backward(dout, cache), 7),
        {"gradients": ["x", "w", None]},
    ),
    "keyword only": (lambda *, x, w: x @ w, lambda dout, *, x, w: (dout @ w.T, x.T @ dout), {}),
    "positional only": (lambda x, w, /: x @ w, lambda dout, x, w, /: (dout @ w.T, x.T @ dout), {}),
    "any name": (lambda **a: a["x"] @ a["w"], lambda dout, **a: (dout @ a["w"].T, a["x"].T @ dout), {}),
    "several outputs": (
        lambda x, w: (x @ w, x**2),
        lambda da, db, x, w: (da @ w.T + 2 * x * db, x.T @ da),
        {"outputs": 2},
    ),
    "several outputs and a cache": (
        lambda x, w: (x @ w, x**2, (x, w)),
        lambda da, db, cache: (da @ cache[1].T + 2 * cache[0] * db, cache[0].T @ da),
        {"outputs": 2},
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_every_convention_is_understood(pair: str) -> None:
    forward, backward, options = PAIRS[pair]
    layer = from_pair(forward, backward, {"x": X, "w": W}, **options)
    assert_vjp_matches_forward(layer, {"x": X, "w": W}, {"x", "w"})


def test_backward_may_take_the_output_where_there_is_no_cache() -> None:
    layer = from_pair(lambda x: np.tanh(x), lambda dout, y: dout * (1 - y**2), {"x": X})
    assert_vjp_matches_forward(layer, {"x": X}, {"x"})


def test_a_default_of_backward_is_left_alone() -> None:
    layer = from_pair(lambda x: (2 * x, None), lambda dout, cache, factor=2: factor * dout, {"x": X})
    np.testing.assert_array_equal(layer.vjp(X, x=X)["x"], 2 * X)


def test_constants_are_fresh_in_every_call() -> None:
    def forward(x: Array, state: dict[str, float]) -> Array:
        state["calls"] += 1
        return state["calls"] * x

    constants = {"state": {"calls": 0}}
    layer = from_pair(forward, lambda dout, x, state: (state["calls"] + 1) * dout, {"x": X}, constants)
    for _ in range(2):
        np.testing.assert_array_equal(layer.forward(x=X), X)
        np.testing.assert_array_equal(layer.vjp(X, x=X)["x"], X)
    assert constants == {"state": {"calls": 0}}


def test_the_output_inside_the_backward_pass_can_be_seen() -> None:
    layer = from_pair(affine, affine_backward, {"x": X, "w": W})
    np.testing.assert_array_equal(layer.output_in_vjp(np.ones((2, 2)), x=X, w=W), X @ W)


def test_arrays_take_the_shapes_that_are_given() -> None:
    layer = from_pair(affine, affine_backward, {"w": W, "x": X})
    assert {name: spec.shape for name, spec in layer.arrays(x=(7, 3)).items()} == {"x": (7, 3), "w": (3, 2)}


def test_integer_arrays_are_recalled_not_drawn() -> None:
    labels = np.array([2, 0])
    layer = from_pair(lambda x, y: x[[0, 1], y], lambda dout, x, y: np.eye(3)[y] * dout[:, None], {"x": X, "y": labels})
    assert_vjp_matches_forward(layer, {"x": X, "y": labels}, {"x"})
    np.testing.assert_array_equal(draw_arrays(layer.arrays(), {}, "float64", 5, 0)["y"], labels)


def test_loss_and_gradient_is_scaled_by_the_cotangent() -> None:
    description = Functions(loss_and_gradient="configs.user_code.layers:softmax_loss")
    arrays = {"x": X, "y": np.array([2, 0])}
    layer = description.build(arrays, {}, 0)
    assert layer.ignores_dy
    once, twice = (layer.vjp(np.array(scale), **arrays)["x"] for scale in (1.0, 2.0))
    np.testing.assert_array_equal(twice, 2 * once)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.array(1.0), "loss returned a ndarray; must be (loss, gradient)"),
        (None, "loss returned a NoneType; must be (loss, gradient)"),
        ((X, X), "loss returned a loss of shape (2, 3); must be one number"),
        ((1.0, {"y": X}), "loss returned no gradient for x; its keys are y"),
        (
            (1.0, X, X),
            f"loss returned 2 gradients for 1 array (x); {SKIP}",
        ),
    ],
)
def test_a_loss_must_come_with_its_gradient(
    value: Any, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong_losses.py").write_text("value = None\ndef loss(x): return value\n")
    monkeypatch.syspath_prepend(tmp_path)
    layer = Functions(loss_and_gradient="wrong_losses:loss").build({"x": X}, {}, 0)
    monkeypatch.setattr("wrong_losses.value", value)
    with pytest.raises(UserCodeError, match=f"^{re.escape(sentence)}$"):
        layer.vjp(np.array(1.0), x=X)


PROBLEMS = [
    (Functions(), [("forward", "missing; must be module:name, or use loss_and_gradient"),
                   ("backward", "missing; must be module:name, or use loss_and_gradient")]),
    (Functions(forward="m:f"), [("backward", "missing; must be module:name, or use loss_and_gradient")]),
    (Functions(forward="m:f", loss_and_gradient="m:g"),
     [("forward", "stands beside loss_and_gradient; must be the one or the other")]),
    (Functions(loss_and_gradient="m:g", outputs=2), [("outputs", "a loss is the only output of loss_and_gradient")]),
    (Functions(forward="m:f", backward="m:g", outputs=0), [("outputs", "0; must be at least 1")]),
    (Functions(forward="m:f", backward="m.g"),
     [("backward", "'m.g' names no module; must be module:name, such as layers:affine_forward")]),
]  # fmt: skip


@pytest.mark.parametrize(("description", "found"), PROBLEMS)
def test_problems_are_told_without_importing(description: Functions, found: list[tuple[str, str]]) -> None:
    assert list(description.problems(["x"], [])) == found


def test_a_check_without_arrays_is_a_problem() -> None:
    description = Functions(forward="m:f", backward="m:g")
    assert list(description.problems([], [])) == [
        ("", "has no arrays; name each with its values or its shape under arrays")
    ]

"""JAX code as a layer: gradients against closed forms, stacks against single calls, 64 bits within the check only."""

import pickle
import re
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # what JAX imports is not ours to mend
    jax = pytest.importorskip("jax")
    jnp = pytest.importorskip("jax.numpy")

from gradcheck_cli.adapters.jax import JaxLayer, from_callable
from gradcheck_cli.adapters.user_code import UserCodeError
from gradcheck_cli.registry import ADAPTERS
from gradcheck_cli.spec import Foreign

X = np.array([[0.3, -1.2, 0.8], [1.4, 0.6, -0.7]])
W = np.array([[0.5, -0.4, 1.3], [0.2, -0.6, 1.7]])
DY = np.array([[0.5, -1.25], [0.75, 1.5]])


def affine(x: Any, w: Any, scale: float = 1.0) -> Any:
    return scale * x @ w.T


@jax.custom_vjp
def cube(x: Any) -> Any:
    return x**3


cube.defvjp(lambda x: (x**3, x), lambda x, dy: (3 * x**2 * dy,))


@jax.custom_vjp
def forgetful(x: Any) -> Any:
    return x**3


forgetful.defvjp(lambda x: (x**3, x), lambda x, dy: (3 * x**2,))


@jax.custom_jvp
def softplus(x: Any) -> Any:
    return jnp.log1p(jnp.exp(x))


softplus.defjvp(lambda primals, tangents: (softplus(*primals), tangents[0] * jax.nn.sigmoid(*primals)))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def power(x: Any, n: int) -> Any:
    return x**n


power.defvjp(lambda x, n: (x**n, x), lambda n, x, dy: (n * x ** (n - 1) * dy,))


def several(x: Any, t: Any) -> Any:
    return {"rows": x[t], "argmax": jnp.argmax(x), "total": jnp.sum(x)}


def test_the_registry_finds_it() -> None:
    assert ADAPTERS["jax"] is JaxLayer
    layer = JaxLayer("mypkg.ops:cube")
    assert isinstance(layer, Foreign)
    assert layer.references() == {"target": "mypkg.ops:cube"}
    assert JaxLayer.short == "target"
    assert pickle.loads(pickle.dumps(layer)) == layer


def test_problems_are_told_without_importing() -> None:
    assert JaxLayer("mypkg.ops:cube").problems(["x"], []) == []
    assert JaxLayer("mypkg.ops").problems([], []) == [
        ("target", "'mypkg.ops' names no module; must be module:name, such as layers:affine_forward"),
        ("", "has no arrays; name each with its values or its shape under arrays"),
    ]


def test_code_is_imported_with_64_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array that the module makes when it is imported is not rounded to 32 bits."""
    text = "import jax.numpy as jnp\nTHIRD = jnp.asarray(1.0) / 3\ndef third(x, offset=0.0):\n"
    (tmp_path / "jax_code_of_a_user.py").write_text(text + "    return x * THIRD + offset\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    adapter = JaxLayer("jax_code_of_a_user:third")
    assert adapter.inputs({}, {"offset": 1.0}) == ("x",)
    assert adapter.accepts(["offset", "other"]) == ("offset",)
    layer = adapter.build({"x": X}, {"offset": 2.0}, 0)
    np.testing.assert_allclose(layer.forward(x=X), X / 3 + 2, rtol=1e-15)
    assert jnp.asarray(1.0).dtype == np.float32, "32 bits again outside"


@pytest.mark.parametrize("function", [affine, jax.jit(affine)], ids=["function", "jit"])
@pytest.mark.parametrize("names", [("x", "w"), ("first", "second")], ids=["by name", "by position"])
def test_affine_against_its_closed_form(function: Any, names: tuple[str, str]) -> None:
    arrays = dict(zip(names, (X, W), strict=True))
    layer = from_callable(function, arrays, {"scale": 2.0})
    y = layer.forward(**arrays)
    assert isinstance(y, np.ndarray)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, 2 * X @ W.T, rtol=1e-14)
    gradients = layer.vjp(DY, **arrays)
    np.testing.assert_allclose(gradients[names[0]], 2 * DY @ W, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(gradients[names[1]], 2 * DY.T @ X, rtol=1e-14, atol=1e-15)
    assert layer.arrays(**{names[0]: (4, 3)})[names[0]].shape == (4, 3)
    assert jnp.asarray(1.0).dtype == np.float32, "64 bits within the check only"


CUSTOM = [
    (cube, {}, 3 * X**2),
    (softplus, {}, 1 / (1 + np.exp(-X))),
    (power, {"n": 4}, 4 * X**3),
]


@pytest.mark.parametrize(
    ("function", "constants", "slope"), CUSTOM, ids=["custom_vjp", "custom_jvp", "nondiff_argnums"]
)
def test_custom_derivatives_are_the_ones_that_count(function: Any, constants: dict[str, Any], slope: Any) -> None:
    layer = from_callable(function, {"x": X}, constants)
    np.testing.assert_allclose(layer.vjp(2 * W, x=X)["x"], 2 * W * slope, rtol=1e-14)


def test_a_derivative_that_ignores_dy_is_not_linear_in_it() -> None:
    layer = from_callable(forgetful, {"x": X})
    np.testing.assert_array_equal(layer.vjp(X, x=X)["x"], layer.vjp(2 * X, x=X)["x"])


def test_integers_are_not_differentiated_and_several_outputs_a_tuple() -> None:
    """Outputs in the order of the tree; the index among them is left out, and the last row of x is used twice."""
    t = np.array([1, 1])
    layer = from_callable(several, {"x": X, "t": t})
    rows, total = layer.forward(x=X, t=t)
    np.testing.assert_array_equal(rows, X[[1, 1]])
    np.testing.assert_allclose(total, X.sum(), rtol=1e-15)
    gradients = layer.vjp((np.ones((2, 3)), np.array(10.0)), x=X, t=t)
    assert list(gradients) == ["x"]
    np.testing.assert_array_equal(gradients["x"], [[10.0] * 3, [12.0] * 3])


def test_an_unused_array_has_gradient_zero() -> None:
    layer = from_callable(lambda x, w: 2 * x, {"x": X, "w": W})
    np.testing.assert_array_equal(layer.vjp(X, x=X, w=W)["w"], np.zeros_like(W))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_kept(dtype: Any) -> None:
    x = X.astype(dtype)
    layer = from_callable(jnp.tanh, {"x": x})
    assert layer.forward(x=x).dtype == dtype
    assert layer.vjp(x, x=x)["x"].dtype == dtype


def test_results_can_be_written_to() -> None:
    layer = from_callable(jnp.tanh, {"x": X})
    assert layer.forward(x=X).flags.writeable
    assert layer.vjp(X, x=X)["x"].flags.writeable


@pytest.mark.parametrize("function", [affine, jax.jit(affine)], ids=["function", "jit"])
def test_stacks_are_what_single_calls_give(function: Any) -> None:
    point = {"x": X, "w": W}
    layer = from_callable(function, point)
    for stacked in point:
        values = np.stack([point[stacked] + k for k in range(4)])
        together = layer.forward_stacked(**{name: array[None] for name, array in point.items()} | {stacked: values})
        single = [layer.forward(**point | {stacked: one}) for one in values]
        np.testing.assert_allclose(together, np.stack(single), rtol=1e-14)
    alone = layer.forward_stacked(x=X[None], w=W[None])
    np.testing.assert_allclose(alone[0], layer.forward(**point), rtol=1e-14)


def test_what_cannot_be_stacked_has_no_forward_stacked() -> None:
    layer = from_callable(lambda x: x * (1.0 if x.sum() > 0 else 2.0), {"x": X})
    assert not hasattr(layer, "forward_stacked")
    np.testing.assert_array_equal(layer.forward(x=X), X)


def test_complex_points_pass_through_for_the_complex_step() -> None:
    layer = from_callable(jnp.sin, {"x": X})
    np.testing.assert_allclose(layer.forward(x=X + 1e-30j).imag / 1e-30, np.cos(X), rtol=1e-14)


ERRORS = [
    (lambda: from_callable(affine, {"x": X}), "affine takes w too; name it under arrays or constants"),
    (lambda: from_callable(affine, {"x": X, "v": W}), "affine takes no array 'v'; its parameters are x, w, scale"),
    (
        lambda: from_callable(affine, {"x": X, "w": W}, {"mode": 1}),
        "affine takes no constant 'mode'; its parameters are x, w, scale",
    ),
    (lambda: from_callable(3, {"x": X}), "int cannot be called; must be a function"),
    (
        lambda: from_callable(lambda x: jnp.argmax(x), {"x": X}, label="f").forward(x=X),
        "f returned no floating-point array; must be at least one",
    ),
    (lambda: from_callable(lambda x: "a", {"x": X}, label="f").forward(x=X), "f returned a str; must be arrays"),
]


@pytest.mark.parametrize(("make", "message"), ERRORS, ids=[row[1][:40] for row in ERRORS])
def test_what_does_not_fit_is_told(make: Any, message: str) -> None:
    with pytest.raises(UserCodeError, match=f"^{re.escape(message)}$"):
        make()


def test_without_jax_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    message = "jax is not installed here; install it with: pip install 'gradcheck-cli[jax]'"
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(message)}$"):
        JaxLayer("mypkg.ops:f").build({"x": X}, {}, 0)


def test_the_adapter_is_found_without_importing_jax() -> None:
    code = "import sys; from gradcheck_cli.registry import ADAPTERS; ADAPTERS['jax']; print('jax' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"

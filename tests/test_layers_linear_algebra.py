"""Linear algebra against torch autograd, the complex step and closed forms; kinks and arrays that do not fit."""

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

from gradcheck_cli.layer import ArrayError
from gradcheck_cli.layers.linear_algebra import Inverse, Logdet, Matmul, Solve
from gradcheck_cli.layers.spectral import Cholesky, Eigh, MatrixNorm

LAYERS = (Matmul, Inverse, Solve, Logdet, Cholesky, Eigh, MatrixNorm)
EXAMPLES = [
    pytest.param(layer(**example.options), example.shapes, id=f"{layer.name}-{n}")
    for layer in LAYERS
    for n, example in enumerate(layer.EXAMPLES)
]
REAL = {Eigh(), MatrixNorm("nuclear"), MatrixNorm("spectral")}
ANALYTIC = [each for each in EXAMPLES if each.values[0] not in REAL]
bounded = settings(max_examples=15, deadline=None, derandomize=True)
size = st.integers(1, 4)
leading = st.lists(st.integers(1, 3), max_size=2).map(tuple)
# Leading axes of two arrays that broadcast against each other.
pair = st.sampled_from([((), ()), ((2,), ()), ((), (3,)), ((2, 1), (3,)), ((1,), (2,)), ((3, 2), (1, 2))])


def with_skew(arrays: dict[str, Any]) -> dict[str, Any]:
    """The same matrices with a skew part, so that A differs from its transpose."""
    noise = np.random.default_rng(2).normal(size=arrays["A"].shape)
    return {"A": arrays["A"] + (noise - np.swapaxes(noise, -1, -2)) / 2}


@bounded
@given(pair, size, size, size)
def test_matmul_agrees_with_torch(batches: Any, m: int, k: int, n: int) -> None:
    arrays = draw(Matmul(), {"A": (*batches[0], m, k), "B": (*batches[1], k, n)})
    assert_torch_agrees(Matmul(), arrays, lambda A, B: A @ B)


@bounded
@given(leading, size)
def test_inverse_agrees_with_torch(batch: Any, n: int) -> None:
    torch = pytest.importorskip("torch")
    assert_torch_agrees(Inverse(), draw(Inverse(), {"A": (*batch, n, n)}), lambda A: torch.linalg.inv(A))


@bounded
@given(pair, size, size)
def test_solve_agrees_with_torch(batches: Any, n: int, k: int) -> None:
    torch = pytest.importorskip("torch")
    arrays = draw(Solve(), {"A": (*batches[0], n, n), "b": (*batches[1], n, k)})
    assert_torch_agrees(Solve(), arrays, lambda b, A: torch.linalg.inv(A) @ b)


@bounded
@given(leading, size)
def test_solve_for_one_vector_agrees_with_torch(batch: Any, n: int) -> None:
    torch = pytest.importorskip("torch")
    arrays = draw(Solve(), {"A": (*batch, n, n), "b": (n,)})
    assert_torch_agrees(Solve(), arrays, lambda b, A: (torch.linalg.inv(A) @ b[:, None])[..., 0])


@bounded
@given(leading, size, st.integers(0, 5))
def test_logdet_agrees_with_torch(batch: Any, n: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    assert_torch_agrees(Logdet(), draw(Logdet(), {"A": (*batch, n, n)}, seed), lambda A: torch.linalg.slogdet(A)[1])


@bounded
@given(leading, size)
def test_cholesky_agrees_with_torch(batch: Any, n: int) -> None:
    torch = pytest.importorskip("torch")
    arrays = with_skew(draw(Cholesky(), {"A": (*batch, n, n)}))
    assert_torch_agrees(Cholesky(), arrays, lambda A: torch.linalg.cholesky((A + A.mT) / 2))


@bounded
@given(leading, size)
def test_eigenvalues_agree_with_torch(batch: Any, n: int) -> None:
    torch = pytest.importorskip("torch")
    arrays = with_skew(draw(Eigh(), {"A": (*batch, n, n)}))
    assert_torch_agrees(Eigh(), arrays, lambda A: torch.linalg.eigvalsh((A + A.mT) / 2))


@pytest.mark.parametrize(
    ("order", "torch_order"),
    [("frobenius", "fro"), ("nuclear", "nuc"), ("spectral", 2), ("one", 1), ("infinity", float("inf"))],
)
@bounded
@given(batch=leading, m=size, n=size)
def test_matrix_norm_agrees_with_torch(order: Any, torch_order: Any, batch: Any, m: int, n: int) -> None:
    torch = pytest.importorskip("torch")
    layer = MatrixNorm(order)
    arrays = draw(layer, {"A": (*batch, m, n)})
    assert_torch_agrees(layer, arrays, lambda A: torch.linalg.matrix_norm(A, torch_order))


@pytest.mark.parametrize(("layer", "shapes"), ANALYTIC)
def test_vjp_agrees_with_the_complex_step(layer: Any, shapes: Any) -> None:
    arrays = draw(layer, shapes)
    assert_complex_step_agrees(layer, with_skew(arrays) if isinstance(layer, Cholesky) else arrays)


@pytest.mark.parametrize("layer", REAL, ids=lambda layer: getattr(layer, "order", layer.name))
def test_complex_matrices_are_refused_where_the_function_is_not_analytic(layer: Any) -> None:
    name = " ".join([layer.name, *([layer.order] if hasattr(layer, "order") else [])])
    with pytest.raises(TypeError, match=f"^{name}: complex matrices are not supported; use real ones$"):
        layer.forward(np.eye(3) + 0j)


def test_eigenvalues_of_two_by_two_agree_with_mpmath() -> None:
    layer, entries = Eigh(), [2.0, 0.3, -0.7, 1.1]
    for number, dy in enumerate(np.eye(2)):
        root = [-1, 1][number]

        def eigenvalue(a: Any, b: Any, c: Any, d: Any, root: int = root) -> Any:
            return (a + d) / 2 + root * mpmath.sqrt(((a - d) / 2) ** 2 + ((b + c) / 2) ** 2)

        A = np.array(entries).reshape(2, 2)
        assert layer.forward(A)[number] == pytest.approx(float(eigenvalue(*entries)), rel=1e-15)
        for k in range(4):
            order = tuple(int(k == j) for j in range(4))
            wanted = float(mpmath.diff(eigenvalue, entries, order))
            assert layer.vjp(dy, A)["A"].flat[k] == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_stack_equals_single_calls(layer: Any, shapes: Any) -> None:
    assert_stack_is_single_calls(layer, shapes)


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_float32_is_kept(layer: Any, shapes: Any) -> None:
    assert_dtype_is_kept(layer, shapes, np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
@pytest.mark.parametrize("layer", [Matmul(), *(MatrixNorm(order) for order in ("frobenius", "one", "infinity"))])
def test_what_needs_no_factorisation_keeps_any_dtype(layer: Any, dtype: Any) -> None:
    assert_dtype_is_kept(layer, {}, dtype)


@pytest.mark.parametrize("layer", LAYERS)
def test_works_with_no_shapes_given(layer: Any) -> None:
    arrays = draw(layer(), {})
    assert set(layer().vjp(layer().forward(**arrays), **arrays)) == set(layer().arrays())


@pytest.mark.parametrize("layer", [Cholesky(), Eigh()])
def test_gradient_of_a_symmetrised_input_is_symmetric(layer: Any) -> None:
    arrays = with_skew(draw(layer, {"A": (4, 4)}))
    gradient = layer.vjp(np.random.default_rng(3).normal(size=layer.forward(**arrays).shape), **arrays)["A"]
    np.testing.assert_allclose(gradient, gradient.T, rtol=1e-12)
    np.testing.assert_allclose(layer.forward(**arrays), layer.forward(arrays["A"].T), rtol=1e-14)


def test_cholesky_ignores_the_cotangent_above_the_diagonal() -> None:
    arrays = draw(Cholesky(), {"A": (3, 3)})
    dy = np.random.default_rng(3).normal(size=(3, 3))
    np.testing.assert_array_equal(Cholesky().vjp(dy, **arrays)["A"], Cholesky().vjp(np.tril(dy), **arrays)["A"])


@pytest.mark.parametrize("order", ["frobenius", "nuclear", "spectral", "one", "infinity"])
@pytest.mark.parametrize("A", [np.zeros((2, 3)), np.ones((2, 3)), np.eye(3)], ids=["zero", "ones", "identity"])
def test_at_a_kink_of_a_norm_the_vjp_is_a_subgradient(order: Any, A: Any) -> None:
    layer = MatrixNorm(order)
    gradient = layer.vjp(np.array(1.0), A)["A"]
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = rng.normal(size=A.shape)
        assert layer.forward(other) >= layer.forward(A) + np.sum(gradient * (other - A)) - 1e-12


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float16, 1e-6), (np.float16, 1e4), (np.float32, 1e30), (float, 1e-200)]
)
def test_frobenius_norm_at_any_scale(dtype: Any, scale: float) -> None:
    A = np.array([[0.3, -1.2], [0.4, 0.0]]).astype(dtype) * dtype(scale)
    entries = [mpmath.mpf(float(entry)) for entry in A.flat]
    norm = mpmath.sqrt(mpmath.fsum(entry**2 for entry in entries))
    eps = float(np.finfo(dtype).eps)
    assert float(MatrixNorm().forward(A)) == pytest.approx(
        float(norm), rel=8 * eps, abs=1e-7 if dtype == np.float16 else 0
    )
    gradient = MatrixNorm().vjp(np.ones((), dtype), A)["A"]
    np.testing.assert_allclose(gradient.ravel(), [float(entry / norm) for entry in entries], rtol=8 * eps)


ARRAYS = {
    "A": (Matmul(), {"A": (3,)}, "array 'A': shape (3,); must be (..., m, k), not empty"),
    "B": (Matmul(), {"B": (3, 0)}, "array 'B': shape (3, 0); must be (..., k, n), not empty"),
    "inner": (
        Matmul(),
        {"A": (2, 3), "B": (2, 4)},
        "array 'B': shape (2, 4); must be (..., k, n) with k = 3, the last axis of A",
    ),
    "batches": (
        Matmul(),
        {"A": (2, 4, 3), "B": (3, 3, 2)},
        "array 'B': shape (3, 3, 2); must have leading axes that broadcast with those of A, (2,)",
    ),
    "inverse": (Inverse(), {"A": (2, 3)}, "array 'A': shape (2, 3); must be (..., n, n), not empty"),
    "logdet": (Logdet(), {"A": (3,)}, "array 'A': shape (3,); must be (..., n, n), not empty"),
    "cholesky": (Cholesky(), {"A": (0, 0)}, "array 'A': shape (0, 0); must be (..., n, n), not empty"),
    "eigh": (Eigh(), {"A": (3, 4)}, "array 'A': shape (3, 4); must be (..., n, n), not empty"),
    "norm": (MatrixNorm(), {"A": (3,)}, "array 'A': shape (3,); must be (..., m, n), not empty"),
    "solve-scalar": (Solve(), {"b": ()}, "array 'b': shape (); must be (n,) or (..., n, k), not empty"),
    "solve-vector": (
        Solve(),
        {"A": (3, 3), "b": (4,)},
        "array 'b': shape (4,); must be (n,) with n = 3, the size of A",
    ),
    "solve-columns": (
        Solve(),
        {"A": (3, 3), "b": (3, 4, 2)},
        "array 'b': shape (3, 4, 2); must be (..., n, k) with n = 3, the size of A",
    ),
    "solve-batches": (
        Solve(),
        {"A": (2, 3, 3), "b": (4, 3, 1)},
        "array 'b': shape (4, 3, 1); must have leading axes that broadcast with those of A, (2,)",
    ),
}


@pytest.mark.parametrize(("layer", "shapes", "message"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_that_does_not_fit_is_named(layer: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer.arrays(**shapes)

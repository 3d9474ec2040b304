"""Formulas against closed forms and the complex step; hostile ones are refused before anything is computed."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from gradcheck_cli.adapters.expressions import FormulaError
from gradcheck_cli.adapters.expressions.calls import FUNCTIONS
from gradcheck_cli.adapters.formula import Formula
from gradcheck_cli.draws import draw_arrays, draw_cotangent
from gradcheck_cli.layer import Array, ArraySpec, OptionError
from gradcheck_cli.registry import ADAPTERS
from gradcheck_cli.spec import Foreign

W = np.array([[0.5, -1.0, 0.3], [2.0, 0.25, -0.7]])
X = np.array([1.5, -2.0, 0.4])
B = np.array([0.1, -0.3])
A = np.array([[1.7, 0.3, -0.2], [0.4, 2.1, 0.5], [-0.6, 0.2, 1.3]])
HOMEWORK = YAML(typ="safe", pure=True).load(Path(__file__).parents[1] / "configs/homework/as_printed.yaml")["checks"]


def forward(
    text: str, let: dict[str, str] | None = None, constants: dict[str, Any] | None = None, **arrays: Any
) -> Array:
    """The value of one expression of the arrays."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    gradients = dict.fromkeys(arrays, "0")
    layer = Formula(text, let or {}, gradients).build(arrays, constants or {}, 0)
    return layer.forward(**arrays)


def mistakes(text: str) -> list[tuple[str, str]]:
    return Formula(text, gradients={"x": "dy"}).problems(["x", "W"], ["n"])


def complex_step(formula: Formula, arrays: dict[str, Array], dy: Array, constants: dict[str, Any]) -> dict[str, Array]:
    """dL/d(array), exact to rounding: Im f(x + ih) / h with h = 1e-30 subtracts nothing."""
    layer = formula.build(arrays, constants, 0)
    gradients = {}
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            continue
        gradient = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[index] += 1e-30j
            gradient[index] = np.sum(dy * layer.forward(**{**arrays, name: moved}).imag) / 1e-30
        gradients[name] = gradient
    return gradients


def test_the_registry_finds_it() -> None:
    assert ADAPTERS["formula"] is Formula
    assert isinstance(Formula("x"), Foreign)
    assert Formula("x").references() == {}


def test_affine_against_its_closed_form() -> None:
    formula = Formula("W @ x + b", gradients={"W": "outer(dy, x)", "b": "dy", "x": "W.T @ dy"})
    layer, dy = formula.build({"W": W, "x": X, "b": B}, {}, 0), np.array([0.5, -1.25])
    np.testing.assert_array_equal(layer.forward(W=W, x=X, b=B), W @ X + B)
    gradients = layer.vjp(dy, W=W, x=X, b=B)
    np.testing.assert_array_equal(gradients["W"], dy[:, None] * X)
    np.testing.assert_array_equal(gradients["b"], dy)
    np.testing.assert_array_equal(gradients["x"], W.T @ dy)
    assert not hasattr(layer, "jacobian")
    assert layer.arrays(x=(7,))["x"].shape == (7,)


DERIVATIVES = [
    ("tanh(W @ x)", {"p": "dy * (1 - y**2)"}, {"W": "outer(p, x)", "x": "W.T @ p"}),
    ("softmax(beta * x)", {}, {"x": "beta * y * (dy - sum(dy * y))"}),
    ("logsumexp(x)", {}, {"x": "dy * softmax(x)"}),
    ("log_softmax(x)", {}, {"x": "dy - exp(y) * sum(dy)"}),
    ("sum(log1p(exp(x)))", {}, {"x": "dy * sigmoid(x)"}),
    ("softplus(x)", {}, {"x": "dy * sigmoid(x)"}),
    ("relu(x) + abs(x)", {}, {"x": "dy * ((x > 0) + sign(x))"}),
    ("clip(x, -1, 1)", {}, {"x": "where((x > -1) & (x < 1), dy, 0)"}),
    ("x * sigmoid(x)", {"s": "sigmoid(x)"}, {"x": "dy * (s + x * s * (1 - s))"}),
    ("(x - m) / s", {"m": "mean(x)", "s": "std(x)"}, {"x": "(dy - mean(dy) - y * mean(dy * y)) / s"}),
    ("norm(x)", {}, {"x": "dy * x / y"}),
    ("max(x)", {}, {"x": "dy * one_hot(argmax(x), len(x))"}),
    ("einsum('ij,j->i', W, x)", {}, {"W": "einsum('i,j->ij', dy, x)", "x": "einsum('i,ij->j', dy, W)"}),
    ("logdet(A)", {}, {"A": "dy * inv(A).T"}),
    ("det(A)", {}, {"A": "dy * y * inv(A).T"}),
    ("solve(A, x)", {"g": "solve(A.T, dy)"}, {"A": "-outer(g, y)", "x": "g"}),
    ("trace(A @ A)", {}, {"A": "2 * dy * A.T"}),
    ("cumsum(x)", {}, {"x": "flip(cumsum(flip(dy)))"}),
    ("sort(x)", {}, {"x": "dy[argsort(argsort(x))]"}),
    ("concatenate([x, x[:2]])", {}, {"x": "dy[:3] + concatenate([dy[3:], zeros(1)])"}),
    ("x[t]", {}, {"x": "one_hot(t, size(x)).T @ dy"}),
    ("var(W, axis=1, keepdims=True)", {}, {"W": "2 * dy * (W - mean(W, axis=1, keepdims=True)) / shape(W)[1]"}),
    ("prod(x)", {}, {"x": "dy * y / x"}),
    ("[x[0] * x[1], sin(x[2])]", {}, {"x": "[dy[0] * x[1], dy[0] * x[0], dy[1] * cos(x[2])]"}),
]


@pytest.mark.parametrize(("text", "let", "gradients"), DERIVATIVES, ids=[row[0] for row in DERIVATIVES])
def test_gradients_agree_with_the_complex_step(text: str, let: dict[str, str], gradients: dict[str, str]) -> None:
    everything = {"x": X, "W": W, "A": A, "t": np.array([2, 0, 2])}
    used = {"t"} & set(gradients["x"]) if "x" in gradients else set()
    arrays = {name: everything[name] for name in [*gradients, *used]}
    arrays |= {"x": X} if "x" in text and "x" not in arrays else {}
    formula = Formula(text, let, gradients)
    assert formula.problems(arrays, ["beta"]) == []
    layer = formula.build(arrays, {"beta": 1.7}, 0)
    dy = draw_cotangent([layer.forward(**arrays)], 3, 0)[0]
    truth = complex_step(formula, arrays, dy, {"beta": 1.7})
    for name, gradient in layer.vjp(dy, **arrays).items():
        np.testing.assert_allclose(gradient, truth[name], rtol=1e-12, atol=1e-14)  # a few roundings on either side


VALUES = [
    ("2 * pi - e", 2 * np.pi - np.e),
    ("x[::-1]", X[::-1]),
    ("x[None, :] * x[:, None]", np.multiply.outer(X, X)),
    ("W[..., 1]", W[..., 1]),
    ("W[None, 0]", W[None, 0]),
    ("0 < x < 1.6", (X > 0) & (X < 1.6)),
    ("~(x > 0) | (x == 1.5)", [True, True, False]),
    ("x // 1 % 2", X // 1 % 2),
    ("-x ** 2", -(X**2)),
    ("kron(x, [1, 2])", np.kron(X, [1, 2])),
    ("inner(x, x) + dot(x, x)", 2 * X @ X),
    ("stack([x, 2 * x], axis=1)", np.stack([X, 2 * X], axis=1)),
    ("reshape(W, (3, -1))", W.reshape(3, -1)),
    ("reshape(W, 6)", W.reshape(6)),
    ("transpose(W) - swapaxes(W, 0, 1)", np.zeros((3, 2))),
    ("squeeze(expand_dims(x, 0))", X),
    ("eye(2, 3) * ones((2, 3)) + zeros_like(W)", np.eye(2, 3)),
    ("diag(diag(A))", np.diag(np.diag(A))),
    ("tril(A) + triu(A) - diag(diag(A))", A),
    ("arange(1, 7, 2) * ones_like(x)", [1.0, 3.0, 5.0]),
    ("minimum(x, 0) + maximum(x, 0)", X),
    ("min(W, axis=0) + max(W, axis=0)", W.min(axis=0) + W.max(axis=0)),
    ("sum(W, axis=(0, 1))", W.sum()),
    ("any(x > 1) + all(x > 1)", 1),
    ("argmin(x)", 1),
    ("broadcast_to(x, shape(W))", np.broadcast_to(X, (2, 3))),
    ("ravel(W)", W.ravel()),
    ("size(W, 1) + size(W) + len(x)", 12),
    ("arcsin(x / 9) + arccos(x / 9)", np.full(3, np.pi / 2)),
    ("cosh(x)**2 - sinh(x)**2 + sin(x)**2 + cos(x)**2", np.full(3, 2.0)),
    ("tan(arctan(x)) + log(exp(x)) - expm1(log1p(abs(x))) + sqrt(x**2)", 2 * X),
    ("where(x > 0, -inf, 1)", [-np.inf, 1, -np.inf]),
    ("einsum('ij,kj', W, A)", W @ A.T),
    ("std(x, ddof=1)", X.std(ddof=1)),
    ("\n  W @ x\n+ 1\n", W @ X + 1),
]


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[row[0].strip() for row in VALUES])
def test_values(text: str, value: Any) -> None:
    found = forward(text, x=X, W=W, A=A)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, value, rtol=1e-14, atol=1e-15)


def test_every_function_is_tested() -> None:
    texts = " ".join([*(row[0] for row in VALUES), *(str(row) for row in DERIVATIVES)])
    assert [name for name in FUNCTIONS if f"{name}(" not in texts] == []


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_the_dtype_of_the_arrays_is_kept(dtype: Any) -> None:
    x = X.astype(dtype)
    formula = Formula("x @ eye(3) + ones(3) / 3 + pi", gradients={"x": "dy * one_hot(0, 3)"})
    layer = formula.build({"x": x}, {}, 0)
    assert layer.forward(x=x).dtype == dtype
    assert layer.vjp(x, x=x)["x"].dtype == dtype
    third = layer.forward(x=x) - x - dtype(np.pi)
    np.testing.assert_allclose(third, np.full(3, dtype(1) / dtype(3)), atol=8 * np.finfo(dtype).eps)


def test_results_share_no_memory_with_the_arrays() -> None:
    layer = Formula("x", gradients={"x": "dy"}).build({"x": X}, {}, 0)
    assert not np.shares_memory(layer.forward(x=X), X)
    assert not np.shares_memory(layer.vjp(X, x=X)["x"], X)


def test_a_jacobian_serves_both_views() -> None:
    """∂y_j/∂x_i = β p_i(δ_ij − p_j), and dyᵀJ is the VJP of softmax."""
    formula = Formula("softmax(beta * x)", jacobian={"x": "beta * (diag(y) - outer(y, y))"})
    layer = formula.build({"x": X}, {"beta": 2.0}, 0)
    p, dy = layer.forward(x=X), np.array([0.5, -1.0, 0.25])
    np.testing.assert_allclose(layer.jacobian(x=X)["x"], 2.0 * (np.diag(p) - np.outer(p, p)), rtol=1e-15)
    np.testing.assert_allclose(layer.vjp(dy, x=X)["x"], 2.0 * p * (dy - dy @ p), rtol=1e-13, atol=1e-16)


def test_a_jacobian_has_the_axes_of_the_output_first() -> None:
    formula = Formula("W @ x", jacobian={"W": "einsum('ji,k->jik', eye(2), x)", "x": "W"})
    layer, dy = formula.build({"W": W, "x": X}, {}, 0), np.array([2.0, -3.0])
    gradients = layer.vjp(dy, W=W, x=X)
    np.testing.assert_allclose(gradients["W"], np.outer(dy, X), rtol=1e-15)
    np.testing.assert_allclose(gradients["x"], W.T @ dy, rtol=1e-15)


def test_a_jacobian_of_a_wrong_shape_says_what_it_must_be() -> None:
    layer = Formula("W @ x", jacobian={"x": "W.T"}).build({"W": W, "x": X}, {}, 0)
    with pytest.raises(FormulaError) as caught:
        layer.vjp(np.ones(2), W=W, x=X)
    assert str(caught.value) == (
        "formula.jacobian.x, column 1: the result has shape (3, 2); it must have the axes of y, then of x: (2, 3)"
    )


def test_a_scalar_has_a_jacobian_too() -> None:
    layer = Formula("sum(x**2)", jacobian={"x": "2 * x"}).build({"x": X}, {}, 0)
    np.testing.assert_allclose(layer.vjp(np.array(3.0), x=X)["x"], 6 * X, rtol=1e-15)


def test_a_number_stands_for_an_array_filled_with_it() -> None:
    layer = Formula("sum(x)", gradients={"x": "dy"}).build({"x": X}, {}, 0)
    np.testing.assert_array_equal(layer.vjp(np.array(2.0), x=X)["x"], np.full(3, 2.0))


def test_arrays_without_a_gradient_are_held_fixed() -> None:
    arrays = {"x": X, "t": np.array([0, 1]), "m": np.array([True, False, True])}
    specs = Formula("x[t] * 1", gradients={"x": "dy"}).build({**arrays, "W": W}, {}, 0).arrays()
    assert {name: (spec.kind, spec.differentiable) for name, spec in specs.items()} == {
        "x": ("float", True),
        "t": ("integer", False),
        "m": ("boolean", False),
        "W": ("float", False),
    }


def test_let_steps_may_use_what_arrives_from_above() -> None:
    """Steps that need y or dy are taken only for the gradients, the others only where they are used."""
    formula = Formula("2 * p", {"p": "softmax(x)", "bad": "x @ W", "g": "dy * p"}, {"x": "2 * (g - p * sum(g))"})
    layer = formula.build({"x": X, "W": W}, {}, 0)  # `bad` does not fit, and nothing uses it
    p, dy = np.exp(X) / np.exp(X).sum(), np.array([1.0, -0.5, 0.25])
    np.testing.assert_allclose(layer.vjp(dy, x=X, W=W)["x"], 2 * p * (dy - dy @ p), rtol=1e-13)


def test_constants_are_numbers_lists_and_arrays() -> None:
    constants = {"k": 2, "w": [1.0, 2.0, 3.0], "t": np.array([2, 0]), "mode": "train"}  # `mode` is not used
    np.testing.assert_array_equal(forward("(k * w * x)[t]", constants=constants, x=X), [6 * X[2], 2 * X[0]])
    assert Formula("k * x").accepts(["k", "beta"]) == ("k",)


@pytest.mark.parametrize("value", ["train", {"eps": 1}, None, ["a"], 2**63])
def test_other_constants_are_refused_where_they_are_used(value: Any) -> None:
    with pytest.raises(OptionError) as caught:
        forward("x * mode", constants={"mode": value}, x=X)
    assert str(caught.value) == (
        f"option 'constants.mode': {value!r}; must be a number or a list of numbers to be used in a formula"
    )


def test_names_are_compared_as_python_reads_them() -> None:
    """Python reads ϵ (U+03F5) in a name as ε (U+03B5); the array is found under either."""
    np.testing.assert_array_equal(forward("ϵ * β", ϵ=X, β=np.array(2.0)), 2 * X)


HOSTILE = [
    ("__import__('os').system('id')", "column 1: unknown function '__import__('os').system'"),
    ("open('/etc/passwd')", "column 1: unknown function 'open'"),
    ("eval('1')", "column 1: unknown function 'eval'"),
    ("exec('1')", "column 1: unknown function 'exec'"),
    ("getattr(x, '__class__')", "column 1: unknown function 'getattr'"),
    ("x.__class__.__mro__[1].__subclasses__()", "column 1: unknown function 'x.__class__.__mro__[1].__subclasses__'"),
    ("x.__class__", "column 1: unknown attribute '__class__'; only .T exists"),
    ("x.ctypes.data", "column 1: unknown attribute 'data'; only .T exists"),
    ("x.tofile('name')", "column 1: unknown function 'x.tofile'"),
    ("(lambda: x)()", "column 2: unknown function 'lambda: x'"),
    ("lambda: x", "column 1: 'lambda: x' is not part of formulas"),
    ("[i for i in x]", "column 1: '[i for i in x]' is not part of formulas"),
    ("sum(i for i in x)", "column 4: '(i for i in x)' is not part of formulas"),
    ("{i: i for i in x}", "column 1: '{i: i for i in x}' is not part of formulas"),
    ("(z := x)", "column 2: 'z := x' is not part of formulas"),
    ("f'{x}'", "column 1: 'f'{x}'' is not part of formulas"),
    ("'a' * 1000000000", "column 1: text is only the first argument of einsum"),
    ("b'a'", "column 1: 'b'a'' is not a real number"),
    ("__builtins__", "column 1: unknown name '__builtins__'; the names here are W, n, x"),
    ("9**9**9", "column 1: cannot compute '9**9**9': the integer power is too large; write a float, as in 2.0 ** 100"),
    (
        "eye(10**9)",
        "column 1: cannot compute 'eye(10**9)': the result would have 1e+18 elements; at most 16777216 are allowed",
    ),
    (
        "zeros((99999, 99999))",
        (
            "column 1: cannot compute 'zeros((99999, 99999))': the result would have 1e+10 elements; "
            "at most 16777216 are allowed"
        ),
    ),
    (
        "arange(0, 1, 1e-12)",
        (
            "column 1: cannot compute 'arange(0, 1, 1e-12)': the result would have 1e+12 elements; "
            "at most 16777216 are allowed"
        ),
    ),
    (
        "broadcast_to(x, (10**9,))",
        (
            "column 1: cannot compute 'broadcast_to(x, (10**9,))': the result would have 1e+09 elements; "
            "at most 16777216 are allowed"
        ),
    ),
    (
        "one_hot(x, 10**12)",
        (
            "column 1: cannot compute 'one_hot(x, 10**12)': the result would have 1e+12 elements; "
            "at most 16777216 are allowed"
        ),
    ),
    ("9" * 1000, "column 1: the integer is too large; at most 2**63 - 1 is allowed; write a float"),
    ("x" * 5000, "column 2001: the expression has 5000 characters; at most 2000 are allowed"),
    (
        "-" * 1900 + "x",
        "column 1: the expression is too long: it may have at most 100 operations inside each other; use let steps",
    ),
    (
        "[" + "x," * 800 + "]",
        "column 1: the expression is too long: it may have at most 500 parts; use let steps",
    ),
    ("(" * 900, "column 201: this is not an expression: too many nested parentheses"),
    ("x\0", "column 2: the character '\\x00' is not part of an expression"),
    ("await x", "column 1: 'await x' is not part of formulas"),
    ("yield x", "column 1: this is not an expression: invalid syntax"),
    ("import os", "column 1: this is not an expression: invalid syntax"),
    ("x if x else x", "column 1: 'if' doesn't work on arrays; write where(condition, a, b)"),
    ("sum(*x)", "column 1: * and ** are not part of a call in formulas"),
    ("sum(**x)", "column 1: * and ** are not part of a call in formulas"),
    ("einsum(x, x)", "column 8: the first argument of einsum is a text, as in 'ij,jk->ik'"),
    ("einsum('0', x)", "column 8: '0' is no einsum; write letters for axes, as in 'ij,jk->ik'"),
    ("3j * x", "column 1: '3j' is not a real number"),
]


@pytest.mark.parametrize(("text", "sentence"), HOSTILE, ids=[row[0][:30].replace("\0", "NUL") for row in HOSTILE])
def test_hostile_formulas_are_refused_before_anything_runs(text: str, sentence: str) -> None:
    assert mistakes(text)[0] == ("forward", sentence)
    with pytest.raises(ValueError, match=r"^formula\.forward: column "):
        Formula(text, gradients={"x": "dy"}).build({"x": X, "W": W}, {"n": 1}, 0)


MISTAKES = [
    ("W @ z", "column 5: unknown name 'z'; the names here are W, n, x"),
    ("'αβγ'.T + x", "column 1: text is only the first argument of einsum"),
    ("softmx(x)", "column 1: unknown function 'softmx'; did you mean 'softmax'?"),
    ("softmax(x, axes=1)", "column 1: softmax(x, axis=-1) has no argument 'axes'; did you mean 'axis'?"),
    ("1 + outer(x)", "column 5: outer(a, b): missing a required argument: 'b'"),
    ("exp(x, x)", "column 1: exp(x): too many positional arguments"),
    ("sum(x, axis=0, axis=0)", "column 1: sum(x, axis=None, keepdims=False): 'axis' is given twice"),
    ("np.exp(x)", "column 1: 'np.exp' is not a function of formulas; write exp(...)"),
    ("x.sum()", "column 1: 'x.sum' is not a function of formulas; write sum(...)"),
    ("2 * x.shape", "column 5: unknown attribute 'shape'; only .T exists; write shape(...)"),
    ("x(2)", "column 1: 'x' is not a function; write * for a product"),
    ("2 * exp", "column 5: 'exp' is a function; write exp(...)"),
    ("x ^ 2", "column 1: '^' is not the power; write **"),
    ("x > 0 and n", "column 1: 'and' and 'or' don't work on arrays; write & or |, with each comparison in parentheses"),
    ("not x", "column 1: 'not' doesn't work on arrays; write ~, with the comparison in parentheses"),
    ("x is n", "column 1: 'x is n' is not part of formulas"),
    ("x << 1", "column 1: 'x << 1' is not part of formulas"),
    ("W @ (x", "column 5: this is not an expression: '(' was never closed"),
    ("  W @ (x", "column 7: this is not an expression: '(' was never closed"),
    ("", "column 1: the expression is empty"),
    ("x # twice", "column 3: a comment is not part of an expression; leave it out"),
    ("x, x", "column 1: a formula has one result; write [a, b] to make one array of several numbers"),
    ("None", "column 1: this is not a number"),
    ("1 / 0 * x", "column 1: cannot compute '1 / 0': division by zero"),
    ("eye(1.5)", "column 1: cannot compute 'eye(1.5)': 1.5 is not a size; it must be a whole number of at least 0"),
    ("y + x", "column 1: 'y' is what forward computes"),
    ("dy * x", "column 1: 'dy' arrives only after forward"),
    ("einsum('ij', x, x)", "column 8: 'ij' needs as many arrays as it has terms: 1, and 2 came"),
]


@pytest.mark.parametrize(("text", "sentence"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_told_with_its_column(text: str, sentence: str) -> None:
    assert mistakes(text) == [("forward", sentence)]


def test_columns_count_characters_and_not_bytes() -> None:
    assert mistakes("'αβγ' + zz")[1] == ("forward", "column 9: unknown name 'zz'; the names here are W, n, x")


def test_all_mistakes_are_told_at_once() -> None:
    formula = Formula("W @ u + sim(x)", {"p": "q", "q": "x"}, {"W": "outer(dy, x)", "x": "W.T @ dx", "V": "dy"})
    assert formula.problems(["W", "x"], []) == [
        ("gradients.V", "there is no array 'V'; the arrays are W, x"),
        ("let.p", "column 1: 'q' is a later step; steps are computed in their order"),
        ("forward", "column 5: unknown name 'u'; the names here are W, p, q, x"),
        ("forward", "column 9: unknown function 'sim'; did you mean 'sum'?"),
        ("gradients.x", "column 7: unknown name 'dx'; did you mean 'x'?"),
    ]


def test_names_that_a_formula_cannot_use() -> None:
    formula = Formula("x", {"x": "1", "dy": "2", "a b": "3"}, {"x": "dy"})
    assert formula.problems(["x", "y", "0.W"], ["lambda"]) == [
        ("forward", "array 'y': y means the output in a formula; give it another name"),
        ("forward", "array '0.W': an expression can't hold that name; give it another name"),
        ("forward", "constant 'lambda': an expression can't hold that name; give it another name"),
        ("let.x", "the step 'x': an array or constant has that name; give it another name"),
        ("let.dy", "the step 'dy': dy means dL/dy in a formula; give it another name"),
        ("let.a b", "the step 'a b': an expression can't hold that name; give it another name"),
    ]


def test_exactly_one_kind_of_derivative() -> None:
    assert Formula("x").problems(["x"], []) == [("gradients", "no derivative is given; give gradients or a jacobian")]
    assert Formula("x", {}, {"x": "dy"}, {"x": "eye(3)"}).problems(["x"], []) == [
        ("jacobian", "there are gradients too; give either gradients or a jacobian")
    ]
    steps = {f"s{k}": "x" for k in range(51)}
    assert Formula("x", steps, {"x": "dy"}).problems(["x"], []) == [
        ("let", "there are 51 steps; at most 50 are allowed")
    ]


def test_a_step_that_needs_dy_serves_neither_forward_nor_a_jacobian() -> None:
    formula = Formula("g + x", {"g": "dy + y"}, jacobian={"x": "g * dy"})
    assert formula.problems(["x"], []) == [
        ("forward", "column 1: 'g' is computed from dy and y"),
        ("jacobian.x", "column 1: 'g' depends on dy, and a Jacobian does not"),
        ("jacobian.x", "column 5: 'dy' is not there: a Jacobian does not depend on it"),
    ]


RUNTIME = [
    ("1 + W @ x[:2]", "column 5: cannot compute 'W @ x[:2]' with shapes (2, 3) and (2,): matmul: "),
    ("x[5]", "column 1: cannot compute 'x[5]' with shapes (3,): index 5 is out of bounds for axis 0 with size 3"),
    ("x[0.5]", "column 1: cannot compute 'x[0.5]' with shapes (3,): only integers, slices"),
    ("sum(x, axis=2)", "column 1: cannot compute 'sum(x, axis=2)' with shapes (3,): axis 2 is out of bounds"),
    ("inv(W)", "column 1: cannot compute 'inv(W)' with shapes (2, 3): Last 2 dimensions of the array must be square"),
    ("inv(W.T @ W - W.T @ W)", "column 1: cannot compute 'inv(W.T @ W - W.T @ W)' with shapes (3, 3): Singular matrix"),
    ("[x, W]", "column 1: cannot compute '[x, W]': setting an array element with a sequence."),
    ("x * None", "column 1: cannot compute 'x * None' with shapes (3,): None is not a number"),
    ("mean(x[:0])", "column 1: cannot compute 'mean(x[:0])' with shapes (0,): there is nothing to take the mean of"),
    ("(-8) ** 0.5", "column 1: the result is complex; it must be real"),
    ("3 ** n", "column 1: cannot compute '3 ** n': the integer power is too large"),
    ("eye(n)", "column 1: cannot compute 'eye(n)': the result would have 1e+10 elements"),
    (
        "outer(z, z)",
        "column 1: cannot compute 'outer(z, z)' with shapes (9000,) and (9000,): the result would have 8.1e+07",
    ),
    (
        "kron(z, z)",
        "column 1: cannot compute 'kron(z, z)' with shapes (9000,) and (9000,): the result would have 8.1e+07",
    ),
    ("diag(z)", "column 1: cannot compute 'diag(z)' with shapes (9000,): the result would have 8.1e+07"),
    ("z[:, None] * z", "column 1: cannot compute 'z[:, None] * z' with shapes (9000, 1) and (9000,): the result would"),
    (
        "z[:, None] @ z[None]",
        "column 1: cannot compute 'z[:, None] @ z[None]' with shapes (9000, 1) and (1, 9000): the ",
    ),
    ("dot(z[:, None], z[None])", "column 1: cannot compute 'dot(z[:, None], z[None])' with shapes (9000, 1) and "),
    (
        "inner(z[:, None], z[:, None])",
        "column 1: cannot compute 'inner(z[:, None], z[:, None])' with shapes (9000, 1) ",
    ),
    (
        "where(z[:, None] > 0, z, 0)",
        "column 1: cannot compute 'where(z[:, None] > 0, z, 0)' with shapes (9000, 1) and ",
    ),
    (
        "einsum('i,j', z, z)",
        "column 1: cannot compute 'einsum('i,j', z, z)' with shapes (9000,) and (9000,): the result",
    ),
    ("einsum('i,j,k->', z, z, z)", "column 1: cannot compute 'einsum('i,j,k->', z, z, z)' with shapes (9000,) and "),
    (
        "z[None][arange(9000) * 0]",
        "column 1: cannot compute 'z[None][arange(9000) * 0]' with shapes (1, 9000) and (9000,): the",
    ),
    (
        "W[zeros(9000) < 1]",
        "column 1: cannot compute 'W[zeros(9000) < 1]' with shapes (2, 3) and (9000,): boolean index",
    ),
    (
        "[zeros((9000, 1000)), zeros((9000, 1000))]",
        "column 1: cannot compute '[zeros((9000, 1000)), zeros((9000, 1000))]' with",
    ),
]


@pytest.mark.parametrize(("text", "start"), RUNTIME, ids=[row[0] for row in RUNTIME])
def test_what_cannot_be_computed_is_told_with_its_place(text: str, start: str) -> None:
    """The sentence after the place is numpy's; only its start is matched."""
    with pytest.raises(FormulaError) as caught:
        forward(text, constants={"n": 100_000}, x=X, W=W, z=np.zeros(9000))
    assert str(caught.value).startswith(f"formula.forward, {start}")


def test_a_failing_gradient_names_its_part() -> None:
    layer = Formula("W @ x", gradients={"x": "W @ dy"}).build({"W": W, "x": X}, {}, 0)
    with pytest.raises(FormulaError, match=r"^formula\.gradients\.x, column 1: cannot compute 'W @ dy' with shapes"):
        layer.vjp(np.ones(2), W=W, x=X)


def test_errors_survive_pickling() -> None:
    error = FormulaError("gradients.W", 7, "no")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.part, again.column) == ("formula.gradients.W, column 7: no", "gradients.W", 7)


def test_nonfinite_values_come_out_without_warnings() -> None:
    np.testing.assert_array_equal(forward("log(0 * x) / 0", x=X), np.full(3, -np.inf))


@pytest.mark.parametrize("check", HOMEWORK, ids=lambda check: check["name"])
def test_the_homework_as_printed(check: dict[str, Any]) -> None:
    """Exactly the arrays named by expect_arrays disagree with the complex step."""
    arrays = {
        name: draw_arrays({name: ArraySpec(tuple(entry["shape"]))}, {}, "float64", 0, 0)[name]
        if isinstance(entry, dict)
        else np.array(entry)
        for name, entry in check["arrays"].items()
    }
    formula, dy = Formula(**check["formula"]), np.array(check["cotangent"])
    assert formula.problems(arrays, []) == []
    truth = complex_step(formula, arrays, dy, {})
    found = formula.build(arrays, {}, 0).vjp(dy, **arrays)
    wrong = [name for name, gradient in found.items() if not np.allclose(gradient, truth[name], rtol=1e-12)]
    assert wrong == check.get("expect_arrays", [])
    assert check.get("expect", "pass") == ("fail" if wrong else "pass")

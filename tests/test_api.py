"""`check` from Python: what it takes, what it returns, and what it says to arguments that do not fit."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradcheck_cli
from gradcheck_cli import CheckResult, check
from gradcheck_cli.layer import ArraySpec
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import Verdict
from gradcheck_cli.spec import Difference, Tolerance

X = np.array([[1.5, -2.0, 0.25], [0.75, 1.25, -0.5]])
W = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]])


class Cube:
    """y = x³, without a description of its arrays."""

    def forward(self, x: Any) -> Any:
        return x**3

    def vjp(self, dy: Any, x: Any) -> dict[str, Any]:
        return {"x": 3 * dy * x**2}


class Threeless(Cube):
    def vjp(self, dy: Any, x: Any) -> dict[str, Any]:
        print("printed by vjp")
        return {"x": dy * x**2}


class Scaled:
    """y = s x, which describes its arrays."""

    name = "scaled"

    def arrays(self, **given: Any) -> Mapping[str, ArraySpec]:
        shape = given.get("x", (2,))
        return {"x": ArraySpec(shape), "s": ArraySpec(shape)}

    def forward(self, x: Any, s: Any) -> Any:
        return s * x

    def vjp(self, dy: Any, x: Any, s: Any) -> dict[str, Any]:
        return {"x": s * dy, "s": x * dy}


class Affine:
    """A layer object as courses write them."""

    def __init__(self) -> None:
        self.W, self.dW = W.copy(), None

    def forward(self, X: Any) -> Any:
        self.X = X
        return X @ self.W

    def backward(self, dY: Any) -> Any:
        self.dW = self.X.T @ dY
        return dY @ self.W.T


def affine(x: Any, w: Any) -> Any:
    return x @ w, (x, w)


def affine_backward(dout: Any, cache: Any) -> Any:
    x, w = cache
    return dout @ w.T, x.T @ dout


def rows(table: Any, index: Any) -> Any:
    return table[index], (table.shape, index)


def rows_backward(dout: Any, cache: Any) -> Any:
    shape, index = cache
    gradient = np.zeros(shape)
    np.add.at(gradient, index, dout)
    return gradient


def names(result: CheckResult) -> list[str]:
    return [array.name for array in result.arrays]


# --- what it takes ---


def test_a_layer_without_a_description_is_checked() -> None:
    result = check(Cube(), {"x": X})
    assert result
    assert (result.verdict, result.id, result.layer, names(result)) == (Verdict.PASS, "check::Cube", "Cube", ["x"])
    assert result.arrays[0].passed == 6
    assert str(result).splitlines()[0] == "check::Cube  Cube, float64"
    assert result.to_dict()["verdict"] == "pass"


def test_a_wrong_gradient_is_falsy_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    result = check(Threeless(), {"x": [1.5, -2.0]})
    assert not result
    assert result.verdict is Verdict.FAIL
    assert result.findings[0].array == "x"
    assert "the factor 3 is missing" in result.findings[0].sentence
    assert "the factor 3 is missing" in str(result).replace("\n     ", " ")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("check::Threeless printed:\nprinted by vjp\n")


def test_what_a_layer_that_passes_prints_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    class Talks(Cube):
        def forward(self, x: Any) -> Any:
            print("never mind")
            return x**3

    assert check(Talks(), {"x": X})
    assert capsys.readouterr() == ("", "")


def test_a_layer_with_a_description_draws_what_is_not_given() -> None:
    result = check(Scaled(), {"x": X})
    assert (names(result), result.layer, bool(result)) == (["x", "s"], "scaled", True)
    assert bool(check(Scaled(), {}))


def test_a_built_in_layer_is_checked() -> None:
    assert check(LAYERS["softmax"](beta=2.0), {"x": [1, 2, 4]}, view="jacobian")
    assert check(LAYERS["softmax_cross_entropy"](), {"x": X, "target": np.array([2, 0])}).verdict is Verdict.PASS


def test_a_pair_is_checked() -> None:
    result = check((affine, affine_backward), {"x": X, "w": W})
    assert (bool(result), result.id, result.layer, names(result)) == (True, "check::affine", "functions", ["x", "w"])
    assert not check([affine, lambda dout, cache: affine_backward(-dout, cache)], {"x": X, "w": W})


def test_an_object_of_a_course_is_checked_and_left_alone() -> None:
    layer = Affine()
    result = check(layer, {"X": X})
    assert (bool(result), result.layer, names(result)) == (True, "object", ["X", "W"])
    assert layer.dW is None


def test_integer_arrays_are_passed_on() -> None:
    result = check((rows, rows_backward), {"table": W, "index": np.array([2, 0, 2])})
    assert (bool(result), names(result)) == (True, ["table"])
    assert check((rows, rows_backward), {"table": W, "index": [2, 0, 2]})


def test_python_numbers_and_lists_are_taken() -> None:
    assert check(Cube(), {"x": 1.5}).arrays[0].shape == ()
    assert check(Cube(), {"x": [[1.5, -2.0]]}).arrays[0].shape == (1, 2)


def test_arrays_keep_their_dtype() -> None:
    assert check(Cube(), {"x": X}).dtype == "float64"
    assert check(Cube(), {"x": X.astype(np.float32)}).dtype == "float32"
    seen = set()

    def forward(x: Any, w: Any) -> Any:
        seen.add((x.dtype.name, w.dtype.name))
        return affine(x, w)

    result = check((forward, affine_backward), {"x": X.astype(np.float32), "w": W})
    assert (result.dtype, result.verdict) == ("float32", Verdict.PASS)
    assert seen == {("float32", "float64"), ("float64", "float64")}


def test_arrays_are_never_changed() -> None:
    x = X.copy()
    check(Cube(), {"x": x})
    np.testing.assert_array_equal(x, X)


def test_wrt_chooses() -> None:
    assert names(check(Scaled(), {"x": X}, wrt="s")) == ["s"]
    assert names(check(Scaled(), {"x": X}, wrt=("x", "s"))) == ["x", "s"]


@pytest.mark.parametrize("cotangent", [[0.5, -2.0], np.array([0.5, -2.0]), (np.array([0.5, -2.0]),)])
def test_the_cotangent_is_used(cotangent: Any) -> None:
    result = check(Scaled(), {"x": [1.0, 2.0], "s": [3.0, 4.0]}, cotangent=cotangent, wrt="x")
    assert {element.index: element.analytic for element in result.arrays[0].worst} == {(0,): 1.5, (1,): -8.0}


@pytest.mark.parametrize("form", [tuple, list])
def test_several_outputs_have_several_cotangents(form: Any) -> None:
    class Split:
        def forward(self, x: Any) -> Any:
            return x[:1] ** 2, 3 * x[1:]

        def vjp(self, dy: Any, x: Any) -> dict[str, Any]:
            return {"x": np.concatenate([2 * x[:1] * dy[0], 3 * dy[1]])}

    result = check(Split(), {"x": [1.0, 2.0, 3.0]}, cotangent=form([np.array([2.0]), np.array([1.0, -1.0])]))
    assert result
    assert {element.index[0]: element.analytic for element in result.arrays[0].worst} == {0: 4.0, 1: 3.0, 2: -3.0}


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ("complex_step", "complex_step"),
        ({"method": "central", "step": 1e-4}, "central"),
        (Difference("forward", relative_step=1e-6), "forward"),
    ],
)
def test_the_difference_is_used(given: Any, method: str) -> None:
    worst = check(Cube(), {"x": 1.5}, difference=given, tolerance=1e-3).arrays[0].worst[0]
    assert worst.method == method
    assert not isinstance(given, dict) or worst.step == pytest.approx(1e-4, rel=1e-6)


@pytest.mark.parametrize("given", [1e-3, {"rtol": 1e-3}, Tolerance(rtol=1e-3), {"rtol": 0, "atol": 0.1}])
def test_the_tolerance_is_used(given: Any) -> None:
    class Nearly(Cube):
        def vjp(self, dy: Any, x: Any) -> dict[str, Any]:
            return {"x": 3.0003 * dy * x**2}

    assert not check(Nearly(), {"x": X})
    assert check(Nearly(), {"x": X}, tolerance=given)


def test_the_seed_draws() -> None:
    analytic = [check(Scaled(), {"x": X}, seed=seed).arrays[0].worst[0].analytic for seed in (0, 0, 1)]
    assert analytic[0] == analytic[1] != analytic[2]


def test_optional_members_are_checked() -> None:
    class WrongJvp(Cube):
        def jvp(self, tangents: Any, x: Any) -> Any:
            return -3 * x**2 * tangents["x"]

    result = check(WrongJvp(), {"x": X})
    assert result.verdict is Verdict.FAIL
    assert any("jvp" in finding.sentence for finding in result.findings)


# --- errors ---


def test_what_the_code_raises_is_the_error_of_the_result() -> None:
    class Raises(Cube):
        def vjp(self, dy: Any, x: Any) -> dict[str, Any]:
            raise LookupError("inside vjp")

    result = check(Raises(), {"x": X})
    assert (result.verdict, bool(result)) == (Verdict.ERROR, False)
    assert result.error is not None
    assert (result.error.type, result.error.message) == ("LookupError", "inside vjp")
    assert re.fullmatch(r".*test_api\.py:\d+: raise LookupError\(\"inside vjp\"\)", result.error.traceback_line or "")


def test_a_pair_that_breaks_the_convention_is_an_error_of_the_result() -> None:
    result = check((affine, lambda dout, cache: None), {"x": X, "w": W})
    assert result.error is not None
    assert result.error.message == "backward returned None; must return the gradient for x, w"


def test_interruptions_go_through() -> None:
    class Interrupted(Cube):
        def forward(self, x: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(Interrupted(), {"x": X})


KINDS = "must be a layer with forward(**arrays) and vjp(dy, **arrays), a pair (forward, backward), or a torch or "
KINDS += "JAX callable"
NUMBERS = "must be numbers (float64, float32, float16, integers or booleans); bind other arguments before"
WRONG: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (Cube, {}, TypeError, "Cube is a class; must be an object of it, as in Cube(...)"),
    (3, {}, TypeError, f"3 can't be checked; {KINDS}"),
    ("softmax", {}, TypeError, f"'softmax' can't be checked; {KINDS}"),
    ((affine,), {}, TypeError, "a tuple of (function); must be (forward, backward), two functions"),
    ((affine, None), {}, TypeError, "a tuple of (function, NoneType); must be (forward, backward), two functions"),
    ((affine, affine_backward), {}, TypeError, "affine takes w too; add it to arrays, or bind it before"),
    ((Cube().forward, affine), {"arrays": {"X": X}}, TypeError, "forward takes no array 'X'; its parameters are x"),
    (Cube(), {"arrays": {"y": X}}, TypeError, "Cube.forward can't take y by name: missing a required argument: 'x'"),
    (Cube(), {"arrays": {"x": X, "y": X}}, TypeError,
     "Cube.forward can't take x, y by name: got an unexpected keyword argument 'y'"),
    (Cube(), {"arrays": {}}, ValueError, "arrays is empty; must name each array that the code takes"),
    (Cube(), {"arrays": X}, TypeError, "arrays is a ndarray; must map names to numbers, as in {'x': x}"),
    (Cube(), {"arrays": {1: X}}, TypeError, "arrays has the key 1; must be the name of an array"),
    (Cube(), {"arrays": {"x": None}}, TypeError, f"arrays['x'] is a NoneType; {NUMBERS}"),
    (Cube(), {"arrays": {"x": {"a": 1}}}, TypeError, f"arrays['x'] is a dict; {NUMBERS}"),
    (Cube(), {"arrays": {"x": 1j}}, TypeError, f"arrays['x'] is of dtype complex128; {NUMBERS}"),
    (Cube(), {"arrays": {"x": np.array([1.0, np.nan])}}, ValueError, "arrays['x'] holds nan at [1]; must be finite"),
    (Cube(), {"arrays": {"x": np.array([1, 2])}}, ValueError,
     "array 'wrt': no differentiable float array; a check needs at least one; x is int64, which is passed on as it is"),
    (Scaled(), {"arrays": {"z": X}}, ValueError, "array 'z': no such array; the arrays are x, s"),
    (LAYERS["softmax"](axis=4), {}, ValueError, "option 'axis': 4; must be in [-2, 2) for x of shape (2, 3)"),
    (Cube(), {"view": "vp"}, ValueError, "view is 'vp'; must be 'vjp' or 'jacobian'"),
    (Cube(), {"seed": -1}, ValueError, "seed is -1; must be an integer of at least 0"),
    (Cube(), {"seed": 1.5}, ValueError, "seed is 1.5; must be an integer of at least 0"),
    (Cube(), {"wrt": "y"}, ValueError, "array 'y': no such array; wrt takes x"),
    (Cube(), {"wrt": []}, TypeError, "wrt is []; must be the name of an array, or several"),
    (Cube(), {"cotangent": [1.0]}, ValueError, "array 'cotangent': shape (1,); must be the output's, (2, 3)"),
    (Cube(), {"cotangent": (X, X)}, ValueError, "array 'cotangent': 2 arrays; forward has 1 outputs"),
    (Cube(), {"cotangent": "dy"}, TypeError, f"cotangent is a str; {NUMBERS}"),
    (Cube(), {"difference": "centrall"}, ValueError,
     "unknown difference method 'centrall'; did you mean 'central'?"),
    (Cube(), {"difference": {"steps": 1}}, ValueError,
     "difference has the key 'steps'; must have method or step or relative_step"),
    (Cube(), {"difference": {}}, ValueError, "difference has no key; must have method or step or relative_step"),
    (Cube(), {"difference": {"step": 0}}, ValueError, "difference step is 0; must be greater than 0"),
    (Cube(), {"difference": {"step": 1, "relative_step": 1}}, ValueError,
     "difference has both step and relative_step; must have at most one"),
    (Cube(), {"difference": 1e-6}, TypeError,
     "difference is 1e-06; must be the name of a method, or a mapping with method and step"),
    (Cube(), {"tolerance": "1e-6"}, TypeError, "tolerance is '1e-6'; must be a number"),
    (Cube(), {"tolerance": True}, TypeError, "tolerance is True; must be a number"),
    (Cube(), {"tolerance": -1.0}, ValueError, "tolerance is -1.0; must be finite and at least 0"),
    (Cube(), {"tolerance": {"rtl": 1}}, ValueError, "tolerance has the key 'rtl'; must have rtol or atol"),
    (Cube(), {"tolerance": Tolerance(atol=np.inf)}, ValueError, "tolerance atol is inf; must be finite and at least 0"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "given", "kind", "message"), WRONG, ids=[row[3][:50] for row in WRONG])
def test_arguments_that_do_not_fit_are_told(layer: Any, given: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        check(layer, **{"arrays": {"x": X}, **given})


# --- which library a callable is for ---


def run(code: str) -> str:
    """What a program prints that has imported nothing before."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(gradcheck_cli.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def test_checking_numpy_code_imports_neither_library() -> None:
    code = (
        "import sys, numpy as np\nfrom gradcheck_cli import check\n"
        "ok = check((lambda x: x * 2, lambda dout, x: dout * 2), {'x': 1.0})\n"
        "print(bool(ok), sorted({'torch', 'jax', 'click', 'pydantic'} & sys.modules.keys()))\n"
        "try: check(lambda x: x, {'x': 1.0})\nexcept TypeError as error: print(error)\n"
    )
    assert run(code) == f"True []\n<lambda> uses neither torch nor jax, and has no backward; {KINDS}\n"


def test_the_public_names_are_there() -> None:
    assert set(gradcheck_cli.__all__) <= set(dir(gradcheck_cli)) | {"CheckResult", "Layer", "RunResult", "check"}
    assert gradcheck_cli.RunResult.__name__ == "RunResult"


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self) -> Any:
        return pytest.importorskip("torch")

    def test_a_function_with_its_own_derivative_is_checked(self, torch: Any) -> None:
        class Square(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx: Any, grad_output: Any) -> Any:
                return 2 * ctx.saved_tensors[0]

        for form in (Square, Square.apply):
            result = check(form, {"x": X})
            assert (result.verdict, result.layer, result.findings[0].rule) == (Verdict.FAIL, "torch", "dy-ignored")

    def test_a_module_is_checked_with_its_parameters(self, torch: Any) -> None:
        linear = torch.nn.Linear(3, 2)
        before = linear.weight.detach().clone()
        result = check(linear, {"input": X})
        assert (bool(result), result.id, names(result)) == (True, "check::Linear", ["input", "weight", "bias"])
        assert torch.equal(linear.weight, before)
        given = check(linear, {"input": X.astype(np.float32), **dict(linear.named_parameters())})
        assert (bool(given), given.dtype) == (True, "float32")
        with pytest.raises(
            TypeError, match=r"^Linear is a class of modules; must be a module, as in Linear\(\.\.\.\)$"
        ):
            check(torch.nn.Linear, {"input": X})

    def test_functions_are_told_by_what_they_are_and_use(self, torch: Any) -> None:
        jax = pytest.importorskip("jax")
        relu, jnp = torch.nn.functional.relu, jax.numpy

        def helper(x: Any) -> Any:
            return torch.sin(x)

        forms = [torch.tanh, relu, partial(torch.nn.functional.leaky_relu, negative_slope=0.1), torch.nn.Tanh().forward]
        used = [lambda x: torch.sin(x).sum(), lambda x: helper(x), lambda x: relu(x)]
        for form in (*forms, *used):
            assert (check(form, {"input" if form is forms[2] else "x": X}).layer) == "torch"
        for form in (jnp.tanh, jax.nn.relu, jax.jit(lambda x: 2 * x), lambda x: jnp.sin(x), lambda x: jax.nn.relu(x)):
            assert check(form, {"x": X}).layer == "jax"

        def plain(x: Any) -> Any:
            return 2 * x

        assert check(plain, {"x": torch.tensor([1.0, 2.0], requires_grad=True)}).layer == "torch"
        assert check(plain, {"x": jnp.array([1.0, 2.0])}).layer == "jax"
        say = "say which: from gradcheck_cli.adapters.torch (or .jax) import from_callable, and check from_callable("
        with pytest.raises(
            TypeError, match=f"^{re.escape(f'plain does not show whether it is for torch or jax; {say}')}"
        ):
            check(plain, {"x": X})

        def both(x: Any) -> Any:
            return torch.sin(jnp.sin(x))

        with pytest.raises(TypeError, match=f"^{re.escape(f'both uses both torch and jax; {say}')}"):
            check(both, {"x": X})

        from gradcheck_cli.adapters.torch import from_callable

        assert check(from_callable(plain, {"x": X}), {"x": X})

    def test_arrays_that_do_not_fit_are_told(self, torch: Any) -> None:
        with pytest.raises(TypeError, match=r"^<lambda> takes y too; add it to arrays, or bind it before$"):
            check(lambda x, y: torch.sin(x) + y, {"x": X})

    def test_what_the_code_raises_is_the_error_of_the_result(self, torch: Any) -> None:
        def raises(x: Any) -> Any:
            raise LookupError(str(torch.sin(x).shape))

        result = check(raises, {"x": X})
        assert result.error is not None
        assert (result.error.type, result.error.message) == ("LookupError", "torch.Size([2, 3])")
        assert "test_api.py" in (result.error.traceback_line or "")

    def test_the_one_library_that_is_imported_is_taken(self, torch: Any) -> None:
        code = "import {0}\nfrom gradcheck_cli import check\nprint(check(lambda x: 2 * x, {{'x': 1.0}}).layer)\n"
        assert run(code.format("torch")) == "torch\n"
        pytest.importorskip("jax")
        assert run(code.format("jax")) == "jax\n"


def test_custom_derivatives_of_jax_are_checked() -> None:
    jax = pytest.importorskip("jax")

    @jax.custom_vjp
    def square(x: Any) -> Any:
        return x**2

    square.defvjp(lambda x: (x**2, x), lambda x, dy: (x * dy,))
    result = check(square, {"x": X})
    assert (result.verdict, result.id, result.layer) == (Verdict.FAIL, "check::square", "jax")
    assert "the factor 2 is missing" in result.findings[0].sentence

    @jax.custom_jvp
    def sine(x: Any) -> Any:
        return jax.numpy.sin(x)

    sine.defjvp(lambda primals, tangents: (jax.numpy.sin(primals[0]), jax.numpy.cos(primals[0]) * tangents[0]))
    assert check(sine, {"x": X})

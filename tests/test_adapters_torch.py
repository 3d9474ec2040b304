"""torch code as a layer: gradients against closed forms, stacks against single calls, and what is said otherwise."""

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradcheck_cli.adapters.torch import TorchLayer, from_callable  # noqa: E402 - only where torch is installed
from gradcheck_cli.adapters.user_code import UserCodeError  # noqa: E402
from gradcheck_cli.layer import ArrayError, OptionError  # noqa: E402
from gradcheck_cli.registry import ADAPTERS  # noqa: E402
from gradcheck_cli.spec import Foreign  # noqa: E402

X = np.array([[0.3, -1.2, 0.8], [1.4, 0.6, -0.7]])
W = np.array([[0.5, -0.4, 1.3], [0.2, -0.6, 1.7]])
DY = np.array([[0.5, -1.25], [0.75, 1.5]])


class Affine(torch.autograd.Function):
    """y = x Wᵀ, with the derivative by hand; the old convention with the context in forward."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any, scale: float = 1.0) -> Any:
        ctx.save_for_backward(x, w)
        ctx.scale = scale
        return scale * x @ w.T

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, w = ctx.saved_tensors
        return ctx.scale * dy @ w, ctx.scale * dy.T @ x, None


class Square(torch.autograd.Function):
    """y = x², in the convention that vmap can use."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * x * dy


class Forgetful(torch.autograd.Function):
    """y = x³, and a derivative that is not multiplied by what arrives from above."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x**2


class Cube(torch.autograd.Function):
    """y = x³ with a first derivative that is right, and a second one that is lost: it is computed outside the graph."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x.detach() ** 2 * dy


class Scaled(torch.nn.Module):
    """A module with a parameter, a frozen parameter and a buffer, and an option."""

    def __init__(self, size: int, power: int = 1) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(size))
        self.frozen = torch.nn.Parameter(torch.full((size,), 2.0), requires_grad=False)
        self.register_buffer("calls", torch.zeros(()))
        self.power = power

    def forward(self, x: Any, shift: float = 0.0) -> Any:
        self.calls += 1
        return self.calls * self.gain**self.power * self.frozen * x + shift


def affine(x: Any, w: Any) -> Any:
    return x @ w.T


def pick(x: Any, t: Any) -> Any:
    assert t.dtype == torch.int64
    return x[t], t, x.sum()


def test_the_registry_finds_it() -> None:
    assert ADAPTERS["torch"] is TorchLayer
    layer = TorchLayer("mypkg.ops:Affine")
    assert isinstance(layer, Foreign)
    assert layer.references() == {"target": "mypkg.ops:Affine"}
    assert TorchLayer.short == "target"
    assert pickle.loads(pickle.dumps(layer)) == layer


def test_problems_are_told_without_importing() -> None:
    assert TorchLayer("mypkg.ops:Affine").problems(["x"], []) == []
    assert TorchLayer("mypkg.ops").problems([], []) == [
        ("target", "'mypkg.ops' names no module; must be module:name, such as layers:affine_forward"),
        ("", "has no arrays; name each with its values or its shape under arrays"),
    ]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's, importable for one test."""
    text = "import torch\nclass Half(torch.nn.Module):\n    def __init__(self, k):\n        super().__init__()\n"
    text += "        self.k = k\n    def forward(self, input, offset=0.0):\n        return self.k * input + offset\n"
    (tmp_path / "torch_code_of_a_user.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "torch_code_of_a_user"


def test_a_module_is_built_from_its_name_and_options(module: str) -> None:
    adapter = TorchLayer(f"{module}:Half", options={"k": 0.5})
    assert adapter.inputs({}, {"offset": 1.0}) == ("input",)
    assert adapter.accepts(["offset", "other"]) == ("offset",)
    layer = adapter.build({"x": X}, {"offset": 2.0}, 0)
    np.testing.assert_array_equal(layer.forward(x=X), 0.5 * X + 2)
    np.testing.assert_array_equal(layer.vjp(X, x=X)["x"], 0.5 * X)


@pytest.mark.parametrize("thing", [affine, Affine], ids=["function", "autograd.Function"])
@pytest.mark.parametrize("names", [("x", "w"), ("first", "second")], ids=["by name", "by position"])
def test_affine_against_its_closed_form(thing: Any, names: tuple[str, str]) -> None:
    arrays = dict(zip(names, (X, W), strict=True))
    layer = from_callable(thing, arrays)
    np.testing.assert_allclose(layer.forward(**arrays), X @ W.T, rtol=1e-15)
    gradients = layer.vjp(DY, **arrays)
    np.testing.assert_allclose(gradients[names[0]], DY @ W, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(gradients[names[1]], DY.T @ X, rtol=1e-14, atol=1e-15)
    assert {name: spec.shape for name, spec in layer.arrays(**{names[0]: (4, 3)}).items()} == {
        names[0]: (4, 3),
        names[1]: (2, 3),
    }


def test_arrays_named_out_of_order_go_by_name() -> None:
    layer = from_callable(affine, {"w": W, "x": X[:1]})
    np.testing.assert_allclose(layer.forward(w=W, x=X[:1]), X[:1] @ W.T, rtol=1e-15)


def test_any_number_of_arrays_goes_by_position() -> None:
    layer = from_callable(lambda *parts: parts[0] - 2 * parts[1], {"a": X, "b": W})
    np.testing.assert_allclose(layer.forward(a=X, b=W), X - 2 * W, rtol=1e-15)
    np.testing.assert_allclose(layer.vjp(X, a=X, b=W)["b"], -2 * X, rtol=1e-15)


def test_constants_go_by_name() -> None:
    layer = from_callable(Affine, {"x": X, "w": W}, {"scale": 3.0})
    np.testing.assert_allclose(layer.forward(x=X, w=W), 3 * X @ W.T, rtol=1e-14)
    chosen = from_callable(lambda x, *, index: x[:, index], {"x": X}, {"index": np.array([2, 0])})
    np.testing.assert_array_equal(chosen.forward(x=X), X[:, [2, 0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_kept(dtype: Any) -> None:
    x = X.astype(dtype)
    for layer in (from_callable(torch.tanh, {"input": x}), from_callable(Scaled(3), {"x": x})):
        point = {name: np.ones(spec.shape, dtype) for name, spec in layer.arrays().items()}
        assert layer.forward(**point).dtype == dtype
        assert {gradient.dtype for gradient in layer.vjp(x, **point).values()} == {np.dtype(dtype)}


def test_integers_are_long_and_several_outputs_a_tuple() -> None:
    """The second output is an index, and left out; the last row of x is used twice."""
    t = np.array([1, 1], np.int32)
    layer = from_callable(pick, {"x": X, "t": t})
    rows, total = layer.forward(x=X, t=t)
    np.testing.assert_array_equal(rows, X[[1, 1]])
    np.testing.assert_allclose(total, X.sum(), rtol=1e-15)
    assert not layer.arrays()["t"].differentiable
    gradients = layer.vjp((np.ones((2, 3)), np.array(10.0)), x=X, t=t)
    assert list(gradients) == ["x"]
    np.testing.assert_array_equal(gradients["x"], [[10.0] * 3, [12.0] * 3])


def test_an_unused_and_a_detached_array_have_gradient_zero() -> None:
    layer = from_callable(lambda x, w: x.detach() * 2 + 0 * w.detach(), {"x": X, "w": X})
    assert {name: gradient.tolist() for name, gradient in layer.vjp(X, x=X, w=X).items()} == {
        "x": np.zeros((2, 3)).tolist(),
        "w": np.zeros((2, 3)).tolist(),
    }
    unused = from_callable(lambda x, w: x * 2, {"x": X, "w": W})
    np.testing.assert_array_equal(unused.vjp(X, x=X, w=W)["w"], np.zeros((2, 3)))


def test_a_derivative_that_ignores_dy_is_not_linear_in_it() -> None:
    layer = from_callable(Forgetful, {"x": X})
    np.testing.assert_array_equal(layer.vjp(X, x=X)["x"], layer.vjp(2 * X, x=X)["x"])
    assert layer.vjp(0 * X, x=X)["x"].all()


def test_parameters_of_a_module_are_arrays() -> None:
    layer = from_callable(Scaled, {"x": X}, {"shift": 1.0}, options={"size": 3, "power": 2})
    specs = layer.arrays()
    assert {name: (spec.shape, spec.differentiable) for name, spec in specs.items()} == {
        "x": ((2, 3), True),
        "gain": ((3,), True),
        "frozen": ((3,), False),
    }
    gain = specs["gain"].draw(np.random.default_rng(0), (3,))
    assert np.all(np.abs(gain - 1) > 0.03), "away from 1, where gain and gain² are the same"
    frozen = np.array([2.0, 3.0, -1.0])
    point = {"x": X, "gain": gain, "frozen": frozen}
    for _ in range(2):  # the buffer counts calls, and every evaluation starts from the same count
        np.testing.assert_allclose(layer.forward(**point), gain**2 * frozen * X + 1, rtol=1e-6)
    gradients = layer.vjp(X, **point)
    assert set(gradients) == {"x", "gain"}
    np.testing.assert_allclose(gradients["gain"], (2 * gain * frozen * X * X).sum(axis=0), rtol=1e-6)


def test_values_of_a_parameter_may_be_given() -> None:
    gain = np.array([1.0, 2.0, 3.0])
    layer = from_callable(Scaled(3), {"x": X, "gain": gain})
    assert layer.arrays(gain=(3,))["gain"].shape == (3,)
    with pytest.raises(ArrayError) as caught:
        layer.arrays(gain=(4,))
    assert str(caught.value) == "array 'gain': shape (4,); must be (3,), like the parameter"
    with pytest.raises(ArrayError) as caught:
        from_callable(Scaled(3), {"x": X, "gain": np.ones(4)})
    assert str(caught.value) == "array 'gain': shape (4,); must be (3,), like the parameter"


def test_a_lazy_module_takes_the_shapes_of_its_first_input() -> None:
    layer = from_callable(torch.nn.LazyLinear, {"x": X}, options={"out_features": 2})
    assert {name: spec.shape for name, spec in layer.arrays().items()} == {
        "x": (2, 3),
        "weight": (2, 3),
        "bias": (2,),
    }


@pytest.mark.filterwarnings("ignore:.*batch_first.*:UserWarning")
@pytest.mark.parametrize(
    ("module_", "x"),
    [
        (torch.nn.BatchNorm1d(3), np.linspace(-1, 2, 12).reshape(4, 3) ** 2),
        (torch.nn.BatchNorm1d(3).eval(), X),
        (torch.nn.Conv1d(2, 4, 3, padding=1), np.linspace(-1, 1, 10).reshape(1, 2, 5)),
        (torch.nn.GRUCell(3, 2), X),
        (torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.Linear(4, 1)), X),
    ],
    ids=["batch norm", "batch norm, eval", "conv", "gru", "sequence"],
)
def test_modules_agree_with_central_differences(module_: Any, x: Any) -> None:
    """One random direction per array: error O(1e-16 / h + h²) with h = 1e-5."""
    layer = from_callable(module_, {"x": x}, seed=1)
    rng = np.random.default_rng(0)
    point = {name: np.asarray(spec.draw(rng, spec.shape), np.float64) for name, spec in layer.arrays().items()}
    point["x"] = x
    dy = rng.normal(size=np.shape(layer.forward(**point)))
    for name, gradient in layer.vjp(dy, **point).items():
        direction = rng.normal(size=gradient.shape)
        ahead = layer.forward(**{**point, name: point[name] + 1e-5 * direction})
        back = layer.forward(**{**point, name: point[name] - 1e-5 * direction})
        assert np.sum(gradient * direction) == pytest.approx(np.sum(dy * (ahead - back)) / 2e-5, rel=1e-7, abs=1e-8)


def test_the_module_that_was_handed_over_is_left_alone() -> None:
    mine = torch.nn.BatchNorm1d(3)
    from_callable(mine, {"x": X}).forward(x=X, weight=np.ones(3), bias=np.zeros(3))
    assert mine.weight.dtype == torch.float32
    assert int(mine.num_batches_tracked) == 0


def test_random_layers_see_the_same_numbers_each_time_and_leave_the_generator_alone() -> None:
    before = torch.get_rng_state()
    layer = from_callable(torch.nn.Dropout(0.5), {"x": X}, seed=3)
    first = layer.forward(x=X)
    np.testing.assert_array_equal(first, layer.forward(x=X))
    np.testing.assert_allclose(layer.vjp(np.ones_like(X), x=X)["x"], first / X, rtol=1e-15)
    assert not hasattr(layer, "forward_stacked"), "a stack would draw other numbers"
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("thing", [affine, Square, torch.nn.Linear(3, 2).double()], ids=["function", "rule", "module"])
def test_stacks_are_what_single_calls_give(thing: Any) -> None:
    given = {"x": X, "w": W} if thing is affine else {"x": X}
    layer = from_callable(thing, given)
    rng = np.random.default_rng(0)
    point = {name: given.get(name, np.asarray(spec.draw(rng, spec.shape))) for name, spec in layer.arrays().items()}
    for stacked in point:
        several = np.stack([point[stacked] + k for k in range(4)])
        together = layer.forward_stacked(**{name: array[None] for name, array in point.items()} | {stacked: several})
        single = [layer.forward(**point | {stacked: one}) for one in several]
        np.testing.assert_allclose(together, np.stack(single), rtol=1e-14, atol=1e-15)
    alone = layer.forward_stacked(**{name: array[None] for name, array in point.items()})
    np.testing.assert_allclose(alone[0], layer.forward(**point), rtol=1e-14)


@pytest.mark.parametrize(
    "thing",
    [Forgetful, lambda x: x * (1.0 if x.sum() > 0 else 2.0), lambda x: torch.from_numpy(np.tanh(x.numpy()))],
    ids=["no vmap rule", "branch on values", "through numpy"],
)
def test_what_cannot_be_stacked_has_no_forward_stacked(thing: Any) -> None:
    layer = from_callable(thing, {"x": X})
    assert not hasattr(layer, "forward_stacked")
    assert layer.forward(x=X).shape == X.shape


def test_complex_points_pass_through_for_the_complex_step() -> None:
    layer = from_callable(torch.nn.Linear(3, 2), {"x": X})
    x = X + 1e-30j * np.array([[1.0, 0, 0], [0, 0, 0]])
    y = layer.forward(x=x, weight=W, bias=np.zeros(2))
    np.testing.assert_allclose(y.imag[0] / 1e-30, W[:, 0], rtol=1e-14)


def test_locked_and_reversed_arrays_are_taken() -> None:
    x = X[::-1]
    locked = X.copy()
    locked.flags.writeable = False
    layer = from_callable(torch.tanh, {"input": X})
    np.testing.assert_allclose(layer.forward(input=x), np.tanh(x), rtol=1e-15)
    np.testing.assert_allclose(layer.forward(input=locked), np.tanh(X), rtol=1e-15)


def test_results_share_no_memory_with_the_arrays() -> None:
    layer = from_callable(lambda x: x, {"x": X})
    assert not np.shares_memory(layer.forward(x=X), X)


def test_bfloat16_comes_out_as_float32() -> None:
    layer = from_callable(lambda x: x.bfloat16(), {"x": X})
    assert layer.forward(x=X).dtype == np.float32


def test_order_2_is_the_gradient_of_the_gradient() -> None:
    """For y = tanh(x): g = dy (1 − y²), dg/dx = −2 dy y (1 − y²), dg/d(dy) = 1 − y²."""
    layer = from_callable(torch.tanh, {"input": X}, order=2)
    dy, v = np.full(X.shape, 0.5), np.arange(6.0).reshape(X.shape)
    assert list(layer.arrays()) == ["input", "dy"]
    y = np.tanh(X)
    np.testing.assert_allclose(layer.forward(input=X, dy=dy), dy * (1 - y**2), rtol=1e-14)
    gradients = layer.vjp(v, input=X, dy=dy)
    np.testing.assert_allclose(gradients["input"], -2 * v * dy * y * (1 - y**2), rtol=1e-14)
    np.testing.assert_allclose(gradients["dy"], v * (1 - y**2), rtol=1e-14)


def test_order_2_of_several_arrays_and_outputs() -> None:
    layer = from_callable(lambda x, w: (x * w, x.sum() ** 2), {"x": X, "w": W, "dy1": np.array(2.0)}, order=2)
    assert {name: spec.shape for name, spec in layer.arrays().items()} == {
        "x": (2, 3),
        "w": (2, 3),
        "dy0": (2, 3),
        "dy1": (),
    }
    dx, dw = layer.forward(x=X, w=W, dy0=X, dy1=np.array(2.0))
    np.testing.assert_allclose(dx, X * W + 4 * X.sum(), rtol=1e-14)
    np.testing.assert_allclose(dw, X * X, rtol=1e-14)
    gradients = layer.vjp((np.ones_like(X), W), x=X, w=W, dy0=X, dy1=np.array(2.0))
    np.testing.assert_allclose(gradients["x"], W * X + 2 * 2.0 * 6, rtol=1e-13)  # Σ over dx of 2 dy1
    np.testing.assert_allclose(gradients["dy0"], W + W * X, rtol=1e-14)


def test_order_2_sees_a_lost_second_derivative() -> None:
    """First order is right; the second one is zero, and differences of the first say 6 x dy."""
    first = from_callable(Cube, {"x": X})
    np.testing.assert_allclose(first.vjp(X, x=X)["x"], 3 * X**3, rtol=1e-14)
    second = from_callable(Cube, {"x": X}, order=2)
    ones = np.ones_like(X)
    np.testing.assert_array_equal(second.vjp(ones, x=X, dy=ones)["x"], 0 * X)
    slope = (second.forward(x=X + 1e-5, dy=ones) - second.forward(x=X - 1e-5, dy=ones)) / 2e-5
    np.testing.assert_allclose(slope, 6 * X, rtol=1e-9)


ERRORS = [
    (lambda: from_callable(affine, {"x": X}), UserCodeError, "affine takes w too; name it under arrays or constants"),
    (
        lambda: from_callable(affine, {"x": X, "v": W}),
        UserCodeError,
        "affine takes no array 'v'; its parameters are x, w",
    ),
    (
        lambda: from_callable(affine, {"a": X, "b": W, "c": W}),
        UserCodeError,
        "affine takes 2 arrays (x, w), and 3 arrays (a, b, c) came",
    ),
    (
        lambda: from_callable(affine, {"x": X, "w": W}, {"mode": 1}),
        UserCodeError,
        "affine takes no constant 'mode'; its parameters are x, w",
    ),
    (
        lambda: from_callable(affine, {"x": X, "w": W}, {"w": 1}),
        UserCodeError,
        "'w' is an array and a constant; name it under one of them",
    ),
    (
        lambda: from_callable(affine, {"x": X, "w": W}, options={"k": 1}),
        UserCodeError,
        "affine is no class, so it takes no options; give them as constants",
    ),
    (
        lambda: from_callable(3, {"x": X}),
        UserCodeError,
        "int cannot be called; must be a function, a Function or a Module",
    ),
    (
        lambda: from_callable(lambda x: None, {"x": X}, label="f"),
        UserCodeError,
        "f returned no floating-point tensor; must be at least one",
    ),
    (
        lambda: from_callable(lambda x: {"y": x}, {"x": X}, label="f"),
        UserCodeError,
        "f returned a dict; must be a tensor or several",
    ),
    (
        lambda: from_callable(torch.tanh, {"input": X, "dy1": X}, order=2),
        ArrayError,
        "array 'dy1': no such array; the cotangents are dy",
    ),
    (
        lambda: from_callable(lambda x, dy: x * dy, {"x": X, "dy": X}, order=2, label="f"),
        UserCodeError,
        "f takes dy too; name it under arrays or constants",
    ),
]


@pytest.mark.parametrize(("make", "kind", "message"), ERRORS, ids=[row[2][:40] for row in ERRORS])
def test_what_does_not_fit_is_told(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        make()


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^option 'device': 'nowhere'; must be a device that torch can use here \("):
        from_callable(torch.tanh, {"input": X}, device="nowhere")
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match=r"^option 'device': 'cuda'; must be a device that torch can use here \("):
            from_callable(torch.tanh, {"input": X}, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    layer = from_callable(torch.nn.Linear(3, 2), {"x": X}, device="cuda")
    bias = np.zeros(2)
    np.testing.assert_allclose(layer.forward(x=X, weight=W, bias=bias), X @ W.T, rtol=1e-14)
    np.testing.assert_allclose(layer.vjp(DY, x=X, weight=W, bias=bias)["weight"], DY.T @ X, rtol=1e-14)


def test_the_number_of_threads_is_left_as_it_is() -> None:
    threads = torch.get_num_threads()
    from_callable(affine, {"x": X, "w": W}).vjp(DY, x=X, w=W)
    assert torch.get_num_threads() == threads


def test_without_torch_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    message = "torch is not installed here; install it with: pip install 'gradcheck-cli[torch]'"
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(message)}$"):
        TorchLayer("mypkg.ops:f").build({"x": X}, {}, 0)


def test_the_adapter_is_found_without_importing_torch() -> None:
    code = "import sys; from gradcheck_cli.registry import ADAPTERS; ADAPTERS['torch']; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"

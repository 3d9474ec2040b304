"""Layer objects in every convention: what is found, what state is kept out of the numbers, what is told."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_adapters_functions import assert_vjp_matches_forward

from gradcheck_cli.adapters.object import ObjectLayer
from gradcheck_cli.adapters.object_state import copied, initialised
from gradcheck_cli.adapters.user_code import UserCodeError
from gradcheck_cli.draws import draw_arrays
from gradcheck_cli.layer import Array, ArrayError, Layer
from gradcheck_cli.spec import Foreign

X = np.array([[0.3, -1.2, 0.8], [1.4, 0.6, -0.7], [0.2, 0.9, -1.5], [-0.4, 1.1, 0.7]])
MODULE = "objects_under_test"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent / "user_modules")
    monkeypatch.syspath_prepend(Path(__file__).parents[1])


def build(name: str, arrays: dict[str, Array] | None = None, constants: Any = None, **options: Any) -> Layer:
    description = ObjectLayer(f"{MODULE}:{name}", **options)
    assert isinstance(description, Foreign)
    return description.build({"x": X} if arrays is None else arrays, constants or {}, 3)


OTHER = {"parameters": "weights", "gradients": "slopes", "forward": "run", "backward": "back"}
CONVENTIONS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "W beside dW": ("Attributes", {}, ["x", "W", "b"]),
    "W beside grad_W": ("GradAttributes", {}, ["x", "W", "b"]),
    "dx in an attribute": ("StoresInputGradient", {}, ["x", "W", "b"]),
    "params and grads": ("Mappings", {}, ["x", "W", "b"]),
    "lists of arrays": ("Lists", {}, ["x", "params.0", "params.1"]),
    "named mappings and methods": ("OtherNames", OTHER, ["x", "W", "b"]),
    "named parameters": ("Attributes", {"parameters": ["b"]}, ["x", "b"]),
    "named gradients": ("Attributes", {"gradients": {"W": "dW", "b": "db"}}, ["x", "W", "b"]),
    "lazy, accumulating, caching": ("Accumulating", {}, ["x", "W", "b"]),
    "running mean": ("Running", {}, ["x", "W", "b"]),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_is_understood(convention: str) -> None:
    name, options, names = CONVENTIONS[convention]
    layer = build(name, **options)
    specs = layer.arrays()
    assert list(specs) == names
    arrays = draw_arrays(specs, {}, "float64", 1, 0)
    assert_vjp_matches_forward(layer, arrays, set(names))


@pytest.mark.parametrize("name", ["Attributes", "Accumulating"])
def test_every_call_starts_from_the_same_state(name: str) -> None:
    layer = build(name)
    arrays = draw_arrays(layer.arrays(), {}, "float64", 1, 0)
    dy = np.ones((4, 2))
    first = layer.vjp(dy, **arrays)
    layer.forward(**(arrays | {"x": 2 * X}))
    for key, gradient in layer.vjp(dy, **arrays).items():
        np.testing.assert_array_equal(gradient, first[key])
    np.testing.assert_allclose(first["W"], arrays["x"].T @ dy, rtol=1e-14)
    np.testing.assert_array_equal(layer.output_in_vjp(dy, **arrays), layer.forward(**arrays))


def test_parameters_start_where_the_object_put_them_under_the_seed() -> None:
    one, two = (draw_arrays(build("Attributes").arrays(), {}, "float64", point, 0) for point in (1, 2))
    np.testing.assert_array_equal(one["W"], two["W"])
    np.testing.assert_array_equal(one["b"], [0.5, -0.25])
    scaled = draw_arrays(build("Attributes", options={"scale": 2.0}).arrays(), {}, "float64", 1, 0)
    np.testing.assert_allclose(scaled["W"], 2 * one["W"], rtol=1e-15)


def test_the_global_generators_are_put_back() -> None:
    np.random.seed(7)  # noqa: NPY002 - the state that must survive
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    build("Accumulating")
    assert np.random.rand() == expected  # noqa: NPY002


def test_parameters_may_have_another_dtype() -> None:
    layer = build("Mappings")
    arrays = draw_arrays(layer.arrays(), {}, "float32", 1, 0)
    assert layer.forward(**arrays).dtype == np.float32
    assert layer.vjp(np.ones((4, 2), np.float32), **arrays)["W"].dtype == np.float32


def test_several_inputs_go_by_name_or_in_the_order_told() -> None:
    a, b = np.array([0.5, 1.5]), np.array([-1.0, 2.0])
    by_name = build("TwoInputs", {"b": b, "a": a}, {"power": 3})
    assert list(by_name.arrays()) == ["a", "b"]
    assert_vjp_matches_forward(by_name, {"a": a, "b": b}, {"a", "b"})
    np.testing.assert_array_equal(by_name.forward(a=a, b=b)[0], a**3)


def test_a_single_input_may_have_any_name() -> None:
    layer = build("Attributes", {"X": X})
    assert list(layer.arrays()) == ["X", "W", "b"]
    assert_vjp_matches_forward(layer, draw_arrays(layer.arrays(), {}, "float64", 0, 0), {"X", "W", "b"})


def test_integer_input_has_no_gradient() -> None:
    indices = np.array([2, 0, 2])
    layer = build("Embedding", {"indices": indices}, options={"rows": 4})
    specs = layer.arrays()
    assert [(name, spec.kind) for name, spec in specs.items()] == [("indices", "integer"), ("table", "float")]
    arrays = draw_arrays(specs, {}, "float64", 0, 0)
    np.testing.assert_array_equal(arrays["indices"], indices)
    assert_vjp_matches_forward(layer, arrays, {"table"})


def test_a_parameter_without_gradient_may_be_excused() -> None:
    layer = build("NoGradient", gradients={"b": None})
    assert {name: spec.differentiable for name, spec in layer.arrays().items()} == {"x": True, "W": True, "b": False}
    assert set(layer.vjp(np.ones((4, 2)), **draw_arrays(layer.arrays(), {}, "float64", 0, 0))) == {"x", "W"}


def test_an_array_that_forward_uses_and_nothing_differentiates_is_noted() -> None:
    note = (
        "Running.fixed is not checked: forward depends on it, and no gradient for it was found (dfixed, grad_fixed, "
        "fixed_grad, d_fixed); if it is none of the parameters, list those that are: parameters: [...]"
    )
    assert build("Running").notes == (note,)
    assert build("Attributes").notes == ()
    assert build("Running", parameters=["W", "b"]).notes == ()


def test_state_that_leaks_is_left_to_be_seen() -> None:
    layer = build("Leaking")
    arrays = draw_arrays(layer.arrays(), {}, "float64", 0, 0)
    assert not np.array_equal(layer.forward(**arrays), layer.forward(**arrays))


def test_shape_of_a_parameter_is_the_objects_own() -> None:
    layer = build("Attributes")
    assert layer.arrays(x=(9, 3))["x"].shape == (9, 3)
    with pytest.raises(ArrayError) as caught:
        layer.arrays(W=(2, 3))
    assert str(caught.value) == "array 'W': shape (2, 3); must be (3, 2), as Attributes makes it"


LOOKED = (
    "looked for db, grad_b, b_grad, d_b and in gradients, grads; "
    "say where it is: gradients: {b: attribute}, null if it has none"
)
NOT_COPIED = (
    "Uncopyable cannot be copied (TypeError: one of a kind); every evaluation needs a copy of it, so that state it "
    "keeps from one call stays out of the next"
)
TWO = {"a": X, "b": X}
BREACHES: dict[str, tuple[str, dict[str, Any], str]] = {
    "no backward": (
        "NoBackward",
        {},
        f"{MODULE}:NoBackward has no method 'backward'; name it with forward: or backward:",
    ),
    "gradient never set": (
        "NoGradient",
        {},
        f"{MODULE}:NoGradient has no gradient for its parameter 'b' after backward; {LOOKED}",
    ),
    "unknown parameter": (
        "Attributes",
        {"parameters": ["V"]},
        f"{MODULE}:Attributes has no float array 'V' after its first forward; it has W, b, x",
    ),
    "unknown mapping": (
        "Attributes",
        {"parameters": "theta"},
        f"{MODULE}:Attributes has no mapping of arrays 'theta' after its first forward; see parameters:",
    ),
    "unknown gradients": (
        "Mappings",
        {"gradients": "slopes"},
        f"{MODULE}:Mappings has no mapping of arrays 'slopes' after backward; see gradients:",
    ),
    "unknown gradient": (
        "Attributes",
        {"gradients": {"W": "slope"}},
        f"{MODULE}:Attributes has no 'slope' after backward, the gradient for 'W'",
    ),
    "not copyable": (
        "Uncopyable",
        {},
        NOT_COPIED,
    ),
    "unknown constant": (
        "Attributes",
        {"constants": {"train": True}},
        "Attributes.forward takes no constant 'train'; its parameters are x",
    ),
    "input not given": (
        "Attributes",
        {"input": "X"},
        "input X is not given; name it under arrays with its values or its shape",
    ),
    "inputs unclear": (
        "Attributes",
        {"arrays": TWO},
        "Attributes.forward takes x; say which arrays it gets with input: [...]",
    ),
    "input named like a parameter": (
        "Attributes",
        {"arrays": {"W": X}, "input": "W"},
        f"{MODULE}:Attributes has a parameter 'W' like its input; rename the input",
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_the_convention_is_told(breach: str) -> None:
    name, options, sentence = BREACHES[breach]
    with pytest.raises(UserCodeError, match=f"^{re.escape(sentence)}$"):
        build(name, **options)


def test_a_gradient_that_backward_forgets_does_not_hide_its_parameter() -> None:
    layer = build("ForgetsBias")
    arrays = draw_arrays(layer.arrays(), {}, "float64", 0, 0)
    with pytest.raises(UserCodeError) as caught:
        layer.vjp(np.ones((4, 2)), **arrays)
    assert str(caught.value) == (
        "ForgetsBias.backward returned None as the gradient for b; must be an array of numbers"
    )


def test_cached_input_with_a_gradient_is_no_parameter() -> None:
    assert list(build("Named").arrays()) == ["x"]


def test_problems_are_told_without_importing() -> None:
    description = ObjectLayer("no_such_module_here:Layer", forward="fwd()")
    assert list(description.problems(["x"], [])) == [("forward", "'fwd()' is not the name of a method")]
    assert description.references() == {"class": "no_such_module_here:Layer"}
    assert list(ObjectLayer("layers.Layer").problems([], [])) == [
        ("class", "'layers.Layer' names no module; must be module:name, such as layers:affine_forward"),
        ("", "has no input; name it with its values or its shape under arrays"),
    ]


def test_copies_refer_to_replaced_arrays_everywhere() -> None:
    inner = np.ones(2)
    thing = {"a": inner, "b": [inner, np.zeros(2)]}
    new = np.full(2, 5.0)
    copy = copied(thing, [(inner, new)])
    assert copy["a"] is new
    assert copy["b"][0] is new
    assert thing["a"] is inner


class Nested:
    """Holds another object that remembers, and a value that depends on the input by design."""

    def __init__(self) -> None:
        self.inner = Inner()
        self.shift: Array | None = None

    def forward(self, x: Array) -> Array:
        if self.shift is None:
            self.shift = x.mean(axis=0)
        return self.inner.forward(x) - self.shift


class Inner:
    def __init__(self) -> None:
        self.seen: list[Array] = []

    def forward(self, x: Array) -> Array:
        self.seen.append(x)
        return x


def test_what_the_first_call_remembered_is_cleared_and_what_it_initialised_stays() -> None:
    state, varying = initialised(Nested(), lambda thing, arrays: thing.forward(**arrays), {"x": X}, 0)
    assert state.inner.seen == []
    np.testing.assert_array_equal(state.shift, X.mean(axis=0))
    assert varying == {"inner", "shift"}


def test_examples_are_differentiated() -> None:
    arrays = {"X": X}
    layer = ObjectLayer("configs.user_code.layers:FullyConnected", {"n_out": 4}, "X").build(arrays, {}, 0)
    assert list(layer.arrays()) == ["X", "W", "b"]
    assert_vjp_matches_forward(layer, draw_arrays(layer.arrays(), {}, "float64", 0, 0), {"X", "W", "b"})
    two = {"X1": X, "X2": X[:, :2]}
    layer = ObjectLayer("configs.user_code.layers:Bilinear", {"n_in": 3, "n_out": 2}).build(two, {}, 0)
    assert_vjp_matches_forward(layer, draw_arrays(layer.arrays(), {}, "float64", 0, 0), {"X1", "X2", "W"})

"""The chain rule over built-in links and somebody's code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.adapters.chain import Chain, ForeignChain
from gradcheck_cli.adapters.functions import from_pair
from gradcheck_cli.adapters.user_code import UserCodeError
from gradcheck_cli.draws import draw_arrays
from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Layer
from gradcheck_cli.registry import LAYERS


def chain_of(*links: tuple[str, dict[str, Any]]) -> Chain:
    return Chain(tuple(LAYERS[name](**options) for name, options in links), tuple(name for name, _ in links))


def point_of(layer: Layer, **shapes: tuple[int, ...]) -> dict[str, Array]:
    return draw_arrays(layer.arrays(**shapes), {}, "float64", 0, 0)


CLASSIFIER = (("linear", {"in_features": 3, "out_features": 4}), ("softmax", {"beta": 2.0}), ("mse", {}))


def test_arrays_are_named_by_link_and_shapes_flow_from_link_to_link() -> None:
    specs = chain_of(*CLASSIFIER).arrays(**{"0.x": (5, 3)})
    assert {name: spec.shape for name, spec in specs.items()} == {
        "0.x": (5, 3),
        "0.W": (4, 3),
        "0.b": (4,),
        "2.target": (5, 4),
    }


def test_vjp_is_the_closed_form_of_linear_after_linear() -> None:
    chain = chain_of(("linear", {}), ("linear", {"out_features": 5}))
    a = point_of(chain, **{"0.x": (4, 3)})
    dy = np.random.default_rng(1).normal(size=(4, 5))
    hidden = a["0.x"] @ a["0.W"].T + a["0.b"]
    np.testing.assert_allclose(chain.forward(**a), hidden @ a["1.W"].T + a["1.b"], rtol=1e-14)
    expected = {
        "0.x": dy @ a["1.W"] @ a["0.W"],
        "0.W": (dy @ a["1.W"]).T @ a["0.x"],
        "0.b": (dy @ a["1.W"]).sum(axis=0),
        "1.W": dy.T @ hidden,
        "1.b": dy.sum(axis=0),
    }
    gradients = chain.vjp(dy, **a)
    assert list(gradients) == list(a)
    for name, gradient in expected.items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-13)


def test_diagnosis_sees_every_link_at_its_own_point() -> None:
    chain = chain_of(*CLASSIFIER)
    a = point_of(chain, **{"0.x": (5, 3)})
    dy = np.array(2.0)
    points = chain.link_points(dy, **a)
    assert [set(point.arrays) for point in points] == [{"x", "W", "b"}, {"x"}, {"x", "target"}]
    assert [point.handed for point in points] == [(), ("x",), ("x",)]
    assert points[2].cotangent is dy
    assert points[0].gradients.keys() == {"x", "W", "b"}
    np.testing.assert_array_equal(points[2].outputs[0], chain.forward(**a))
    for link, point, after in zip(chain.links, points, points[1:], strict=False):
        np.testing.assert_array_equal(after.arrays["x"], link.forward(**point.arrays))
        np.testing.assert_array_equal(after.arrays["x"], point.outputs[0])
        np.testing.assert_array_equal(point.cotangent, after.gradients["x"])


def test_stacked_forward_is_there_when_every_link_has_it() -> None:
    chain = chain_of(*CLASSIFIER)
    a = point_of(chain, **{"0.x": (5, 3)})
    two = {name: np.stack([array, 0.5 * array]) if name == "0.W" else array[None] for name, array in a.items()}
    single = [chain.forward(**(a | {"0.W": scale * a["0.W"]})) for scale in (1.0, 0.5)]
    np.testing.assert_allclose(chain.forward_stacked(**two), single, rtol=1e-13)


def test_no_stacked_forward_when_a_link_has_none() -> None:
    double = from_pair(lambda x: 2 * x, lambda dy, x: 2 * dy, {"x": np.ones(3)})
    chain = Chain((LAYERS["softmax"](), double), ("softmax", "functions"))
    assert not hasattr(chain, "forward_stacked")
    with pytest.raises(AttributeError, match=r"^no forward_stacked in functions$"):
        _ = chain.forward_stacked


def test_a_chain_is_a_link_too() -> None:
    inner = chain_of(("linear", {"out_features": 4}), ("tanh", {}))
    outer = Chain((inner, LAYERS["softmax"]()), ("chain", "softmax"))
    a = point_of(outer)
    assert list(a) == ["0.0.x", "0.0.W", "0.0.b"]
    flat = chain_of(("linear", {"out_features": 4}), ("tanh", {}), ("softmax", {}))
    bare = {name.removeprefix("0."): array for name, array in a.items()}
    dy = np.arange(4.0)
    for name, gradient in flat.vjp(dy, **bare).items():
        np.testing.assert_array_equal(outer.vjp(dy, **a)[f"0.{name}"], gradient)


@dataclass(frozen=True)
class Split:
    """Two outputs."""

    def arrays(self, **given: tuple[int, ...]) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(given.get("x", (4,)))}

    def forward(self, x: Array) -> tuple[Array, Array]:
        return x[:2] ** 2, x[2:]

    def vjp(self, dy: Any, x: Array) -> dict[str, Array]:
        return {"x": np.concatenate([2 * x[:2] * dy[0], dy[1]])}


@dataclass(frozen=True)
class Product:
    """Takes two arrays and a third."""

    def arrays(self, **given: tuple[int, ...]) -> Mapping[str, ArraySpec]:
        shape = given.get("a", (2,))
        return {"a": ArraySpec(shape), "b": ArraySpec(given.get("b", shape)), "c": ArraySpec(shape)}

    def forward(self, a: Array, b: Array, c: Array) -> Array:
        return a * b * c

    def vjp(self, dy: Any, a: Array, b: Array, c: Array) -> dict[str, Array]:
        return {"a": dy * b * c, "b": dy * a * c, "c": dy * a * b}


def test_several_outputs_go_to_the_first_arrays() -> None:
    chain = Chain((Split(), Product()), ("split", "product"))
    a = point_of(chain)
    assert list(a) == ["0.x", "1.c"]
    x, c, dy = a["0.x"], a["1.c"], np.array([1.0, -2.0])
    np.testing.assert_allclose(chain.forward(**a), x[:2] ** 2 * x[2:] * c, rtol=1e-15)
    gradients = chain.vjp(dy, **a)
    np.testing.assert_allclose(
        gradients["0.x"], np.concatenate([2 * x[:2] * dy * x[2:] * c, dy * x[:2] ** 2 * c]), rtol=1e-14
    )
    np.testing.assert_allclose(gradients["1.c"], dy * x[:2] ** 2 * x[2:], rtol=1e-14)


def test_what_does_not_fit_is_named_with_what_is_handed_on() -> None:
    with pytest.raises(ArrayError) as caught:
        chain_of(("linear", {}), ("linear", {"in_features": 3})).arrays()
    assert str(caught.value) == "array '1.x': link 0 (linear) hands on shape (2,); must end in in_features = 3"
    with pytest.raises(ArrayError) as caught:
        chain_of(("linear", {}), ("linear", {})).arrays(**{"1.W": (5, 4)})
    assert str(caught.value) == (
        "array '1.W': shape (5, 4) beside x (2,) from link 0 (linear); must be (out_features, in_features) = (5, 2)"
    )
    with pytest.raises(ArrayError) as caught:
        Chain((Split(), LAYERS["tanh"]()), ("split", "tanh")).arrays()
    assert str(caught.value) == "array '1.x': link 0 (split) hands on 2 arrays; link 1 (tanh) takes 1"


def identity(**options: Any) -> Layer:
    return from_pair(lambda x: 1 * x, options.pop("backward"), {"x": np.ones(3)}, **options)


def test_a_link_that_hands_back_the_wrong_thing_is_named() -> None:
    summed = identity(backward=lambda dy, x: dy.sum())
    chain = Chain((LAYERS["tanh"](), summed), ("tanh", "functions"))
    with pytest.raises(ArrayError) as caught:
        chain.vjp(np.ones(3), **{"0.x": np.ones(3)})
    assert str(caught.value) == (
        "array '1.x': link 1 (functions) hands back a gradient of shape (); must be (3,), like the array"
    )
    skipped = identity(backward=lambda dy, x: dy, gradients=[None])
    with pytest.raises(ArrayError) as caught:
        Chain((LAYERS["tanh"](), skipped), ("tanh", "functions")).arrays()
    assert str(caught.value) == (
        "array '1.x': link 0 (tanh) hands it on, and link 1 (functions) has no gradient for it; "
        "must be a float array that is differentiated"
    )


@dataclass(frozen=True)
class Scaling:
    """A foreign link y = factor x, described."""

    name = "scaling"
    wants: tuple[str, ...] = ("factor",)

    def references(self) -> Mapping[str, str]:
        return {"forward": "mine:f"}

    def problems(self, arrays: Any, constants: Any) -> list[tuple[str, str]]:
        return [("forward", f"sees {', '.join(arrays)}")]

    def accepts(self, constants: Any) -> list[str]:
        return [name for name in constants if name in self.wants]

    def build(self, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> Layer:
        return from_pair(lambda x, factor: factor * x, lambda dy, x, factor: factor * dy, arrays, constants)


def test_foreign_chain_tells_where_each_option_stands() -> None:
    chain = ForeignChain((LAYERS["tanh"](), Scaling()), ("tanh", "scaling"))
    assert chain.references() == {"1.scaling.forward": "mine:f"}
    assert chain.problems(["0.x", "1.w"], []) == [("1.scaling.forward", "sees x, w")]


def test_foreign_links_are_built_on_what_the_links_before_hand_on() -> None:
    chain = ForeignChain((LAYERS["linear"](out_features=4), Scaling(), LAYERS["tanh"]()), ("linear", "scaling", "tanh"))
    built = chain.build({"0.x": np.ones((5, 3))}, {"factor": 3.0}, 0)
    specs = built.arrays(**{"0.x": (5, 3)})
    assert {name: spec.shape for name, spec in specs.items()} == {"0.x": (5, 3), "0.W": (4, 3), "0.b": (4,)}
    a = point_of(built, **{"0.x": (5, 3)})
    y = np.tanh(3 * (a["0.x"] @ a["0.W"].T + a["0.b"]))
    np.testing.assert_allclose(built.forward(**a), y, rtol=1e-14)
    np.testing.assert_allclose(
        built.vjp(np.ones((5, 4)), **a)["0.b"], 3 * (1 - y**2).sum(axis=0), rtol=1e-13, atol=1e-14
    )


def test_a_constant_that_no_link_takes_is_refused() -> None:
    chain = ForeignChain((Scaling(), Scaling()), ("scaling", "scaling"))
    with pytest.raises(UserCodeError, match=r"^no link of the chain takes the constant power$"):
        chain.build({"0.x": np.ones(3)}, {"factor": 1.0, "power": 2}, 0)

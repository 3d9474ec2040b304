"""What holds for every layer that the registry finds, built-in ones and those of a new file alike."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from layer_truth import assert_truth_agrees, cotangent_like, draw, float_names

from gradcheck_cli.cli.pages import page
from gradcheck_cli.layer import Array, Layer, Shape, as_outputs
from gradcheck_cli.registry import LAYERS

FAMILIES = {
    "dense": "linear bilinear embedding outer",
    "activations": "relu leaky_relu elu selu gelu silu mish softplus tanh sigmoid hardtanh swiglu",
    "normalised exponentials": "softmax log_softmax logsumexp gumbel_softmax",
    "losses": "mse mae huber hinge softmax_cross_entropy binary_cross_entropy_with_logits kl_divergence nll",
    "convolution and pooling": (
        "conv1d conv2d conv_transpose2d max_pool2d avg_pool2d global_avg_pool upsample_nearest pad"
    ),
    "normalisation": "batch_norm layer_norm rms_norm group_norm instance_norm l2_normalize weight_norm",
    "recurrent": "rnn_cell lstm_cell gru_cell rnn lstm gru",
    "attention": "scaled_dot_product_attention multi_head_attention rotary_embedding",
    "shape and reduction": "sum mean max cumsum concat transpose reshape slice where sort",
    "dropout": "dropout",
    "linear algebra": "inverse solve logdet cholesky matrix_norm eigh matmul",
}


def examples() -> Iterator[Any]:
    """Every layer at the options and shapes of each of its examples."""
    for name, layer in LAYERS.items():
        for number, example in enumerate(layer.EXAMPLES):
            yield pytest.param(layer(**example.options), dict(example.shapes), id=f"{name}-{number}")


EXAMPLES = list(examples())
every_example = pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
every_layer = pytest.mark.parametrize("name", LAYERS)


@pytest.mark.parametrize(("family", "names"), FAMILIES.items(), ids=FAMILIES)
def test_every_family_has_its_layers(family: str, names: str) -> None:
    found = {name for name, layer in LAYERS.items() if page(name, layer).family == family}
    assert found >= set(names.split())


@every_layer
def test_page_is_whole(name: str) -> None:
    one = page(name, LAYERS[name])
    assert "\n" not in one.about.split("\n\n")[0], "the summary is one line"
    assert one.summary[0].isupper()
    assert one.summary.endswith(".")
    assert list(one.sections) == ["Formula", "Arrays", "VJP", "Source"]
    assert all(one.sections.values())
    assert re.search(r"\b(19|20)\d\d\b", one.sections["Source"]), "a source has its year"
    for option in one.options:
        assert option.name in LAYERS[name].__doc__, f"nothing is said of the option {option.name}"
        assert option.type != "Any"
    for example in LAYERS[name].EXAMPLES:
        for array, spec in LAYERS[name](**example.options).arrays(**example.shapes).items():
            assert re.search(rf"(^|, ){array} \(", one.sections["Arrays"], re.MULTILINE), f"no shape of {array}"
            assert (f"dL/d{array}" in one.sections["VJP"]) == spec.differentiable, f"the VJP of {array}"


@every_layer
def test_examples_have_two_or_more_elements_along_every_axis(name: str) -> None:
    """Three of them at least; more may have axes of length one, to broadcast, or none."""
    layer = LAYERS[name]
    specs = [layer(**example.options).arrays(**example.shapes) for example in layer.EXAMPLES]
    large = [all(size > 1 for spec in each.values() for size in spec.shape) for each in specs]
    assert sum(large) >= 3
    asked = [(tuple(example.options.items()), tuple(example.shapes.items())) for example in layer.EXAMPLES]
    assert len(set(asked)) == len(asked)
    assert any(len(set(spec.shape)) > 1 or len(spec.shape) == 1 for each in specs for spec in each.values())


@every_layer
def test_arrays_are_there_with_nothing_given_and_with_their_own_shapes(name: str) -> None:
    layer = LAYERS[name]()
    specs = layer.arrays()
    assert all(size > 1 for spec in specs.values() for size in spec.shape)
    again = layer.arrays(**{array: spec.shape for array, spec in specs.items()})
    assert {array: spec.shape for array, spec in again.items()} == {a: spec.shape for a, spec in specs.items()}


@every_example
def test_given_shapes_are_kept(layer: Any, shapes: dict[str, Shape]) -> None:
    specs = layer.arrays(**shapes)
    assert {name: specs[name].shape for name in shapes} == shapes
    whole = layer.arrays(**{name: spec.shape for name, spec in specs.items()})
    assert {name: spec.shape for name, spec in whole.items()} == {name: spec.shape for name, spec in specs.items()}


@every_example
def test_layer_is_a_frozen_value(layer: Any, shapes: dict[str, Shape]) -> None:
    assert isinstance(layer, Layer)
    assert pickle.loads(pickle.dumps(layer)) == layer
    assert hash(layer) == hash(dataclasses.replace(layer))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(layer, next((field.name for field in dataclasses.fields(layer)), "new"), 1)


@every_example
def test_default_draws_are_not_degenerate(layer: Any, shapes: dict[str, Shape]) -> None:
    """No zeros, no ones, no constant arrays, no unit variance: points at which a wrong formula may be right."""
    for name, spec in layer.arrays(**shapes).items():
        values = spec.draw(np.random.default_rng(0), spec.shape)
        assert values.shape == spec.shape
        if spec.kind == "float":
            assert np.isfinite(values).all()
            assert (np.abs(values) > 1e-3).all(), f"{name} has a value near 0"
            assert (np.abs(np.abs(values) - 1) > 1e-6).all(), f"{name} has a value at ±1"
            symmetric = values.ndim > 1 and np.array_equal(values, np.swapaxes(values, -1, -2))
            assert symmetric or len(np.unique(values)) == values.size, f"{name} has equal values"
            assert values.size < 3 or abs(values.var() - 1) > 1e-3


def typed(arrays: Mapping[str, Array], dtype: Any) -> dict[str, Array]:
    return {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in arrays.items()}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@every_example
def test_forward_and_vjp_are_pure_and_keep_the_dtype(layer: Any, shapes: dict[str, Shape], dtype: Any) -> None:
    arrays = typed(draw(layer, shapes), dtype)
    before = {name: array.copy() for name, array in arrays.items()}
    for array in arrays.values():
        array.flags.writeable = False
    outputs = layer.forward(**arrays)
    dy = cotangent_like(outputs)
    gradients = layer.vjp(dy, **arrays)
    for one, other in zip(as_outputs(outputs), as_outputs(layer.forward(**arrays)), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == dtype
    again = layer.vjp(dy, **arrays)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, again[name])
        assert (gradient.dtype, gradient.shape) == (dtype, arrays[name].shape)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


@every_example
def test_integers_masks_and_targets_have_no_gradient(layer: Any, shapes: dict[str, Shape]) -> None:
    arrays, specs = draw(layer, shapes), layer.arrays(**shapes)
    kinds = {"float": "f", "integer": "iu", "boolean": "b"}
    assert all(arrays[name].dtype.kind in kinds[spec.kind] for name, spec in specs.items())
    gradients = layer.vjp(cotangent_like(layer.forward(**arrays)), **arrays)
    assert set(gradients) == {name for name, spec in specs.items() if spec.differentiable} == set(float_names(specs))


@every_example
def test_stack_equals_single_calls_whatever_is_stacked(layer: Any, shapes: dict[str, Shape]) -> None:
    if not hasattr(layer, "forward_stacked"):
        pytest.skip("has none")
    draws = [draw(layer, shapes, seed) for seed in range(3)]
    names = list(draws[0])
    subsets = [set(chosen) for count in range(len(names) + 1) for chosen in itertools.combinations(names, count)]
    for stacked in subsets[:: max(1, len(subsets) // 16)] + subsets[-1:]:
        sizes = {name: 3 if name in stacked else 1 for name in names}
        stack = {name: np.stack([each[name] for each in draws[:size]]) for name, size in sizes.items()}
        found = as_outputs(layer.forward_stacked(**stack))
        for place in range(max(sizes.values())):
            point = {name: stack[name][place % size] for name, size in sizes.items()}
            for part, single in zip(found, as_outputs(layer.forward(**point)), strict=True):
                assert part.shape == (max(sizes.values()), *single.shape)
                np.testing.assert_allclose(part[place], single, rtol=1e-14, atol=1e-14)


@every_layer
def test_layer_has_a_stacked_evaluation(name: str) -> None:
    """A built-in one that loops over a stack would be slow for its users."""
    assert hasattr(LAYERS[name], "forward_stacked")


@every_example
def test_vjp_agrees_with_the_complex_step_or_with_differences(layer: Any, shapes: dict[str, Shape]) -> None:
    assert_truth_agrees(layer, draw(layer, shapes), float_names(layer.arrays(**shapes)))


def test_some_layers_have_a_jvp() -> None:
    assert {name for name, layer in LAYERS.items() if hasattr(layer, "jvp")} >= {"linear", "tanh", "softmax", "matmul"}


@pytest.mark.parametrize(("layer", "shapes"), [each for each in EXAMPLES if hasattr(each.values[0], "jvp")])
def test_jvp_is_the_adjoint_of_the_vjp(layer: Any, shapes: dict[str, Shape]) -> None:
    arrays = draw(layer, shapes)
    rng = np.random.default_rng(2)
    tangents = {name: rng.normal(size=arrays[name].shape) for name in float_names(layer.arrays(**shapes))}
    outputs = layer.forward(**arrays)
    dy = cotangent_like(outputs)
    gradients = layer.vjp(dy, **arrays)
    for only in ([name] for name in tangents):
        moved = as_outputs(layer.jvp({name: tangents[name] for name in only}, **arrays))
        pushed = sum(float((d * part).sum()) for d, part in zip(as_outputs(dy), moved, strict=True))
        pulled = sum(float((tangents[name] * gradients[name]).sum()) for name in only)
        assert math.isclose(pushed, pulled, rel_tol=1e-12, abs_tol=1e-13)
    both = as_outputs(layer.jvp(tangents, **arrays))
    parts = [as_outputs(layer.jvp({name: tangent}, **arrays)) for name, tangent in tangents.items()]
    for whole, pieces in zip(both, zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(whole, sum(pieces), rtol=1e-12, atol=1e-13)


def called_alike(one: Any, other: Any) -> tuple[Any, Any] | None:
    """The outputs of two layers of the same arrays, told apart by their order, where both take them."""
    specs = one.arrays()
    try:
        theirs = other.arrays(**dict(zip(other.arrays(), (spec.shape for spec in specs.values()), strict=True)))
        if [spec.kind for spec in theirs.values()] != [spec.kind for spec in specs.values()]:
            return None
        arrays = [spec.draw(np.random.default_rng(k), spec.shape) for k, spec in enumerate(specs.values())]
        called = (layer.forward(**dict(zip(layer.arrays(), arrays, strict=True))) for layer in (one, other))
        return tuple(called)
    except (ValueError, IndexError):
        return None


def same_outputs(one: Any, other: Any) -> bool:
    """Whether two layers take the same arrays and return the same for them."""
    pair = called_alike(one, other)
    if pair is None:
        return False
    parts, others = (as_outputs(outputs) for outputs in pair)
    return len(parts) == len(others) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-9) for a, b in zip(parts, others, strict=True)
    )


@every_layer
def test_no_layer_is_another_under_a_second_name(name: str) -> None:
    assert [other for other in LAYERS if other != name and same_outputs(LAYERS[name](), LAYERS[other]())] == []


def test_a_second_name_would_be_seen() -> None:
    assert same_outputs(LAYERS["relu"](), LAYERS["leaky_relu"](negative_slope=0.0))
    assert same_outputs(LAYERS["matmul"](), LAYERS["solve"]()) is False

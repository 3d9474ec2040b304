"""Independent truth for the tests of layers: torch autograd, the complex step, single calls for a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array, ArraySpec, Shape, as_outputs


def draw(layer: Any, shapes: Mapping[str, Shape], seed: int = 0) -> dict[str, Array]:
    """Arrays for a layer as its specs ask for, from the given shapes."""
    rng = np.random.default_rng(seed)
    return {name: spec.draw(rng, spec.shape) for name, spec in layer.arrays(**shapes).items()}


def cotangent(y: Array) -> Array:
    return np.random.default_rng(1).normal(size=y.shape).astype(y.dtype)


def cotangent_like(outputs: Any) -> Any:
    """A random dy of the outputs' shapes and dtypes: an array, or a tuple for several outputs."""
    parts = tuple(cotangent(part) for part in as_outputs(outputs))
    return parts if isinstance(outputs, tuple) else parts[0]


def float_names(specs: Mapping[str, ArraySpec]) -> list[str]:
    """The arrays that have a gradient."""
    return [name for name, spec in specs.items() if spec.kind == "float" and spec.differentiable]


def assert_torch_agrees(layer: Any, arrays: Mapping[str, Array], function: Callable[..., Any]) -> None:
    """Output and gradients equal those of a torch function of the same arrays in float64."""
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(array, requires_grad=array.dtype.kind == "f") for name, array in arrays.items()}
    y = function(**tensors)
    np.testing.assert_allclose(layer.forward(**arrays), y.detach().numpy(), rtol=1e-12, atol=1e-13)
    dy = cotangent(np.asarray(y.detach().numpy()))
    y.backward(torch.from_numpy(dy))
    gradients = layer.vjp(dy, **arrays)
    wanted = {name: tensor.grad.numpy() for name, tensor in tensors.items() if tensor.requires_grad}
    assert set(gradients) == set(wanted)
    for name, gradient in wanted.items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-11, atol=1e-12, err_msg=name)


def assert_complex_step_agrees(layer: Any, arrays: Mapping[str, Array], rtol: float = 1e-12) -> None:
    """Every gradient equals Im f(x + ih)/h contracted with dy: no subtraction, so as exact as forward itself."""
    step = 1e-30
    dy = cotangent(layer.forward(**arrays))
    gradients = layer.vjp(dy, **arrays)
    assert set(gradients) == {name for name, array in arrays.items() if array.dtype.kind == "f"}
    for name, gradient in gradients.items():
        wanted = np.zeros(arrays[name].shape)
        for index in np.ndindex(wanted.shape):
            shifted = arrays[name].astype(complex)
            shifted[index] += 1j * step
            wanted[index] = np.sum(dy * layer.forward(**{**arrays, name: shifted}).imag) / step
        np.testing.assert_allclose(gradient, wanted, rtol=rtol, atol=1e-14, err_msg=name)


def assert_truth_agrees(layer: Any, arrays: Mapping[str, Array], names: Sequence[str]) -> None:
    """Every gradient equals the complex step's, or where forward takes no complex arrays, that of differences."""
    dy = as_outputs(cotangent_like(layer.forward(**arrays)))
    gradients = layer.vjp(dy if len(dy) > 1 else dy[0], **arrays)
    for name in names:
        try:
            found, rtol = _slopes(layer, arrays, name, dy, _complex_slope), 1e-10
        except TypeError as error:
            assert "complex" in str(error)  # noqa: PT017 - the words are what tells a refusal from a bug
            found, rtol = _slopes(layer, arrays, name, dy, _difference_slope), 1e-7
        np.testing.assert_allclose(gradients[name], found, rtol=rtol, atol=1e-3 * rtol, err_msg=name)


def _slopes(layer: Any, arrays: Mapping[str, Array], name: str, dy: Any, slope: Callable[..., Any]) -> Array:
    def at(index: tuple[int, ...], change: Any) -> list[Array]:
        moved = np.array(arrays[name], dtype=type(change))
        moved[index] += change
        return [np.asarray(part) for part in as_outputs(layer.forward(**{**arrays, name: moved}))]

    found = np.zeros(arrays[name].shape)
    for index in np.ndindex(found.shape):
        found[index] = sum(np.sum(d * part) for d, part in zip(dy, slope(at, index), strict=True))
    return found


def _complex_slope(at: Callable[..., list[Array]], index: tuple[int, ...]) -> list[Array]:
    return [part.imag / 1e-30 for part in at(index, 1e-30j)]


def _difference_slope(at: Callable[..., list[Array]], index: tuple[int, ...]) -> list[Array]:
    """Central differences of the fourth order: good for nine digits."""
    h = 1e-3
    far, near = (
        [(a - b) / (2 * step) for a, b in zip(at(index, step), at(index, -step), strict=True)] for step in (2 * h, h)
    )
    return [(4 * b - a) / 3 for a, b in zip(far, near, strict=True)]


def assert_stack_is_single_calls(layer: Any, shapes: Mapping[str, Shape]) -> None:
    """`forward_stacked` equals single calls, whichever arrays carry the stack."""
    draws = [draw(layer, shapes, seed) for seed in range(3)]
    names = list(draws[0])
    for stacked in ({name} for name in (*names, "all of them")):
        carries = {name: 3 if name in stacked or "all of them" in stacked else 1 for name in names}
        stack = {name: np.stack([each[name] for each in draws[: carries[name]]]) for name in names}
        y = layer.forward_stacked(**stack)
        singles = [
            layer.forward(**{name: stack[name][min(place, carries[name] - 1)] for name in names}) for place in range(3)
        ]
        for place, single in enumerate(singles):
            np.testing.assert_allclose(as_outputs(y)[0][place], single, rtol=4e-15, atol=4e-15)
        assert y.shape == (3, *singles[0].shape)


def assert_dtype_is_kept(layer: Any, shapes: Mapping[str, Shape], dtype: Any) -> None:
    """Output and gradients keep the precision of the arrays, and the gradients their shapes."""
    arrays = {
        name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in draw(layer, shapes).items()
    }
    y = layer.forward(**arrays)
    assert y.dtype == dtype
    for name, gradient in layer.vjp(cotangent(y), **arrays).items():
        assert (gradient.dtype, gradient.shape) == (dtype, arrays[name].shape), name

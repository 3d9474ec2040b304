"""Right gradients at awkward points never fail: rows of zeros, ties, values on kinks, dead layers; PyTorch's are right.

Each function of PyTorch is checked with the gradient that its autograd gives, and with one that is off by a half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import gradcheck_cli
from gradcheck_cli.layer import Array, Shape
from gradcheck_cli.results import CheckResult, Verdict

NETWORK = {"x": (4, 3), "V": (6, 3), "b": (6,), "W": (2, 6), "c": (2,)}
DEEP = {"x": (4, 3), "V": (6, 3), "b": (6,), "U": (5, 6), "d": (5,), "W": (2, 5)}
TABLE = {"x": (4, 5)}
FUNCTIONS: dict[str, tuple[Callable[..., Any], Mapping[str, Shape]]] = {
    "network": (lambda F, x, V, b, W, c: F.relu(x @ V.T + b) @ W.T + c, NETWORK),
    "loss of a network": (lambda F, x, V, b, W, c: ((F.relu(x @ V.T + b) @ W.T + c) ** 2).mean(), NETWORK),
    "deep network": (lambda F, x, V, b, U, d, W: F.relu(F.relu(x @ V.T + b) @ U.T + d) @ W.T, DEEP),
    "maxout": (lambda F, x, V, b: (x @ V.T + b).reshape(4, 3, 2).amax(-1), {"x": (4, 3), "V": (6, 3), "b": (6,)}),
    "residual": (lambda F, x, W: x + F.relu(F.relu(x) @ W.T), {"x": (4, 3), "W": (3, 3)}),
    "pooling": (lambda F, x: F.max_pool2d(x, 3, 2, 1), {"x": (1, 2, 7, 7)}),
    "pooling behind relu": (lambda F, x: F.max_pool2d(F.relu(x), 2), {"x": (1, 2, 6, 6)}),
    "convolution": (
        lambda F, x, W, b: F.max_pool2d(F.relu(F.conv2d(x, W, b, padding=1)), 2),
        {"x": (1, 2, 6, 6), "W": (3, 2, 3, 3), "b": (3,)},
    ),
    "hinge": (lambda F, x: F.relu(1 - x[:, :1] + x[:, 1:]).sum(), TABLE),
    "absolute": (lambda F, x, t: (x - t).abs().mean(), {"x": (6,), "t": (6,)}),
    "huber": (lambda F, x, t: F.huber_loss(x, t), {"x": (6,), "t": (6,)}),
    "variation": (lambda F, x: (x[1:] - x[:-1]).abs().sum(), {"x": (8,)}),
    "largest size": (lambda F, x: x.abs().max(), {"x": (8,)}),
    "sort": (lambda F, x: x.sort(dim=1).values, TABLE),
    "top two": (lambda F, x: x.topk(2, dim=1).values, TABLE),
    "running maximum": (lambda F, x: x.cummax(dim=1).values, TABLE),
    "norm": (lambda F, x: x.norm(dim=1), TABLE),
    "normalised": (lambda F, x: F.normalize(x, dim=1), TABLE),
    "layer norm": (lambda F, x, w, b: F.layer_norm(x, (5,), w, b), {"x": (4, 5), "w": (5,), "b": (5,)}),
    "soft shrink": (lambda F, x: F.softshrink(x), TABLE),
    "clamped square": (lambda F, x: x.clamp(-1, 1) ** 2, TABLE),
    "cross-entropy": (lambda F, x: F.cross_entropy(x, x.detach().argmin(1) * 0 + 1), TABLE),
    "log-cosh": (lambda F, x: x.cosh().log().sum(), {"x": (6,)}),
    "attention": (lambda F, q, k, v: (q @ k.T / 2).softmax(-1) @ v, {"q": (3, 4), "k": (5, 4), "v": (5, 4)}),
    "product": (lambda F, x: x.prod(dim=1), {"x": (4, 3)}),
}


def points(shapes: Mapping[str, Shape]) -> Iterator[tuple[str, dict[str, Array]]]:
    """Arrays of which the first is awkward, and the biases are zero."""
    rng = np.random.default_rng(11)
    first, *_ = shapes

    def drawn(change: Callable[[Array], Array]) -> dict[str, Array]:
        arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        biases = {name: np.zeros(shape) for name, shape in shapes.items() if name != first and len(shape) == 1}
        return arrays | biases | {first: change(arrays[first])}

    def without_a_row(x: Array) -> Array:
        x[len(x) // 2] = 0.0
        return x

    yield "a row of zeros", drawn(without_a_row)
    yield "zeros", drawn(np.zeros_like)
    yield "whole numbers", drawn(np.round)
    yield "halves", drawn(lambda x: np.round(2 * x) / 2)
    yield "all the same", drawn(lambda x: np.full_like(x, 0.7))
    yield "behind a relu", drawn(lambda x: np.maximum(x, 0))
    yield "tiny", drawn(lambda x: 1e-4 * x)


@dataclass(frozen=True)
class Torch:
    """A function of PyTorch with the gradient of autograd; that of every array times `factor`."""

    torch: Any
    f: Callable[..., Any]
    factor: float = 1.0

    def _tensors(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        return {name: self.torch.from_numpy(array.copy()).requires_grad_() for name, array in arrays.items()}

    def forward(self, **arrays: Array) -> Array:
        found: Array = self.f(self.torch.nn.functional, **self._tensors(arrays)).detach().numpy()
        return found

    def vjp(self, dy: Array, **arrays: Array) -> dict[str, Array]:
        tensors = self._tensors(arrays)
        y = self.f(self.torch.nn.functional, **tensors)
        found = self.torch.autograd.grad(y, list(tensors.values()), self.torch.from_numpy(dy.copy()))
        return {name: self.factor * one.numpy() for name, one in zip(tensors, found, strict=True)}


def checked(name: str, dtype: str, factor: float) -> Iterator[tuple[str, bool, CheckResult]]:
    """The point, whether any gradient is not zero there, and the result."""
    f, shapes = FUNCTIONS[name]
    layer = Torch(pytest.importorskip("torch"), f, factor)
    for where, arrays in points(shapes):
        given = {key: array.astype(dtype) for key, array in arrays.items()}
        moving = any(gradient.any() for gradient in layer.vjp(np.ones_like(layer.forward(**given)), **given).values())
        yield where, moving, gradcheck_cli.check(layer, given)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_gradients_do_not_fail(name: str, dtype: str) -> None:
    for where, _, result in checked(name, dtype, 1.0):
        assert result.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE), f"{where}\n{result}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_wrong_gradients_do_not_pass(name: str) -> None:
    found = [(where, moving, result.verdict) for where, moving, result in checked(name, "float64", 1.5)]
    assert all(verdict is not Verdict.PASS for _, moving, verdict in found if moving), found
    assert sum(verdict is Verdict.FAIL for *_, verdict in found) >= 3, found

"""What is measured: layers at one point as plain numpy functions, with their gradients in closed form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from gradcheck_cli.adapters.chain import Chain
from gradcheck_cli.layer import Array
from gradcheck_cli.registry import LAYERS

Forward = Callable[..., Array]
BETA = 2.0


@dataclass(frozen=True)
class Work:
    """A layer at one point.

    `forward` takes the arrays in order and returns the output. `gradient()` is the truth: dL/d(array) for each array,
    or, in the Jacobian view, dy/d(array) with one row for each output. `layer` and `names` say what our tool calls it;
    `constants` are arrays that nobody differentiates, `exhaustive` asks our tool to take no short cut.
    """

    name: str
    arrays: Mapping[str, Array]
    dy: Array
    forward: Forward
    gradient: Callable[[], dict[str, Array]]
    layer: Any
    view: Literal["vjp", "jacobian"] = "vjp"
    constants: Mapping[str, Array] = field(default_factory=dict)
    exhaustive: bool = False

    @property
    def elements(self) -> int:
        """How many entries all arrays have."""
        return sum(array.size for array in self.arrays.values())

    def objective(self, *arrays: Array) -> float:
        """The output contracted with the cotangent."""
        return float(np.vdot(self.forward(*arrays), self.dy))


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    return np.asarray(scale * rng.normal(size=shape))


def linear(batch: int = 32, n_in: int = 64, n_out: int = 64) -> Work:
    """W1: y = x Wᵀ + b."""
    rng = np.random.default_rng(1)
    x, W, b = _normal(rng, batch, n_in), _normal(rng, n_out, n_in, scale=n_in**-0.5), _normal(rng, n_out)
    dy = _normal(rng, batch, n_out)

    def forward(x: Array, W: Array, b: Array) -> Array:
        return np.asarray(x @ W.T + b)

    def gradient() -> dict[str, Array]:
        return {"x": dy @ W, "W": dy.T @ x, "b": dy.sum(axis=0)}

    return Work("W1", {"x": x, "W": W, "b": b}, dy, forward, gradient, LAYERS["linear"]())


def softmax(n: int = 256) -> Work:
    """W2: the Jacobian of the softmax with β."""
    rng = np.random.default_rng(2)
    x = _normal(rng, n)

    def forward(x: Array) -> Array:
        z = BETA * x
        e = np.exp(z - z.max())
        return np.asarray(e / e.sum())

    def gradient() -> dict[str, Array]:
        p = forward(x)
        return {"x": BETA * (np.diag(p) - np.outer(p, p))}

    return Work("W2", {"x": x}, _normal(rng, n), forward, gradient, LAYERS["softmax"](beta=BETA), "jacobian")


def network(batch: int = 32, n_in: int = 64, n_hidden: int = 64, n_classes: int = 10) -> Work:
    """W3: linear, relu, linear, softmax cross-entropy."""
    rng = np.random.default_rng(3)
    arrays = {
        "0.x": _normal(rng, batch, n_in),
        "0.W": _normal(rng, n_hidden, n_in, scale=n_in**-0.5),
        "0.b": _normal(rng, n_hidden),
        "2.W": _normal(rng, n_classes, n_hidden, scale=n_hidden**-0.5),
        "2.b": _normal(rng, n_classes),
    }
    target, rows = rng.integers(0, n_classes, batch), np.arange(batch)

    def forward(x: Array, W0: Array, b0: Array, W2: Array, b2: Array) -> Array:
        scores = np.maximum(x @ W0.T + b0, 0.0) @ W2.T + b2
        shifted = scores - scores.max(axis=1, keepdims=True)
        return np.asarray((np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, target]).mean())

    def gradient() -> dict[str, Array]:
        x, W0, b0, W2, b2 = arrays.values()
        z = x @ W0.T + b0
        hidden = np.maximum(z, 0.0)
        scores = hidden @ W2.T + b2
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[rows, target] -= 1.0
        p /= batch
        dz = (p @ W2) * (z > 0)
        return {"0.x": dz @ W0, "0.W": dz.T @ x, "0.b": dz.sum(0), "2.W": p.T @ hidden, "2.b": p.sum(0)}

    names = ("linear", "relu", "linear", "softmax_cross_entropy")
    chain = Chain(tuple(LAYERS[name]() for name in names), names)
    return Work("W3", arrays, np.ones(()), forward, gradient, chain, constants={"3.target": target})


def _patches(x: Array) -> Array:
    """The 3×3 windows of x, padded by one: (N, C, H, W, 3, 3)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))


def _correlate(x: Array, W: Array) -> Array:
    return np.moveaxis(np.tensordot(_patches(x), W, ((1, 4, 5), (1, 2, 3))), -1, 1)


def convolution(batch: int = 2, n_in: int = 8, n_out: int = 16, size: int = 16) -> Work:
    """W4: conv2d with a 3×3 kernel and padding 1."""
    rng = np.random.default_rng(4)
    x, W = _normal(rng, batch, n_in, size, size), _normal(rng, n_out, n_in, 3, 3, scale=(9 * n_in) ** -0.5)
    b, dy = _normal(rng, n_out), _normal(rng, batch, n_out, size, size)

    def forward(x: Array, W: Array, b: Array) -> Array:
        return np.asarray(_correlate(x, W) + b[:, None, None])

    def gradient() -> dict[str, Array]:
        dx = _correlate(dy, W[:, :, ::-1, ::-1].swapaxes(0, 1))
        dW = np.tensordot(dy, _patches(x), ((0, 2, 3), (0, 2, 3)))
        return {"x": dx, "W": dW, "b": dy.sum(axis=(0, 2, 3))}

    layer = LAYERS["conv2d"](padding=1)
    return Work("W4", {"x": x, "W": W, "b": b}, dy, forward, gradient, layer)


def end_to_end(*sizes: int) -> Work:
    """W3 again, every element by differences of the whole network, as others do it."""
    return replace(network(*sizes), exhaustive=True)


END_TO_END = "W3-end-to-end"
WORKS: dict[str, Callable[[], Work]] = {
    "W1": linear,
    "W2": softmax,
    "W3": network,
    END_TO_END: end_to_end,
    "W4": convolution,
}
QUICK: dict[str, Callable[[], Work]] = {
    "W1": lambda: linear(3, 4, 2),
    "W2": lambda: softmax(5),
    "W3": lambda: network(3, 4, 5, 3),
    END_TO_END: lambda: end_to_end(3, 4, 5, 3),
    "W4": lambda: convolution(1, 2, 3, 4),
}
SPREAD: dict[str, Callable[[], Work]] = {"threads": lambda: replace(convolution(4, 16, 32, 32), name="threads")}
SPREAD_QUICK: dict[str, Callable[[], Work]] = {"threads": lambda: replace(convolution(1, 2, 3, 4), name="threads")}
ABOUT = {
    "threads": "conv2d 3×3, 16 to 32 channels, 32×32, batch 4, 70,176 elements",
    "W1": "linear 64 to 64, batch 32, scalar objective, 6,208 elements",
    "W2": "softmax with β, Jacobian 256×256",
    "W3": "linear, relu, linear, softmax cross-entropy, batch 32, 6,858 elements",
    END_TO_END: "the same with --exhaustive: no link by itself, every element by differences of the whole network",
    "W4": "conv2d 3×3, 8 to 16 channels, 16×16, batch 2, 5,264 elements",
}

"""Attention and recurrence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec
from tests.corpus.case import Plain
from tests.corpus.elementwise import sigmoid
from tests.corpus.reductions import normalised


@dataclass(frozen=True)
class Attention(Plain):
    """softmax(Q Kᵀ / √d, causal) V."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {
        "Q": ArraySpec((3, 4)),
        "K": ArraySpec((3, 4)),
        "V": ArraySpec((3, 2)),
    }

    causal: bool = True

    def weights(self, Q: Array, K: Array) -> Array:
        scores = Q @ K.T / math.sqrt(Q.shape[1])
        seen = (np.tri(*scores.shape) > 0) | (not self.causal)
        return normalised(np.where(seen, scores, -1e30))

    def forward(self, Q: Array, K: Array, V: Array) -> Array:
        return np.asarray(self.weights(Q, K) @ V)

    def vjp(self, dy: Array, Q: Array, K: Array, V: Array) -> dict[str, Array]:
        P = self.weights(Q, K)
        dP = dy @ V.T
        dS = P * (dP - (dP * P).sum(axis=-1, keepdims=True)) / math.sqrt(Q.shape[1])
        return {"Q": dS @ K, "K": dS.T @ Q, "V": P.T @ dy}


@dataclass(frozen=True)
class Recurrent(Plain):
    """h_t = tanh(x_t W + h_{t-1} U + b) over three steps; y is every h_t."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {
        "x": ArraySpec((3, 2)),
        "h": ArraySpec((2,)),
        "W": ArraySpec((2, 2)),
        "U": ArraySpec((2, 2)),
        "b": ArraySpec((2,)),
    }

    def forward(self, x: Array, h: Array, W: Array, U: Array, b: Array) -> Array:
        states = []
        for row in x:
            h = np.tanh(row @ W + h @ U + b)
            states.append(h)
        return np.stack(states)

    def vjp(self, dy: Array, x: Array, h: Array, W: Array, U: Array, b: Array) -> dict[str, Array]:
        states = np.concatenate([h[None], self.forward(x, h, W, U, b)])
        g = {"x": np.zeros_like(x), "W": np.zeros_like(W), "U": np.zeros_like(U), "b": np.zeros_like(b)}
        back = np.zeros_like(h)
        for t in reversed(range(len(x))):
            dz = (dy[t] + back) * (1 - states[t + 1] ** 2)
            g["x"][t] = W @ dz
            g["W"] += np.outer(x[t], dz)
            g["U"] += np.outer(states[t], dz)
            g["b"] += dz
            back = U @ dz
        return g | {"h": back}


@dataclass(frozen=True)
class LstmCell(Plain):
    """One step of a long short-term memory: outputs h and c."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {"z": ArraySpec((4, 3)), "c": ArraySpec((3,))}

    def forward(self, z: Array, c: Array) -> tuple[Array, Array]:
        i, f, o, u = sigmoid(z[0]), sigmoid(z[1]), sigmoid(z[2]), np.tanh(z[3])
        new = f * c + i * u
        return np.asarray(o * np.tanh(new)), np.asarray(new)

    def vjp(self, dy: tuple[Array, Array], z: Array, c: Array) -> dict[str, Array]:
        i, f, o, u = sigmoid(z[0]), sigmoid(z[1]), sigmoid(z[2]), np.tanh(z[3])
        dh, dc = dy
        t = np.tanh(f * c + i * u)
        dc = dc + dh * o * (1 - t * t)
        dz = [dc * u * i * (1 - i), dc * c * f * (1 - f), dh * t * o * (1 - o), dc * i * (1 - u * u)]
        return {"z": np.stack(dz), "c": dc * f}


@dataclass(frozen=True)
class Gate(Plain):
    """y = σ(x W) ⊙ tanh(x V): one input, two factors."""

    SPECS: ClassVar[Mapping[str, ArraySpec]] = {
        "x": ArraySpec((2, 3)),
        "W": ArraySpec((3, 2)),
        "V": ArraySpec((3, 2)),
    }

    def forward(self, x: Array, W: Array, V: Array) -> Array:
        return np.asarray(sigmoid(x @ W) * np.tanh(x @ V))

    def vjp(self, dy: Array, x: Array, W: Array, V: Array) -> dict[str, Array]:
        s, t = sigmoid(x @ W), np.tanh(x @ V)
        ds, dt = dy * t * s * (1 - s), dy * s * (1 - t * t)
        return {"x": ds @ W.T + dt @ V.T, "W": x.T @ ds, "V": x.T @ dt}

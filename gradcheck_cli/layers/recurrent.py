"""Recurrent layers over time, with backpropagation through time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Array, ArraySpec, Example, Shape
from gradcheck_cli.layers import recurrent_steps as steps
from gradcheck_cli.layers.recurrent_cells import (
    STEPS,
    Activation,
    check_activation,
    input_gradients,
    recurrent_specs,
    stacked_input,
)


def _sequence(step: steps.Step, z: Array, states: steps.States, U: Array) -> Array:
    return np.stack([after[0] for after in steps.walk(step, z, states, U)[1:]], axis=-2)


def _sequence_vjp(
    step: steps.Step,
    step_vjp: steps.StepVjp,
    dy: Array,
    x: Array,
    states: steps.States,
    W: Array,
    U: Array,
    b: Array,
) -> tuple[dict[str, Array], steps.States]:
    """Gradients of x, W, U and b by name, and of the states before the first step."""
    z = x @ W.T + b
    dz, d_states, dU = steps.walk_vjp(step_vjp, dy, z, steps.walk(step, z, states, U), U)
    return input_gradients(dz, x, W) | {"U": dU}, d_states


def _sequence_stacked(step: steps.Step, x: Array, states: steps.States, W: Array, U: Array, b: Array) -> Array:
    z = stacked_input(x, W, b)
    flat = tuple(state.reshape(state.shape[0], -1, state.shape[-1]) for state in states)
    y = _sequence(step, z.reshape(z.shape[0], -1, *z.shape[-2:]), flat, U)
    return y.reshape(y.shape[0], *x.shape[1:-1], y.shape[-1])


@dataclass(frozen=True)
class Rnn:
    """Simple recurrent layer over time.

    Formula:
        h[t] = act(W x[t] + U h[t−1] + b) for t = 0 .. T−1, with h[−1] = h
        act is the activation, tanh or relu
        y[t] = h[t]

    Arrays:
        x (T, D) or (..., T, D): input, D = input_size
        h (H,) or (..., H): state before the first step, H = hidden_size
        W (H, D): input weight
        U (H, H): recurrent weight
        b (H,): bias
        y (T, H) or (..., T, H): state after each step

    VJP:
        from the last step to the first
        d[T−1] = dy[T−1], d[t] = dy[t] + a[t+1] U
        a[t] = d[t] (1 − h[t]²) for tanh, d[t] [h[t] > 0] for relu
        dL/dx[t] = a[t] W
        dL/dh = a[0] U
        dL/dW = Σ a[t]ᵀ x[t], dL/dU = Σ a[t]ᵀ h[t−1], dL/db = Σ a[t], over time and the leading axes

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 10.2.2
    """

    name: ClassVar[str] = "rnn"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"input_size": 3, "hidden_size": 2}, {"x": (2, 4, 3)}),
        Example({"activation": "relu"}, {"x": (3, 2, 4), "U": (3, 3)}),
        Example({"hidden_size": 2}, {"x": (5, 3)}),
    )

    input_size: int | None = None
    hidden_size: int | None = None
    activation: Activation = "tanh"

    def __post_init__(self) -> None:
        check_activation(self.activation)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return recurrent_specs(self.input_size, self.hidden_size, given, 1, ("h",), time=True)

    def forward(self, x: Array, h: Array, W: Array, U: Array, b: Array) -> Array:
        return _sequence(STEPS[self.activation][0], x @ W.T + b, (h,), U)

    def vjp(self, dy: Array, x: Array, h: Array, W: Array, U: Array, b: Array) -> dict[str, Array]:
        gradients, (dh,) = _sequence_vjp(*STEPS[self.activation], dy, x, (h,), W, U, b)
        return gradients | {"h": dh}

    def forward_stacked(self, x: Array, h: Array, W: Array, U: Array, b: Array) -> Array:
        return _sequence_stacked(STEPS[self.activation][0], x, (h,), W, U, b)


@dataclass(frozen=True)
class Lstm:
    """Long short-term memory over time.

    Formula:
        (h[t], c[t]) = lstm_cell(x[t], h[t−1], c[t−1]) for t = 0 .. T−1, with h[−1] = h and c[−1] = c
        y[t] = h[t]

    Arrays:
        x (T, D) or (..., T, D): input, D = input_size
        h (H,) or (..., H): state before the first step, H = hidden_size
        c (H,) or (..., H): memory before the first step
        W (4H, D): input weight, gates i, f, g, o
        U (4H, H): recurrent weight
        b (4H,): bias
        y (T, H) or (..., T, H): state after each step

    VJP:
        from the last step to the first, with a[t] and m[t] from dh[t] and dc[t] by the VJP of lstm_cell
        dh[T−1] = dy[T−1], dh[t] = dy[t] + a[t+1] U
        dc[T−1] = 0, dc[t] = m[t+1] f[t+1]
        dL/dx[t] = a[t] W
        dL/dh = a[0] U, dL/dc = m[0] f[0]
        dL/dW = Σ a[t]ᵀ x[t], dL/dU = Σ a[t]ᵀ h[t−1], dL/db = Σ a[t], over time and the leading axes

    Source:
        Graves, Supervised Sequence Labelling with Recurrent Neural Networks (2012), chapter 4, without peepholes
    """

    name: ClassVar[str] = "lstm"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"input_size": 3, "hidden_size": 2}, {"x": (2, 4, 3)}),
        Example({}, {"x": (3, 2, 4), "U": (12, 3)}),
        Example({"hidden_size": 2}, {"x": (5, 3)}),
    )

    input_size: int | None = None
    hidden_size: int | None = None

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return recurrent_specs(self.input_size, self.hidden_size, given, 4, ("h", "c"), time=True)

    def forward(self, x: Array, h: Array, c: Array, W: Array, U: Array, b: Array) -> Array:
        return _sequence(steps.lstm_step, x @ W.T + b, (h, c), U)

    def vjp(self, dy: Array, x: Array, h: Array, c: Array, W: Array, U: Array, b: Array) -> dict[str, Array]:
        gradients, (dh, dc) = _sequence_vjp(steps.lstm_step, steps.lstm_step_vjp, dy, x, (h, c), W, U, b)
        return gradients | {"h": dh, "c": dc}

    def forward_stacked(self, x: Array, h: Array, c: Array, W: Array, U: Array, b: Array) -> Array:
        return _sequence_stacked(steps.lstm_step, x, (h, c), W, U, b)


@dataclass(frozen=True)
class Gru:
    """Gated recurrent unit over time.

    Formula:
        h[t] = gru_cell(x[t], h[t−1]) for t = 0 .. T−1, with h[−1] = h
        y[t] = h[t]

    Arrays:
        x (T, D) or (..., T, D): input, D = input_size
        h (H,) or (..., H): state before the first step, H = hidden_size
        W (3H, D): input weight, gates r, u, n
        U (3H, H): recurrent weight
        b (3H,): bias
        y (T, H) or (..., T, H): state after each step

    VJP:
        from the last step to the first, each of which turns d[t] into its a[t], dL/dh, dL/dU by the VJP of gru_cell
        d[T−1] = dy[T−1], d[t] = dy[t] + the dL/dh of step t+1
        dL/dx[t] = a[t] W
        dL/dh = the dL/dh of step 0
        dL/dW = Σ a[t]ᵀ x[t], dL/db = Σ a[t], dL/dU = the sum of those of the steps, over time and the leading axes

    Source:
        reset_after: false: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder for Statistical
            Machine Translation (2014), section 2.3
        reset_after: true: documentation of Keras and of torch.nn.GRU
    """

    name: ClassVar[str] = "gru"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"input_size": 3, "hidden_size": 2}, {"x": (2, 4, 3)}),
        Example({"reset_after": False}, {"x": (3, 2, 4), "U": (9, 3)}),
        Example({"hidden_size": 2}, {"x": (5, 3)}),
    )

    input_size: int | None = None
    hidden_size: int | None = None
    reset_after: bool = True

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return recurrent_specs(self.input_size, self.hidden_size, given, 3, ("h",), time=True)

    def forward(self, x: Array, h: Array, W: Array, U: Array, b: Array) -> Array:
        return _sequence(partial(steps.gru_step, reset_after=self.reset_after), x @ W.T + b, (h,), U)

    def vjp(self, dy: Array, x: Array, h: Array, W: Array, U: Array, b: Array) -> dict[str, Array]:
        step = partial(steps.gru_step, reset_after=self.reset_after)
        step_vjp = partial(steps.gru_step_vjp, reset_after=self.reset_after)
        gradients, (dh,) = _sequence_vjp(step, step_vjp, dy, x, (h,), W, U, b)
        return gradients | {"h": dh}

    def forward_stacked(self, x: Array, h: Array, W: Array, U: Array, b: Array) -> Array:
        return _sequence_stacked(partial(steps.gru_step, reset_after=self.reset_after), x, (h,), W, U, b)

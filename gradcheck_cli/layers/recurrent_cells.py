"""Recurrent cells: one step of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, TypeAlias

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape
from gradcheck_cli.layers import recurrent_steps as steps
from gradcheck_cli.layers.matrices import outer_sum, swap

FAMILY = "recurrent"

Activation: TypeAlias = Literal["tanh", "relu"]
STEPS: Mapping[str, tuple[steps.Step, steps.StepVjp]] = {
    "tanh": (steps.tanh_step, steps.tanh_step_vjp),
    "relu": (steps.relu_step, steps.relu_step_vjp),
}


def check_activation(activation: str) -> None:
    """Refuse an activation that is none of the two."""
    if activation not in STEPS:
        raise OptionError("activation", activation, "must be 'tanh' or 'relu'")


def _size(option: str, given: int | None, found: list[int], default: int) -> int:
    if given is not None and given < 1:
        raise OptionError(option, given, "must be at least 1")
    return given if given is not None else next((size for size in found if size > 0), default)


def recurrent_specs(
    n_in: int | None, n_hidden: int | None, given: Mapping[str, Shape], gates: int, states: tuple[str, ...], time: bool
) -> dict[str, ArraySpec]:
    """Specs of x, the states, W, U and b, where each gate has n_hidden rows in W, U and b."""
    least = 2 if time else 1
    x_form = "(..., T, D)" if time else "(..., D)"
    x = given.get("x")
    if x is not None and (len(x) < least or min(x) < 1):
        raise ArrayError("x", f"shape {x}", f"must be {x_form}, not empty")
    last = {name: shape[-1] for name, shape in given.items() if shape}
    d = _size("input_size", n_in, [last[name] for name in ("x", "W") if name in last], 3)
    hidden = [last[name] for name in (*states, "U") if name in last]
    h = _size("hidden_size", n_hidden, hidden + [given[name][0] // gates for name in ("W", "b") if given.get(name)], 2)
    if x is not None and x[-1] != d:
        raise ArrayError("x", f"shape {x}", f"must end in input_size = {d}")
    leading = x[:-least] if x is not None else next((given[s][:-1] for s in states if given.get(s)), (2,))
    x = x or (*leading, *((3,) if time else ()), d)
    rows, many = f"{gates} hidden_size" if gates > 1 else "hidden_size", gates * h
    musts = dict.fromkeys(states, ((*leading, h), "(..., hidden_size)"))
    musts |= {
        "W": ((many, d), f"({rows}, input_size)"),
        "U": ((many, h), f"({rows}, hidden_size)"),
        "b": ((many,), f"({rows},)"),
    }
    for name, (shape, words) in musts.items():
        if given.get(name, shape) != shape:
            raise ArrayError(name, f"shape {given[name]}", f"must be {words} = {shape}")
    return {"x": ArraySpec(x), **{name: ArraySpec(shape) for name, (shape, _) in musts.items()}}


def _cell_vjp(
    step_vjp: steps.StepVjp, d: steps.States, x: Array, states: steps.States, W: Array, U: Array, b: Array
) -> tuple[dict[str, Array], steps.States]:
    """Gradients of x, W, U and b by name, and of the states."""
    dz, d_states, dU = step_vjp(d, x @ W.T + b, states, U)
    return input_gradients(dz, x, W) | {"U": dU}, d_states


def input_gradients(dz: Array, x: Array, W: Array) -> dict[str, Array]:
    """Gradients of x, W and b from that of z = x Wᵀ + b."""
    return {"x": dz @ W, "W": outer_sum(dz, x), "b": dz.reshape(-1, dz.shape[-1]).sum(axis=0)}


def stacked_input(x: Array, W: Array, b: Array) -> Array:
    """Return z = x Wᵀ + b for stacks (K, ..., D), (K, G, D) and (K, G)."""
    rows = x.reshape(x.shape[0], -1, x.shape[-1]) @ swap(W) + b[:, None]
    return rows.reshape(rows.shape[0], *x.shape[1:-1], W.shape[1])


def _cell_stacked(step: steps.Step, x: Array, states: steps.States, W: Array, U: Array, b: Array) -> steps.States:
    z = stacked_input(x, W, b)
    flat = tuple(state.reshape(state.shape[0], -1, state.shape[-1]) for state in states)
    outputs = step(z.reshape(z.shape[0], -1, z.shape[-1]), flat, U)
    return tuple(y.reshape(y.shape[0], *x.shape[1:-1], y.shape[-1]) for y in outputs)


@dataclass(frozen=True)
class RnnCell:
    """One step of a simple recurrent layer.

    Formula:
        y = act(W x + U h + b); act is the activation, tanh or relu

    Arrays:
        x (D,) or (..., D): input, D = input_size
        h (H,) or (..., H): state before, H = hidden_size
        W (H, D): input weight
        U (H, H): recurrent weight
        b (H,): bias
        y (H,) or (..., H): state after

    VJP:
        with a = dy (1 − y²) for tanh, dy [y > 0] for relu, and sums over the leading axes
        dL/dx = a W
        dL/dh = a U
        dL/dW = Σ aᵀ x
        dL/dU = Σ aᵀ h
        dL/db = Σ a

    Source:
        Elman, Finding Structure in Time (1990)
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 10.2.2
    """

    name: ClassVar[str] = "rnn_cell"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"input_size": 3, "hidden_size": 2}, {"x": (4, 3)}),
        Example({"activation": "relu"}, {"x": (2, 4), "U": (3, 3)}),
        Example({"hidden_size": 5}, {"x": (3,)}),
    )

    input_size: int | None = None
    hidden_size: int | None = None
    activation: Activation = "tanh"

    def __post_init__(self) -> None:
        check_activation(self.activation)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return recurrent_specs(self.input_size, self.hidden_size, given, 1, ("h",), time=False)

    def forward(self, x: Array, h: Array, W: Array, U: Array, b: Array) -> Array:
        return STEPS[self.activation][0](x @ W.T + b, (h,), U)[0]

    def vjp(self, dy: Array, x: Array, h: Array, W: Array, U: Array, b: Array) -> dict[str, Array]:
        gradients, (dh,) = _cell_vjp(STEPS[self.activation][1], (dy,), x, (h,), W, U, b)
        return gradients | {"h": dh}

    def forward_stacked(self, x: Array, h: Array, W: Array, U: Array, b: Array) -> Array:
        return _cell_stacked(STEPS[self.activation][0], x, (h,), W, U, b)[0]


@dataclass(frozen=True)
class LstmCell:
    """One step of a long short-term memory.

    Formula:
        (i, f, g, o) = W x + U h + b, four gates of H rows each, in this order
        c' = σ(f) c + σ(i) tanh(g)
        h' = σ(o) tanh(c')

    Arrays:
        x (D,) or (..., D): input, D = input_size
        h (H,) or (..., H): state before, H = hidden_size
        c (H,) or (..., H): memory before
        W (4H, D): input weight
        U (4H, H): recurrent weight
        b (4H,): bias
        (h', c'): two outputs, each (H,) or (..., H); dy is (dh', dc')

    VJP:
        with i, f, g, o after σ and tanh, m = dc' + dh' o (1 − tanh²(c')), and sums over the leading axes
        a = (m g i (1 − i), m c f (1 − f), m i (1 − g²), dh' tanh(c') o (1 − o))
        dL/dx = a W
        dL/dh = a U
        dL/dc = m f
        dL/dW = Σ aᵀ x
        dL/dU = Σ aᵀ h
        dL/db = Σ a

    Source:
        Gers, Schmidhuber, Cummins, Learning to Forget: Continual Prediction with LSTM (2000)
    """

    name: ClassVar[str] = "lstm_cell"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"input_size": 3, "hidden_size": 2}, {"x": (4, 3)}),
        Example({}, {"x": (2, 4), "U": (12, 3)}),
        Example({"hidden_size": 5}, {"x": (3,)}),
    )

    input_size: int | None = None
    hidden_size: int | None = None

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return recurrent_specs(self.input_size, self.hidden_size, given, 4, ("h", "c"), time=False)

    def forward(self, x: Array, h: Array, c: Array, W: Array, U: Array, b: Array) -> tuple[Array, ...]:
        return steps.lstm_step(x @ W.T + b, (h, c), U)

    def vjp(
        self, dy: tuple[Array, ...], x: Array, h: Array, c: Array, W: Array, U: Array, b: Array
    ) -> dict[str, Array]:
        gradients, (dh, dc) = _cell_vjp(steps.lstm_step_vjp, dy, x, (h, c), W, U, b)
        return gradients | {"h": dh, "c": dc}

    def forward_stacked(self, x: Array, h: Array, c: Array, W: Array, U: Array, b: Array) -> tuple[Array, ...]:
        return _cell_stacked(steps.lstm_step, x, (h, c), W, U, b)


@dataclass(frozen=True)
class GruCell:
    """One step of a gated recurrent unit.

    Formula:
        r = σ(W_r x + U_r h + b_r)
        u = σ(W_u x + U_u h + b_u)
        reset_after: true     n = tanh(W_n x + b_n + r (U_n h))
        reset_after: false    n = tanh(W_n x + b_n + U_n (r h))
        y = (1 − u) n + u h
        the rows of W, U and b belong to the gates r, u and n, H to each, in this order

    Arrays:
        x (D,) or (..., D): input, D = input_size
        h (H,) or (..., H): state before, H = hidden_size
        W (3H, D): input weight
        U (3H, H): recurrent weight
        b (3H,): bias
        y (H,) or (..., H): state after

    VJP:
        with a_n = dy (1 − u)(1 − n²), a_u = dy (h − n) u (1 − u), a = (a_r, a_u, a_n), and sums over the leading axes
        dL/dx = a W
        dL/dW = Σ aᵀ x
        dL/db = Σ a
        dL/dU_r = Σ a_rᵀ h, dL/dU_u = Σ a_uᵀ h
        reset_after: true
        a_r = a_n (U_n h) r (1 − r)
        dL/dh = dy u + a_r U_r + a_u U_u + (a_n r) U_n
        dL/dU_n = Σ (a_n r)ᵀ h
        reset_after: false
        a_r = (a_n U_n) h r (1 − r)
        dL/dh = dy u + a_r U_r + a_u U_u + (a_n U_n) r
        dL/dU_n = Σ a_nᵀ (r h)

    Source:
        reset_after: false: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder for Statistical
            Machine Translation (2014), section 2.3
        reset_after: true: documentation of Keras and of torch.nn.GRU
    """

    name: ClassVar[str] = "gru_cell"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({"input_size": 3, "hidden_size": 2}, {"x": (4, 3)}),
        Example({"reset_after": False}, {"x": (2, 4), "U": (9, 3)}),
        Example({"hidden_size": 5}, {"x": (3,)}),
    )

    input_size: int | None = None
    hidden_size: int | None = None
    reset_after: bool = True

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return recurrent_specs(self.input_size, self.hidden_size, given, 3, ("h",), time=False)

    def forward(self, x: Array, h: Array, W: Array, U: Array, b: Array) -> Array:
        return steps.gru_step(x @ W.T + b, (h,), U, reset_after=self.reset_after)[0]

    def vjp(self, dy: Array, x: Array, h: Array, W: Array, U: Array, b: Array) -> dict[str, Array]:
        step_vjp = partial(steps.gru_step_vjp, reset_after=self.reset_after)
        gradients, (dh,) = _cell_vjp(step_vjp, (dy,), x, (h,), W, U, b)
        return gradients | {"h": dh}

    def forward_stacked(self, x: Array, h: Array, W: Array, U: Array, b: Array) -> Array:
        return _cell_stacked(partial(steps.gru_step, reset_after=self.reset_after), x, (h,), W, U, b)[0]

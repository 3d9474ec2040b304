"""Recurrent cells and layers over time against torch autograd and the complex step; extremes and impossible options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_truth import (
    assert_complex_step_agrees,
    assert_dtype_is_kept,
    assert_stack_is_single_calls,
    assert_torch_agrees,
    draw,
)

from gradcheck_cli.layer import ArrayError, OptionError
from gradcheck_cli.layers.recurrent import Gru, Lstm, Rnn
from gradcheck_cli.layers.recurrent_cells import GruCell, LstmCell, RnnCell


@dataclass(frozen=True)
class OneOutput:
    """An LSTM cell whose state and memory come side by side, as one output."""

    cell: LstmCell

    def arrays(self, **given: Any) -> Any:
        return self.cell.arrays(**given)

    def forward(self, **arrays: Any) -> Any:
        return np.concatenate(self.cell.forward(**arrays), axis=-1)

    def vjp(self, dy: Any, **arrays: Any) -> Any:
        return self.cell.vjp(tuple(np.split(dy, 2, axis=-1)), **arrays)

    def forward_stacked(self, **arrays: Any) -> Any:
        return np.concatenate(self.cell.forward_stacked(**arrays), axis=-1)


LAYERS = (RnnCell, LstmCell, GruCell, Rnn, Lstm, Gru)
EXAMPLES = [
    pytest.param(
        OneOutput(layer(**example.options)) if layer is LstmCell else layer(**example.options),
        example.shapes,
        id=f"{layer.name}-{n}",
    )
    for layer in LAYERS
    for n, example in enumerate(layer.EXAMPLES)
]
BOUNDED = [each for each in EXAMPLES if getattr(each.values[0], "activation", "tanh") == "tanh"]
bounded = settings(max_examples=15, deadline=None, derandomize=True)
size = st.integers(1, 4)
batch = st.one_of(st.just(()), st.tuples(size))
activation = st.sampled_from(["tanh", "relu"])


def of_torch(module: Any, over_time: bool) -> Any:
    """A torch module as a function of our arrays: its second bias is zero, its gates are in our order."""
    torch = pytest.importorskip("torch")
    suffix = "_l0" if over_time else ""

    def function(x: Any, h: Any, W: Any, U: Any, b: Any, c: Any = None) -> Any:
        weights = {"weight_ih": W, "weight_hh": U, "bias_ih": b, "bias_hh": torch.zeros_like(b)}
        named = {name + suffix: weight for name, weight in weights.items()}
        first = [state.unsqueeze(0) if over_time else state for state in (h, c) if state is not None]
        y = torch.func.functional_call(module, named, (x, tuple(first) if c is not None else first[0]))
        return y[0] if over_time else torch.cat(y, -1) if c is not None else y

    return function


@bounded
@given(batch, size, size, activation)
def test_rnn_cell_agrees_with_torch(batch: Any, d: int, h: int, act: Any) -> None:
    torch = pytest.importorskip("torch")
    layer = RnnCell(d, h, act)
    function = of_torch(torch.nn.RNNCell(d, h, nonlinearity=act, dtype=torch.float64), over_time=False)
    assert_torch_agrees(layer, draw(layer, {"x": (*batch, d)}), function)


@bounded
@given(batch, size, size)
def test_lstm_cell_agrees_with_torch(batch: Any, d: int, h: int) -> None:
    torch = pytest.importorskip("torch")
    layer = OneOutput(LstmCell(d, h))
    function = of_torch(torch.nn.LSTMCell(d, h, dtype=torch.float64), over_time=False)
    assert_torch_agrees(layer, draw(layer, {"x": (*batch, d)}), function)


@bounded
@given(batch, size, size)
def test_gru_cell_agrees_with_torch(batch: Any, d: int, h: int) -> None:
    torch = pytest.importorskip("torch")
    layer = GruCell(d, h)
    function = of_torch(torch.nn.GRUCell(d, h, dtype=torch.float64), over_time=False)
    assert_torch_agrees(layer, draw(layer, {"x": (*batch, d)}), function)


@bounded
@given(batch, size, size, size)
def test_gru_that_resets_before_agrees_with_torch(batch: Any, time: int, d: int, h: int) -> None:
    torch = pytest.importorskip("torch")
    layer = Gru(d, h, reset_after=False)

    def function(x: Any, W: Any, U: Any, b: Any, **first: Any) -> Any:
        state, states = first["h"], []
        (Wr, Wu, Wn), (Ur, Uu, Un), (br, bu, bn) = (part.chunk(3) for part in (W, U, b))
        for now in x.unbind(-2):
            r = torch.sigmoid(now @ Wr.T + state @ Ur.T + br)
            u = torch.sigmoid(now @ Wu.T + state @ Uu.T + bu)
            state = u * state + (1 - u) * torch.tanh(now @ Wn.T + bn + (r * state) @ Un.T)
            states.append(state)
        return torch.stack(states, -2)

    assert_torch_agrees(layer, draw(layer, {"x": (*batch, time, d)}), function)


@bounded
@given(batch, size, size, size, activation)
def test_rnn_agrees_with_torch(batch: Any, time: int, d: int, h: int, act: Any) -> None:
    torch = pytest.importorskip("torch")
    layer = Rnn(d, h, act)
    module = torch.nn.RNN(d, h, nonlinearity=act, batch_first=True, dtype=torch.float64)
    assert_torch_agrees(layer, draw(layer, {"x": (*batch, time, d)}), of_torch(module, over_time=True))


@bounded
@given(batch, size, size, size)
def test_lstm_agrees_with_torch(batch: Any, time: int, d: int, h: int) -> None:
    torch = pytest.importorskip("torch")
    layer = Lstm(d, h)
    module = torch.nn.LSTM(d, h, batch_first=True, dtype=torch.float64)
    assert_torch_agrees(layer, draw(layer, {"x": (*batch, time, d)}), of_torch(module, over_time=True))


@bounded
@given(batch, size, size, size)
def test_gru_agrees_with_torch(batch: Any, time: int, d: int, h: int) -> None:
    torch = pytest.importorskip("torch")
    layer = Gru(d, h)
    module = torch.nn.GRU(d, h, batch_first=True, dtype=torch.float64)
    assert_torch_agrees(layer, draw(layer, {"x": (*batch, time, d)}), of_torch(module, over_time=True))


# 1 - tanh² cancels where a unit saturates: what is left of it carries fewer digits.
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_vjp_agrees_with_the_complex_step(layer: Any, shapes: Any) -> None:
    assert_complex_step_agrees(layer, draw(layer, shapes), rtol=1e-10)


@pytest.mark.parametrize(("layer", "leading"), [(Rnn(), (2, 3)), (Lstm(), (2, 1, 2)), (Gru(reset_after=False), (3, 2))])
def test_several_leading_axes_are_a_batch(layer: Any, leading: Any) -> None:
    arrays = draw(layer, {"x": (*leading, 4, 3)})
    flat = {
        name: array.reshape(-1, *array.shape[len(leading) :]) if name in ("x", "h", "c") else array
        for name, array in arrays.items()
    }
    np.testing.assert_allclose(layer.forward(**arrays).reshape(-1, 4, 2), layer.forward(**flat), rtol=1e-14, atol=1e-15)
    assert_complex_step_agrees(layer, arrays, rtol=1e-10)
    assert_stack_is_single_calls(layer, {"x": (*leading, 4, 3)})


@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_stack_equals_single_calls(layer: Any, shapes: Any) -> None:
    assert_stack_is_single_calls(layer, shapes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(("layer", "shapes"), EXAMPLES)
def test_dtype_is_kept(layer: Any, shapes: Any, dtype: Any) -> None:
    assert_dtype_is_kept(layer, shapes, dtype)


@pytest.mark.parametrize("layer", LAYERS)
def test_works_with_no_shapes_given(layer: Any) -> None:
    arrays = draw(layer(), {})
    assert set(layer().vjp(layer().forward(**arrays), **arrays)) == set(layer().arrays())


def test_any_one_shape_gives_the_sizes() -> None:
    assert Lstm().arrays(b=(20,))["U"].shape == (20, 5)
    assert Gru().arrays(W=(6, 7))["x"].shape == (2, 3, 7)
    assert LstmCell().arrays(c=(3, 4, 6))["x"].shape == (3, 4, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [-1e3, 1e3, 1e20])
@pytest.mark.parametrize(("layer", "shapes"), BOUNDED)
def test_saturated_gates_do_not_overflow(layer: Any, shapes: Any, dtype: Any, scale: float) -> None:
    arrays = {name: array.astype(dtype) for name, array in draw(layer, shapes).items()}
    arrays["b"] *= dtype(scale)
    y = layer.forward(**arrays)
    gradients = layer.vjp(np.ones_like(y), **arrays)
    assert all(np.isfinite(array).all() for array in (y, *gradients.values()))


def test_relu_at_its_kink_is_flat() -> None:
    layer, one = RnnCell(1, 1, "relu"), np.ones((1, 1))
    gradients = layer.vjp(np.ones(1), np.ones(1), np.zeros(1), one, one, -np.ones(1))
    assert all((gradient == 0).all() for gradient in gradients.values())


ARRAYS = {
    "cell-x": (RnnCell(), {"x": ()}, "array 'x': shape (); must be (..., D), not empty"),
    "rnn-x": (Rnn(), {"x": (3,)}, "array 'x': shape (3,); must be (..., T, D), not empty"),
    "no-time": (Gru(), {"x": (2, 0, 3)}, "array 'x': shape (2, 0, 3); must be (..., T, D), not empty"),
    "input-size": (Lstm(4), {"x": (2, 5, 3)}, "array 'x': shape (2, 5, 3); must end in input_size = 4"),
    "W": (Rnn(), {"x": (5, 3), "W": (2, 4)}, "array 'W': shape (2, 4); must be (hidden_size, input_size) = (2, 3)"),
    "lstm-U": (LstmCell(), {"U": (8, 3)}, "array 'U': shape (8, 3); must be (4 hidden_size, hidden_size) = (12, 3)"),
    "gru-b": (GruCell(3, 2), {"b": (2,)}, "array 'b': shape (2,); must be (3 hidden_size,) = (6,)"),
    "h": (Gru(3, 2), {"x": (4, 5, 3), "h": (2,)}, "array 'h': shape (2,); must be (..., hidden_size) = (4, 2)"),
    "c": (LstmCell(3, 2), {"h": (4, 2), "c": (3, 2)}, "array 'c': shape (3, 2); must be (..., hidden_size) = (4, 2)"),
}


@pytest.mark.parametrize(("layer", "shapes", "message"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_that_does_not_fit_is_named(layer: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ArrayError, match=f"^{re.escape(message)}$"):
        layer.arrays(**shapes)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("option", ["input_size", "hidden_size"])
def test_an_impossible_size_is_refused(layer: Any, option: str) -> None:
    with pytest.raises(OptionError, match=f"^option '{option}': 0; must be at least 1$"):
        layer(**{option: 0}).arrays()

"""Wrong gradients of windows, sequences, linear algebra and peculiar layers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gradcheck_cli.layer import Array
from tests.corpus import peculiar, sequences, windows
from tests.corpus.elementwise import sigmoid
from tests.corpus.mistakes import Mistake, changed, detached, one_element, swapped, times, transposed, upstream_ignored

CONV, STRIDED = windows.Conv1d(), windows.Conv1d(padding=2, stride=2)


def _flipped(layer: windows.Conv1d) -> Mistake:
    return lambda g, dy, x, W, b: g | {"x": layer.vjp(dy, x, W[:, :, ::-1], b)["x"]}


def _pool_overwritten(g: dict[str, Array], dy: Array, x: Array) -> dict[str, Array]:
    winner, dx = windows.MaxPool().windows(x).argmax(axis=-1), np.zeros_like(x)
    for row, place in np.ndindex(dy.shape):
        dx[row, 2 * place + winner[row, place]] = dy[row, place]
    return {"x": dx}


def _pool_each(share: bool, every: bool) -> Mistake:
    """Each window gives its gradient to every element, or to every winner, in full or in equal shares."""

    def mistake(g: dict[str, Array], dy: Array, x: Array) -> dict[str, Array]:
        parts, dx = windows.MaxPool().windows(x), np.zeros_like(x)
        taken = np.ones_like(parts) if every else (parts == parts.max(axis=-1, keepdims=True)) * 1.0
        for row, place in np.ndindex(dy.shape):
            part = taken[row, place] * dy[row, place]
            dx[row, 2 * place : 2 * place + 3] += part / 3 if share else part
        return {"x": dx}

    return mistake


def _attention(kind: str) -> Mistake:
    def mistake(g: dict[str, Array], dy: Array, Q: Array, K: Array, V: Array) -> dict[str, Array]:
        root = math.sqrt(Q.shape[1])
        P = sequences.Attention().weights(Q, K)
        dP = dy @ V.T
        dS = P * (dP - (dP * P).sum(axis=-1, keepdims=True)) / root
        open_P = sequences.Attention(causal=False).weights(Q, K)
        return {
            "root_d_missing": g | {"Q": root * dS @ K, "K": root * dS.T @ Q},
            "d_for_root_d": g | {"Q": dS @ K / root, "K": dS.T @ Q / root},
            "softmax_diagonal": g | {"Q": P * (1 - P) * dP / root @ K},
            "softmax_sum_missing": g | {"Q": P * dP / root @ K},
            "mask_missing": g | {"V": open_P.T @ dy},
            "V_not_transposed": g | {"V": P @ dy},
            "K_not_transposed": g | {"K": dS @ Q},
        }[kind]

    return mistake


ATTENTION_KINDS = (
    *("root_d_missing", "d_for_root_d", "softmax_diagonal", "softmax_sum_missing", "mask_missing"),
    *("V_not_transposed", "K_not_transposed"),
)


def _truncated(g: dict[str, Array], dy: Array, **a: Array) -> dict[str, Array]:
    """Nothing flows from one step back to the one before."""
    states = np.concatenate([a["h"][None], sequences.Recurrent().forward(**a)])
    dz = dy * (1 - states[1:] ** 2)
    return g | {"W": a["x"].T @ dz, "U": states[:-1].T @ dz, "b": dz.sum(axis=0)}


def _last_step_only(g: dict[str, Array], dy: Array, **a: Array) -> dict[str, Array]:
    """Parameters overwritten at each step, not accumulated: the first step's share stays."""
    return g | {"W": np.outer(a["x"][0], np.linalg.solve(a["W"], g["x"][0]))}


def _cell(kind: str) -> Mistake:
    def mistake(g: dict[str, Array], dy: tuple[Array, Array], z: Array, c: Array) -> dict[str, Array]:
        i, f, o, u = sigmoid(z[0]), sigmoid(z[1]), sigmoid(z[2]), np.tanh(z[3])
        t = np.tanh(f * c + i * u)
        return {
            "c_output_ignored": sequences.LstmCell().vjp((dy[0], 0 * dy[1]), z, c),
            "h_into_c_forgotten": g | {"c": dy[1] * f},
            "tanh_slope_missing": g | {"c": (dy[1] + dy[0] * o) * f},
            "gates_swapped": g | {"z": g["z"][[1, 0, 2, 3]]},
            "gate_slope_missing": g
            | {"z": g["z"] / np.stack([np.ones_like(i), np.ones_like(i), o * (1 - o), u * 0 + 1])},
            "output_gate_of_c": g | {"z": np.stack([*g["z"][:2], dy[0] * (f * c + i * u) * o * (1 - o), g["z"][3]])},
            "tanh_for_its_slope": g | {"c": (dy[1] + dy[0] * o * t) * f},
        }[kind]

    return mistake


CELL_KINDS = (
    *("c_output_ignored", "h_into_c_forgotten", "tanh_slope_missing", "gates_swapped", "gate_slope_missing"),
    *("output_gate_of_c", "tanh_for_its_slope"),
)


def _explicit_only(g: dict[str, Array], dy: Array, x: Array, W: Array) -> dict[str, Array]:
    """The iteration's last round alone, not the fixed point."""
    y = peculiar.FixedPoint().forward(x, W)
    return {"x": dy.copy(), "W": np.outer(y, 0.4 / np.cosh(y @ W) ** 2 * dy)}


MISTAKES: Mapping[str, Mapping[str, Mistake]] = {
    "conv-plain": {
        "kernel_flipped": _flipped(CONV),
        "W_flipped": changed("W", lambda v: v[:, :, ::-1].copy()),
        "padding_off_by_one": changed("x", lambda v: np.roll(v, 1, axis=1)),
        "edge_lost": changed("x", lambda v: np.concatenate([v[:, :-1], 0 * v[:, -1:]], axis=1)),
        "channels_swapped": changed("W", lambda v: v.swapaxes(0, 1).copy()),
        "b_mean": lambda g, dy, x, W, b: g | {"b": dy.mean(axis=1)},
        "b_sum_of_all": lambda g, dy, x, W, b: g | {"b": np.full_like(b, dy.sum())},
        "padding_missing": lambda g, dy, x, W, b: (
            g | {"W": np.einsum("ot,ctk->ock", dy[:, 1:-1], windows.Conv1d(0).columns(x))}
        ),
        "x_detached": detached("x"),
        "W_one_element_1e-3": one_element("W", 1e-3, 3),
    },
    "conv-float32": {
        "kernel_flipped": _flipped(CONV),
        "padding_off_by_one": changed("x", lambda v: np.roll(v, 1, axis=1)),
    },
    "strided_conv-plain": {
        "kernel_flipped": _flipped(STRIDED),
        "padding_off_by_one": changed("x", lambda v: np.roll(v, -1, axis=1)),
        "channels_swapped": changed("W", lambda v: v.swapaxes(0, 1).copy()),
        "stride_twice": times("x", 2.0),
    },
    "conv2d-plain": {
        "kernel_flipped": lambda g, dy, x, W: g | {"x": windows.Conv2d().vjp(dy, x, W[::-1, ::-1])["x"]},
        "kernel_transposed": lambda g, dy, x, W: g | {"x": windows.Conv2d().vjp(dy, x, W.T)["x"]},
        "W_transposed": transposed("W"),
        "W_off_by_one": changed("W", lambda v: np.roll(v, 1, axis=0)),
        "upstream_ignored": upstream_ignored(windows.Conv2d()),
    },
    "max_pool-plain": {
        "overlap_overwritten": _pool_overwritten,
        "every_element": _pool_each(share=False, every=True),
        "as_mean": _pool_each(share=True, every=True),
        "off_by_one": changed("x", lambda v: np.roll(v, 1, axis=1)),
    },
    "max_pool-tied": {"every_winner": _pool_each(share=False, every=False)},
    "max_pool-near": {"every_element": _pool_each(share=False, every=True)},
    "mean_pool-plain": {
        "not_divided": times("x", 2.0),
        "tiled": lambda g, dy, x: {"x": np.tile(dy / 2, 2)},
        "first_only": lambda g, dy, x: {"x": g["x"] * np.array([2.0, 0.0] * 3)},
    },
    "attention-plain": {kind: _attention(kind) for kind in ATTENTION_KINDS} | {"swapped": swapped("Q", "K")},
    "attention-float32": {"root_d_missing": _attention("root_d_missing"), "swapped": swapped("Q", "K")},
    "attention-sharp": {"mask_missing": _attention("mask_missing"), "root_d_missing": _attention("root_d_missing")},
    "recurrent-plain": {
        "truncated": _truncated,
        "W_not_accumulated": _last_step_only,
        "W_transposed": transposed("W"),
        "U_transposed": transposed("U"),
        "h_detached": detached("h"),
        "b_mean": times("b", 1 / 3),
        "time_reversed": changed("x", lambda v: v[::-1].copy()),
        "parameters_swapped": swapped("W", "U"),
    },
    "lstm_cell-plain": {kind: _cell(kind) for kind in CELL_KINDS},
    "gate-plain": {
        "one_way_only": lambda g, dy, x, W, V: (
            g | {"x": (dy * np.tanh(x @ V) * sigmoid(x @ W) * sigmoid(-(x @ W))) @ W.T}
        ),
        "swapped": swapped("W", "V"),
        "slope_missing": lambda g, dy, x, W, V: g | {"V": x.T @ (dy * sigmoid(x @ W))},
    },
    "solve-nonsymmetric": {
        "b_not_transposed": lambda g, dy, A, b: g | {"b": np.linalg.solve(A, dy)},
        "A_sign": times("A", -1.0),
        "A_transposed": transposed("A"),
        "A_symmetrised": changed("A", lambda v: (v + v.T) / 2),
        "A_detached": detached("A"),
    },
    "solve-ill_1e6": {"A_sign": times("A", -1.0), "b_one_percent": times("b", 1.01)},
    "inverse-nonsymmetric": {
        "sign": times("A", -1.0),
        "not_transposed": lambda g, dy, A: {"A": -np.linalg.inv(A) @ dy @ np.linalg.inv(A)},
        "one_factor": lambda g, dy, A: {"A": -np.linalg.inv(A).T @ dy},
    },
    "log_determinant-nonsymmetric": {
        "not_transposed": transposed("A"),
        "determinant_kept": times("A", 2.0),
        "not_inverted": lambda g, dy, A: {"A": dy * A},
        "diagonal_only": changed("A", lambda v: np.diag(np.diag(v))),
    },
    "whitened-nonsymmetric": {
        "used_once": lambda g, dy, A, b: g | {"b": dy * np.linalg.solve(A, b)},
        "symmetric_assumed": lambda g, dy, A, b: g | {"b": 2 * dy * np.linalg.solve(A, b)},
        "A_transposed": transposed("A"),
        "A_sign": times("A", -1.0),
    },
    "single_inside-plain": {"skip_forgotten": lambda g, dy, x, W: g | {"x": g["x"] - dy}, "W_tenth": times("W", 1.1)},
    "single_forward-plain": {"sign": times("x", -1.0), "factor_1.05": times("x", 1.05)},
    "noisy-plain": {"factor_1.1": times("x", 1.1), "sign": times("x", -1.0), "factor_1.01": times("x", 1.01)},
    "noisy_1e-10-plain": {"1e-3": times("x", 1.001)},
    "fixed_point-plain": {
        "explicit_only": _explicit_only,
        "W_transposed": transposed("W"),
        "x_1e-3": times("x", 1.001),
    },
    "newton_root-plain": {"factor_3": times("x", 3.0), "one_percent": times("x", 1.01)},
    "quantised-plain": {"sign": times("x", -1.0), "one_percent": times("x", 1.01)},
    "absorbed-plain": {"factor_half": times("x", 0.5), "1e-3": times("x", 1.001)},
    "unrelated-plain": {
        "small_sign": times("z", -1.0),
        "small_1e-3": one_element("z", 1e-3),
        "small_1e-5": one_element("z", 1e-5),
        "large_1e-3": one_element("x", 1e-3),
        "swapped": swapped("x", "z"),
    },
}

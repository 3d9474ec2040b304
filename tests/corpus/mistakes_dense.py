"""Wrong gradients of products, sums, selections and norms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradcheck_cli.layer import Array
from tests.corpus import dense
from tests.corpus.mistakes import Mistake, changed, detached, one_element, swapped, times, transposed, upstream_ignored
from tests.corpus.norms import BatchNorm, LayerNorm, RmsNorm, standardised, through_statistics


def _overwritten(g: dict[str, Array], dy: Array, table: Array, index: Array) -> dict[str, Array]:
    gradient = np.zeros_like(table)
    gradient[index] = dy
    return {"table": gradient}


def _norm(layer: LayerNorm, kind: str) -> Mistake:
    """The gradient of the input of a norm layer with one mistake in it."""

    def mistake(g: dict[str, Array], dy: Array, x: Array, gamma: Array, beta: Array) -> dict[str, Array]:
        axis = layer.AXIS
        h, spread = standardised(x, axis, layer.eps)
        dh = dy * gamma
        mean, along = dh.mean(axis=axis, keepdims=True), (dh * h).mean(axis=axis, keepdims=True)
        wrong = {
            "mean_missing": (dh - h * along) / spread,
            "variance_missing": (dh - mean) / spread,
            "statistics_constant": dh / spread,
            "gamma_missing": through_statistics(dy, h, spread, axis),
            "gamma_twice": through_statistics(dh * gamma, h, spread, axis),
            "wrong_axis": through_statistics(dh, h, spread, 1 + axis if axis else -1),
            "spread_squared": through_statistics(dh, h, spread**2, axis),
            "spread_missing": through_statistics(dh, h, np.ones_like(spread), axis),
            "eps_missing": through_statistics(dh, *standardised(x, axis, 0.0), axis),
            "eps_outside": through_statistics(dh, h, np.sqrt(spread**2 - layer.eps) + layer.eps, axis),
            "divisor_n-1": (dh - mean - h * along * x.shape[axis] / (x.shape[axis] - 1)) / spread,
        }
        return g | {"x": wrong[kind]}

    return mistake


NORM_KINDS = (
    *("mean_missing", "variance_missing", "statistics_constant", "gamma_missing", "gamma_twice", "wrong_axis"),
    *("spread_squared", "spread_missing", "eps_missing", "eps_outside", "divisor_n-1"),
)
NORM_PARAMETERS: dict[str, Mistake] = {
    "gamma_of_input": lambda g, dy, x, gamma, beta: g | {"gamma": (dy * x).sum(axis=0)},
    "gamma_not_summed": lambda g, dy, x, gamma, beta: g | {"gamma": dy * x},
    "gamma_with_gamma": lambda g, dy, x, gamma, beta: g | {"gamma": g["gamma"] * gamma},
    "beta_mean": lambda g, dy, x, gamma, beta: g | {"beta": dy.mean(axis=0)},
    "beta_summed_to_one": lambda g, dy, x, gamma, beta: g | {"beta": np.full_like(beta, dy.sum())},
    "swapped": swapped("gamma", "beta"),
}

MISTAKES: Mapping[str, Mapping[str, Mistake]] = {
    "linear-plain": {
        "transpose_W": transposed("W"),
        "x_by_transposed_W": lambda g, dy, x, W, b: g | {"x": dy @ W.T},
        "b_not_summed": lambda g, dy, x, W, b: g | {"b": dy.copy()},
        "b_scalar_sum": lambda g, dy, x, W, b: g | {"b": np.asarray(dy.sum())},
        "b_sum_for_vector": lambda g, dy, x, W, b: g | {"b": np.full_like(b, dy.sum())},
        "b_mean": lambda g, dy, x, W, b: g | {"b": dy.mean(axis=0)},
        "b_first_row": lambda g, dy, x, W, b: g | {"b": dy[0].copy()},
        "b_with_itself": lambda g, dy, x, W, b: g | {"b": g["b"] * b},
        "W_mean_over_batch": times("W", 1 / 3),
        "W_detached": detached("W"),
        "W_rows_reversed": changed("W", lambda v: v[::-1].copy()),
        "W_upstream_ignored": lambda g, dy, x, W, b: g | {"W": np.ones_like(dy).T @ x},
        "upstream_ignored": upstream_ignored(dense.Linear()),
        "W_one_element_1e-1": one_element("W", 1e-1, 8),
        "W_one_element_1e-3": one_element("W", 1e-3, 8),
        "W_one_element_1e-5": one_element("W", 1e-5, 8),
        "W_one_element_sign": one_element("W", -2.0, 4),
        "W_one_element_zero": one_element("W", -1.0, 6),
    },
    "linear-float32": {
        "transpose_W": transposed("W"),
        "W_one_element_1e-1": one_element("W", 1e-1),
        "b_1e-3": times("b", 1.001),
    },
    "linear-tiny": {
        "transpose_W": transposed("W"),
        "one_element_1e-3": one_element("W", 1e-3),
        "zero_b": detached("b"),
    },
    "linear-huge": {"x_1e-5": one_element("x", 1e-5), "b_1e-3": times("b", 1.001), "b_sign": times("b", -1.0)},
    "matmul-plain": {
        "swapped": swapped("A", "B"),
        "A_by_B": lambda g, dy, A, B: g | {"A": dy @ B},
        "B_by_A": lambda g, dy, A, B: g | {"B": A @ dy},
        "order": lambda g, dy, A, B: g | {"B": dy @ A.T},
        "elementwise": lambda g, dy, A, B: g | {"A": dy * B},
    },
    "bilinear-plain": {
        "W_transposed": changed("W", lambda v: v.swapaxes(1, 2).copy()),
        "x_by_transposed": lambda g, dy, x, z, W: g | {"x": dy @ (W.swapaxes(1, 2) @ z)},
        "swapped": swapped("x", "z"),
        "W_upstream_summed": lambda g, dy, x, z, W: (
            g | {"W": np.broadcast_to(dy.sum() * np.outer(x, z), W.shape).copy()}
        ),
    },
    "quadratic-plain": {
        "used_once": lambda g, dy, x, A: g | {"x": dy * A @ x},
        "symmetric_assumed": lambda g, dy, x, A: g | {"x": dy * 2 * A @ x},
        "A_diagonal_only": lambda g, dy, x, A: g | {"A": dy * np.diag(x * x)},
        "A_halved": times("A", 0.5),
    },
    "residual-plain": {
        "skip_forgotten": lambda g, dy, x, W: g | {"x": g["x"] - dy},
        "branch_forgotten": lambda g, dy, x, W: g | {"x": dy.copy()},
        "slope_missing": lambda g, dy, x, W: {"x": dy + dy @ W.T, "W": x.T @ dy},
        "W_not_transposed": lambda g, dy, x, W: g | {"x": dy + (dy / np.cosh(x @ W) ** 2) @ W},
        "W_transposed": transposed("W"),
    },
    "broadcast-plain": {
        "a_not_summed": lambda g, dy, a, b, c: g | {"a": dy * b},
        "a_keepdims_missing": changed("a", lambda v: v[:, 0]),
        "a_first_only": lambda g, dy, a, b, c: g | {"a": (dy * b)[:, :1].copy()},
        "b_mean": lambda g, dy, a, b, c: g | {"b": (dy * a).mean(axis=0)},
        "c_not_summed": lambda g, dy, a, b, c: g | {"c": dy[:1].copy()},
        "c_sum_of_all": lambda g, dy, a, b, c: g | {"c": np.full_like(c, dy.sum())},
        "b_factor_missing": lambda g, dy, a, b, c: g | {"b": dy.sum(axis=0)},
    },
    "embedding-plain": {
        "repeated_indices": _overwritten,
        "mean_of_repeats": lambda g, dy, table, index: {
            "table": g["table"] / np.maximum(np.bincount(index, minlength=len(table)), 1)[:, None]
        },
        "rows_shifted": changed("table", lambda v: np.roll(v, 1, axis=0)),
    },
    "dropout-plain": {
        "mask_inverted": lambda g, dy, x, mask: {"x": np.where(mask, 0.0, dy / 0.6)},
        "mask_missing": lambda g, dy, x, mask: {"x": dy / 0.6},
        "scale_missing": times("x", 0.6),
        "scale_twice": times("x", 1 / 0.6),
        "mask_rolled": changed("x", lambda v: np.roll(v, 1, axis=1)),
    },
    "polar-plain": {
        "outputs_swapped": lambda g, dy, x, y: dense.Polar().vjp(dy[::-1], x, y),
        "second_ignored": lambda g, dy, x, y: dense.Polar().vjp((dy[0], 0 * dy[1]), x, y),
        "factor_2_missing": lambda g, dy, x, y: dense.Polar().vjp((dy[0] / 2, dy[1]), x, y),
        "swapped": swapped("x", "y"),
    },
    "polar-uneven": {"first_factor": lambda g, dy, x, y: dense.Polar().vjp((dy[0] * 1.001, dy[1]), x, y)},
    "perceptron-plain": {
        "mask_missing": lambda g, dy, x, W, V: g | {"x": dy @ V.T @ W.T, "W": x.T @ (dy @ V.T)},
        "V_before_activation": lambda g, dy, x, W, V: g | {"V": (x @ W).T @ dy},
        "mask_inverted": lambda g, dy, x, W, V: g | {"W": x.T @ np.where(x @ W > 0, 0.0, dy @ V.T)},
        "x_detached": detached("x"),
        "W_1e-5": one_element("W", 1e-5),
    },
    "layer_norm-plain": {kind: _norm(LayerNorm(), kind) for kind in NORM_KINDS} | NORM_PARAMETERS,
    "batch_norm-plain": {kind: _norm(BatchNorm(), kind) for kind in NORM_KINDS} | NORM_PARAMETERS,
    "layer_norm-float32": {kind: _norm(LayerNorm(), kind) for kind in ("mean_missing", "eps_missing", "gamma_twice")},
    "rms_norm-plain": {
        "projection_missing": lambda g, dy, x, gamma: g | {"x": dy * gamma / RmsNorm().spread(x)},
        "sum_for_mean": lambda g, dy, x, gamma: g | {"x": g["x"] * 4 - 3 * dy * gamma / RmsNorm().spread(x)},
        "gamma_missing": lambda g, dy, x, gamma: g | {"x": RmsNorm().vjp(dy / gamma, x, gamma)["x"]},
        "eps_missing": lambda g, dy, x, gamma: g | {"x": RmsNorm(0.0).vjp(dy, x, gamma)["x"]},
        "gamma_of_input": lambda g, dy, x, gamma: g | {"gamma": (dy * x).sum(axis=0)},
    },
    "unit_length-plain": {
        "projection_missing": lambda g, dy, x: {"x": dy / np.sqrt((x * x).sum(axis=-1, keepdims=True))},
        "length_missing": lambda g, dy, x: {"x": g["x"] * np.sqrt((x * x).sum(axis=-1, keepdims=True))},
        "wrong_axis": lambda g, dy, x: {"x": g["x"] + 0.1 * dy.sum(axis=0)},
    },
    "biased_batch_norm-plain": {
        "b_as_if_alone": lambda g, dy, x, b: g | {"b": dy.sum(axis=0)},
        "x_statistics_constant": lambda g, dy, x, b: g | {"x": dy / standardised(x + b, 0, 1e-5)[1]},
    },
}

"""Wrong gradients of layers that look along an axis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradcheck_cli.layer import Array
from tests.corpus import reductions
from tests.corpus.mistakes import Mistake, changed, detached, of, one_element, swapped, times, upstream_ignored
from tests.corpus.reductions import normalised


def _softmax(along: int | None) -> Mistake:
    """A softmax whose inner sum runs along another axis."""

    def mistake(g: dict[str, Array], dy: Array, x: Array) -> dict[str, Array]:
        y = normalised(x)
        return {"x": y * (dy - (dy * y).sum(axis=along, keepdims=True))}

    return mistake


def _every_winner(g: dict[str, Array], dy: Array, x: Array) -> dict[str, Array]:
    return {"x": (x == x.max(axis=-1, keepdims=True)) * dy[..., None]}


def _shifted_target(g: dict[str, Array], dy: Array, x: Array, target: Array) -> dict[str, Array]:
    return reductions.CrossEntropy().vjp(dy, x, (target + 1) % x.shape[1])


MISTAKES: Mapping[str, Mapping[str, Mistake]] = {
    "softmax-plain": {
        "diagonal_only": lambda g, dy, x: {"x": dy * normalised(x) * (1 - normalised(x))},
        "sum_missing": lambda g, dy, x: {"x": dy * normalised(x)},
        "wrong_axis": _softmax(0),
        "sum_over_all": _softmax(None),
        "mean_for_sum": lambda g, dy, x: {
            "x": normalised(x) * (dy - (dy * normalised(x)).mean(axis=-1, keepdims=True))
        },
        "upstream_ignored": upstream_ignored(reductions.Softmax()),
        "sign": times("x", -1.0),
        "not_weighted": lambda g, dy, x: {"x": dy - (dy * normalised(x)).sum(axis=-1, keepdims=True)},
        "as_log_softmax": of(reductions.LogSoftmax()),
        "one_element_1e-1": one_element("x", 1e-1),
        "one_element_1e-3": one_element("x", 1e-3),
        "one_element_1e-5": one_element("x", 1e-5),
    },
    "softmax-tied": {"diagonal_only": lambda g, dy, x: {"x": dy * normalised(x) * (1 - normalised(x))}},
    "softmax-saturated_40": {"sum_missing": lambda g, dy, x: {"x": dy * normalised(x)}},
    "softmax-saturated_700": {"sum_missing": lambda g, dy, x: {"x": dy * normalised(x)}},
    "softmax_beta-plain": {
        "beta_missing": times("x", 0.5),
        "beta_squared": times("x", 2.0),
        "beta_outside_only": lambda g, dy, x: {"x": 2.0 * reductions.Softmax().vjp(dy, x)["x"]},
        "beta_inside_missing": of(reductions.Softmax()),
    },
    "softmax_beta-tiny": {"beta_missing": times("x", 0.5), "zero": times("x", 0.0), "1e-3": times("x", 1.001)},
    "softmax_beta-huge": {"1e-6": times("x", 1 + 1e-6)},
    "log_softmax-plain": {
        "sum_missing": lambda g, dy, x: {"x": dy - normalised(x) * dy},
        "identity": lambda g, dy, x: {"x": dy.copy()},
        "mean_for_sum": lambda g, dy, x: {"x": dy - normalised(x) * dy.mean(axis=-1, keepdims=True)},
        "logarithm_for_probability": lambda g, dy, x: {
            "x": dy - reductions.LogSoftmax().forward(x) * dy.sum(axis=-1, keepdims=True)
        },
        "wrong_axis": lambda g, dy, x: {"x": dy - normalised(x) * dy.sum(axis=0, keepdims=True)},
    },
    "logsumexp-plain": {
        "uniform": lambda g, dy, x: {"x": np.ones_like(x) * dy[..., None] / x.shape[-1]},
        "not_normalised": lambda g, dy, x: {"x": np.exp(x) * dy[..., None]},
        "as_maximum": of(reductions.Maximum()),
        "upstream_ignored": upstream_ignored(reductions.LogSumExp()),
    },
    "cross_entropy-plain": {
        "factor_n": times("x", 3.0),
        "target_missing": lambda g, dy, x, target: {"x": dy * normalised(x) / len(x)},
        "target_shifted": _shifted_target,
        "sign": times("x", -1.0),
        "probabilities_missing": lambda g, dy, x, target: {"x": g["x"] - dy * normalised(x) / len(x)},
        "upstream_ignored": upstream_ignored(reductions.CrossEntropy()),
    },
    "squared_error-plain": {
        "factor_2_missing": times("x", 0.5),
        "factor_1/n_missing": times("x", 6.0),
        "same_sign": lambda g, dy, x, y: {"x": g["x"], "y": g["x"]},
        "detached": detached("y"),
        "swapped": swapped("x", "y"),
    },
    "squared_error-tiny": {"factor_2_missing": times("x", 0.5), "detached": detached("y")},
    "maximum-plain": {
        "smallest": lambda g, dy, x: {"x": (x == x.min(axis=-1, keepdims=True)) * dy[..., None]},
        "spread": lambda g, dy, x: {"x": np.ones_like(x) * dy[..., None] / x.shape[-1]},
        "every_element": lambda g, dy, x: {"x": np.ones_like(x) * dy[..., None]},
        "rolled": changed("x", lambda v: np.roll(v, 1, axis=-1)),
    },
    "maximum-tied": {"every_winner": _every_winner, "no_winner": times("x", 0.0)},
    "maximum-near": {"second": lambda g, dy, x: {"x": (x == np.sort(x, axis=-1)[:, -2:-1]) * dy[..., None]}},
    "sort-plain": {
        "order_ignored": lambda g, dy, x: {"x": dy.copy()},
        "inverse_order": lambda g, dy, x: {"x": np.take_along_axis(dy, x.argsort(axis=-1), axis=-1)},
    },
    "norm-plain": {
        "not_divided": lambda g, dy, x: {"x": x * dy[..., None]},
        "divided_twice": lambda g, dy, x: {"x": x * (dy / (x * x).sum(axis=-1))[..., None]},
        "factor_2": times("x", 2.0),
    },
    "norm-short": {"eps_added": lambda g, dy, x: {"x": x * (dy / np.sqrt((x * x).sum(axis=-1) + 1e-15))[..., None]}},
    "variance-plain": {
        "divisor_n-1": times("x", 5 / 4),
        "mean_missing": lambda g, dy, x: {"x": 2 * x * dy[..., None] / x.shape[-1]},
        "factor_2_missing": times("x", 0.5),
    },
    "cumulative_sum-plain": {
        "not_reversed": lambda g, dy, x: {"x": np.cumsum(dy, axis=-1)},
        "last_missing": lambda g, dy, x: {"x": g["x"] - dy},
        "identity": lambda g, dy, x: {"x": dy.copy()},
    },
    "proportions-plain": {
        "quotient_rule": lambda g, dy, x: {"x": dy / x.sum(axis=-1, keepdims=True)},
        "not_divided": lambda g, dy, x: {"x": g["x"] * x.sum(axis=-1, keepdims=True)},
    },
    "cosine-plain": {
        "direction_only": lambda g, dy, x, y: g | {"x": dy * y / np.sqrt((x * x).sum() * (y * y).sum())},
        "swapped": swapped("x", "y"),
        "detached": detached("x"),
    },
    "huber-plain": {
        "not_clipped": lambda g, dy, x: {"x": dy * x},
        "sign_only": lambda g, dy, x: {"x": dy * np.sign(x)},
    },
}

"""Wrong slopes of functions of one number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradcheck_cli.layer import Array
from tests.corpus.elementwise import ELEMENTWISE, sigmoid
from tests.corpus.mistakes import Mistake, one_element, slope, times, upstream_ignored


def _gelu_by_tanh(x: Array) -> Array:
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return np.asarray(0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))


MISTAKES: Mapping[str, Mapping[str, Mistake]] = {
    "exp-plain": {
        "sign": times("x", -1.0),
        "factor_2": times("x", 2.0),
        "upstream_ignored": upstream_ignored(ELEMENTWISE["exp"]),
        "slope_1": slope(np.ones_like),
        "upstream_squared": lambda g, dy, x: {"x": dy * dy * np.exp(x)},
        "one_percent": times("x", 1.01),
        "1e-6": times("x", 1 + 1e-6),
    },
    "exp-wide": {"tiny_lost": slope(lambda x: np.where(x < -30, 0.0, np.exp(x)))},
    "log-plain": {
        "not_inverted": slope(lambda x: x),
        "squared": slope(lambda x: 1 / x**2),
        "base_10": times("x", 1 / np.log(10)),
        "eps_added": slope(lambda x: 1 / (x + 1e-5)),
    },
    "log-near_zero": {"eps_added": slope(lambda x: 1 / (x + 1e-8))},
    "sqrt-plain": {"factor_2": times("x", 2.0), "not_inverted": slope(lambda x: 0.5 * np.sqrt(x))},
    "sqrt-near_zero": {"eps_added": slope(lambda x: 0.5 / np.sqrt(x + 1e-8))},
    "square-plain": {"factor_half": times("x", 0.5), "sign_lost": slope(lambda x: 2 * np.abs(x))},
    "square-mixed": {
        "tiny_elements": slope(lambda x: 2 * x + 1e-8),
        "tiny_lost": slope(lambda x: 2 * x * (abs(x) > 1)),
    },
    "cube-plain": {"power": slope(lambda x: 2 * x * x), "factor_third": times("x", 1 / 3)},
    "cube-zeros": {"slope_1": slope(np.ones_like), "slope_1e-3": slope(lambda x: np.full_like(x, 1e-3))},
    "cbrt-near_zero": {"power": slope(lambda x: 1 / (3 * np.abs(np.cbrt(x))))},
    "reciprocal-plain": {"sign": times("x", -1.0), "power": slope(lambda x: -1 / np.abs(x))},
    "reciprocal-near_zero": {"clipped": slope(lambda x: -np.minimum(1 / (x * x), 1e10))},
    "tanh-plain": {
        "of_the_input": slope(lambda x: 1 - x * x),
        "not_squared": slope(lambda x: 1 - np.tanh(x)),
        "applied_twice": slope(lambda x: 1 - np.tanh(np.tanh(x)) ** 2),
    },
    "tanh-saturated": {"tails_lost": slope(lambda x: np.where(np.abs(x) > 7.5, 0.0, 1 / np.cosh(x) ** 2))},
    "arctan-plain": {
        "square_missing": slope(lambda x: 1 / (1 + np.abs(x))),
        "root": slope(lambda x: (1 + x * x) ** -0.5),
    },
    "sigmoid-plain": {
        "half_of_it": slope(sigmoid),
        "applied_twice": slope(lambda x: sigmoid(sigmoid(x)) * sigmoid(-sigmoid(x))),
        "sign": times("x", -1.0),
    },
    "sigmoid-saturated": {"tail_lost": slope(lambda x: np.where(x < -30, 0.0, sigmoid(x) * sigmoid(-x)))},
    "softplus-plain": {"mirrored": slope(lambda x: sigmoid(-x)), "as_relu": slope(lambda x: (x > 0) * 1.0)},
    "silu-plain": {"product_rule": slope(sigmoid), "other_half": slope(lambda x: x * sigmoid(x) * sigmoid(-x))},
    "gelu-plain": {
        "tanh_approximation": slope(_gelu_by_tanh),
        "density_missing": slope(lambda x: ELEMENTWISE["gelu"].slope(x) - x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)),
        "root_2_missing": slope(lambda x: ELEMENTWISE["gelu"].slope(x * np.sqrt(2))),
    },
    "relu-plain": {
        "identity": slope(np.ones_like),
        "mask_inverted": slope(lambda x: (x < 0) * 1.0),
        "masked_by_upstream": lambda g, dy, x: {"x": np.where(dy > 0, dy, 0.0)},
        "input_kept": slope(lambda x: np.maximum(x, 0.0)),
    },
    "relu-near_kink": {"threshold_moved": slope(lambda x: (x > 1e-6) * 1.0)},
    "relu-kink": {"slope_2_at_0": slope(lambda x: np.where(x == 0, 2.0, (x > 0) * 1.0))},
    "relu-all_kinks": {"slope_2": slope(lambda x: np.full_like(x, 2.0)), "slope_-1": slope(lambda x: -np.ones_like(x))},
    "leaky_relu-plain": {
        "other_slope": slope(lambda x: np.where(x > 0, 1.0, 0.1)),
        "as_relu": slope(lambda x: (x > 0) * 1.0),
    },
    "leaky_relu-kink": {"slope_0_at_0": slope(lambda x: np.where(x == 0, 0.0, np.where(x > 0, 1.0, 0.01)))},
    "elu-plain": {"tail_missing": slope(np.ones_like), "offset_kept": slope(lambda x: np.where(x > 0, 1, np.expm1(x)))},
    "abs-plain": {"slope_1": slope(np.ones_like), "sign": times("x", -1.0)},
    "abs-kink": {"slope_1.5_at_0": slope(lambda x: np.where(x == 0, 1.5, np.sign(x)))},
    "abs-near_kink": {"smoothed": slope(lambda x: x / np.sqrt(x * x + 1e-12))},
    "hardtanh-plain": {"not_clipped": slope(np.ones_like), "clipped_below_only": slope(lambda x: (x > -1) * 1.0)},
    "softsign-plain": {"square_missing": slope(lambda x: 1 / (1 + np.abs(x)))},
    "fast_sine-plain": {
        "factor_missing": slope(lambda x: np.cos(1000 * x)),
        "of_the_input": slope(lambda x: 1000 * np.cos(x)),
    },
    "offset_sine-plain": {"sign": times("x", -1.0), "factor_half": times("x", 0.5), "one_percent": times("x", 1.01)},
    "tiny_tanh-plain": {
        "factor_10": times("x", 10.0),
        "zero": times("x", 0.0),
        "one_element_1e-3": one_element("x", 1e-3),
    },
    "tiny_tanh-again_small": {"zero": times("x", 0.0), "factor_2": times("x", 2.0)},
    "huge_tanh-plain": {"1e-3": times("x", 1.001), "1e-6": times("x", 1 + 1e-6)},
    "triple-mixed": {"absolute_1e-3": slope(lambda x: 3.0 + 1e-3 * (np.abs(x) < 1))},
    "triple-denormal": {"factor_2": times("x", 2.0)},
    "square_and_abs-plain": {"term_missing": slope(lambda x: 2 * x)},
    "square_and_abs-kink": {"outside_at_0": slope(lambda x: np.where(x == 0, 0.15, 2 * x + 0.1 * np.sign(x)))},
}

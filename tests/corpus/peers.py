"""The rules by which other checkers decide, written anew from their sources, on one layer at one point.

Each takes a layer and a point and says whether it accepts the gradient. All see the same arrays in the same dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array, as_outputs
from tests.corpus.case import Point, as_given

Arrays = Mapping[str, Array]
Rule = Callable[[Any, Point], bool]


def _forward(layer: Any, arrays: Arrays) -> Array:
    """Every output in one vector."""
    outputs = as_outputs(layer.forward(**{name: value.copy() for name, value in arrays.items()}))
    return np.concatenate([output.ravel() for output in outputs])


def _split(layer: Any, point: Point, vector: Array) -> Any:
    """A cotangent of the shapes of the outputs from one vector."""
    parts, start = [], 0
    for part in point.cotangent:
        parts.append(vector[start : start + part.size].reshape(part.shape).astype(part.dtype))
        start += part.size
    outputs = layer.forward(**{name: value.copy() for name, value in point.arrays.items()})
    return as_given(tuple(parts), outputs)


def _gradient(layer: Any, point: Point, cotangent: Array) -> Array:
    """Every array's gradient in one vector, in the order of the arrays; a gradient of another shape is refused."""
    arrays = {name: value.copy() for name, value in point.arrays.items()}
    gradient = layer.vjp(_split(layer, point, cotangent), **arrays)
    for name in point.wrt:
        if np.shape(gradient[name]) != point.arrays[name].shape:
            raise ValueError(f"gradient of {name}: shape {np.shape(gradient[name])}")
    return np.concatenate([np.asarray(gradient[name]).ravel() for name in point.wrt])


def _moved(point: Point, direction: Array, step: float) -> dict[str, Array]:
    """The arrays at x + step * direction, in their own dtype."""
    arrays, start = dict(point.arrays), 0
    for name in point.wrt:
        value = point.arrays[name]
        part = direction[start : start + value.size].reshape(value.shape)
        arrays[name] = (value + (step * part).astype(value.dtype)).astype(value.dtype)
        start += value.size
    return arrays


def _size(point: Point) -> int:
    return sum(point.arrays[name].size for name in point.wrt)


def _units(n: int) -> Iterator[Array]:
    yield from np.eye(n)


def _analytic_jacobian(layer: Any, point: Point) -> Array:
    outputs = sum(part.size for part in point.cotangent)
    return np.stack([_gradient(layer, point, unit) for unit in _units(outputs)])


def torch_gradcheck(layer: Any, point: Point) -> bool:
    """Full Jacobian by central differences, eps 1e-6; |a - n| <= 1e-5 + 1e-3 |n|; repeats must be equal bit for bit.

    Source: torch 2.13, torch/autograd/gradcheck.py: gradcheck, _get_numerical_jacobian, _allclose_with_type_promotion,
    nondet_tol = 0 in _check_analytical_jacobian_attributes.
    """
    eps, atol, rtol = 1e-6, 1e-5, 1e-3
    first, second = _analytic_jacobian(layer, point), _analytic_jacobian(layer, point)
    columns = [
        (_forward(layer, _moved(point, unit, eps)) - _forward(layer, _moved(point, unit, -eps))) / (2 * eps)
        for unit in _units(_size(point))
    ]
    repeats = bool(np.array_equal(first, second))
    return repeats and bool(np.allclose(first, np.stack(columns, axis=1), rtol=rtol, atol=atol))


def jax_check_grads(layer: Any, point: Point) -> bool:
    """One random direction and one random cotangent, eps 1e-4; tolerance by dtype.

    Source: jax 0.4 and later, jax/_src/public_test_util.py: check_grads, check_vjp, numerical_jvp,
    default_gradient_tolerance. Modes other than reverse need a forward rule, which a hand-written VJP lacks.
    """
    eps = 1e-4
    tolerance = {"float64": 1e-5, "float32": 2e-3, "float16": 1e-2}[point.dtype]
    rng = np.random.RandomState(0)
    tangent = rng.randn(_size(point)).astype(point.dtype)
    change = _forward(layer, _moved(point, tangent, eps)) - _forward(layer, _moved(point, tangent, -eps))
    slope = change * change.dtype.type(0.5 / eps)
    cotangent = rng.randn(slope.size).astype(slope.dtype)
    analytic = np.dot(tangent, _gradient(layer, point, cotangent))
    return bool(np.isclose(analytic, np.dot(slope, cotangent), rtol=tolerance, atol=tolerance))


def chainer_check_backward(layer: Any, point: Point) -> bool:
    """One random unit direction with the given cotangent, eps 1e-3; |a - n| <= 1e-5 + 1e-4 |a|.

    Source: chainer, chainer/gradient_check.py: check_backward, numerical_grad; chainer.testing.assert_allclose.
    """
    eps, atol, rtol = 1e-3, 1e-5, 1e-4
    direction = np.random.default_rng(0).normal(size=_size(point))
    direction /= math.sqrt(float((direction**2).sum()))
    upstream = np.concatenate([part.ravel() for part in point.cotangent]).astype(float)
    after = _forward(layer, _moved(point, direction, eps)).astype(float)
    before = _forward(layer, _moved(point, direction, -eps)).astype(float)
    numeric = ((after - before) * upstream).sum() / (2 * eps)
    analytic = (_gradient(layer, point, upstream).astype(float) * direction).sum()
    return bool(np.isclose(numeric, analytic, rtol=rtol, atol=atol))


def openmdao_check_partials(layer: Any, point: Point) -> bool:
    """Forward differences, step 1e-6; the error of each Jacobian block in norm, absolute and relative, below 1e-6.

    A block that is NaN is not above the tolerance. Source: OpenMDAO 3, openmdao/core/problem.py: check_partials
    (abs_err_tol, rel_err_tol), openmdao/approximation_schemes/finite_difference.py: DEFAULT_FD_OPTIONS.
    """
    step, abs_tol, rel_tol = 1e-6, 1e-6, 1e-6
    here = _forward(layer, point.arrays)
    columns = [(_forward(layer, _moved(point, unit, step)) - here) / step for unit in _units(_size(point))]
    numeric, analytic, start = np.stack(columns, axis=1), _analytic_jacobian(layer, point), 0
    for name in point.wrt:
        block = slice(start, start + point.arrays[name].size)
        start = block.stop
        error, size = np.linalg.norm(analytic[:, block] - numeric[:, block]), np.linalg.norm(numeric[:, block])
        if error > abs_tol or (size > 0 and error / size > rel_tol):
            return False
    return True


RULES: Mapping[str, Rule] = {
    "torch gradcheck": torch_gradcheck,
    "JAX check_grads": jax_check_grads,
    "Chainer check_backward": chainer_check_backward,
    "OpenMDAO check_partials": openmdao_check_partials,
}


def accepts(rule: Rule, layer: Any, point: Point) -> bool:
    """What the rule says; an exception from the layer's own gradient counts as a refusal."""
    try:
        with np.errstate(all="ignore"):
            return rule(layer, point)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return False

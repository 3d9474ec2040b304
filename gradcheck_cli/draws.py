"""Arrays and cotangents of a check, drawn from its seed: the same names and seed give the same numbers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec
from gradcheck_cli.spec import Given


def generator(seed: int, point: int, name: str) -> np.random.Generator:
    """A generator of its own for each named array at each point, so that adding an array changes no other."""
    return np.random.default_rng([seed, point, zlib.crc32(name.encode())])


def given_shapes(given: Mapping[str, Given]) -> dict[str, tuple[int, ...]]:
    """The shapes that are fixed by what was given."""
    shapes = {name: one.values.shape if one.values is not None else one.shape for name, one in given.items()}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def draw_arrays(
    specs: Mapping[str, ArraySpec], given: Mapping[str, Given], dtype: str, seed: int, point: int
) -> dict[str, Array]:
    """Every array of a layer: the given values, else drawn; floats in the dtype of the check.

    Raises `ArrayError` for a given name that the layer does not have.
    """
    for name in given:
        if name not in specs:
            raise ArrayError(name, "no such array", f"the arrays are {', '.join(specs)}")
    return {name: _one(name, spec, given.get(name, Given()), dtype, seed, point) for name, spec in specs.items()}


def _one(name: str, spec: ArraySpec, given: Given, dtype: str, seed: int, point: int) -> Array:
    if given.values is not None:
        values = np.array(given.values)
    else:
        values = np.asarray((given.draw or spec.draw)(generator(seed, point, name), given.shape or spec.shape))
    kinds = {"integer": np.dtype(np.int64), "boolean": np.dtype(bool), "float": np.dtype(dtype)}
    wanted = np.dtype(given.dtype) if given.dtype else kinds[spec.kind]
    if spec.kind == "integer" and values.dtype.kind == "f" and not np.array_equal(values, np.trunc(values)):
        raise ArrayError(name, "values that are not whole", "must be integers")
    return values.astype(wanted)


def draw_cotangent(outputs: Sequence[Array], seed: int, point: int) -> tuple[Array, ...]:
    """dL/dy for each output: 1 for a scalar, else random signs and magnitudes in [0.5, 1.5].

    Never constant: a constant one makes the true gradient of softmax and of norm layers vanish.
    """
    return tuple(_cotangent(output, generator(seed, point, f"dy{k}")) for k, output in enumerate(outputs))


def _cotangent(output: Array, rng: np.random.Generator) -> Array:
    if output.ndim == 0:
        return np.ones((), output.dtype)
    values = rng.choice([-1.0, 1.0], output.shape) * rng.uniform(0.5, 1.5, output.shape)
    return values.astype(output.dtype)

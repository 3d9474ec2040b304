"""Second opinions for what real differences leave open: the complex step and long double. They acquit, never accuse."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.differences.complex_step import ComplexStep
from gradcheck_cli.differences.method import Samples
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.analytic import analytic_values
from gradcheck_cli.numeric.noise import Noise, measure
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.sampling import chunks
from gradcheck_cli.numeric.shared import Groups
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class Opinion:
    """Values by the complex step, their uncertainty and step, one row for each entry asked for."""

    value: Array
    uncertainty: Array
    step: Array

    def behind(self, count: int) -> Opinion:
        """That of all entries but the first ones."""
        return Opinion(self.value[count:], self.uncertainty[count:], self.step[count:])


def complex_step(
    objective: Objective, noise: Noise, centre: Array, name: str, indices: Array, length: Array
) -> Opinion | None:
    """The complex step of some elements; None where forward is not the same function on complex input."""
    method = ComplexStep()
    parts = []
    steps = np.maximum(1e-30 * length, 1e-300)
    for chunk in chunks(objective, name, indices, steps, method, noise, centre):
        values = chunk.samples.values
        if chunk.missing.any() or not np.iscomplexobj(values):
            return None
        if (np.abs(values.real[0] - centre) > 50 * noise.sigma).any():
            return None
        parts.append(method.combine(chunk.samples))
    if not parts:
        nothing = np.zeros((0, objective.units))
        return Opinion(nothing, nothing, nothing)
    columns = ([getattr(part, field) for part in parts] for field in ("value", "uncertainty", "step"))
    return Opinion(*(np.concatenate(column) for column in columns))


def complex_slope(objective: Objective, noise: Noise, centre: Array, name: str, direction: Array) -> float | None:
    """The contracted slope along a direction by one complex step; None where forward is another function there."""
    if not direction.any():
        return 0.0
    x, size = objective.arrays[name], 1e-30 / float(np.abs(direction).max())
    values = objective.moved({name: x + 1j * size * direction.reshape(x.shape)})
    if values is None or not np.iscomplexobj(values) or (np.abs(values.real - centre) > 50 * noise.sigma).any():
        return None
    return float((objective.weights * values.imag).sum() / size)


def complex_step_together(
    objective: Objective,
    noise: Noise,
    centre: Array,
    name: str,
    together: Groups,
    indices: Array,
    length: Array,
) -> Opinion | None:
    """The same with the elements moved together that share evaluations; `length` has all entries of the array."""
    method, x = ComplexStep(), objective.arrays[name]
    steps, wanted = np.maximum(1e-30 * length, 1e-300), np.zeros(x.size, bool)
    wanted[indices] = True
    found = Opinion(*(np.zeros((x.size, 1)) for _ in range(3)))
    for groups, gather in together:
        for members in groups[wanted[groups].any(axis=1)]:
            moved = x.astype(np.complex128).reshape(-1)
            moved[members] += 1j * steps[members]
            values = objective.moved({name: moved.reshape(x.shape)})
            if values is None or not np.iscomplexobj(values) or (np.abs(values.real - centre) > 50 * noise.sigma).any():
                return None
            made = steps[None, None, members]
            args = (objective.weights, gather, noise.total, noise.relative, noise.unit)
            seen = method.combine(Samples(made, values[None, None], centre, *args))
            found.value[members], found.uncertainty[members] = seen.value.T, seen.uncertainty.T
            found.step[members, 0] = steps[members]
    return Opinion(found.value[indices], found.uncertainty[indices], found.step[indices])


def widened(objective: Objective, noise: Noise, centre: Array, wrt: list[str]) -> tuple[Objective, Array, Noise] | None:
    """The same layer in long double where the platform and the layer keep it, with its own noise; else None."""
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps or noise.unit != 2.0**-53:
        return None
    wide = _in_long_double(objective)
    values = wide.moved({})
    if values is None or values.dtype != np.longdouble:
        return None
    if (np.abs(values - centre) > 50 * noise.sigma + 8 * noise.ulp).any():
        return None
    finer = measure(wide, wrt, values)
    return (wide, values, finer) if (64 * finer.total <= noise.total).all() else None


def _in_long_double(objective: Objective) -> Objective:
    floats = {n: a.astype(np.longdouble) if a.dtype.kind == "f" else a for n, a in objective.arrays.items()}
    wide = Objective(objective.layer, floats, [], objective.view, objective.ledger)
    wide.shapes, wide.dtypes = objective.shapes, (np.dtype(np.longdouble),) * len(objective.shapes)
    wide.cotangent, wide.weights, wide.several = objective.cotangent, objective.weights, objective.several
    wide.outputs, wide.units = objective.outputs, objective.units
    return wide


def widened_analytic(objective: Objective, wrt: list[str]) -> dict[str, Array] | None:
    """The analytic values by the VJP in long double; None where the platform or the VJP does not keep it."""
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        return None
    wide = _in_long_double(objective)
    try:
        if any(np.asarray(one).dtype != np.longdouble for one in wide.vjp(objective.cotangent).values()):
            return None
        return analytic_values(wide, wrt)
    except Exception:  # noqa: BLE001 - a layer need not accept long double
        return None

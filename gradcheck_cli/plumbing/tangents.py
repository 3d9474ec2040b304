"""The optional members of a layer, where it has them: `jvp` and `jacobian` agree with differences and with the VJP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gradcheck_cli.evidence import K
from gradcheck_cli.layer import Array, as_outputs
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective, flatten, quiet
from gradcheck_cli.numeric.scales import lengths, scattered
from gradcheck_cli.plumbing.structure import problem
from gradcheck_cli.results import Finding

STEP = 2.0**-17  # of the tangents, whose entries are about one length scale


def optional_members(
    objective: Objective, centre: Array, noise: Noise, gradients: Mapping[str, Array], wrt: Sequence[str]
) -> Iterator[Finding]:
    """Check `jvp` and `jacobian` when present, in float64; 4 evaluations."""
    if any(array.dtype.kind == "f" and array.dtype != np.float64 for array in objective.arrays.values()):
        return
    if callable(getattr(objective.layer, "jvp", None)):
        tangents = {name: _tangent(objective.arrays[name], seed) for seed, name in enumerate(wrt)}
        yield from _jvp(objective, centre, noise, gradients, tangents)
    if callable(getattr(objective.layer, "jacobian", None)):
        yield from _jacobian(objective, gradients)


def _tangent(array: Array, seed: int) -> Array:
    """A random direction whose entries are as long as the array's length scales."""
    return scattered(seed, array.shape) * lengths(array.reshape(-1)).reshape(array.shape)


def _jvp(
    objective: Objective, centre: Array, noise: Noise, gradients: Mapping[str, Array], tangents: Mapping[str, Array]
) -> Iterator[Finding]:
    copies = {name: array.copy() for name, array in objective.arrays.items()}
    with quiet:
        found = flatten(as_outputs(objective.layer.jvp(tangents, **copies)))  # type: ignore[attr-defined]
    if found.shape != centre.shape:
        yield problem("jvp", None, f"jvp returns {found.size} values; forward has {centre.size} outputs")
        return
    pushed = float(objective.cotangent @ found)
    pulled = sum(float((tangents[name] * gradients[name].reshape(tangents[name].shape)).sum()) for name in tangents)
    terms = float(np.abs(objective.cotangent * found).sum()) + sum(
        float(np.abs(tangents[name] * gradients[name].reshape(tangents[name].shape)).sum()) for name in tangents
    )
    terms += float(np.abs(objective.cotangent * centre).sum())  # either way may cancel from values of this size
    if not abs(pushed - pulled) <= 1e3 * noise.unit * terms + 1e-8 * max(abs(pushed), abs(pulled)):
        yield problem("jvp-vjp", None, f"jvp and vjp disagree: <dy, J v> = {pushed:.9g}, <J'dy, v> = {pulled:.9g}")
    slope, allowed = _directional(objective, centre, noise, tangents)
    if slope is not None and (np.abs(found - slope) > allowed).any():
        worst = int(np.argmax(np.abs(found - slope) - allowed))
        sentence = f"jvp differs from finite differences: output {worst} is {found[worst]:.9g}, not {slope[worst]:.9g}"
        yield problem("jvp-difference", None, sentence)


def _directional(
    objective: Objective, centre: Array, noise: Noise, tangents: Mapping[str, Array]
) -> tuple[Array | None, Array]:
    """Differences along the tangents at two steps: (4 D(h/2) - D(h)) / 3 and how far it may be off."""
    slopes = []
    for step in (STEP, STEP / 2):
        ends = [
            objective.moved({name: objective.arrays[name] + sign * step * v for name, v in tangents.items()})
            for sign in (1, -1)
        ]
        if ends[0] is None or ends[1] is None:
            return None, np.zeros_like(centre)
        slopes.append((ends[0] - ends[1]) / (2 * step))
    coarse, fine = slopes
    allowed = 2 * np.abs(fine - coarse) + 4 * K * noise.sigma / STEP + 1e-9 * np.abs(fine)
    return (4 * fine - coarse) / 3, allowed


def _jacobian(objective: Objective, gradients: Mapping[str, Array]) -> Iterator[Finding]:
    with quiet:
        tables = objective.layer.jacobian(  # type: ignore[attr-defined]
            **{name: array.copy() for name, array in objective.arrays.items()}
        )
    for name, gradient in gradients.items():
        if name not in tables:
            yield problem("jacobian", name, f"jacobian returns nothing for {name!r}")
            continue
        rows = np.asarray(tables[name], dtype=np.float64).reshape(objective.outputs, -1)
        product, terms = objective.cotangent @ rows, np.abs(objective.cotangent) @ np.abs(rows)
        if (~(np.abs(product - gradient.reshape(-1)) <= 1e-9 * terms)).any():
            yield problem("jacobian", name, f"jacobian and vjp disagree for {name!r}: dy' J is not the VJP of dy")

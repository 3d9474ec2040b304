"""Low precision is judged twice: the formula in float64, where the layer keeps it, and the rounding against that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck_cli.compare import beyond_rounding
from gradcheck_cli.evidence import UNIT32, UNIT64
from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.analytic import analytic_values
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective, fitted, flatten
from gradcheck_cli.numeric.rounding import measure_analytic
from gradcheck_cli.numeric.scales import lengths, natural_slope, ordinary_length, typical_slope
from gradcheck_cli.numeric.slabs import slabs
from gradcheck_cli.plumbing.bench import Bench
from gradcheck_cli.tiers.point import Point
from gradcheck_cli.tiers.sheet import FAIL, NONFINITE, PASS, Sheet


def judge_rounding(low: Objective, point: Point, sheets: Sequence[Sheet], dtype: str) -> list[Sheet]:
    """Compare the low-precision gradient, whose formula is judged already, with the float64 one.

    The sheets come back; those of a search with the elements whose rounding is wrong.
    """
    wrt, unit = [sheet.name for sheet in sheets], float(np.finfo(dtype).eps) / 2
    analytic = analytic_values(low, wrt)

    def suspects(closely: bool) -> list[tuple[Sheet, Array]]:
        bound = measure_analytic(low, wrt, analytic, unit, closely).bound
        return [_suspects(low, point, one, analytic[one.name], bound[one.name], dtype) for one in sheets]

    found = suspects(closely=False)
    if any(wrong.any() for _, wrong in found):
        found = suspects(closely=True)
    for sheet, wrong in found:
        coarse = analytic[sheet.name][slice(None) if sheet.searched is None else sheet.searched.indices]
        sheet.rounded[wrong], sheet.outcome[wrong], sheet.reason[wrong] = True, FAIL, f"{dtype} rounding"
        gone = wrong & ~np.isfinite(coarse)
        sheet.outcome[gone], sheet.reason[gone] = NONFINITE, f"not finite in {dtype}"
        sheet.numeric[wrong], sheet.analytic[wrong] = sheet.analytic[wrong], coarse[wrong]
    return [sheet for sheet, _ in found]


def _suspects(
    low: Objective, point: Point, sheet: Sheet, coarse: Array, bound: Array, dtype: str
) -> tuple[Sheet, Array]:
    """A sheet, with what of a search is to be judged, too; and where its rounding is more than was measured."""
    if sheet.searched is not None:
        sheet = _joined_by(sheet, low, point, coarse, bound, dtype)
    visited: Any = slice(None) if sheet.searched is None else sheet.searched.indices
    natural = natural_slope(point.noise, lengths(low.arrays[sheet.name].reshape(-1))[visited])
    wrong = beyond_rounding(coarse[visited], sheet.analytic, bound[visited], sheet.slope, natural, dtype)
    return sheet, wrong & (sheet.outcome == PASS)


def _joined_by(sheet: Sheet, low: Objective, point: Point, coarse: Array, bound: Array, dtype: str) -> Sheet:
    """The sheet of a search with those covered elements whose rounding is to be judged: all are compared for that."""
    from gradcheck_cli.tiers.search import MOST, joined  # which small runs never need

    x, searched = low.arrays[sheet.name].reshape(-1), sheet.searched
    assert searched is not None
    exact, usual, found = point.analytic[sheet.name], ordinary_length(x), [np.zeros(0, int)]
    typical = typical_slope(exact)
    for part in slabs(x.size):
        high, length = exact[part], np.maximum(np.abs(x[part]).astype(np.float64), usual)
        slope, natural = np.maximum(np.abs(high), typical), natural_slope(point.noise, length)
        wrong = beyond_rounding(coarse[part], high, bound[part], slope, natural, dtype) & np.isfinite(high)
        found.append(part.start + np.flatnonzero(wrong))
    others = np.setdiff1d(np.concatenate(found), searched.indices)[:MOST]
    if not others.size:
        return sheet
    added = Sheet.blank(sheet.name, exact[others], sheet.usual)
    added.outcome[:], added.numeric[:], added.slope[:] = PASS, exact[others], np.maximum(np.abs(exact[others]), typical)
    indices, covered = np.append(searched.indices, others), max(0, searched.covered - others.size)
    return replace(joined(sheet.name, [sheet, added]), searched=replace(searched, indices=indices, covered=covered))


def is_half(bench: Bench) -> bool:
    """Whether forward works in half precision and in nothing better."""
    return any(part.dtype == np.float16 for part in bench.outputs)


def undecided(point: Point, wrt: Sequence[str]) -> list[Sheet]:
    """Half precision has no digits to take differences of: what works in it alone stays inconclusive."""
    sheets = [Sheet.blank(name, point.analytic[name], point.method.name) for name in wrt]
    for sheet in sheets:
        sheet.reason[:] = "half precision"
    return sheets


def vjp_unit(bench: Bench, noise: Noise) -> float:
    """The round-off of the VJP: single if it returns single, or if forward computes in single."""
    dtypes = [np.asarray(value).dtype for value in bench.gradients.values()]
    return UNIT32 if noise.unit == UNIT32 or any(dtype == np.float32 for dtype in dtypes) else UNIT64


def finer(bench: Bench, dtype: str) -> Bench | None:
    """A check in low precision, redone in float64 where the layer keeps it: what is judged then is its formula."""
    if dtype not in ("float32", "float16"):
        return None
    wide: Mapping[str, Array] = {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in bench.arrays.items()
    }
    fine = Bench(bench.layer, wide, bench.wrt, bench.ledger)
    try:
        fine.outputs = fine.forward(wide)
        if any(part.dtype != np.float64 for part in fine.outputs):
            return None
        fine.cotangent = tuple(part.astype(np.float64) for part in bench.cotangent)
        fine.gradients = fine.vjp(fine.cotangent, wide)
    except Exception:  # noqa: BLE001 - a layer need not accept float64; it is then judged in its own precision
        return None
    if _alike(bench.outputs, fine.outputs, dtype):
        return fine
    low, high = ([fitted(one.gradients.get(name), wide[name].shape) for name in one.wrt] for one in (bench, fine))
    return fine if _cancelled(bench, fine, dtype) and _alike(low, high, dtype) else None


def _cancelled(bench: Bench, fine: Bench, dtype: str) -> bool:
    """Whether the outputs differ by no more than the rounding of numbers as large as the arrays, or as 1."""
    sizes = (float(np.abs(array).max(initial=0.0)) for array in fine.arrays.values() if array.dtype.kind == "f")
    gap = float(np.abs(flatten(bench.outputs) - flatten(fine.outputs)).max(initial=0.0))
    return gap <= 32 * float(np.finfo(dtype).eps) * max(1.0, *sizes)


def _alike(coarse: Sequence[Array], exact: Sequence[Array], dtype: str) -> bool:
    """Whether what both precisions say is the same, to a hundredth of the largest."""
    low, high = flatten(coarse), flatten(exact)
    slack = 1e-2 * float(np.abs(high).max(initial=0.0)) + float(np.finfo(dtype).tiny)
    return bool(np.allclose(low, high, rtol=1e-2, atol=slack))

"""From judged elements to the plain values of a result: counts, the worst rows, notes, verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.evidence import UNIT32
from gradcheck_cli.layer import Array, Shape
from gradcheck_cli.numeric.scales import median
from gradcheck_cli.plumbing.bench import Bench
from gradcheck_cli.results import ArrayResult, Element, Finding, Resolution, Rows, Verdict
from gradcheck_cli.spec import CheckSpec
from gradcheck_cli.tiers.point import Point
from gradcheck_cli.tiers.sheet import CODES, FAIL, INCONCLUSIVE, KINK, NONFINITE, PASS, Sheet
from gradcheck_cli.values import dataclass, field

MANY = 64  # times as many values as are asked for, from which on their largest are sought by parts


@dataclass(frozen=True)
class Judged:
    """One point of a check, judged; `measured` is what was measured there once."""

    point: int
    sheets: tuple[Sheet, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    outputs: tuple[Shape, ...] = ()
    measured: Point | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong at this point, as far as could be told."""
        wrong = any((sheet.outcome >= FAIL).any() for sheet in self.sheets)
        return not wrong and all(finding.severity != "error" for finding in self.findings)


def verdict_of(arrays: Sequence[ArrayResult], findings: Sequence[Finding]) -> Verdict:
    """Fail for a failed element or a finding of severity error, else inconclusive for one left open, else pass."""
    if any(finding.severity == "error" for finding in findings) or any(a.failed or a.nonfinite for a in arrays):
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE if any(array.inconclusive for array in arrays) else Verdict.PASS


def array_results(judged: Sequence[Judged], view: str, rows: Rows) -> tuple[ArrayResult, ...]:
    """Gather each array over all points."""
    names = [sheet.name for sheet in judged[0].sheets] if judged else []
    results = []
    for name in names:
        points = [(one, sheet) for one in judged for sheet in one.sheets if sheet.name == name]
        results.append(_array_result(name, points, view, rows))
    return tuple(results)


def _array_result(name: str, points: Sequence[tuple[Judged, Sheet]], view: str, rows: Rows) -> ArrayResult:
    codes = _joined([sheet.outcome for _, sheet in points])
    errors = _joined([np.abs(sheet.analytic - sheet.numeric) for _, sheet in points])
    sizes = _joined([np.fmax(np.abs(sheet.analytic), np.abs(sheet.numeric)) for _, sheet in points])
    excess = _excess(errors, _joined([sheet.resolution for _, sheet in points]))
    order = worst_first(codes, excess, rows.count(codes.size))
    starts = np.cumsum([0, *(sheet.outcome.size for _, sheet in points)])
    numbers = np.searchsorted(starts, order, side="right") - 1
    worst = tuple(_element(points[p], int(k - starts[p]), view) for p, k in zip(numbers, order, strict=True))
    finite = bool(np.isfinite(errors).all())
    count = {code: int(np.count_nonzero(codes == code)) for code in (PASS, KINK, INCONCLUSIVE, FAIL, NONFINITE)}
    searched = [sheet.searched for _, sheet in points if sheet.searched is not None]
    missing = sum(one.elements - one.indices.size for one in searched)
    covered = sum(one.covered for one in searched)
    return ArrayResult(
        name=name,
        shape=points[0][0].shapes[name],
        elements=codes.size + missing,
        visited=codes.size,
        covered=covered,
        covered_resolution=max((one.resolution for one in searched), default=None),
        passed=count[PASS],
        kinks=count[KINK],
        inconclusive=count[INCONCLUSIVE] + missing - covered,
        failed=count[FAIL],
        nonfinite=count[NONFINITE],
        max_abs_error=float(errors.max(initial=0.0)) if finite else float("nan"),
        max_rel_error=float(_excess(errors, sizes).max(initial=0.0)) if finite else float("nan"),
        worst=worst,
    )


def _joined(tables: Sequence[Array]) -> Array:
    """Tables laid end to end; one alone is not copied."""
    return tables[0].reshape(-1) if len(tables) == 1 else np.concatenate([table.ravel() for table in tables])


def _excess(errors: Array, limits: Array) -> Array:
    """Errors as multiples of their limits: 0 for no error, infinite at limit 0 or where either is not finite."""
    with np.errstate(all="ignore"):
        excess = errors / limits
        if not (errors.max(initial=0.0) < np.inf and 0 < limits.min(initial=1.0) <= limits.max(initial=1.0) < np.inf):
            excess[~((limits > 0) & np.isfinite(limits) & np.isfinite(errors))] = np.inf
            excess[errors == 0] = 0.0
    return np.asarray(excess)


def worst_first(codes: Array, excess: Array, count: int) -> Array:
    """The places of the so many worst elements: by outcome, then by excess, then in their order."""
    chosen = [np.zeros(0, int)]
    for code in range(int(codes.max(initial=PASS)), -1, -1):
        missing = count - sum(map(len, chosen))
        alike = codes == code
        if missing and alike.all():
            return _largest(excess, missing)
        places = np.flatnonzero(alike) if missing else chosen[0]
        chosen.append(places[_largest(excess[places], missing)])
    return np.concatenate(chosen)


def _largest(values: Array, count: int) -> Array:
    """The places of the so many largest values, the largest first, those that are equal in their order."""
    places = np.arange(len(values))
    if len(values) > count > 0:  # only those that are as large as the last one to be shown need sorting
        tops = values
        if len(values) > MANY * count:  # the largest of enough parts tell a value that so many of them reach
            parts = MANY // 4 * count
            tops = values[: len(values) // parts * parts].reshape(parts, -1).max(axis=1)
        places = np.flatnonzero(values >= np.partition(tops, len(tops) - count)[len(tops) - count])
    return np.asarray(places[np.argsort(-values[places], kind="stable")][:count])


def _element(where: tuple[Judged, Sheet], k: int, view: str) -> Element:
    judged, sheet = where
    row, unit = divmod(k, sheet.outcome.shape[1])
    shape = judged.shapes[sheet.name]
    place = row if sheet.searched is None else int(sheet.searched.indices[row])
    number, output = locate(judged.outputs, unit) if view == "jacobian" else (None, None)
    return Element(
        index=_index(place, shape),
        analytic=float(sheet.analytic[row, unit]),
        numeric=float(sheet.numeric[row, unit]),
        uncertainty=float(sheet.uncertainty[row, unit]),
        resolution=float(sheet.resolution[row, unit]),
        outcome=CODES[sheet.outcome[row, unit]],
        output=output,
        output_number=number if len(judged.outputs) > 1 else None,
        point=judged.point,
        reason=sheet.reason[row, unit],
        method=sheet.method[row, unit] or sheet.usual,
        step=float(sheet.step[row, unit]),
        tier=int(sheet.tier[row, unit]),
        precision="rounding" if sheet.rounded[row, unit] else "formula",
    )


def _index(place: int, shape: Shape) -> tuple[int, ...]:
    """Where a flat place lies in an array."""
    index: list[int] = []
    for size in reversed(shape):
        place, at = divmod(place, size)
        index.append(at)
    return tuple(reversed(index))


def locate(outputs: Sequence[Shape], unit: int) -> tuple[int, tuple[int, ...]]:
    """Which output a flat position falls into, and its index there."""
    for number, shape in enumerate(outputs):
        size = math.prod(shape)
        if unit < size:
            return number, _index(unit, shape)
        unit -= size
    return 0, ()


def resolution_of(judged: Sequence[Judged], view: str) -> Resolution | None:
    """The power of the check: median and worst of the smallest errors that would have been seen.

    What is only covered by probes counts for the worst; its place then is the whole array.
    """
    everything = [(one, sheet) for one in judged for sheet in one.sheets if sheet.outcome.size]
    told = [(sheet.searched.resolution, sheet.name) for one in judged for sheet in one.sheets if sheet.searched]
    covered = max(told, default=(0.0, ""))
    if not everything:
        return Resolution(covered[0], *covered) if told else None
    seen = [_resolutions(sheet) for _, sheet in everything]
    values = _joined(seen)
    tops = [float(part.max()) for part in seen]
    decided = values if max(tops) < np.inf else values[np.isfinite(values)]
    middle = median(decided) if decided.size else float("inf")
    if covered[0] > max(tops):
        return Resolution(middle, *covered)
    where = everything[int(np.argmax(tops))]
    at = _element(where, int(np.argmax(seen[int(np.argmax(tops))])), view)
    return Resolution(middle, max(tops), at.label(where[1].name))


def _resolutions(sheet: Sheet) -> Array:
    """The resolution of every element; at a kink, where any subgradient is right, there is none to speak of."""
    known = np.fmin(sheet.resolution, np.inf)  # what is not a number is infinite
    np.copyto(known, 0.0, where=sheet.outcome == KINK)
    return np.asarray(known)


def notes_of(
    point: Point, sheets: Sequence[Sheet], spec: CheckSpec, bench: Bench, fine: bool, cotangent: Sequence[Array]
) -> tuple[str, ...]:
    """What the reader should know about how this point was judged."""
    notes = []
    low = spec.dtype in ("float32", "float16")
    if fine:
        notes.append(f"{spec.dtype}: the formula is judged in float64, the rounding of {spec.dtype} against it")
    elif low:
        notes.append(f"the layer does not keep float64: formula and rounding are judged together in {spec.dtype}")
    elif point.noise.unit == UNIT32:
        notes.append("the layer computes in float32 inside: judged at that precision")
    notes += degenerate(bench, spec, cotangent)
    kinks = sum(int((sheet.outcome == KINK).sum()) for sheet in sheets)
    if kinks:
        notes.append(
            f"{kinks} {'element sits' if kinks == 1 else 'elements sit'} exactly on a kink; any subgradient is right"
        )
    return (*notes, *step_warnings(point, sheets, spec))


def degenerate(bench: Bench, spec: CheckSpec, cotangent: Sequence[Array]) -> list[str]:
    """Points at which wrong formulas happen to be right, where the config forces them."""
    notes = []
    if spec.cotangent is not None and any(part.size > 1 and (part == part.flat[0]).all() for part in cotangent):
        notes.append("the given cotangent is constant: the gradient of softmax and of norm layers vanishes there")
    for name, one in spec.arrays.items():
        values: Any = bench.arrays.get(name)
        forced = one.values is not None or one.draw is not None
        if forced and name in bench.wrt and values.size > 1 and (values == values.flat[0]).all():
            hidden = "mistakes that only show at unequal values are hidden"
            notes.append(f"all entries of {name!r} are {values.flat[0]:g}: {hidden}")
    return notes


def step_warnings(point: Point, sheets: Sequence[Sheet], spec: CheckSpec) -> list[str]:
    """An explicit step whose own error is above the explicit tolerance cannot show that it is kept."""
    if not point.fixed_step or spec.tolerance is None:
        return []
    beyond = [(sheet.tier > 1) & ((sheet.outcome == PASS) | (sheet.outcome == INCONCLUSIVE)) for sheet in sheets]
    late, total = sum(int(part.sum()) for part in beyond), sum(part.size for part in beyond)
    if not late:
        return []
    sentence = (
        f"the explicit step cannot reach the explicit tolerance at {late} of {total} elements "
        f"(its own error is larger); other steps were tried there"
    )
    return [sentence]

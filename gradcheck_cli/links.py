"""A chain judged link by link, and which link is wrong where it is not right.

Each link is judged at its actual activations, with the cotangent that the analytic chain hands it, for its own arrays
and for what it hands back. If every link is right and a directional probe of the whole chain agrees, so is the chain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from gradcheck_cli.assemble import Judged, notes_of
from gradcheck_cli.draws import draw_cotangent
from gradcheck_cli.numeric.closing import Probe, directional
from gradcheck_cli.numeric.noise import Noise
from gradcheck_cli.numeric.objective import Objective, fitted, flatten, quiet
from gradcheck_cli.numeric.rounding import AnalyticNoise
from gradcheck_cli.plumbing.bench import Bench
from gradcheck_cli.plumbing.linearity import linearity
from gradcheck_cli.precision import finer, judge_rounding
from gradcheck_cli.results import Finding
from gradcheck_cli.spec import CheckSpec, Given
from gradcheck_cli.tiers.point import Point
from gradcheck_cli.tiers.sheet import KINK, PASS, Sheet

WORTHWHILE = 64  # elements from which on it pays to look at each link

JudgeLink: TypeAlias = Callable[[CheckSpec, Bench], Judged]
JudgeAnew: TypeAlias = Callable[[CheckSpec, Any], Judged]


def is_chain(layer: Any) -> bool:
    """Whether a layer has links that can be looked at."""
    return hasattr(layer, "link_points")


def by_links(
    spec: CheckSpec, number: int, bench: Bench, findings: Sequence[Finding], judge: JudgeLink
) -> Judged | None:
    """Judge a chain link by link; None where that has no meaning or leaves a doubt: it is then judged end to end."""
    if not _applies(spec, bench, findings):
        return None
    fine = finer(bench, spec.dtype)
    if fine is None and spec.dtype != "float64":
        return None
    work = fine or bench
    links = _judge_links(spec, work, judge)
    if links is None:
        return None
    point, sheets = _composed(work, links)
    found = [*findings, *_nonlinear(spec, number, work, point)]
    probe = _closing_probe(point, sheets)
    if not _same(work, point) or not probe.agrees:
        return None
    if fine is not None:
        low = Objective(bench.layer, bench.arrays, bench.cotangent, spec.view, bench.ledger)
        low.several = bench.several
        sheets = tuple(judge_rounding(low, point, sheets, spec.dtype))
    seen = f"judged link by link; a directional probe of the whole chain agrees to {_power_of_ten(probe.resolution)}"
    judged = Judged(
        point=number,
        sheets=sheets,
        findings=tuple(found),
        notes=(seen, *notes_of(point, sheets, spec, bench, fine is not None, work.cotangent)),
        shapes={name: work.arrays[name].shape for name in work.wrt},
        outputs=tuple(part.shape for part in work.outputs),
        measured=point,
    )
    return judged if judged.passed else None


def _applies(spec: CheckSpec, bench: Bench, findings: Sequence[Finding]) -> bool:
    """What is given explicitly is meant for the whole chain; so is a Jacobian; and noise is no composition."""
    given = spec.view != "vjp" or spec.exhaustive or spec.difference is not None or spec.tolerance is not None
    doubtful = any(finding.severity == "error" or finding.rule == "noisy-forward" for finding in findings)
    layer: Any = bench.layer
    elements = sum(bench.arrays[name].size for name in bench.wrt)
    return not given and not doubtful and len(layer.links) > 1 and elements >= WORTHWHILE


def _judge_links(spec: CheckSpec, bench: Bench, judge: JudgeLink) -> dict[int, Judged] | None:
    """Each link from the last to the first that has an array to differentiate; None as soon as one is not right."""
    chain: Any = bench.layer
    judged: dict[int, Judged] = {}
    bench.ledger.evaluations["plumbing"] += 1
    bench.ledger.vjp_calls += 1
    copies = {name: array.copy() for name, array in bench.arrays.items()}
    with quiet:
        points = chain.link_points(bench.cotangent if bench.several else bench.cotangent[0], **copies)
    first = min(int(name.split(".", 1)[0]) for name in bench.wrt)
    mine = replace(spec, arrays={}, cotangent=None, wrt=None, dtype="float64")
    for k in reversed(range(first, len(points))):
        at = points[k]
        own = [name for name in at.arrays if f"{k}.{name}" in bench.wrt]
        wrt = (*(at.handed if k > first else ()), *own)
        link = Bench(
            chain.links[k],
            at.arrays,
            wrt,
            bench.ledger,
            outputs=at.outputs,
            cotangent=at.cotangents,
            gradients=at.gradients,
            several=at.several,
            seconds=bench.seconds,
        )
        judged[k] = judge(replace(mine, name=f"link {k} ({chain.labels[k]})"), link)
        if not _is_right(judged[k]):
            return None
    return judged


def _is_right(link: Judged) -> bool:
    """Whether every element has been visited and is right beyond doubt."""
    return link.passed and all((sheet.outcome <= KINK).all() and sheet.searched is None for sheet in link.sheets)


def _composed(bench: Bench, links: Mapping[int, Judged]) -> tuple[Point, tuple[Sheet, ...]]:
    """The whole chain at its point, from what was measured at its links; and the sheets of its own arrays, named."""
    points = {k: link.measured for k, link in links.items() if link.measured is not None}
    last = points[max(points)]
    sheets = {f"{k}.{sheet.name}": sheet for k, link in links.items() for sheet in link.sheets}
    bound = {f"{k}.{name}": one for k, point in points.items() for name, one in point.rounding.bound.items()}
    objective = Objective(bench.layer, bench.arrays, bench.cotangent, "vjp", bench.ledger)
    objective.several = bench.several
    whole = replace(
        last,
        objective=objective,
        noise=_noise([point.noise for point in points.values()], last.noise),
        analytic={name: sheets[name].analytic for name in bench.wrt},
        rounding=AnalyticNoise(
            {name: bound[name] for name in bench.wrt}, max(point.rounding.unit for point in points.values())
        ),
    )
    return whole, tuple(replace(sheets[name], name=name) for name in bench.wrt)


def _noise(links: Sequence[Noise], last: Noise) -> Noise:
    """The noise of a chain: each link's outputs, contracted with the cotangent they get, enter dy·y one to one."""
    totals = [float(noise.total[0]) for noise in links]
    return replace(last, total=np.array([math.hypot(*totals)]), unit=max(noise.unit for noise in links))


def _same(bench: Bench, point: Point) -> bool:
    """Whether the chain's gradients are those of its links."""
    columns = {name: fitted(bench.gradients[name], bench.arrays[name].shape)[:, None] for name in bench.wrt}
    bounds = point.rounding.bound
    return all((np.abs(one - point.analytic[name]) <= bounds[name]).all() for name, one in columns.items())


def _nonlinear(spec: CheckSpec, number: int, bench: Bench, point: Point) -> list[Finding]:
    """Whether the whole VJP is linear in dy; the links are not asked."""
    bench.ledger.phase = "plumbing"
    other = flatten(draw_cotangent(bench.outputs, spec.seed + 1, number))
    return linearity(point.objective, bench.wrt, bench.gradients, point.rounding, other, point.centre)


def _closing_probe(point: Point, sheets: Sequence[Sheet]) -> Probe:
    """A difference in a direction of all arrays at once, but for what sits on a kink and was judged there."""
    point.objective.ledger.phase = "probe"
    still = {sheet.name: (sheet.outcome == KINK).any(axis=1) for sheet in sheets}
    return directional(point.objective, point.noise, point.centre, point.analytic, still)


def _power_of_ten(value: float) -> str:
    """The next power of ten above, so that many points have one note."""
    return f"1e{math.ceil(math.log10(value))}" if value > 0 else "0"


def wrong_links(spec: CheckSpec, bench: Bench, judge: JudgeAnew) -> Iterator[Finding]:
    """Judge every link of a chain that fails with all its plumbing, each at its actual activations.

    The last wrong link is where the backward pass goes wrong first; if there is none, it is their composition.
    """
    chain: Any = bench.layer
    wrong, right = [], True
    points = chain.link_points(bench.cotangent if bench.several else bench.cotangent[0], **bench.arrays)
    for k, at in enumerate(points):
        given = {name: Given(values=array, dtype=str(array.dtype)) for name, array in at.arrays.items()}
        judged = judge(replace(spec, arrays=given, cotangent=at.cotangents, wrt=None, view="vjp"), chain.links[k])
        right &= all((sheet.outcome == PASS).all() for sheet in judged.sheets)
        if not judged.passed:
            why = next((f.sentence for f in judged.findings if f.severity == "error"), "its elements differ")
            wrong.append((k, f"link {k} ({chain.labels[k]})", why))
    if wrong:
        k, link, why = wrong[-1]
        others = ", ".join(name for _, name, _ in wrong[:-1])
        others = f"; {others} {'are' if wrong[2:] else 'is'} wrong too" if others else ""
        yield Finding("link", "error", None, f"{link} is wrong first, where the backward pass meets it: {why}{others}")
    elif right:
        sentence = (
            "every link is right by itself, with the arrays that it is handed here: inside the chain one does "
            "something else; look for state, caches, or what depends on how an array lies in memory"
        )
        yield Finding("composition", "error", None, sentence)

"""From a check's description to its result. Prints nothing; user code's own output is caught."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import Any, TypeAlias

from gradcheck_cli.assemble import Judged, array_results, notes_of, resolution_of, verdict_of
from gradcheck_cli.compare import Rule
from gradcheck_cli.costs import MEMORY, announced, limits_of, must_fit, searched
from gradcheck_cli.diagnosis.explain import explain
from gradcheck_cli.diagnosis.suspect import Evidence
from gradcheck_cli.draws import draw_arrays, draw_cotangent, given_shapes
from gradcheck_cli.layer import Array, ArrayError, ArraySpec
from gradcheck_cli.links import by_links, is_chain, wrong_links
from gradcheck_cli.numeric.analytic import analytic_values
from gradcheck_cli.numeric.memory import keep_freed_memory
from gradcheck_cli.numeric.noise import measure
from gradcheck_cli.numeric.objective import Ledger, Objective, fitted, flatten, quiet
from gradcheck_cli.numeric.resuming import Resuming
from gradcheck_cli.numeric.rounding import measure_analytic
from gradcheck_cli.numeric.sampling import stacks_agree
from gradcheck_cli.numeric.threads import Threads
from gradcheck_cli.plumbing.bench import Bench, first_look, first_vjp
from gradcheck_cli.plumbing.linearity import linearity
from gradcheck_cli.plumbing.structure import PURITY, STRUCTURE, examine
from gradcheck_cli.plumbing.tangents import optional_members
from gradcheck_cli.precision import finer, is_half, judge_rounding, undecided, vjp_unit
from gradcheck_cli.registry import METHODS
from gradcheck_cli.results import CheckResult, ErrorInfo, Finding, Rows, RunResult, Verdict
from gradcheck_cli.spec import CheckSpec, Foreign, RunSpec
from gradcheck_cli.tiers import judge
from gradcheck_cli.tiers.point import Limits, Point
from gradcheck_cli.values import dataclass, field

Tell: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """What stays the same over the points of a check. A link's plumbing is that of its chain."""

    spec: CheckSpec
    layer: Any
    ledger: Ledger
    is_link: bool = False
    threads: Threads = field(default_factory=Threads)
    tell: Tell | None = None


def run(asked: RunSpec, on_result: Callable[[CheckResult], None] | None = None, tell: Tell | None = None) -> RunResult:
    """Make every check in order; an interruption keeps what is done. What takes long is told beforehand."""
    start, done, interrupted = time.perf_counter(), [], False
    try:
        for spec in asked.checks:
            result = run_check(spec, asked.rows, tell)
            done.append(result)
            if on_result is not None:
                on_result(result)
            if asked.stop_at is not None and sum(not one.met for one in done) >= asked.stop_at:
                break
    except KeyboardInterrupt:
        interrupted = True
    return RunResult(tuple(done), time.perf_counter() - start, interrupted)


@dataclass
class Attempt:
    """What came of a check: the points judged, or the error that ended it, and what user code printed."""

    ledger: Ledger = field(default_factory=Ledger)
    printed: io.StringIO = field(default_factory=io.StringIO)
    judged: list[Judged] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    error: ErrorInfo | None = None

    def make(self, spec: CheckSpec, tell: Tell | None) -> None:
        """Judge every point. What user code raises, `sys.exit` too, is this check's error."""
        with redirect_stdout(self.printed), redirect_stderr(self.printed), quiet, Threads(spec.threads) as threads:
            try:
                setting = Setting(spec, build(spec), self.ledger, threads=threads, tell=tell)
                self.notes = notes_of_layer(setting.layer)
                self.judged = [judge_point(setting, point) for point in range(spec.points)]
            except KeyboardInterrupt:
                raise
            except BaseException as exception:  # noqa: BLE001 - the run goes on
                from gradcheck_cli.raised import error_info  # to read tracebacks takes modules that few runs need

                self.error = error_info(exception)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all points, one for each rule and array."""
        found = {(one.rule, one.array): one for judged in reversed(self.judged) for one in reversed(judged.findings)}
        return tuple(reversed(found.values()))

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes of the layer and of all points."""
        return tuple(dict.fromkeys([*self.notes, *(note for judged in self.judged for note in judged.notes)]))


def run_check(spec: CheckSpec, rows: Rows | None = None, tell: Tell | None = None) -> CheckResult:
    """Make one check. What user code raises becomes the check's error."""
    keep_freed_memory()
    start, attempt = time.perf_counter(), Attempt()
    attempt.make(spec, tell)
    arrays, findings = array_results(attempt.judged, spec.view, rows or Rows()), attempt.findings
    verdict = Verdict.ERROR if attempt.error else verdict_of(arrays, findings)
    evaluations = attempt.ledger.evaluations
    return CheckResult(
        id=spec.id,
        name=spec.name,
        layer=spec.layer_name,
        verdict=verdict,
        expected=Verdict(spec.expect),
        met=is_met(spec, verdict, arrays, findings),
        file=spec.file,
        line=spec.line,
        column=spec.column,
        seed=spec.seed,
        dtype=spec.dtype,
        view=spec.view,
        points=spec.points,
        evaluations=sum(evaluations.values()),
        evaluations_by_tier=dict(evaluations),
        vjp_calls=attempt.ledger.vjp_calls,
        seconds=time.perf_counter() - start,
        reproduce=spec.reproduce,
        error=attempt.error,
        notes=attempt.all_notes,
        resolution=resolution_of(attempt.judged, spec.view),
        findings=findings,
        arrays=arrays,
        printed=attempt.printed.getvalue(),
    )


def is_met(spec: CheckSpec, verdict: Verdict, arrays: Sequence[Any], findings: Sequence[Finding]) -> bool:
    """Whether the verdict is the expected one, and, where arrays are named, exactly these fail."""
    if verdict != spec.expect:
        return False
    if spec.expect_arrays is None:
        return True
    wrong = {array.name for array in arrays if array.failed or array.nonfinite}
    wrong |= {finding.array for finding in findings if finding.severity == "error" and finding.array}
    others_pass = all(not array.inconclusive for array in arrays if array.name not in wrong)
    return wrong == set(spec.expect_arrays) and others_pass


def build(spec: CheckSpec) -> Any:
    """The layer itself; foreign code is imported and wrapped now."""
    if not isinstance(spec.layer, Foreign):
        return spec.layer
    free = {name: ArraySpec(given_shapes({name: one}).get(name, ())) for name, one in spec.arrays.items()}
    arrays = draw_arrays(free, spec.arrays, spec.dtype, spec.seed, 0)
    return spec.layer.build(arrays, spec.constants, spec.seed)


def notes_of_layer(layer: Any) -> tuple[str, ...]:
    """What a layer itself has to say to the reader, if it keeps it as texts in `notes`."""
    notes = getattr(layer, "notes", ())
    return tuple(note for note in notes if isinstance(note, str)) if isinstance(notes, (tuple, list)) else ()


def judge_point(setting: Setting, number: int) -> Judged:
    """One point of the check, drawn and judged."""
    spec = setting.spec
    specs = setting.layer.arrays(**given_shapes(spec.arrays))
    arrays = draw_arrays(specs, spec.arrays, spec.dtype, spec.seed, number)
    bench = Bench(setting.layer, arrays, differentiated(spec, specs, arrays), setting.ledger)
    return judge_bench(setting, number, bench)


def judge_bench(setting: Setting, number: int, bench: Bench) -> Judged:
    """Everything about one point: plumbing, noise, the tiers, and what they mean."""
    findings = examine(first_look(bench), PURITY)
    if any(finding.severity == "error" for finding in findings):
        return Judged(number, (), tuple(findings), ())
    must_fit(setting.spec, bench)
    first_vjp(bench, fit_cotangent(setting.spec, bench.outputs, number))
    findings += examine(bench, STRUCTURE)
    bench.second = {}
    return (judge_chain if is_chain(setting.layer) else judge_numbers)(setting, number, bench, findings)


def judge_chain(setting: Setting, number: int, bench: Bench, findings: list[Finding]) -> Judged:
    """A chain link by link; end to end where that leaves a doubt, and then its wrong link is named."""

    def judge_link(spec: CheckSpec, link: Bench) -> Judged:
        inner = by_links(spec, number, link, (), judge_link) if is_chain(link.layer) else None
        return inner or judge_numbers(replace(setting, spec=spec, layer=link.layer, is_link=True), number, link, [])

    judged = by_links(setting.spec, number, bench, findings, judge_link)
    if judged is not None:
        return judged
    judged = judge_numbers(setting, number, bench, findings)
    if judged.passed:
        return judged
    wrong = wrong_links(
        setting.spec, bench, lambda spec, link: judge_point(replace(setting, spec=spec, layer=link), number)
    )
    return replace(judged, findings=(*judged.findings, *wrong))


def differentiated(spec: CheckSpec, specs: Mapping[str, ArraySpec], arrays: Mapping[str, Array]) -> tuple[str, ...]:
    """The arrays to differentiate: those asked for, or every differentiable float array."""
    for name in spec.wrt or ():
        if name not in specs:
            raise ArrayError(name, "no such array", f"wrt takes {', '.join(specs)}")
        if arrays[name].dtype.kind != "f":
            raise ArrayError(
                name, f"{arrays[name].dtype} values", "only float arrays have a gradient; leave it out of wrt"
            )
    chosen = spec.wrt or [name for name, one in specs.items() if one.differentiable and arrays[name].dtype.kind == "f"]
    if not chosen:
        others = ", ".join(f"{name} is {arrays[name].dtype}" for name in specs if arrays[name].dtype.kind != "f")
        must = "a check needs at least one" + (f"; {others}, which is passed on as it is" if others else "")
        raise ArrayError("wrt", "no differentiable float array", must)
    return tuple(chosen)


def fit_cotangent(spec: CheckSpec, outputs: Sequence[Array], point: int) -> tuple[Array, ...]:
    """The given dL/dy, fitted to the outputs, or a random one."""
    if spec.cotangent is None:
        return draw_cotangent(outputs, spec.seed, point)
    given = spec.cotangent
    if len(given) == 1 < len(outputs) == len(given[0]):
        given = tuple(given[0])  # outputs of one shape, whose cotangents were written as one list
    if len(given) != len(outputs):
        raise ArrayError("cotangent", f"{len(given)} arrays", f"forward has {len(outputs)} outputs")
    for part, output in zip(given, outputs, strict=True):
        if part.shape != output.shape:
            raise ArrayError("cotangent", f"shape {part.shape}", f"must be the output's, {output.shape}")
    return tuple(part.astype(output.dtype) for part, output in zip(given, outputs, strict=True))


def judge_numbers(setting: Setting, number: int, bench: Bench, findings: list[Finding]) -> Judged:
    """Noise, linearity and the three tiers, in the precision that suits the layer."""
    spec, wrt = setting.spec, bench.wrt
    fine = finer(bench, spec.dtype)
    work = fine or bench
    limits = limits_of(spec, work)
    if setting.tell is not None:
        for sentence in announced(spec, limits, work):
            setting.tell(f"{spec.name}: {sentence}" if setting.is_link else sentence)
    point = measured(setting, number, work, limits, findings)
    sheets = undecided(point, wrt) if is_half(work) else judge(point, wrt)
    if fine is not None:
        low = Objective(setting.layer, bench.arrays, bench.cotangent, spec.view, setting.ledger)
        low.several = bench.several
        sheets = judge_rounding(low, point, sheets, spec.dtype)
    evidence = Evidence(setting.layer, work.arrays, work.outputs, work.cotangent, spec.view, tuple(sheets))
    return Judged(
        point=number,
        sheets=tuple(sheets),
        findings=(*findings, *explain(evidence, findings)),
        notes=(
            *searched(spec, limits, work, sheets),
            *notes_of(point, sheets, spec, bench, fine is not None, work.cotangent),
        ),
        shapes={name: work.arrays[name].shape for name in wrt},
        outputs=tuple(part.shape for part in work.outputs),
        measured=point,
    )


def measured(setting: Setting, number: int, work: Bench, limits: Limits | None, findings: list[Finding]) -> Point:
    """The point with its noise; whether the VJP is linear is seen on the way."""
    spec, wrt = setting.spec, work.wrt
    kind = Resuming if is_chain(setting.layer) else Objective
    objective = kind(setting.layer, work.arrays, work.cotangent, spec.view, setting.ledger)
    objective.several, objective.lends = work.several, not work.touched
    objective.costly = limits is not None and any(limits.crossed_by(work.arrays[name].size) for name in wrt)
    objective.room = min(objective.room, (spec.max_memory or MEMORY) // 16)
    centre = flatten(work.outputs)
    setting.ledger.phase = "noise"
    noise = measure(objective, wrt, centre)
    columns = {name: fitted(work.gradients.get(name), work.arrays[name].shape) for name in wrt}
    alone = spec.view == "jacobian"
    analytic = analytic_values(objective, wrt) if alone else {name: column[:, None] for name, column in columns.items()}
    rounding = measure_analytic(objective, wrt, analytic, vjp_unit(work, noise))
    objective.stacks, objective.threads = stacks_agree(objective, wrt, centre, noise), setting.threads
    setting.ledger.phase = "plumbing"
    if not setting.is_link:
        other = flatten(draw_cotangent(work.outputs, spec.seed + 1, number))
        findings += linearity(objective, wrt, work.gradients, rounding, other, centre)
        findings += optional_members(objective, centre, noise, columns, wrt)
    method = METHODS[spec.difference.method if spec.difference else "central"]()
    rule = Rule(spec.tolerance)
    return Point(objective, centre, noise, analytic, rounding, rule, method, spec.difference, limits)

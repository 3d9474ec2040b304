"""The run as tables of numbers for people, on a terminal or in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from gradcheck_cli.reports import _text
from gradcheck_cli.reports._elements import INDENT, STYLES, Pairs, elements
from gradcheck_cli.results import ArrayResult, CheckResult, Outcome, Rows, RunResult, Verdict
from gradcheck_cli.values import dataclass, field

MANY = 12  # a run of more checks shows the elements of those only that are not as expected


@dataclass(frozen=True)
class Table:
    """Elements worst first, a line for each array and check, and what the run amounts to.

    `verbosity` is 1 for every check with its steps and methods, -1 for nothing but what is not as expected.
    """

    name: ClassVar[str] = "table"

    width: int = 100
    colour: bool = False
    verbosity: int = 0
    rows: Rows = field(default_factory=Rows)

    def render(self, run: RunResult) -> str:
        """Every check and the closing lines."""
        return "".join(self.check(check, len(run.checks)) for check in run.checks) + self.closing(run)

    def check(self, check: CheckResult, of: int = 1) -> str:
        """One check of a run of so many: its table, one line, or nothing."""
        if self.verbosity < 0:
            return "" if check.met else self.drawn([_one_line(check)])
        if of > MANY and check.met and self.verbosity == 0:
            return self.drawn([_one_line(check)])
        return self.drawn(self.block(check)) + "\n"

    def closing(self, run: RunResult) -> str:
        """What the run amounts to, and the power of its tests."""
        return self.drawn([_totals(run), *([] if self.verbosity < 0 else _power(run.checks))])

    def block(self, check: CheckResult) -> Iterator[RenderableType]:
        """All that is shown of one check, from its name to how to reproduce it."""
        yield from _heading(check, self.width)
        yield from _error(check)
        pairs = check.worst(self.rows)
        if pairs:
            yield elements(check, pairs, self.width, self.verbosity > 0)
            yield from _left_out(check, pairs, everything=self.rows.limit is None)
        yield from _arrays(check)
        yield from _remarks(check)
        if self.verbosity > 0:
            yield from _effort(check)
        yield _indented(_summary(check))
        if not check.met and check.reproduce:
            yield _unbroken(" " * INDENT, ("reproduce: ", "dim"), _text.plain(check.reproduce))

    def drawn(self, parts: Iterable[RenderableType]) -> str:
        """The parts as text of the pinned width; the terminal is never asked."""
        console = Console(
            file=StringIO(),
            width=self.width,
            height=100,
            force_terminal=self.colour,
            color_system="standard" if self.colour else None,
            no_color=not self.colour,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )
        with console.capture() as capture:
            console.print(Group(*parts), crop=False)
        return "".join(line.rstrip() + "\n" for line in capture.get().removesuffix("\n").split("\n"))


def render_check(
    check: CheckResult, width: int = 100, colour: bool = False, verbosity: int = 0, rows: Rows | None = None
) -> str:
    """One check by itself, with the power of its test."""
    table = Table(width, colour, verbosity, rows or Rows())
    return table.drawn([*table.block(check), *map(_indented, _power([check]))]).rstrip("\n")


def _heading(check: CheckResult, width: int) -> Iterator[Text]:
    name = _text.plain(check.id)
    about = ", ".join([_text.plain(check.layer), *(["jacobian"] if check.view == "jacobian" else []), check.dtype])
    if cell_len(name) + 2 + cell_len(about) <= width:
        yield Text.assemble((name, "bold"), ("  " + about, "dim"))
    else:
        yield _unbroken((name, "bold"))
        yield _unbroken((" " * INDENT + about, "dim"))


def _error(check: CheckResult) -> Iterator[RenderableType]:
    if check.error:
        for line in f"{check.error.type}: {check.error.message}".splitlines():
            yield _indented(Text(_text.plain(line), STYLES["error"]))
        for line in (check.error.traceback_line or "").splitlines():
            yield _unbroken(" " * INDENT, _text.plain(line))


def _left_out(check: CheckResult, pairs: Pairs, everything: bool) -> Iterator[RenderableType]:
    """How many elements are not shown, and what became of them."""
    if len(pairs) >= check.elements:
        return
    others = _text.tally(check.arrays)
    unjudged = check.elements - sum(others.values())
    for _, element in pairs:
        others[element.outcome] -= 1
    others = {outcome: count for outcome, count in others.items() if count > 0}
    if set(others) == {Outcome.PASS}:
        fate = "all others pass" if not unjudged else f"{others[Outcome.PASS]} others pass"
    else:
        fate = f"of the others {_text.tallied(others)}" if others else ""
    searched = f"{unjudged} are covered by probes only" if unjudged else ""
    told = ", ".join(filter(None, [f"{len(pairs)} of {check.elements} elements shown", fate, searched]))
    yield _indented(Text(told + ("; --all shows them" if others and not everything else ""), "dim"))


def _arrays(check: CheckResult) -> Iterator[RenderableType]:
    """A line for each array: what became of its elements, and its largest errors."""
    if not check.arrays:
        return
    names = [_text.plain(array.name) for array in check.arrays]
    shapes = [str(array.shape) if array.shape else "scalar" for array in check.arrays]
    counts = [_array_counts(array) for array in check.arrays]
    widths = [max(map(cell_len, texts)) for texts in (names, shapes, counts)]
    rows = []
    for array, name, shape, count in zip(check.arrays, names, shapes, counts, strict=True):
        errors = f"largest error {_text.short(array.max_abs_error)}, relative {_text.short(array.max_rel_error)}"
        errors = errors if array.visited else ""
        rows.append(
            (
                Text(f"{set_cell_size(name, widths[0])}  {shape:<{widths[1]}}"),
                Text.assemble((count, STYLES[array.outcome]), " " * (widths[2] - len(count) + 2), (errors, "dim")),
            )
        )
    yield Text()
    yield _hanging(rows)


def _array_counts(array: ArrayResult) -> str:
    told = [_text.tallied(_text.tally([array]))]
    if array.covered:
        down_to = "" if array.covered_resolution is None else f" down to {_text.short(array.covered_resolution)}"
        told.append(f"{array.covered} covered{down_to}")
    return ", ".join(filter(None, told)) or "no elements"


def _remarks(check: CheckResult) -> Iterator[RenderableType]:
    """Findings, then notes."""
    rows = []
    for finding in check.findings:
        about = f"{finding.array}: " if finding.array and not finding.sentence.startswith(finding.array) else ""
        mark = ("✗", STYLES["fail"]) if finding.severity == "error" else ("•", "dim")
        rows.append((Text.assemble(mark), Text(_text.plain(about + finding.sentence))))
    rows += [(Text("•", "dim"), Text(_text.plain(note))) for note in check.notes]
    if rows:
        yield from (Text(), _hanging(rows), Text())


def _effort(check: CheckResult) -> Iterator[RenderableType]:
    """Where the evaluations went."""
    if check.evaluations_by_tier:
        parts = [f"{count} {_text.tier(name)}" for name, count in check.evaluations_by_tier.items()]
        yield _indented(Text("evaluations: " + ", ".join(parts), "dim"))


def _summary(check: CheckResult) -> Text:
    """The verdict and what it took."""
    counts = _text.tally(check.arrays)
    told = _text.tallied(counts) if set(counts) - {Outcome.PASS} else ""
    size = "" if told and sum(counts.values()) == check.elements else _text.counted(check.elements, "element")
    effort = f"{_text.counted(check.evaluations, 'evaluation')}, {_text.counted(check.vjp_calls, 'VJP call')}"
    verdict = (_text.headline(check), "bold " + STYLES["pass" if check.met else check.verdict].removeprefix("bold "))
    parts = [told, size if check.elements else "", effort]
    return Text.assemble(verdict, f": {'; '.join(filter(None, parts))}, {_text.seconds(check.seconds)}")


def _one_line(check: CheckResult) -> Text:
    """A check of which no elements are shown."""
    mark = "✓" if check.met else "?" if check.verdict is Verdict.INCONCLUSIVE else "✗"
    style = STYLES["pass" if check.met else check.verdict]
    counts = _text.tally(check.arrays)
    why = _text.tallied(counts) if set(counts) - {Outcome.PASS} else _text.counted(check.elements, "element")
    if check.error:
        why = _text.plain(f"{check.error.type}: {check.error.message}".splitlines()[0])
    last = _text.seconds(check.seconds) if check.met else _text.plain(check.reproduce)
    told = f": {'; '.join(filter(None, [why, last]))}"
    return _unbroken((mark, style), "  ", (_text.plain(check.id), "bold"), "  ", (_text.headline(check), style), told)


def _totals(run: RunResult) -> Text:
    """The verdict of the run and what it took."""
    if not run.checks:
        return Text("interrupted before the first check ended" if run.interrupted else "no checks")
    summary = run.summary
    counts = {
        Verdict.PASS: summary.passed,
        Verdict.FAIL: summary.failed,
        Verdict.INCONCLUSIVE: summary.inconclusive,
        Verdict.ERROR: summary.errors,
    }
    checks = _text.counted(summary.checks, "check")
    if summary.passed == summary.checks and not summary.unmet:
        told = f"{checks} {'passes' if summary.checks == 1 else 'pass'}"
    else:
        first = f"{summary.unmet} of {checks} not" if summary.unmet else checks
        told = f"{first} as expected: {_text.verdicts(counts)}"
    evaluations = _text.counted(sum(check.evaluations for check in run.checks), "evaluation")
    elements_all = _text.counted(sum(check.elements for check in run.checks), "element")
    colour = STYLES["pass" if run.verdict is Verdict.PASS else run.verdict]
    return Text.assemble(
        ("interrupted; ", "yellow") if run.interrupted else "",
        (told, colour if colour.startswith("bold") else f"bold {colour}"),
        f"; {elements_all}, {evaluations}, {_text.seconds(run.seconds)}",
    )


def _power(checks: Sequence[CheckResult]) -> list[Text]:
    """The smallest errors that would have been seen."""
    known = [(check.resolution, check) for check in checks if check.resolution]
    if not known:
        return []
    worst, where = max(known, key=lambda pair: pair[0].worst)
    medians = sorted(resolution.median for resolution, _ in known)
    middle = (medians[(len(medians) - 1) // 2] + medians[len(medians) // 2]) / 2
    of = f" of {_text.plain(where.name)}" if len(checks) > 1 else ""
    told = f"median resolution {_text.short(middle)}, worst {_text.short(worst.worst)} at {_text.plain(worst.at)}{of}"
    return [Text(told, "dim")]


def _indented(text: Text) -> RenderableType:
    return Padding(text, (0, 0, 0, INDENT))


def _unbroken(*parts: str | tuple[str, str]) -> Text:
    """A line that stays whole however long it is: names and commands that are copied."""
    return Text.assemble(*parts, no_wrap=True, overflow="ignore")


def _hanging(rows: Sequence[tuple[Text, Text]]) -> RenderableType:
    """Each first text followed by the second, which wraps beside it."""
    grid = Grid.grid(padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True, overflow="fold")
    grid.add_column(overflow="fold")
    for first, second in rows:
        grid.add_row(first, second)
    return Padding(grid, (0, 0, 0, INDENT))

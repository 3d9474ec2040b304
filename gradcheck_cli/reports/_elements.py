"""Elements as a table where it fits, else one below the other. No number is cut, whatever the width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradcheck_cli.reports import _text
from gradcheck_cli.results import ArrayResult, CheckResult, Element
from gradcheck_cli.values import dataclass

STYLES = {
    "pass": "green",
    "kink": "cyan",
    "inconclusive": "yellow",
    "fail": "bold red",
    "nonfinite": "bold red",
    "error": "bold red",
}
WIDE = 100
INDENT, GAP = 2, 2
_LEFT_OUT = [("rel", "±", "tier", "step", "method")[:count] for count in range(6)]  # the more, the less fits

Pairs = Sequence[tuple[ArrayResult, Element]]


@dataclass(frozen=True)
class Column:
    """One property of the elements, one cell for each."""

    key: str
    title: str
    cells: Sequence[str]
    number: bool = True

    def with_points_aligned(self) -> Column:
        """The same with decimal points below each other, where they are compared."""
        return replace(self, cells=_text.aligned(self.cells)) if self.key in ("analytic", "numeric") else self

    @property
    def needs(self) -> int:
        """The fewest terminal cells that hold it; an outcome's reason may wrap between words."""
        if self.key == "outcome":
            return max(cell_len(word) for text in (self.title, *self.cells) for word in text.split())
        return self.wants

    @property
    def wants(self) -> int:
        """The terminal cells that hold it on one line."""
        return max(map(cell_len, (self.title, *self.cells)))


def elements(check: CheckResult, pairs: Pairs, width: int, verbose: bool) -> RenderableType:
    """The given elements of a check, in their order."""
    columns = _columns(check, pairs, width, verbose)
    pointed = [column.with_points_aligned() for column in columns]
    for left_out in _LEFT_OUT:
        for kind in (pointed, columns):
            chosen = [
                column for column in kind if column.key not in left_out and (width >= WIDE or column.key != "rel")
            ]
            if INDENT + sum(column.needs + GAP for column in chosen) - GAP <= width:
                return Padding(_table(chosen, width), (0, 0, 0, INDENT))
    return _stack(columns)


def _columns(check: CheckResult, pairs: Pairs, width: int, verbose: bool) -> list[Column]:
    values = [_text.pair(element.analytic, element.numeric) for _, element in pairs]
    each = [element for _, element in pairs]
    columns = [
        Column("element", "element", [_text.label(array, one) for array, one in pairs], number=False),
        *([Column("point", "point", [str(one.point) for one in each])] if check.points > 1 else []),
        Column("analytic", "analytic", [analytic for analytic, _ in values]),
        Column("numeric", "numeric", [numeric for _, numeric in values]),
        Column("±", "± uncertainty" if width >= WIDE else "±", [_text.short(one.uncertainty) for one in each]),
        Column("abs", "abs error", [_text.short(one.abs_error) for one in each]),
        Column("rel", "rel error", [_text.short(one.rel_error) for one in each]),
    ]
    if verbose:
        columns += [
            Column("method", "method", [_text.plain(one.method) for one in each], number=False),
            Column("step", "step", [_text.short(one.step) for one in each]),
            Column("tier", "tier", [str(one.tier) for one in each]),
        ]
    return [*columns, Column("outcome", "outcome", [_outcome(one) for one in each], number=False)]


def _outcome(element: Element) -> str:
    reason = f": {_text.plain(element.reason)}" if element.reason else ""
    rounding = " (rounding)" if element.precision == "rounding" else ""
    return f"{element.outcome}{rounding}{reason}"


def _table(columns: Sequence[Column], width: int) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        header_style="dim",
        border_style="dim",
    )
    room = width - INDENT - sum(column.wants + GAP for column in columns if column.key != "outcome")
    for column in columns:
        size = column.wants if column.key != "outcome" else max(column.needs, min(column.wants, room))
        justify: Literal["left", "right"] = "right" if column.number else "left"
        table.add_column(Text(column.title), width=size, no_wrap=column.key != "outcome", justify=justify)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(_cell(column, text) for column, text in zip(columns, cells, strict=True)))
    return table


def _cell(column: Column, text: str) -> Text:
    if column.key != "outcome":
        return Text(text)
    word = text.split(":")[0].split()[0]
    return Text.assemble((word, STYLES[word]), text.removeprefix(word))


def _stack(columns: Sequence[Column]) -> Group:
    """Each element as a few lines: its name and outcome, then one number to a line."""
    names, outcomes = columns[0], columns[-1]
    titles = max(cell_len(column.title) for column in columns[1:-1])
    blocks: list[RenderableType] = []
    for row, name in enumerate(names.cells):
        heading = Text.assemble(name, "  ", _cell(outcomes, outcomes.cells[row]))
        blocks.append(Padding(heading, (0, 0, 0, INDENT)))
        for column in columns[1:-1]:
            line = f"{' ' * 2 * INDENT}{column.title:<{titles}}  {column.cells[row].strip()}"
            blocks.append(Text(line, no_wrap=True, overflow="ignore"))
    return Group(*blocks)

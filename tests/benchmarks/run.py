"""Measures the checker beside its peers: `python tests/benchmarks/run.py [W1 W2 W3 ... threads large growth startup]`."""

from __future__ import annotations

import argparse
import itertools
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the file is run by its path

from rich.console import Console

from tests.benchmarks import startup
from tests.benchmarks.measure import Row, alone, side_by_side, with_ratios
from tests.benchmarks.peers import BY_NAME, FAST, OURS, PEERS, TWO
from tests.benchmarks.scale import GROWTH, GROWTH_QUICK, LARGE, large_name
from tests.benchmarks.tables import show, versions, write
from tests.benchmarks.works import ABOUT, SPREAD, WORKS

PARTS = (*WORKS, *SPREAD, "large", "growth", "startup")
LIMIT_LARGE = 300.0  # seconds after which a large work is given up


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the rows as JSON, too")
    parser.add_argument("--repeats", type=int, default=9, metavar="N", help="turns of each checker")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all of it works")
    given = parser.parse_args(words)
    for part in given.parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}; must be of {', '.join(PARTS)}")
    if given.repeats < 1:
        parser.error(f"--repeats {given.repeats}; must be at least 1")
    return given


def large(given: argparse.Namespace) -> list[Row]:
    """A linear layer with millions of weights, some of them wrong; each once, for memory is scarce."""
    ours = [alone(work, BY_NAME[OURS], 1, given.quick, LIMIT_LARGE) for work in LARGE]
    peers = [alone(large_name("", 5), BY_NAME[FAST], 1, given.quick, LIMIT_LARGE)] if BY_NAME[FAST].installed else []
    return with_ratios([*ours, *peers])


def growth(given: argparse.Namespace) -> list[Row]:
    """A separable layer of growing size."""
    works = GROWTH_QUICK if given.quick else GROWTH
    rows = [alone(work, BY_NAME[OURS], given.repeats, given.quick) for work in works]
    return [rows[0], *(replace(row, note=power(before, row)) for before, row in itertools.pairwise(rows))]


def power(before: Row, row: Row) -> str | None:
    """With which power of the number of elements time grew from one row to the next."""
    if not before.seconds or not row.seconds:
        return row.note
    elements = [int(re.findall(r"\d+", one.work)[0]) for one in (before, row)]
    return f"time grew like elements^{math.log(row.seconds / before.seconds) / math.log(elements[1] / elements[0]):.2f}"


def measured(part: str, given: argparse.Namespace) -> tuple[str, list[Row]]:
    """A title and the rows of one part."""
    if part in WORKS:
        return f"{part}: {ABOUT[part]}", side_by_side(part, PEERS, given.repeats, given.quick)
    if part in SPREAD:
        peers = [replace(BY_NAME[OURS], works=(part,)), TWO]
        return f"{part}: {ABOUT[part]}", side_by_side(part, peers, given.repeats, given.quick)
    if part == "large":
        return "linear 4096 to 4096, batch 8, relative errors of 1e-2", large(given)
    if part == "growth":
        return "linear n to n, batch 8", growth(given)
    return "whole commands, cold", startup.startup(given.repeats)


def main() -> None:
    """Measure what was asked for, show each part when it is done, and write the rows."""
    given, console, rows = arguments(), Console(width=160), list[Row]()
    console.print(versions())
    for part in given.parts or PARTS:
        title, found = measured(part, given)
        show(console, title, found)
        rows += found
        if given.json is not None:
            write(given.json, rows)


if __name__ == "__main__":
    main()

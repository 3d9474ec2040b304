"""Measures the checker beside its peers: `python tests/benchmarks/run.py [W1 W2 W3 W4 large growth startup]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the file is run by its path

from rich.console import Console

from tests.benchmarks.measure import Row, side_by_side
from tests.benchmarks.peers import PEERS
from tests.benchmarks.tables import show, versions, write
from tests.benchmarks.works import ABOUT, WORKS

PARTS = (*WORKS, "large", "growth", "startup")


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the rows as JSON, too")
    parser.add_argument("--repeats", type=int, default=9, metavar="N", help="turns of each checker")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all of it works")
    given = parser.parse_args()
    for part in given.parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}; must be of {', '.join(PARTS)}")
    return given


def main() -> None:
    """Measure what was asked for, show each part when it is done, and write the rows."""
    given, console, rows = arguments(), Console(width=150), list[Row]()
    console.print(versions())
    for part in given.parts or PARTS:
        if part in WORKS:
            title, found = f"{part}: {ABOUT[part]}", side_by_side(part, PEERS, given.repeats, given.quick)
        show(console, title, found)
        rows += found
        if given.json is not None:
            write(given.json, rows)


if __name__ == "__main__":
    main()

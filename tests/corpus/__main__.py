"""Print both tables: `python -m tests.corpus`."""

from __future__ import annotations

import sys

from tests.corpus.tables import first_table, second_table


def main() -> None:
    """Measure everything and print it."""
    for line in (*first_table(), "", *second_table()):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()

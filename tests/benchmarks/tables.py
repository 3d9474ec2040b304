"""What was measured, as a table for people and as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.benchmarks.measure import Row

PACKAGES = ("numpy", "scipy", "torch", "jax", "autograd", "numdifftools", "jacobi", "openmdao")


def versions() -> str:
    """The machine and what was installed on it."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {name}")
    cpu = next((line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")), "unknown")
    return f"{platform.system()} {platform.machine()}, {cpu}; Python {platform.python_version()}, {', '.join(found)}"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def show(console: Console, title: str, rows: Sequence[Row]) -> None:
    """One table."""
    table = Table(title=title, title_justify="left")
    table.add_column("who", no_wrap=True)
    if len({row.work for row in rows}) > 1:
        table.add_column("work", no_wrap=True)
    for name in ("seconds", "evaluations", "max error", "each element", "peak MB", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("note")
    for row in rows:
        cells = [
            *([row.work] if len({one.work for one in rows}) > 1 else []),
            _number(row.seconds, ".3g"),
            _number(row.evaluations, ",d"),
            _number(row.max_abs_error, ".1e"),
            {True: "yes", False: "no", None: "-"}[row.per_element],
            _number(row.peak_rss_mb, ".0f"),
            _number(row.ratio, ".3g"),
            row.note or "",
        ]
        table.add_row(Text(row.who), *(Text(cell) for cell in cells))
    console.print(table)


def write(path: Path, rows: Sequence[Row]) -> None:
    """The rows as a JSON array."""
    path.write_text(json.dumps([row.to_dict() for row in rows], indent=2) + "\n", encoding="utf-8")

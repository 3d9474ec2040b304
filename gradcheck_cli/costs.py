"""What a check may cost: an array of too many elements is searched, and what takes too much memory is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradcheck_cli.layer import ArrayError
from gradcheck_cli.plumbing.bench import Bench
from gradcheck_cli.spec import CheckSpec
from gradcheck_cli.tiers.point import DENSE, VISIT, Limits
from gradcheck_cli.tiers.sheet import Sheet

PATIENCE, LEAST = 30.0, 200  # seconds that the elements may take by default, and evaluations that are always fine
MEMORY = 2**30  # bytes that the tables of an array may take by default
COPIES = 9  # of its largest array that a check has at a time


def limits_of(spec: CheckSpec, bench: Bench) -> Limits | None:
    """What visiting the elements may cost, from the time that forward took; None where all are visited."""
    if spec.exhaustive or spec.view != "vjp":
        return None
    affordable = max(LEAST, int(PATIENCE / bench.seconds))
    return Limits(spec.budget or affordable, spec.max_memory or MEMORY)


def must_fit(spec: CheckSpec, bench: Bench) -> None:
    """Refuse a check that can't keep to the memory it was given."""
    if spec.max_memory is None:
        return
    largest = max(bench.wrt, key=lambda name: bench.arrays[name].nbytes)
    array = bench.arrays[largest]
    jacobian = spec.view == "jacobian"
    units = sum(part.size for part in bench.outputs) if jacobian else 1
    tables = DENSE * array.size * units if jacobian or spec.exhaustive else 0  # what is else too large is searched
    needed = max(COPIES * array.nbytes, tables)
    if needed > spec.max_memory:
        came = f"{array.size} elements, whose check takes about {_bytes(needed)}"
        remedy = "raise it, or check a smaller layer" + (", or use view: vjp" if jacobian else "")
        raise ArrayError(largest, came, f"must fit into --max-memory, {_bytes(spec.max_memory)}; {remedy}")


def announced(spec: CheckSpec, limits: Limits | None, bench: Bench) -> Iterator[str]:
    """For each array that is too large: what visiting its elements would take, and what is allowed."""
    for name in bench.wrt:
        size = bench.arrays[name].size
        if limits is not None and limits.crossed_by(size):
            yield (
                f"{_compared(spec, limits, bench, name, size)}: elements that do not mix move together, "
                "and where that is not enough, probes search"
            )


def searched(spec: CheckSpec, limits: Limits | None, bench: Bench, sheets: Sequence[Sheet]) -> Iterator[str]:
    """For each array that was searched: why, and what its probes would have seen."""
    for sheet in sheets:
        found = sheet.searched
        if found is None or limits is None:
            continue
        power = f"{found.covered}; an error above {found.resolution:.1e} of one of these would have been seen"
        covers = f"which cover {power}" if found.covered else "which cover none: too much is wrong or noisy"
        yield f"{_compared(spec, limits, bench, sheet.name, found.elements)}: searched by probes, {covers}"


def _compared(spec: CheckSpec, limits: Limits, bench: Bench, name: str, size: int) -> str:
    count = VISIT * size
    if count <= limits.budget:
        return f"{name}: the tables of {size} elements take more than {_bytes(limits.memory)}"
    budget = f"{limits.budget}" if spec.budget else f"{limits.budget} (about {_span(PATIENCE)})"
    takes = f"{count} evaluations one by one (about {_span(count * bench.seconds)})"
    return f"{name}: {size} elements take {takes}, the budget is {budget}"


def _span(seconds: float) -> str:
    for unit, size in (("s", 100.0), ("min", 6000.0), ("h", 360_000.0)):
        if seconds < size:
            return f"{seconds / {'s': 1, 'min': 60, 'h': 3600}[unit]:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def _bytes(count: float) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"

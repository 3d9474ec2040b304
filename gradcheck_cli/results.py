"""What comes out of a check: frozen values, ready for every report. Nothing here computes a gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Any, Literal

from gradcheck_cli import as_json
from gradcheck_cli.values import dataclass, field


class Outcome(StrEnum):
    """Of one element, from best to worst."""

    PASS = "pass"
    KINK = "kink"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"
    NONFINITE = "nonfinite"

    @property
    def severity(self) -> int:
        """0 for pass, rising to 4 for nonfinite."""
        return list(Outcome).index(self)


class Verdict(StrEnum):
    """Of a check or a run, from best to worst."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"
    ERROR = "error"

    @property
    def severity(self) -> int:
        """0 for pass, rising to 3 for error."""
        return list(Verdict).index(self)


class ExitCode(IntEnum):
    """What the process says to its caller."""

    MET = 0
    UNMET = 1
    USAGE = 2
    INTERNAL = 3
    NOTHING = 5
    INTERRUPTED = 130


Severity = Literal["error", "note"]


@dataclass(frozen=True)
class Finding:
    """One sentence that explains, with the numbers behind it. `rule` is a stable identifier."""

    rule: str
    severity: Severity
    array: str | None
    sentence: str


@dataclass(frozen=True)
class Element:
    """One entry of one array (VJP view), or one pair of an output and an array entry (Jacobian view)."""

    index: tuple[int, ...]
    analytic: float
    numeric: float
    uncertainty: float
    resolution: float
    outcome: Outcome
    output: tuple[int, ...] | None = None
    output_number: int | None = None
    point: int = 0
    reason: str | None = None
    method: str = "central"
    step: float = math.nan
    tier: int = 1
    precision: Literal["formula", "rounding"] = "formula"

    @property
    def abs_error(self) -> float:
        """|analytic - numeric|."""
        return 0.0 if self.analytic == self.numeric else abs(self.analytic - self.numeric)

    @property
    def rel_error(self) -> float:
        """|analytic - numeric| / max(|analytic|, |numeric|); 0 where both are 0."""
        return relative(self.abs_error, max(abs(self.analytic), abs(self.numeric)))

    def label(self, array: str) -> str:
        """Name it: `W[0, 1]`, and in the Jacobian view `∂y[2]/∂x[0]`."""
        place = f"{array}[{', '.join(map(str, self.index))}]" if self.index else array
        if self.output is None:
            return place
        number = "" if self.output_number is None else str(self.output_number)
        output = f"[{', '.join(map(str, self.output))}]" if self.output else ""
        return f"∂y{number}{output}/∂{place}"

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts elements: larger is worse; by outcome, then by how far the error exceeds what would be seen."""
        excess = relative(self.abs_error, self.resolution)
        return self.outcome.severity, math.inf if math.isnan(excess) else excess


def relative(error: float, scale: float) -> float:
    """Error over scale; 0 for no error, infinite for an error at scale 0."""
    if error == 0:
        return 0.0
    return error / scale if scale else math.inf


@dataclass(frozen=True)
class Rows:
    """How many elements are kept and shown: every one up to `limit`, else the worst `beyond`."""

    limit: int | None = 24
    beyond: int = 10

    def count(self, elements: int) -> int:
        """Of so many elements, the number to show."""
        return elements if self.limit is None or elements <= self.limit else self.beyond


@dataclass(frozen=True)
class ArrayResult:
    """One array of a check: counts over all its elements, and the worst of them, worst first."""

    name: str
    shape: tuple[int, ...]
    elements: int
    visited: int
    passed: int
    kinks: int
    inconclusive: int
    failed: int
    nonfinite: int
    max_abs_error: float
    max_rel_error: float
    worst: tuple[Element, ...]
    covered: int = 0
    covered_resolution: float | None = None

    @property
    def outcome(self) -> Outcome:
        """The worst outcome among its elements."""
        counts = {
            Outcome.NONFINITE: self.nonfinite,
            Outcome.FAIL: self.failed,
            Outcome.INCONCLUSIVE: self.inconclusive,
            Outcome.KINK: self.kinks,
        }
        return next((outcome for outcome, count in counts.items() if count), Outcome.PASS)


@dataclass(frozen=True)
class Resolution:
    """The smallest error that would have been seen: its median and its worst over all elements, and where that is."""

    median: float
    worst: float
    at: str


@dataclass(frozen=True)
class ErrorInfo:
    """Why a check could not be made: the exception, and the user's own line that raised it."""

    type: str
    message: str
    traceback_line: str | None = None


@dataclass(frozen=True)
class CheckResult:
    """One layer at one point, judged."""

    id: str
    name: str
    layer: str
    verdict: Verdict
    expected: Verdict = Verdict.PASS
    met: bool = True
    file: str | None = None
    line: int | None = None
    column: int | None = None
    seed: int = 0
    dtype: str = "float64"
    view: str = "vjp"
    points: int = 1
    evaluations: int = 0
    evaluations_by_tier: Mapping[str, int] = field(default_factory=dict)
    vjp_calls: int = 0
    seconds: float = 0.0
    reproduce: str = ""
    error: ErrorInfo | None = None
    notes: tuple[str, ...] = ()
    resolution: Resolution | None = None
    findings: tuple[Finding, ...] = ()
    arrays: tuple[ArrayResult, ...] = ()
    printed: str = ""

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def __str__(self) -> str:
        from gradcheck_cli.reports.table import render_check  # the one upward import: printing is a report's work

        return render_check(self)

    @property
    def elements(self) -> int:
        """How many elements all arrays have."""
        return sum(array.elements for array in self.arrays)

    def worst(self, rows: Rows | None = None) -> list[tuple[ArrayResult, Element]]:
        """The elements to show with their arrays, worst first, over all arrays."""
        pairs = [(array, element) for array in self.arrays for element in array.worst]
        pairs.sort(key=lambda pair: pair[1].rank, reverse=True)
        return pairs[: (rows or Rows()).count(self.elements)]

    def to_dict(self) -> dict[str, Any]:
        """The check as strict JSON holds it: NaN and infinities are strings."""
        return as_json.of_check(self)


@dataclass(frozen=True)
class Summary:
    """Counts over the checks of a run."""

    checks: int
    passed: int
    failed: int
    inconclusive: int
    errors: int
    unmet: int


@dataclass(frozen=True)
class Versions:
    """What a run was made with."""

    gradcheck: str
    numpy: str
    python: str


@dataclass(frozen=True)
class RunResult:
    """Many checks. Its verdict is pass when every check met its expectation, else the worst unmet verdict.

    `shard` is (2, 5) for the second of five parts of a run, `positions` then says at which places of the whole run its
    checks stand; `versions` is None for this process's own.
    """

    checks: tuple[CheckResult, ...]
    seconds: float = 0.0
    interrupted: bool = False
    shard: tuple[int, int] | None = None
    positions: tuple[int, ...] = ()
    versions: Versions | None = None

    @property
    def summary(self) -> Summary:
        """How many checks there are of each verdict, and how many did not meet what was expected."""
        count = {verdict: sum(check.verdict is verdict for check in self.checks) for verdict in Verdict}
        return Summary(
            checks=len(self.checks),
            passed=count[Verdict.PASS],
            failed=count[Verdict.FAIL],
            inconclusive=count[Verdict.INCONCLUSIVE],
            errors=count[Verdict.ERROR],
            unmet=sum(not check.met for check in self.checks),
        )

    @property
    def verdict(self) -> Verdict:
        """Pass when every check is met, else the worst of the unmet; a pass where fail was expected is a fail."""
        unmet = [check.verdict for check in self.checks if not check.met]
        unmet = [Verdict.FAIL if verdict is Verdict.PASS else verdict for verdict in unmet]
        return max(unmet, key=lambda verdict: verdict.severity, default=Verdict.PASS)

    @property
    def exit_code(self) -> ExitCode:
        """The process's exit code: interrupted, nothing checked, unmet or met."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if not self.checks and self.shard is None:  # a shard may be left without a check
            return ExitCode.NOTHING
        return ExitCode.MET if self.verdict is Verdict.PASS else ExitCode.UNMET

    def to_dict(self) -> dict[str, Any]:
        """The run as strict JSON holds it."""
        return as_json.of_run(self)

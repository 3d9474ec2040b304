"""The JSON of results as models: every key and its type, and the way back to results.

The models are the contract of `schema_version` 1, so they are written down and not derived from the results.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from gradcheck_cli import results
from gradcheck_cli.results import Outcome, Severity, Verdict, Versions

_BEYOND_JSON = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_SHOWN = 40


class ResultError(ValueError):
    """Text or a mapping that is no result; one line for each thing that is wrong with it."""


def _number(value: Any) -> Any:
    if isinstance(value, str):
        if value not in _BEYOND_JSON:
            raise ValueError('must be a number, "nan", "inf" or "-inf"')
        return _BEYOND_JSON[value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError('must be written as the text "nan", "inf" or "-inf"')
    return value


_NUMBER_SCHEMA = {"anyOf": [{"type": "number"}, {"enum": [*_BEYOND_JSON]}]}
Number: TypeAlias = Annotated[float, BeforeValidator(_number), WithJsonSchema(_NUMBER_SCHEMA)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Index: TypeAlias = tuple[Count, ...]


class _Keys(BaseModel):
    """Keys of one object: all must be there, none beside them, nothing is converted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def fields(self, *derived: str) -> dict[str, Any]:
        """The values by name, less those that follow from others."""
        return {name: value for name, value in self if name not in derived}


class FindingKeys(_Keys):
    """One sentence that explains."""

    rule: str
    severity: Severity
    array: str | None
    sentence: str


class ErrorKeys(_Keys):
    """Why a check could not be made."""

    type: str
    message: str
    traceback_line: str | None


class ResolutionKeys(_Keys):
    """The smallest error that would have been seen."""

    median: Number
    worst: Number
    at: str


class ElementKeys(_Keys):
    """One entry of one array; in the Jacobian view its pair with the entry `output` of an output."""

    index: Index
    output: Index | None = None
    output_number: Count | None = None
    point: Count
    analytic: Number
    numeric: Number
    uncertainty: Number
    abs_error: Number
    rel_error: Number
    resolution: Number
    outcome: Outcome
    reason: str | None
    method: str
    step: Number
    tier: int
    precision: Literal["formula", "rounding"]


class ArrayKeys(_Keys):
    """One array: counts over all its elements, and the worst of them, worst first."""

    name: str
    shape: Index
    elements: Count
    visited: Count
    covered: Count
    covered_resolution: Number | None
    passed: Count
    kinks: Count
    inconclusive: Count
    failed: Count
    nonfinite: Count
    max_abs_error: Number
    max_rel_error: Number
    worst: tuple[ElementKeys, ...]

    def result(self) -> results.ArrayResult:
        """The array with its elements."""
        worst = tuple(results.Element(**element.fields("abs_error", "rel_error")) for element in self.worst)
        return results.ArrayResult(**self.fields() | {"worst": worst})


class CheckKeys(_Keys):
    """One check. For one without a file, `file`, `line` and `column` are null."""

    id: str
    name: str
    file: str | None
    line: Annotated[int, Field(ge=1)] | None
    column: Annotated[int, Field(ge=1)] | None
    layer: str
    verdict: Verdict
    expected: Verdict
    met: bool
    seed: Count
    dtype: str
    view: str
    points: Count
    evaluations: Count
    evaluations_by_tier: dict[str, Count]
    vjp_calls: Count
    seconds: Number
    reproduce: str
    error: ErrorKeys | None
    notes: tuple[str, ...]
    resolution: ResolutionKeys | None
    findings: tuple[FindingKeys, ...]
    arrays: tuple[ArrayKeys, ...]

    def result(self) -> results.CheckResult:
        """The check with all its parts."""
        parts = {
            "error": self.error and results.ErrorInfo(**self.error.fields()),
            "resolution": self.resolution and results.Resolution(**self.resolution.fields()),
            "findings": tuple(results.Finding(**finding.fields()) for finding in self.findings),
            "arrays": tuple(array.result() for array in self.arrays),
        }
        return results.CheckResult(**self.fields() | parts)


class SummaryKeys(_Keys):
    """Counts over the checks of a run."""

    checks: Count
    passed: Count
    failed: Count
    inconclusive: Count
    errors: Count
    unmet: Count


class ShardKeys(_Keys):
    """Which part of a run this is: the `index`-th, from 1, of `count`, and the place of each check in the whole run."""

    index: Annotated[int, Field(ge=1)]
    count: Annotated[int, Field(ge=1)]
    positions: tuple[Count, ...]


class RunKeys(_Keys):
    """A run of gradcheck: `gradcheck run --report json`."""

    schema_version: Literal[1]
    gradcheck: str
    numpy: str
    python: str
    verdict: Verdict
    exit_code: Literal[0, 1, 5, 130]
    seconds: Number
    shard: ShardKeys | None = None
    summary: SummaryKeys
    checks: tuple[CheckKeys, ...]

    def result(self) -> results.RunResult:
        """The run; what follows from its checks must agree with them."""
        run = results.RunResult(
            tuple(check.result() for check in self.checks),
            self.seconds,
            interrupted=self.exit_code == int(results.ExitCode.INTERRUPTED),
            shard=(self.shard.index, self.shard.count) if self.shard else None,
            positions=self.shard.positions if self.shard else (),
            versions=Versions(self.gradcheck, self.numpy, self.python),
        )
        said = self.summary.fields() | {"verdict": self.verdict, "exit_code": self.exit_code}
        found = vars(run.summary) | {"verdict": run.verdict, "exit_code": int(run.exit_code)}
        if self.shard:
            said["number of positions"], found["number of positions"] = len(run.positions), len(run.checks)
        wrong = [key for key in said if said[key] != found[key]]
        if wrong:
            lines = [f"{key}: {said[key]}; must be {found[key]}, as the checks say" for key in wrong]
            raise ResultError("\n".join(lines))
        return run


K = TypeVar("K", bound=_Keys)


def read(model: type[K], text: str | bytes) -> K:
    """Return the model that a JSON text describes; raises `ResultError` with everything that is wrong with it."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        lines = [_told(one) for one in error.errors(include_url=False)]
        raise ResultError("\n".join(lines)) from None


def _told(error: Any) -> str:
    """Where, what came, and what must hold."""
    if error["type"] == "json_invalid":
        return f"no JSON: {error['ctx']['error']}"
    if error["type"] == "missing":
        return f"no key {_path(error['loc'])!r}; must be given"
    if error["type"] == "extra_forbidden":
        return f"unknown key {_path(error['loc'])!r}; must be one that the schema has"
    came = repr(error["input"])
    must = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    must = must if must.startswith("must ") else f"must be {must}"
    where = _path(error["loc"])
    came = came if len(came) <= _SHOWN else f"{came[: _SHOWN - 3]}..."
    return f"{where}: {came}; {must}" if where else f"{came}; {must}"


def _path(steps: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def result_schema() -> dict[str, Any]:
    """The JSON Schema of the JSON report."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **RunKeys.model_json_schema()}
    return schema | {"title": "gradcheck result, schema_version 1"}

"""Results as plain mappings, lists, numbers and text, and back: the JSON report's keys in its order, strict JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck_cli.results import ArrayResult, CheckResult, Element, RunResult

SCHEMA_VERSION = 1


def of_run(run: RunResult) -> dict[str, Any]:
    """The run with everything in it, and what it ran on."""
    return {**head_of_run(run), "checks": [of_check(check) for check in run.checks]}


def head_of_run(run: RunResult) -> dict[str, Any]:
    """What stands before the checks: of ten thousand of these it is not wise to make one mapping."""
    plain = {
        "schema_version": SCHEMA_VERSION,
        **(vars(run.versions) if run.versions else _versions()),
        "verdict": run.verdict,
        "exit_code": int(run.exit_code),
        "seconds": run.seconds,
        **({"shard": _shard(run, *run.shard)} if run.shard else {}),
        "summary": vars(run.summary),
    }
    return dict(_strict(plain))


def _shard(run: RunResult, index: int, count: int) -> dict[str, Any]:
    return {"index": index, "count": count, "positions": run.positions}


def of_check(check: CheckResult) -> dict[str, Any]:
    """One check with its arrays, elements and findings."""
    parts = {
        "error": check.error and vars(check.error),
        "resolution": check.resolution and vars(check.resolution),
        "findings": [vars(finding) for finding in check.findings],
        "arrays": [_array(array) for array in check.arrays],
    }
    plain = _led_by(("id", "name", "file", "line", "column", "layer"), vars(check) | parts)
    del plain["printed"]  # what user code wrote is for people
    return dict(_strict(plain))


def run_from_dict(plain: Mapping[str, Any]) -> RunResult:
    """The run of which `of_run` made this; raises `from_json.ResultError` for anything else."""
    return run_from_text(json.dumps(plain))


def run_from_text(text: str | bytes) -> RunResult:
    """The run in a JSON report; raises `from_json.ResultError` for any other text."""
    from gradcheck_cli import from_json  # with pydantic, which only readers of results need

    return from_json.read(from_json.RunKeys, text).result()


def check_from_dict(plain: Mapping[str, Any]) -> CheckResult:
    """The check of which `of_check` made this, less what it printed; raises `from_json.ResultError` else."""
    return check_from_text(json.dumps(plain))


def check_from_text(text: str | bytes) -> CheckResult:
    """The check in a JSON text, as it stands in a line of a jsonl report; raises `from_json.ResultError` else."""
    from gradcheck_cli import from_json

    return from_json.read(from_json.CheckKeys, text).result()


def _versions() -> dict[str, str]:
    import numpy as np

    from gradcheck_cli import __version__

    return {"gradcheck": __version__, "numpy": np.__version__, "python": platform.python_version()}


def _array(array: ArrayResult) -> dict[str, Any]:
    first = ("name", "shape", "elements", "visited", "covered", "covered_resolution")
    plain = _led_by(first, vars(array))
    del plain["worst"]
    return plain | {"worst": [_element(element) for element in array.worst]}


def _element(element: Element) -> dict[str, Any]:
    """`output` is there in the Jacobian view only, `output_number` only beside several outputs."""
    errors = {"abs_error": element.abs_error, "rel_error": element.rel_error}
    first = ("index", "output", "output_number", "point", "analytic", "numeric", "uncertainty", *errors)
    plain = _led_by(first, vars(element) | errors)
    return {key: value for key, value in plain.items() if value is not None or not key.startswith("output")}


def _led_by(first: Sequence[str], plain: Mapping[str, Any]) -> dict[str, Any]:
    """The same mapping with these keys in front."""
    return {key: plain[key] for key in first} | dict(plain)


def _strict(value: Any) -> Any:
    """Turn tuples into lists, enums into text, floats that JSON lacks into strings, and escape what UTF-8 lacks."""
    if isinstance(value, Mapping):
        return {str(key): _strict(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(part) for part in value]
    if isinstance(value, str):
        return str(value) if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value

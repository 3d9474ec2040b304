"""JSON of constructed results: the keys and their order, and that it is strict."""

from __future__ import annotations

import json
import platform
from typing import Any

import constructed_results as constructed
import numpy as np
import pytest

from gradcheck_cli import __version__
from gradcheck_cli.cli.options import report_names
from gradcheck_cli.registry import REPORTS
from gradcheck_cli.reports.json import Json

RUN_KEYS = ["schema_version", "gradcheck", "numpy", "python", "verdict", "exit_code", "seconds", "summary", "checks"]
SUMMARY_KEYS = ["checks", "passed", "failed", "inconclusive", "errors", "unmet"]
CHECK_KEYS = [
    *["id", "name", "file", "line", "column", "layer", "verdict", "expected", "met", "seed", "dtype", "view", "points"],
    *["evaluations", "evaluations_by_tier", "vjp_calls", "seconds", "reproduce", "error", "notes", "resolution"],
    *["findings", "arrays"],
]
ARRAY_KEYS = [
    *["name", "shape", "elements", "visited", "covered", "covered_resolution", "passed", "kinks", "inconclusive"],
    *["failed", "nonfinite", "max_abs_error", "max_rel_error", "worst"],
]
ELEMENT_KEYS = [
    *["index", "output", "output_number", "point", "analytic", "numeric", "uncertainty", "abs_error", "rel_error"],
    *["resolution", "outcome", "reason", "method", "step", "tier", "precision"],
]


def refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    text = Json().render(constructed.run())
    assert text.endswith("}\n")
    plain: dict[str, Any] = json.loads(text, parse_constant=refused)
    return plain


def test_keys_stand_in_the_documented_order(report: dict[str, Any]) -> None:
    assert list(report) == RUN_KEYS
    assert list(report["summary"]) == SUMMARY_KEYS
    for check in report["checks"]:
        assert list(check) == CHECK_KEYS
        for array in check["arrays"]:
            assert list(array) == ARRAY_KEYS
            for element in array["worst"]:
                there = [key for key in ELEMENT_KEYS if not key.startswith("output") or check["view"] == "jacobian"]
                assert list(element) == there


def test_run_tells_what_it_ran_on_and_its_verdict(report: dict[str, Any]) -> None:
    del report["checks"]
    assert report == {
        "schema_version": 1,
        "gradcheck": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "verdict": "error",
        "exit_code": 1,
        "seconds": 1.25,
        "summary": {"checks": 6, "passed": 1, "failed": 3, "inconclusive": 1, "errors": 1, "unmet": 4},
    }


def test_output_is_there_in_the_jacobian_view_only() -> None:
    pair = constructed.array("x", (), [constructed.element(output=(1,), analytic=1.0, numeric=1.0)])
    (jacobian,) = constructed.check("a", "b", constructed.Verdict.PASS, pair, view="jacobian").to_dict()["arrays"]
    (element,) = jacobian["worst"]
    assert element["index"] == []
    assert element["output"] == [1]
    assert "output_number" not in element


def test_numbers_that_json_lacks_are_text() -> None:
    transposed = constructed.transposed().to_dict()
    (nonfinite, *_) = transposed["arrays"][1]["worst"]
    assert (nonfinite["analytic"], nonfinite["abs_error"], nonfinite["rel_error"]) == ("nan", "nan", "nan")
    extreme = constructed.element(analytic=float("inf"), numeric=float("-inf"))
    (element,) = constructed.check("a", "b", constructed.Verdict.FAIL, constructed.array("x", (), [extreme])).to_dict()[
        "arrays"
    ][0]["worst"]
    assert (element["analytic"], element["numeric"]) == ("inf", "-inf")


def test_error_is_told_whole() -> None:
    assert constructed.broken().to_dict()["error"] == {
        "type": "ValueError",
        "message": "shapes do not fit:\n\x1b[31m(3,) and (2,)",
        "traceback_line": 'layers.py:12, in forward: "y = W @ x"',
    }


def test_every_report_is_named_like_its_file() -> None:
    assert list(REPORTS) == report_names()

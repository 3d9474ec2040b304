"""What does not fit, raises, prints or interrupts; and a tiny mistake through a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradcheck_cli
from gradcheck_cli.layer import Array, ArraySpec, Fill, Shape
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from tests.judging import Map, check, entrywise

RIGHT = entrywise(np.exp, np.exp)
WRONG = entrywise(np.exp, lambda x: 1.01 * np.exp(x))


def spec(layer: Any, name: str = "one", **asked: Any) -> CheckSpec:
    return CheckSpec(f"a.yaml::{name}", name, layer, "exp", **asked)


def failing(layer: Any, **asked: Any) -> CheckResult:
    """A check that cannot be made."""
    result = run_check(spec(layer, **asked))
    assert result.verdict is Verdict.ERROR
    assert result.error is not None
    assert not result.met
    return result


MISFITS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "unknown array in wrt": (
        *(RIGHT, {"wrt": ("y",)}),
        "array 'y': no such array; wrt takes x",
    ),
    "integers in wrt": (
        *(LAYERS["embedding"](), {"wrt": ("indices",)}),
        "array 'indices': int64 values; only float arrays have a gradient; leave it out of wrt",
    ),
    "shape of the cotangent": (
        *(RIGHT, {"cotangent": (np.ones(2),)}),
        "array 'cotangent': shape (2,); must be the output's, (3,)",
    ),
    "number of cotangents": (
        *(RIGHT, {"cotangent": (np.ones(3), np.ones(3))}),
        "array 'cotangent': 2 arrays; forward has 1 outputs",
    ),
    "too few cotangents": (
        *(Map(lambda x: (2 * x, 3 * x), lambda dy, x: 2 * dy[0] + 3 * dy[1]), {"cotangent": (np.ones(3),)}),
        "array 'cotangent': 1 arrays; forward has 2 outputs",
    ),
    "unknown array": (
        *(RIGHT, {"arrays": {"z": Given(values=np.ones(2))}}),
        "array 'z': no such array; the arrays are x",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_an_error_that_says_so(name: str) -> None:
    layer, asked, message = MISFITS[name]
    result = failing(layer, **asked)
    assert result.error is not None
    assert (result.error.type, result.error.message) == ("ArrayError", message)


def test_nothing_to_differentiate_is_an_error() -> None:
    class Counting(Map):
        def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
            return {"x": ArraySpec((2,), "integer", Fill(1))}

    result = failing(Counting(lambda x: x * 1.0, lambda dy, x: dy))
    assert result.error is not None
    assert result.error.message == (
        "array 'wrt': no differentiable float array; a check needs at least one; x is int64, "
        "which is passed on as it is"
    )


def explode(*args: Any) -> Any:
    raise RuntimeError("the reactor is hot")


@pytest.mark.parametrize("layer", [Map(explode, lambda dy, x: dy), Map(np.exp, explode)], ids=["forward", "vjp"])
def test_what_user_code_raises_is_the_error_of_its_check(layer: Map) -> None:
    result = failing(layer)
    assert result.error is not None
    assert (result.error.type, result.error.message) == ("RuntimeError", "the reactor is hot")
    assert result.error.traceback_line is not None
    assert result.error.traceback_line.startswith(f"{__file__}:")
    assert result.error.traceback_line.endswith('raise RuntimeError("the reactor is hot")')


def test_a_layer_that_ends_the_program_does_not() -> None:
    def leave(x: Array) -> Array:
        sys.exit(3)

    result = failing(Map(leave, lambda dy, x: dy))
    assert result.error is not None
    assert result.error.type == "SystemExit"


def test_what_user_code_prints_is_kept_apart(capsys: pytest.CaptureFixture[str]) -> None:
    def loud(x: Array) -> Array:
        print("here I am")
        print("and here", file=sys.stderr)
        return np.exp(x)

    result = check(Map(loud, lambda dy, x: dy * np.exp(x)))
    assert "here I am\nand here\n" in result.printed
    assert capsys.readouterr() == ("", "")


def test_warnings_of_user_code_are_not_the_checkers_news() -> None:
    import warnings

    def nervous(x: Array) -> Array:
        warnings.warn("careful", stacklevel=1)
        return np.log(x) + np.sqrt(x)

    result = check(entrywise(nervous, lambda x: 1 / x + 0.5 / np.sqrt(x)), {"x": [1e-9, 0.5]})
    assert result.verdict is Verdict.PASS


def test_an_interruption_is_not_swallowed() -> None:
    def interrupt(x: Array) -> Array:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_check(spec(Map(interrupt, lambda dy, x: dy)))


TINY_MISTAKE = """\
import numpy as np

SCALE = np.where(np.arange(1000) == 617, 1.0, 1e6)
WRONG = np.where(np.arange(1000) == 617, 1 + 1e-5, 1.0)


def forward(x):
    return SCALE * np.sin(x), x


def backward(dy, x):
    return WRONG * SCALE * np.cos(x) * dy
"""
CONFIG = """\
version: 1
checks:
  - name: one tiny wrong element
    functions: {forward: mistake:forward, backward: mistake:backward}
    arrays: {x: {shape: [1000]}}
"""


def test_one_tiny_wrong_element_leads_the_table_of_a_real_process(tmp_path: Path) -> None:
    (tmp_path / "mistake.py").write_text(TINY_MISTAKE)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    package = str(Path(gradcheck_cli.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "gradcheck_cli", "run", "tiny.yaml", "--allow", "mistake", "--report", "json=out.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": package, "NO_COLOR": "1", "COLUMNS": "120"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    rows = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("x[")]
    assert rows[0][0] == "x[617]"
    assert rows[0][-1] == "fail"
    assert all(row[-1] == "pass" for row in rows[1:])
    written = json.loads((tmp_path / "out.json").read_text())
    (array,) = written["checks"][0]["arrays"]
    assert (array["passed"], array["failed"], array["worst"][0]["index"]) == (999, 1, [617])
    assert array["worst"][0]["rel_error"] == pytest.approx(1e-5, rel=1e-2)

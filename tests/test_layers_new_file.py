"""Adding a layer is one new file: it is listed, it has a page, and the tests of all layers run over it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
NEW = '''
"""A smooth rectifier without an exponential."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradcheck_cli.layer import Example
from gradcheck_cli.layers.elementwise import Elementwise


@dataclass(frozen=True)
class SquarePlus(Elementwise):
    """Rectifier with a rounded corner.

    Formula:
        y = (x + √(x² + b)) / 2, with b = roundness

    Arrays:
        x (...): input
        y (...): output, in the shape of x

    VJP:
        dL/dx = dy (1 + x / √(x² + b)) / 2

    Source:
        Barron, Squareplus: A Softplus-Like Algebraic Rectifier (2021)
    """

    name: ClassVar[str] = "squareplus"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (5,)}),
        Example({"roundness": 0.5}, {"x": (3, 4)}),
        Example({"roundness": 2.0}, {"x": (2, 4, 3)}),
    )

    roundness: float = 4.0

    def forward(self, x):
        return np.asarray((x + np.sqrt(x * x + self.roundness)) / 2)

    def vjp(self, dy, x):
        return {"x": dy * (1 + x / np.sqrt(x * x + self.roundness)) / 2 SLIP}
'''
START = "import sys, gradcheck_cli.layers as layers; layers.__path__.append(sys.argv.pop(1)); "
COMMAND = START + "from gradcheck_cli.__main__ import main; main()"
PYTEST = START + "import pytest; sys.exit(pytest.main(sys.argv[1:]))"


def folder_with(tmp_path: Path, slip: str = "") -> str:
    """A folder to lay over the package's own, with one more file."""
    (tmp_path / "squareplus.py").write_text(NEW.replace("SLIP", slip), encoding="utf-8")
    return str(tmp_path)


def run(code: str, folder: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, folder, *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=TESTS.parent, check=False)


def test_new_layer_is_listed(tmp_path: Path) -> None:
    listed = run(COMMAND, folder_with(tmp_path), "layers").stdout
    assert "\nsquareplus\n  squareplus                        Rectifier with a rounded corner.\n" in listed


def test_new_layer_has_a_page(tmp_path: Path) -> None:
    told = run(COMMAND, folder_with(tmp_path), "layers", "squareplus").stdout
    assert told.startswith(
        "squareplus (squareplus)\nRectifier with a rounded corner.\n\nFormula\n  y = (x + √(x² + b)) / 2"
    )
    assert "\nOptions\n  roundness  float  default 4.0\n" in told


def test_new_layer_is_checked_by_its_name(tmp_path: Path) -> None:
    outcome = run(COMMAND, folder_with(tmp_path), "check", "squareplus", "x:3,4", "roundness=0.5")
    assert outcome.returncode == 0, outcome.stderr
    assert "12 pass" in outcome.stdout


@pytest.mark.parametrize(("slip", "code"), [("", 0), ("* 1.01", 1)], ids=["right", "wrong"])
def test_new_layer_is_tested_as_all_others_are(tmp_path: Path, slip: str, code: int) -> None:
    files = [str(TESTS / f"test_{name}.py") for name in ("layer_library", "layers_hard_points", "wrong_layers")]
    options = ("-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-k", "squareplus")
    outcome = run(PYTEST, folder_with(tmp_path, slip), *options, *files)
    assert outcome.returncode == code, outcome.stdout
    if slip:
        assert "test_vjp_agrees_with_the_complex_step_or_with_differences[squareplus-0]" in outcome.stdout
        assert "test_every_element_passes_at_the_default_point[squareplus-0-float64]" in outcome.stdout
    else:
        assert int(outcome.stdout.rstrip().splitlines()[-1].split()[0]) > 40, "so many tests at least"

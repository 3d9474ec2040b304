"""configs/layers runs every built-in layer, over options and dtypes, and every element of it passes."""

from __future__ import annotations

import time
from pathlib import Path

from gradcheck_cli import config
from gradcheck_cli.cli.pages import page
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import Rows, Verdict
from gradcheck_cli.runner import run
from gradcheck_cli.spec import CheckSpec, RunSpec

FOLDER = Path(__file__).parent.parent / "configs" / "layers"
BUILT_IN = [name for name, layer in LAYERS.items() if layer.__module__.startswith("gradcheck_cli.")]
MOST_SECONDS = 60  # of the processor, on one core; a few are usual


def specs() -> list[CheckSpec]:
    return list(config.load([str(FOLDER)]))


def test_every_layer_is_there_in_both_precisions() -> None:
    found = {(spec.layer_name, spec.dtype) for spec in specs()}
    assert found >= {(name, dtype) for name in BUILT_IN for dtype in ("float64", "float32")}


def test_a_family_has_one_file() -> None:
    files: dict[str, set[str]] = {}
    for spec in specs():
        assert spec.file is not None
        files.setdefault(page(spec.layer_name, LAYERS[spec.layer_name]).family, set()).add(Path(spec.file).name)
    assert all(len(names) == 1 for names in files.values()), files
    assert len(set.union(*files.values())) == len(files)


def test_all_elements_of_all_layers_pass_in_time() -> None:
    start = time.process_time()
    result = run(RunSpec(tuple(specs()), Rows(0)))
    assert time.process_time() - start < MOST_SECONDS
    assert [check.id for check in result.checks if check.verdict is not Verdict.PASS] == []
    arrays = [array for check in result.checks for array in check.arrays]
    assert sum(array.elements for array in arrays) == sum(array.passed for array in arrays)

"""Many checks from few lines: matrix, defaults, extends."""

from pathlib import Path

import pytest
from config_text import check, complaints, loaded

from gradcheck_cli import config
from gradcheck_cli.spec import CheckSpec


def names(specs: tuple[CheckSpec, ...]) -> list[str]:
    return [spec.name for spec in specs]


def test_the_cross_product_in_the_order_written(tmp_path: Path) -> None:
    text = "name: softmax\nlayer: softmax\nmatrix: {options.beta: [2.0, 1e-3], dtype: [float32, float64]}"
    specs = loaded(tmp_path, check(text))
    assert names(specs) == [
        "softmax[beta=2.0,dtype=float32]",
        "softmax[beta=2.0,dtype=float64]",
        "softmax[beta=1e-3,dtype=float32]",
        "softmax[beta=1e-3,dtype=float64]",
    ]
    assert [(vars(spec.layer)["beta"], spec.dtype) for spec in specs] == [
        (2.0, "float32"),
        (2.0, "float64"),
        (1e-3, "float32"),
        (1e-3, "float64"),
    ]
    assert specs[0].id == f"{tmp_path / 'a.yaml'}::softmax[beta=2.0,dtype=float32]"
    assert specs[0].reproduce == f"gradcheck run '{specs[0].id}' --seed 0"


def test_exclude_takes_away_and_include_adds(tmp_path: Path) -> None:
    text = """
layer: softmax
matrix:
  options.axis: [0, -1]
  arrays.x.shape: [[2, 3], [5]]
  exclude: [{options.axis: 0, arrays.x.shape: [5]}, {options.axis: -1, arrays.x.shape: [2, 3]}]
  include: [{options.beta: 10, arrays.x.shape: [4]}]
"""
    assert names(loaded(tmp_path, check(text))) == [
        "softmax[axis=0,shape=[2,3]]",
        "softmax[axis=-1,shape=[5]]",
        "softmax[beta=10,shape=[4]]",
    ]


def test_any_key_can_vary(tmp_path: Path) -> None:
    text = """
name: m
chain: [{layer: linear, options: {in_features: 3}}, {layer: softmax}]
arrays: {0.x: {shape: [3]}}
matrix:
  "chain[1].layer": [softmax, log_softmax]
  chain.0.options.in_features: [3]
  arrays.0.x.shape: [[3]]
  arrays.0.W: [[[1, 2, 3], [4, 5, 6]]]
  tolerance: [{rtol: 1e-6}]
"""
    specs = loaded(tmp_path, check(text))
    assert names(specs) == [
        f"m[layer={layer},in_features=3,shape=[3],W=[[1,2,3],[4,5,6]],tolerance={{rtol:1e-06}}]"
        for layer in ("softmax", "log_softmax")
    ]
    assert specs[0].arrays["0.x"].shape == (3,)
    assert specs[0].arrays["0.W"].values is not None
    assert [type(vars(spec.layer)["links"][1]).__name__ for spec in specs] == ["Softmax", "LogSoftmax"]


def test_equal_last_components_are_told_apart(tmp_path: Path) -> None:
    text = "name: m\nlayer: linear\nmatrix: {arrays.x.shape: [[3]], arrays.W.shape: [[2, 3]]}"
    assert names(loaded(tmp_path, check(text))) == ["m[arrays.x.shape=[3],arrays.W.shape=[2,3]]"]


MATRICES = {
    "[]": "4:13: checks[0].matrix: an empty list; must be a mapping of lists",
    "{dtype: float32}": "4:21: checks[0].matrix.dtype: the text 'float32'; must be a list of values",
    "{dtype: []}": "4:21: checks[0].matrix.dtype: an empty list; must be a list of values",
    "{}": "4:13: checks[0].matrix: no combination is left; must have at least one",
    "{name: [a]}": (
        "4:14: checks[0].matrix.name: 'name' in a matrix; must be the path of another key of the check, "
        "as in options.beta"
    ),
    "{optins.beta: [1]}": "4:14: checks[0].matrix.optins.beta: unknown key 'optins'; did you mean 'options'?",
    "{options.bta: [1]}": "4:14: checks[0].matrix.options.bta: unknown option 'bta'; did you mean 'beta'?",
    "{options.beta: [1, two]}": "4:32: checks[0].matrix.options.beta[1]: the text 'two'; must be a number",
    "{options.beta.x: [1]}": "4:14: checks[0].matrix.options.beta.x: a mapping; must be a number",
    "{layer.x: [1]}": (
        "4:14: checks[0].matrix.layer.x: leads to 'x' in the text 'softmax'; must lead through mappings that are there"
    ),
    "{dtype: [float32], exclude: [{dtyp: float32}]}": (
        "4:43: checks[0].matrix.exclude[0].dtyp: 'dtyp' is not in the matrix; did you mean 'dtype'?"
    ),
    "{dtype: [float32], exclude: [{dtype: float32}]}": (
        "4:13: checks[0].matrix: no combination is left; must have at least one"
    ),
    "{dtype: [float32], exclude: {dtype: float32}}": (
        "4:41: checks[0].matrix.exclude: a mapping; must be a list of mappings"
    ),
    "{include: [float32]}": "4:24: checks[0].matrix.include[0]: the text 'float32'; must be a mapping",
    "{seed: [1, 1]}": "3:5: two checks are 'softmax[seed=1]'; must be different",
    "{points: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], seed: *a, a: *a, b: *a, c: *a}": (
        "4:13: checks[0].matrix: 100000 combinations; must be at most 10000"
    ),
}


@pytest.mark.parametrize("matrix", MATRICES)
def test_wrong_matrix(matrix: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, check(f"layer: softmax\nmatrix: {matrix}")) == [MATRICES[matrix]]


def test_defaults_merge_by_name(tmp_path: Path) -> None:
    text = """
version: 1
defaults: {layer: linear, options: {in_features: 3}, seed: 4, arrays: {x: [1, 2, 3]}, tolerance: {rtol: 1e-6}}
checks:
  - {}
  - {options: {out_features: 2}, seed: 5, arrays: {b: {shape: [2]}}, tolerance: {atol: 1}}
  - {layer: softmax, options: {beta: 2}}
"""
    plain, changed, other = loaded(tmp_path, text)
    assert vars(plain.layer) == {"in_features": 3, "out_features": None}
    assert (plain.seed, list(plain.arrays), plain.name) == (4, ["x"], "linear")
    assert vars(changed.layer) == {"in_features": 3, "out_features": 2}
    assert (changed.seed, list(changed.arrays), changed.name) == (5, ["x", "b"], "linear-2")
    assert changed.tolerance is not None
    assert (changed.tolerance.rtol, changed.tolerance.atol) == (0.0, 1.0)
    assert vars(other.layer) == {"beta": 2.0, "axis": -1}
    assert other.name == "softmax"


def test_wrong_defaults_are_told_once(tmp_path: Path) -> None:
    text = "version: 1\ndefaults: {points: 0, sed: 1}\nchecks: [{layer: relu}, {layer: tanh, points: 1}]"
    assert complaints(tmp_path, text) == [
        "2:20: defaults.points: the number 0; must be at least 1",
        "2:23: defaults.sed: unknown key 'sed'; did you mean 'seed'?",
    ]


def test_extends_takes_the_defaults_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("version: 1\nextends: root.yaml\ndefaults: {seed: 1, points: 2}\n")
    (tmp_path / "root.yaml").write_text("version: 1\ndefaults: {seed: 9, points: 9, dtype: float32}\n")
    (tmp_path / "other.yaml").write_text("version: 1\ndefaults: {points: 7}\n")
    text = """
version: 1
extends: base.yaml
defaults: {view: jacobian}
checks:
  - {layer: relu}
  - {layer: tanh, extends: other.yaml}
  - {layer: mse, points: 3}
"""
    assert [(one.seed, one.points, one.dtype, one.view) for one in loaded(tmp_path, text)] == [
        (1, 2, "float32", "jacobian"),
        (1, 7, "float32", "jacobian"),
        (1, 3, "float32", "jacobian"),
    ]
    assert names(config.load([str(tmp_path)])) == ["relu", "tanh", "mse"]


def test_a_mistake_in_a_base_is_told_where_it_is(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("version: 1\ndefaults: {points: 0}\n")
    assert complaints(tmp_path, "version: 1\nextends: base.yaml\nchecks: [{layer: relu}, {layer: tanh}]") == [
        f"{base}:2:20: defaults.points: the number 0; must be at least 1"
    ]


EXTENDS = {
    "bse.yaml": "2:10: extends: no file '{folder}/bse.yaml'; must be a config with defaults",
    "/etc/passwd": "2:10: extends: the text '/etc/passwd'; must be the path of a file, relative to this one",
    "3": "2:10: extends: the number 3; must be the path of a file, relative to this one",
    "a.yaml": "2:10: extends: '{folder}/a.yaml' extends itself; must not",
    "plain.yaml": "2:10: extends: '{folder}/plain.yaml' has no defaults; must have some to extend",
}


@pytest.mark.parametrize("path", EXTENDS)
def test_wrong_extends(path: str, tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text("version: 1\nchecks: [{layer: relu}]\n")
    found = complaints(tmp_path, f"version: 1\nextends: {path}\nchecks: [{{layer: relu}}]")
    assert found == [EXTENDS[path].format(folder=tmp_path)]

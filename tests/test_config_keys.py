"""The keys of a file and of a check: all that is wrong is told at once, each thing where it is written."""

from pathlib import Path

import pytest
from config_text import check, complaints, loaded

from gradcheck_cli.config import ConfigError, Problem
from gradcheck_cli.spec import Difference, Tolerance

DTYPES = "'float64', 'float32' or 'float16'"
KINDS = "layer, formula, functions, jax, object, torch, chain"


def test_four_mistakes_are_four_problems(tmp_path: Path) -> None:
    text = """
layer: linaer
dtpye: float32
tolerance: {rtol: "1e-6"}
arrays: {x: [1, .nan]}
"""
    assert complaints(tmp_path, check(text)) == [
        "3:12: checks[0].layer: unknown layer 'linaer'; did you mean 'linear'?",
        "4:5: checks[0].dtpye: unknown key 'dtpye'; did you mean 'dtype'?",
        "5:23: checks[0].tolerance.rtol: the text '1e-6'; must be a number",
        "6:21: checks[0].arrays.x[1]: the number .nan; must be finite",
    ]


FILES = {
    "a list": ("- 1", "1:1: a list; must be a mapping"),
    "nothing": ("---\n", "2:1: nothing; must be a mapping"),
    "no version": ("checks: [{layer: relu}]", "1:1: no key 'version'; must be given"),
    "another version": ("version: 2\nchecks: [{layer: relu}]", "1:10: version: the number 2; must be 1"),
    "a version as text": ("version: '1'\nchecks: [{layer: relu}]", "1:10: version: the text '1'; must be 1"),
    "no checks": ("version: 1", "1:1: no key 'checks'; must be given"),
    "an empty list": ("version: 1\nchecks: []", "2:9: checks: an empty list; must have at least 1"),
    "a check that is none": ("version: 1\nchecks: [relu]", "2:10: checks[0]: the text 'relu'; must be a mapping"),
    "an unknown key": (
        "version: 1\ncheck: []\nchecks: [{layer: relu}]",
        "2:1: check: unknown key 'check'; did you mean 'checks'?",
    ),
    "a far key": (
        "version: 1\nzzz: []\nchecks: [{layer: relu}]",
        "2:1: zzz: unknown key 'zzz'; must be one of version, extends, defaults, checks",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_wrong_file(case: str, tmp_path: Path) -> None:
    text, sentence = FILES[case]
    assert complaints(tmp_path, text) == [sentence]


ENTRIES = {
    "name: ''": "4:11: checks[0].name: the text ''; must not be empty",
    "name: 3": "4:11: checks[0].name: the number 3; must be text",
    "view: jacobain": (
        "4:11: checks[0].view: the text 'jacobain'; must be 'vjp' or 'jacobian'; did you mean 'jacobian'?"
    ),
    "dtype: bfloat16": f"4:12: checks[0].dtype: the text 'bfloat16'; must be {DTYPES}; did you mean 'float16'?",
    "dtype: 64": f"4:12: checks[0].dtype: the number 64; must be {DTYPES}",
    "points: 0": "4:13: checks[0].points: the number 0; must be at least 1",
    "points: 1.0": "4:13: checks[0].points: the number 1.0; must be an integer",
    "points: true": "4:13: checks[0].points: the word true; must be an integer",
    "seed: -1": "4:11: checks[0].seed: the number -1; must be at least 0",
    "expect: no": "4:13: checks[0].expect: the text 'no'; must be 'pass' or 'fail'",
    "timeout: 0": "4:14: checks[0].timeout: the number 0; must be greater than 0",
    "timeout: .inf": "4:14: checks[0].timeout: the number .inf; must be finite",
    "wrt: x": "4:10: checks[0].wrt: the text 'x'; must be a list",
    "wrt: []": "4:10: checks[0].wrt: an empty list; must have at least 1",
    "wrt: [y]": "4:11: checks[0].wrt[0]: unknown array 'y'; must be one of x",
    "wrt: [x, x]": "4:14: checks[0].wrt[1]: 'x' again; must be named once",
    "tolerance: 1e-6": "4:16: checks[0].tolerance: the number 1e-6; must be a mapping",
    "tolerance: {}": "4:16: checks[0].tolerance: a mapping; must have rtol, atol or both",
    "tolerance: {atol: -1}": "4:23: checks[0].tolerance.atol: the number -1; must be at least 0",
    "tolerance: {rtol: .nan}": "4:23: checks[0].tolerance.rtol: the number .nan; must be finite",
    "tolerance: {rtl: 1}": "4:17: checks[0].tolerance.rtl: unknown key 'rtl'; did you mean 'rtol'?",
    "difference: {step: 0}": "4:24: checks[0].difference.step: the number 0; must be greater than 0",
    "difference: {method: centrl}": (
        "4:26: checks[0].difference.method: unknown difference method 'centrl'; did you mean 'central'?"
    ),
    "difference: {step: 1, relative_step: 1}": (
        "4:17: checks[0].difference: a mapping; must have at most one of step and relative_step"
    ),
    "expect_arrays: [x]": (
        "4:5: checks[0].expect_arrays: expect is 'pass'; must be 'fail' where arrays are expected to"
    ),
    "arrays: []": "4:13: checks[0].arrays: an empty list; must be a mapping",
    "options: 3": "4:14: checks[0].options: the number 3; must be a mapping",
    "order: 2": "4:5: checks[0].order: 'order' beside 'layer'; must be left out",
    "constants: {a: 1}": "4:5: checks[0].constants: 'constants' beside 'layer'; must be left out",
    "chain: []": f"4:5: checks[0].chain: 'chain' beside 'layer'; must be exactly one of {KINDS}",
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_wrong_entry(entry: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, check(f"layer: softmax\n{entry}")) == [ENTRIES[entry]]


def test_nothing_to_check(tmp_path: Path) -> None:
    assert complaints(tmp_path, check("name: a")) == [
        f"3:5: checks[0]: nothing to check; must have exactly one of {KINDS}"
    ]


OPTIONS = {
    "layer: 3": "3:12: checks[0].layer: the number 3; must be the name of a layer",
    "layer: softmax\noptions: {bta: 2}": "4:15: checks[0].options.bta: unknown option 'bta'; did you mean 'beta'?",
    "layer: softmax\noptions: {beta: '2'}": "4:21: checks[0].options.beta: the text '2'; must be a number",
    "layer: softmax\noptions: {beta: true}": "4:21: checks[0].options.beta: the word true; must be a number",
    "layer: softmax\noptions: {beta: .inf}": "4:21: checks[0].options.beta: the number .inf; must be finite",
    "layer: softmax\noptions: {axis: 1.0}": "4:21: checks[0].options.axis: the number 1.0; must be an integer",
    "layer: softmax\noptions: {axis: 3}\narrays: {x: [1, 2]}": (
        "4:21: checks[0].options.axis: the number 3; must be in [-1, 1) for x of shape (2,)"
    ),
    "layer: linear\noptions: {in_features: 0}": "4:28: checks[0].options.in_features: the number 0; must be at least 1",
    "layer: conv2d\noptions: {stride: {a: 1}}": (
        "4:23: checks[0].options.stride: a mapping; must be an integer or a list"
    ),
    "layer: conv2d\noptions: {stride: [1, a]}": "4:27: checks[0].options.stride[1]: the text 'a'; must be an integer",
    "layer: relu\noptions: {a: 1}": "4:15: checks[0].options.a: unknown option 'a'; there are none",
    "layer: mse\noptions: {reduction: men}": (
        "4:26: checks[0].options.reduction: the text 'men'; must be 'mean', 'sum' or 'none'; did you mean 'mean'?"
    ),
}


@pytest.mark.parametrize("entries", OPTIONS)
def test_wrong_options(entries: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, check(entries)) == [OPTIONS[entries]]


def test_every_wrong_entry_of_a_list_is_told(tmp_path: Path) -> None:
    assert complaints(tmp_path, check("layer: conv2d\noptions: {stride: [a, b]}")) == [
        "4:24: checks[0].options.stride[0]: the text 'a'; must be an integer",
        "4:27: checks[0].options.stride[1]: the text 'b'; must be an integer",
    ]


def test_a_check_with_everything(tmp_path: Path) -> None:
    text = """
name: all
layer: linear
options: {in_features: 3, out_features: 2}
wrt: [W, b]
view: jacobian
dtype: float32
points: 2
seed: 7
difference: {method: richardson, relative_step: 1e-6}
tolerance: {rtol: 1e-6}
expect: fail
expect_arrays: [b]
timeout: 30
"""
    (spec,) = loaded(tmp_path, check(text))
    assert spec.layer_name == "linear"
    assert (spec.wrt, spec.view, spec.dtype) == (("W", "b"), "jacobian", "float32")
    assert (spec.points, spec.seed, spec.timeout) == (2, 7, 30.0)
    assert spec.difference == Difference("richardson", None, 1e-6)
    assert spec.tolerance == Tolerance(1e-6, 0.0)
    assert (spec.expect, spec.expect_arrays) == ("fail", ("b",))
    assert (spec.file, spec.line, spec.column) == (str(tmp_path / "a.yaml"), 3, 5)


def test_nothing_beside_a_key_is_its_default(tmp_path: Path) -> None:
    (spec,) = loaded(tmp_path, check("layer: linear\noptions:\narrays:\ntimeout: null\ncotangent: ~"))
    assert (spec.arrays, spec.timeout, spec.cotangent) == ({}, None, None)


def test_an_integer_serves_as_a_float_and_a_list_as_a_tuple(tmp_path: Path) -> None:
    (soft,) = loaded(tmp_path, check("layer: softmax\noptions: {beta: 2}"))
    assert vars(soft.layer) == {"beta": 2.0, "axis": -1}
    (turned,) = loaded(tmp_path, check("layer: transpose\noptions: {axes: [1, 0]}\narrays: {x: {shape: [2, 3]}}"))
    assert vars(turned.layer) == {"axes": (1, 0)}


def test_expected_arrays_are_under_wrt(tmp_path: Path) -> None:
    assert complaints(tmp_path, check("layer: linear\nexpect: fail\nwrt: [W, x]\nexpect_arrays: [b]")) == [
        "6:21: checks[0].expect_arrays[0]: 'b' is not under wrt; must be one of W, x"
    ]


def test_problems_are_sorted_each_once_and_survive_pickling() -> None:
    import pickle

    late, early = Problem("b.yaml", 1, 1, "", "b"), Problem("a.yaml", 10, 1, "checks", "a")
    error = ConfigError([late, early, late])
    assert error.problems == (early, late)
    assert str(error) == "a.yaml:10:1: checks: a\nb.yaml:1:1: b"
    assert pickle.loads(pickle.dumps(error)).problems == error.problems

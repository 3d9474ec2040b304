"""Somebody's code, formulas and chains in a config: read, located, refused; never imported."""

import sys
from pathlib import Path

import numpy as np
import pytest
from config_text import check, complaints, loaded

from gradcheck_cli import config
from gradcheck_cli.adapters.chain import Chain, ForeignChain
from gradcheck_cli.adapters.formula import Formula
from gradcheck_cli.adapters.functions import Functions
from gradcheck_cli.adapters.object import ObjectLayer
from gradcheck_cli.adapters.torch import TorchLayer
from gradcheck_cli.config.assembly import Origin
from gradcheck_cli.layer import Array

CODE = "raise SystemExit('imported')\n\ndef forward(x): ...\n\ndef backward(dout, cache): ...\n\nclass Net: ...\n"


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the working directory that must not be imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)


def test_functions(tmp_path: Path) -> None:
    text = """
functions: {forward: mine:forward, backward: mine:backward, gradients: [x, null]}
arrays: {x: [[1, 2]], y: {shape: [1], integers: {high: 3}}, m: [true, false], k: {values: [1], dtype: int32}}
constants: {mode: train, p: 0.5, sizes: [1, 2]}
"""
    (spec,) = loaded(tmp_path, check(text), allow=["mine"])
    assert spec.layer == Functions("mine:forward", "mine:backward", gradients=["x", None])
    assert spec.layer_name == "functions"
    assert spec.constants == {"mode": "train", "p": 0.5, "sizes": [1, 2]}
    assert {name: one.dtype for name, one in spec.arrays.items()} == {
        "x": None,
        "y": "int64",
        "m": "bool",
        "k": "int32",
    }
    assert spec.reproduce == f"gradcheck run {spec.id} --seed 0 --allow mine"
    assert "mine" not in sys.modules


NOT_ALLOWED = (
    "module 'mine' is not allowed; add --allow mine, or allow = [\"mine\"] under [tool.gradcheck] in pyproject.toml"
)


def test_code_that_is_not_allowed_is_refused_and_not_imported(tmp_path: Path) -> None:
    text = check("functions: {forward: mine:forward, backward: mine:backward}\narrays: {x: [1]}")
    assert complaints(tmp_path, text) == [
        f"3:26: checks[0].functions.forward: {NOT_ALLOWED}",
        f"3:50: checks[0].functions.backward: {NOT_ALLOWED}",
    ]
    assert complaints(tmp_path, text, allow=["other"]) == complaints(tmp_path, text)
    assert len(config.validate([str(tmp_path / "a.yaml")])) == 1


def test_validate_knows_what_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(check("functions: {forward: mine, backward: mine:a.b}\narrays: {x: [1]}"))
    with pytest.raises(config.ConfigError) as caught:
        config.validate(["a.yaml"])
    assert [str(problem) for problem in caught.value.problems] == [
        (
            "a.yaml:3:26: checks[0].functions.forward: 'mine' names no module; "
            "must be module:name, such as layers:affine_forward"
        ),
        (
            "a.yaml:3:42: checks[0].functions.backward: 'a.b' is not a name that mine can define; "
            "must be module:name, such as layers:affine_forward"
        ),
    ]


def test_a_name_that_the_module_does_not_define(tmp_path: Path) -> None:
    text = check("functions: {forward: mine:forward, backward: mine:nothing}\narrays: {x: [1]}")
    assert complaints(tmp_path, text, allow=["mine"]) == [
        (
            "3:50: checks[0].functions.backward: 'nothing' is not defined in mine.py; "
            "module 'mine' must define it itself, not import it"
        )
    ]


def test_code_is_looked_for_in_the_folders_given(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "theirs.py").write_text("def forward(x): ...\n")
    text = check("functions: {forward: theirs:forward, backward: theirs:backward}\narrays: {x: [1]}")
    assert complaints(tmp_path, text, allow=["theirs"], pythonpath=["src"]) == [
        (
            "3:52: checks[0].functions.backward: 'backward' is not defined in theirs.py; "
            "module 'theirs' must define it itself, not import it"
        )
    ]


WRONG = {
    "functions: mine:forward": "3:16: checks[0].functions: the text 'mine:forward'; must be a mapping",
    "functions: {forwrd: mine:forward, forward: mine:forward, backward: mine:backward}": (
        "3:17: checks[0].functions.forwrd: unknown key 'forwrd'; did you mean 'forward'?"
    ),
    "functions: {forward: mine:forward, backward: mine:backward, outputs: two}": (
        "3:74: checks[0].functions.outputs: the text 'two'; must be an integer"
    ),
    "functions: {forward: mine:forward}": (
        "3:16: checks[0].functions: backward: missing; must be module:name, or use loss_and_gradient"
    ),
    "functions: {forward: mine:forward, backward: mine:backward}\norder: 2": (
        "4:5: checks[0].order: 'order' beside 'functions'; must be left out"
    ),
    "object: {options: {a: 1}}": "3:13: checks[0].object: no key 'class'; must be given",
    "torch: {target: mine:Net, options: {a: 1}}\noptions: {a: 2}": (
        "4:5: checks[0].options: 'options' both beside and in 'torch'; must be given once"
    ),
    "torch: mine:Net\norder: 3": "4:12: checks[0].order: the number 3; must be 1 or 2",
    "functions: {forward: mine:forward, backward: mine:backward}\nwrt: [z]": (
        "4:11: checks[0].wrt[0]: unknown array 'z'; must be one of x"
    ),
    "formula: {forward: x, gradients: {x: dx}}": (
        "3:42: checks[0].formula.gradients.x, column 1: unknown name 'dx'; did you mean 'x'?"
    ),
    "chain: []": (
        "3:12: checks[0].chain: an empty list; must be a list of links, as in [{layer: linear}, {layer: softmax}]"
    ),
    "chain: [{layer: relu}, tanh]": "3:28: checks[0].chain[1]: the text 'tanh'; must be a mapping",
    "chain: [{layer: relu, name: a}]": (
        "3:27: checks[0].chain[0].name: unknown key 'name'; "
        "must be one of layer, formula, functions, jax, object, torch, options, order, device"
    ),
    "chain: [{layer: relu}, {layer: tahn}]": (
        "3:36: checks[0].chain[1].layer: unknown layer 'tahn'; did you mean 'tanh'?"
    ),
    "chain: [{layer: relu}, {formula: {forward: x, gradients: {x: dz}}}]": (
        "3:66: checks[0].chain[1].formula.gradients.x, column 1: unknown name 'dz'; the names here are dy, x, y"
    ),
}


@pytest.mark.parametrize("entries", WRONG)
def test_wrong_description(entries: str, tmp_path: Path) -> None:
    text = check(f"{entries}\narrays: {{{'0.x' if entries.startswith('chain') else 'x'}: [1, 2]}}")
    assert complaints(tmp_path, text, allow=["mine"]) == [WRONG[entries]]


def test_an_integer_array_is_not_under_wrt(tmp_path: Path) -> None:
    text = """
functions: {forward: mine:forward, backward: mine:backward}
arrays: {x: [1], y: {values: [1], dtype: int64}, z: {normal: {}}}
wrt: [y]
"""
    assert complaints(tmp_path, check(text), allow=["mine"]) == [
        "4:57: checks[0].arrays.z: no shape; must have one, for no layer tells it",
        "5:11: checks[0].wrt[0]: 'y' is an array of kind integer; must be a float array",
    ]


def test_a_formula_is_told_the_column(tmp_path: Path) -> None:
    text = 'formula: {forward: W @ x, gradients: {W: "outer(dx, x)", x: W.T @ dy}}\narrays: {W: [[1, 2]], x: [1, 2]}'
    assert complaints(tmp_path, check(text)) == [
        "3:46: checks[0].formula.gradients.W, column 7: unknown name 'dx'; did you mean 'x'?"
    ]


def test_a_formula_needs_no_allowance(tmp_path: Path) -> None:
    text = (
        "formula: {forward: a * x, gradients: {x: a * dy}}\narrays: {x: [1, 2]}\nconstants: {a: 3}\ncotangent: [1, 1]"
    )
    (spec,) = loaded(tmp_path, check(text))
    assert spec.layer == Formula("a * x", gradients={"x": "a * dy"})
    assert spec.cotangent is not None
    assert len(spec.cotangent) == 1


@pytest.mark.parametrize(
    "entries",
    [
        "torch: mine:Net\noptions: {size: 3}\norder: 2\ndevice: cpu",
        "torch: {target: mine:Net, options: {size: 3}, order: 2, device: cpu}",
        "torch: {target: mine:Net, order: 2}\noptions: {size: 3}\ndevice: cpu",
    ],
)
def test_torch_takes_its_options_beside_it_or_inside(entries: str, tmp_path: Path) -> None:
    (spec,) = loaded(tmp_path, check(f"{entries}\narrays: {{x: [1]}}\nwrt: [weight]"), allow=["mine"])
    assert spec.layer == TorchLayer("mine:Net", {"size": 3}, 2, "cpu")


def test_a_matrix_reaches_into_foreign_options(tmp_path: Path) -> None:
    text = "torch: mine:Net\narrays: {x: [1]}\nmatrix: {options.size: [1, 2], order: [1, 2]}"
    specs = loaded(tmp_path, check(text), allow=["mine"])
    assert [spec.name for spec in specs] == [f"torch[size={size},order={order}]" for size in (1, 2) for order in (1, 2)]
    assert specs[2].layer == TorchLayer("mine:Net", {"size": 2}, 1)


def test_a_key_may_be_a_word_of_python(tmp_path: Path) -> None:
    (spec,) = loaded(tmp_path, check("object: {class: mine:Net, options: {n: 4}}\narrays: {X: [[1]]}"), allow=["mine"])
    assert spec.layer == ObjectLayer("mine:Net", {"n": 4})


def test_a_chain_of_layers_is_a_layer(tmp_path: Path) -> None:
    text = "chain: [{layer: linear, options: {in_features: 3}}, {layer: softmax}]\narrays: {0.x: [1, 2, 3]}\nwrt: [0.W]"
    (spec,) = loaded(tmp_path, check(text))
    assert isinstance(spec.layer, Chain)
    assert (spec.layer.labels, spec.wrt) == (("linear", "softmax"), ("0.W",))


def test_what_does_not_fit_in_a_chain_is_told_at_its_link(tmp_path: Path) -> None:
    text = """
chain: [{layer: linear, options: {out_features: 4}}, {layer: linear, options: {in_features: 5}}]
arrays: {0.z: [1]}
"""
    found = complaints(tmp_path, check(text))
    assert found == [
        "3:58: checks[0].chain[1]: array '1.x': link 0 (linear) hands on shape (4,); must end in in_features = 5"
    ]


def test_a_chain_of_everything_is_built_when_its_check_runs(tmp_path: Path) -> None:
    text = """
chain: [{layer: linear}, {functions: {forward: mine:forward, backward: mine:backward}}, {torch: mine:Net}]
arrays: {0.x: [1, 2, 3]}
"""
    (spec,) = loaded(tmp_path, check(text), allow=["mine"])
    assert isinstance(spec.layer, ForeignChain)
    assert spec.layer.labels == ("linear", "functions", "torch")
    assert complaints(tmp_path, check(text)) == [
        f"3:52: checks[0].chain[1].functions.forward: {NOT_ALLOWED}",
        f"3:76: checks[0].chain[1].functions.backward: {NOT_ALLOWED}",
        f"3:101: checks[0].chain[2].torch: {NOT_ALLOWED}",
    ]


@pytest.mark.parametrize(
    ("cotangent", "arrays"),
    [("[1, 2]", [[1, 2]]), ("[[1, 2], [3]]", [[1, 2], [3]]), ("[[1], [2]]", [[[1], [2]]]), ("2", [2])],
)
def test_cotangents_of_an_unknown_number_of_outputs(cotangent: str, arrays: list[Array], tmp_path: Path) -> None:
    (spec,) = loaded(tmp_path, check(f"torch: mine:Net\narrays: {{x: [1]}}\ncotangent: {cotangent}"), allow=["mine"])
    assert spec.cotangent is not None
    for found, wanted in zip(spec.cotangent, arrays, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_the_number_of_outputs_can_be_said(tmp_path: Path) -> None:
    text = "functions: {forward: mine:forward, backward: mine:backward, outputs: 2}\narrays: {x: [1]}\ncotangent: "
    (spec,) = loaded(tmp_path, check(text + "[[1], [2]]"), allow=["mine"])
    assert spec.cotangent is not None
    np.testing.assert_array_equal(spec.cotangent, [[1], [2]])
    assert complaints(tmp_path, check(text + "2"), allow=["mine"]) == [
        "5:16: checks[0].cotangent: the number 2; must be a list of 2, one for each output"
    ]


def test_an_origin_allows_nothing_by_default() -> None:
    assert Origin("a.yaml", Path()).allow == ()

"""Impossible options and arrays, at the prompt and in a file: where, what came, what must hold; nothing is run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from gradcheck_cli.cli.process import run_process
from gradcheck_cli.layer import OptionError
from gradcheck_cli.registry import LAYERS

SIZES = {
    "in_features out_features in1_features in2_features num_embeddings embedding_dim": 1,
    "in_channels out_channels channels groups kernel_size stride dilation": 1,
    "input_size hidden_size heads features scale_factor": 1,
    "padding output_padding": 0,
}
LEAST = {option: least for options, least in SIZES.items() for option in options.split()}
SIZED = [(name, option) for name, layer in LAYERS.items() for option in layer.__dataclass_fields__ if option in LEAST]


@pytest.mark.parametrize(("name", "option"), SIZED)
def test_a_negative_size_is_refused(name: str, option: str) -> None:
    with pytest.raises(OptionError) as caught:
        LAYERS[name](**{option: -1}).arrays()
    assert str(caught.value) == f"option {option!r}: -1; must be at least {LEAST[option]}"


PROMPT = {
    "linear in_features=0": "in_features=0: the number 0; must be at least 1",
    "linear in_features=2.5": "in_features=2.5: the number 2.5; must be an integer",
    "embedding num_embeddings=-3": "num_embeddings=-3: the number -3; must be at least 1",
    "embedding num_embeddings=5 indices=[0,9]": "indices=[0,9]: index 9; must be in [0, 5)",
    "conv2d x:2,3,4,4 kernel_size=7": (
        "kernel_size=7: the number 7; must fit the padded input: the kernel spans (7, 7), the input (4, 4)"
    ),
    "conv2d x:2,4,4,4 kernel_size=3 padding=1 dilation=3": (
        "kernel_size=3: the number 3; must fit the padded input: the kernel spans (7, 7), the input (6, 6)"
    ),
    "conv1d in_channels=3 groups=2": "groups=2: the number 2; must divide in_channels = 3",
    "conv1d x:2,4,7 out_channels=3 groups=2": "groups=2: the number 2; must divide out_channels = 3",
    "conv_transpose2d output_padding=1": "output_padding=1: the number 1; must be smaller than stride = 1",
    "max_pool2d x:2,3,4,4 kernel_size=5": (
        "kernel_size=5: the number 5; must fit the padded input: the window spans (5, 5), the input (4, 4)"
    ),
    "max_pool2d x:2,3,4,4 padding=2": (
        "padding=2: the number 2; must leave an element of the input (4, 4) in every window"
    ),
    "pad x:2,3 mode=reflect widths=[3,0]": (
        "widths=[3,0]: the list [3,0]; must be smaller than the axis to reflect, of size 3"
    ),
    "group_norm x:3,5 groups=2": "groups=2: the number 2; must divide the 5 channels",
    "batch_norm x:1,3": (
        "x:1,3: shape (1, 3); must hold two or more values for each channel: their variance is zero otherwise"
    ),
    "batch_norm eps=-1": "eps=-1: the number -1; must be at least 0 and finite",
    "softmax x:3 axis=1": "axis=1: the number 1; must be in [-1, 1) for x of shape (3,)",
    "huber delta=0": "delta=0: the number 0; must be positive and finite",
    "softmax_cross_entropy x:4,3 target=[0,1,2,7]": "target=[0,1,2,7]: class 7; must be in [0, 3)",
    "softmax_cross_entropy label_smoothing=2": "label_smoothing=2: the number 2; must be in [0, 1]",
    "multi_head_attention x:3,4 heads=3": "heads=3: the number 3; must divide the 4 features of x",
    "rotary_embedding x:3,5": "x:3,5: shape (3, 5); must be (..., L, E) with E even, not empty",
    "rnn activation=sigmoid": "activation=sigmoid: the text 'sigmoid'; must be 'tanh' or 'relu'",
    "dropout p=1": "p=1: the number 1; must be in [0, 1)",
    "matmul A:2,3 B:2,3": "B:2,3: shape (2, 3); must be (..., k, n) with k = 3, the last axis of A",
    "inverse A:2,3": "A:2,3: shape (2, 3); must be (..., n, n), not empty",
}


@pytest.mark.parametrize("words", PROMPT)
def test_what_is_impossible_is_refused_at_the_prompt(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_process(["check", *shlex.split(words)]) == 2
    assert capsys.readouterr() == ("", f"{PROMPT[words]}\n")


FILE = """\
version: 1
checks:
  - layer: conv2d
    options: {kernel_size: [7, 2], stride: 2}
    arrays: {x: {shape: [2, 3, 4, 4]}}
  - layer: conv2d
    options: {groups: 2}
    arrays: {x: {shape: [2, 3, 4, 4]}}
  - layer: group_norm
    options: {groups: -1}
  - layer: solve
    arrays: {b: {shape: [3, 2]}, A: {shape: [4, 4]}}
"""
COMPLAINTS = """\
a.yaml:4:28: checks[0].options.kernel_size: the list [7,2]; must fit the padded input: the kernel spans (7, 2), the \
input (4, 4)
a.yaml:7:23: checks[1].options.groups: the number 2; must divide in_channels = 3
a.yaml:10:23: checks[2].options.groups: the number -1; must be at least 1
a.yaml:12:25: checks[3].arrays.b.shape: shape (3, 2); must be (..., n, k) with n = 4, the size of A
"""


def test_what_is_impossible_is_refused_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(FILE, encoding="utf-8")
    assert run_process(["run", "a.yaml"]) == 2
    assert capsys.readouterr() == ("", COMPLAINTS)

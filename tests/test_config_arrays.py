"""Arrays, cotangents and files in a config: numbers, draws, shapes that fit the layer, and no way out of the folder."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from config_text import check, complaints, loaded

from gradcheck_cli.layer import Fill, Integers, Normal, Uniform

WRONG = {
    "x: one": "4:17: checks[0].arrays.x: the text 'one'; must be a number",
    "x: null": "4:17: checks[0].arrays.x: nothing; must be a number",
    "x: [1, '2', 3]": "4:21: checks[0].arrays.x[1]: the text '2'; must be a number",
    "x: [.nan, 1, .inf]": "4:18: checks[0].arrays.x[0]: the number .nan; must be finite (and 1 more)",
    "x: [1, true]": "4:21: checks[0].arrays.x[1]: the word true among numbers; must be a number",
    "x: [[1, 2], [3]]": "4:26: checks[0].arrays.x[1]: a list of 1; must be of 2, like the first",
    "x: [[1, 2], 3]": "4:26: checks[0].arrays.x[1]: the number 3; must be a list of 2, like the first",
    "x: [1, [2]]": "4:21: checks[0].arrays.x[1]: a list; must be a number",
    "x: [1, {a: 1}]": "4:21: checks[0].arrays.x[1]: a mapping; must be a number",
    f"x: [1{'0' * 400}]": f"4:18: checks[0].arrays.x[0]: the number 1{'0' * 59}...; must fit float64",
    "x: {}": "4:17: checks[0].arrays.x: neither values nor a file nor a shape; must have one of them",
    "x: {dtype: float32}": "4:17: checks[0].arrays.x: neither values nor a file nor a shape; must have one of them",
    "x: {shape: 3}": "4:25: checks[0].arrays.x.shape: the number 3; must be a list",
    "x: {shape: [2.0]}": "4:26: checks[0].arrays.x.shape[0]: the number 2.0; must be an integer",
    "x: {shape: [-1]}": "4:26: checks[0].arrays.x.shape[0]: the number -1; must be at least 0",
    "x: {shape: [100000, 100000]}": ("4:25: checks[0].arrays.x.shape: 10000000000 elements; must be at most 268435456"),
    "x: {shap: [3]}": "4:18: checks[0].arrays.x.shap: unknown key 'shap'; did you mean 'shape'?",
    "x: {shape: [3], normal: {scal: 1}}": (
        "4:39: checks[0].arrays.x.normal.scal: unknown key 'scal'; did you mean 'scale'?"
    ),
    "x: {shape: [3], normal: {scale: 0}}": (
        "4:46: checks[0].arrays.x.normal.scale: the number 0; must be greater than 0"
    ),
    "x: {shape: [3], normal: }": "4:37: checks[0].arrays.x.normal: nothing; must be given or left out",
    "x: {shape: [3], uniform: {low: 1}}": "4:39: checks[0].arrays.x.uniform: a mapping; must have low below high",
    "x: {shape: [3], integers: {low: 1}}": "4:40: checks[0].arrays.x.integers: no key 'high'; must be given",
    f"x: {{shape: [3], integers: {{high: {2**64}}}}}": (
        f"4:47: checks[0].arrays.x.integers.high: the number {2**64}; must be at most {2**63 - 1}"
    ),
    f"x: {{shape: [1{'0' * 100}]}}": (
        f"4:25: checks[0].arrays.x.shape: 1{'0' * 59}... elements; must be at most 268435456"
    ),
    "x: {shape: [3], fill: a}": "4:36: checks[0].arrays.x.fill: the text 'a'; must be true or false or a number",
    "x: {shape: [3], fill: 0, normal: {}}": (
        "4:17: checks[0].arrays.x: shape and normal and fill together; must be values, a file, or a shape and one draw"
    ),
    "x: {shape: [3], values: [1, 2, 3]}": (
        "4:17: checks[0].arrays.x: values and shape together; must be values, a file, or a shape and one draw"
    ),
    "x: {values: [1.5], dtype: int64}": "4:26: checks[0].arrays.x.values: the number 1.5; must fit int64",
    "x: {values: [300], dtype: uint8}": "4:26: checks[0].arrays.x.values: the number 300; must fit uint8",
    "x: {values: [1], dtype: int64}": (
        "4:38: checks[0].arrays.x.dtype: int64 for the float array 'x'; must be a float dtype"
    ),
    "y: [1, 2]": "4:14: checks[0].arrays.y: unknown array 'y'; must be one of x",
    "x: 1.0": "4:17: checks[0].arrays.x: shape (); must have at least one axis",
}


@pytest.mark.parametrize("entry", WRONG)
def test_wrong_array(entry: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, check(f"layer: softmax\narrays: {{{entry}}}")) == [WRONG[entry]]


FIT = {
    "arrays: {x: [1, 2]}": "5:17: checks[0].arrays.x: shape (2,); must end in in_features = 3",
    "arrays: {W: {shape: [2, 4]}}": (
        "5:25: checks[0].arrays.W.shape: shape (2, 4); must be (out_features, in_features) = (2, 3)"
    ),
    "arrays: {w: {shape: [2, 3]}}": "5:14: checks[0].arrays.w: unknown array 'w'; must be one of x, W, b",
    "cotangent: [1, 2, 3]": "5:16: checks[0].cotangent: shape (3,); must be (2,), the shape of the output",
    "cotangent: [1, .nan]": "5:20: checks[0].cotangent[1]: the number .nan; must be finite",
    "cotangent: {shape: [2]}": "5:16: checks[0].cotangent: a mapping with no values; must be values or a file",
    "dtype: float16\n    cotangent: [1, 1e6]": "6:16: checks[0].cotangent: the number 1000000.0; must fit float16",
    "dtype: float16\n    arrays: {b: [1, 1e6]}": "6:17: checks[0].arrays.b: the number 1000000.0; must fit float16",
}


@pytest.mark.parametrize("entry", FIT)
def test_what_does_not_fit_the_layer(entry: str, tmp_path: Path) -> None:
    text = check("layer: linear\noptions: {in_features: 3, out_features: 2}\n" + entry.replace("    ", ""))
    assert complaints(tmp_path, text) == [FIT[entry]]


def test_all_that_does_not_fit_is_told(tmp_path: Path) -> None:
    text = "layer: linear\noptions: {in_features: 3}\narrays: {x: [1, 2], z: {shape: [2]}}\nwrt: [W, y]"
    assert complaints(tmp_path, check(text)) == [
        "5:17: checks[0].arrays.x: shape (2,); must end in in_features = 3",
        "5:25: checks[0].arrays.z: unknown array 'z'; must be one of x, W, b",
        "6:14: checks[0].wrt[1]: unknown array 'y'; must be one of x, W, b",
    ]


def test_targets_are_looked_at(tmp_path: Path) -> None:
    start = "layer: softmax_cross_entropy\narrays: {x: {shape: [2, 3]}, target: "
    assert complaints(tmp_path, check(start + "[0, 3]}")) == [
        "4:42: checks[0].arrays.target: class 3; must be in [0, 3)"
    ]
    assert complaints(tmp_path, check(start + "[0, 0.5]}")) == [
        "4:42: checks[0].arrays.target: values that are not whole; must be integers"
    ]
    assert complaints(tmp_path, check(start + "[0, 1]}\nwrt: [target]")) == [
        "5:11: checks[0].wrt[0]: 'target' is an array of kind integer; must be a float array"
    ]


def test_an_array_without_gradient_is_not_under_wrt(tmp_path: Path) -> None:
    assert complaints(tmp_path, check("layer: mse\nwrt: [target]")) == [
        "4:11: checks[0].wrt[0]: 'target' has no gradient; must be an array that has one"
    ]


def test_several_outputs_have_several_cotangents(tmp_path: Path) -> None:
    start = "layer: lstm_cell\narrays: {x: {shape: [2, 3]}, h: {shape: [2, 1]}, c: {shape: [2, 1]}}\ncotangent: "
    (spec,) = loaded(tmp_path, check(start + "[[[1], [2]], [[3], [4]]]"))
    assert spec.cotangent is not None
    np.testing.assert_array_equal(spec.cotangent, [[[1], [2]], [[3], [4]]])
    assert complaints(tmp_path, check(start + "[[[1], [2]]]")) == [
        "5:16: checks[0].cotangent: 1 arrays; must be a list of 2, one for each output"
    ]
    assert complaints(tmp_path, check(start + "[[[1], [2]], [3, 4]]")) == [
        "5:29: checks[0].cotangent[1]: shape (2,); must be (2, 1), the shape of the output"
    ]


def test_values_draws_and_dtypes(tmp_path: Path) -> None:
    text = """
layer: linear
dtype: float32
arrays:
  x: {values: [1, 2, 3], dtype: float64}
  W: {shape: [2, 3], normal: {mean: 1, scale: 0.5}}
  b: {uniform: {low: -1, high: 1}}
cotangent: [0.5, -1]
"""
    (spec,) = loaded(tmp_path, check(text))
    x, w, b = spec.arrays["x"], spec.arrays["W"], spec.arrays["b"]
    assert x.values is not None
    np.testing.assert_array_equal(x.values, [1, 2, 3])
    assert x.dtype == "float64"
    assert (w.shape, w.draw, w.dtype) == ((2, 3), Normal(1.0, 0.5), None)
    assert (b.shape, b.draw) == (None, Uniform(-1.0, 1.0))
    assert spec.cotangent is not None
    assert spec.cotangent[0].dtype == np.float32
    np.testing.assert_array_equal(spec.cotangent[0], [0.5, -1.0])


def test_integers_and_fill(tmp_path: Path) -> None:
    text = "layer: softmax_cross_entropy\narrays: {x: {shape: [2, 3], fill: 0}, target: {integers: {low: 0, high: 3}}}"
    (spec,) = loaded(tmp_path, check(text))
    assert spec.arrays["x"].draw == Fill(0.0)
    assert spec.arrays["target"].draw == Integers(0, 3)


def test_a_huge_integer_is_a_float(tmp_path: Path) -> None:
    (spec,) = loaded(tmp_path, check(f"layer: softmax\narrays: {{x: [1{'0' * 30}, 2]}}"))
    values = spec.arrays["x"].values
    assert values is not None
    np.testing.assert_array_equal(values, [1e30, 2.0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files beside the config, and some outside it."""
    inside = tmp_path / "configs"
    (inside / "points").mkdir(parents=True)
    np.save(inside / "points" / "x.npy", np.array([1.0, 2.0, 3.0]))
    np.savez(inside / "a.npz", x=np.array([1.0, 2.0]), y=np.array([3.0]))
    np.save(inside / "nan.npy", np.array([[1.0, np.nan]]))
    np.save(inside / "objects.npy", np.array([{"a": 1}], dtype=object))
    np.save(inside / "complex.npy", np.array([1j]))
    (inside / "words.npy").write_text("not numpy")
    (inside / "words.npz").write_text("not numpy")
    np.save(tmp_path / "out.npy", np.array([1.0]))
    os.symlink(tmp_path / "out.npy", inside / "link.npy")
    os.symlink(inside / "loop.npy", inside / "loop.npy")
    os.symlink(inside / "points" / "x.npy", inside / "near.npy")
    with zipfile.ZipFile(inside / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(2**21))
    return inside


@pytest.mark.parametrize(
    ("file", "values"), [("points/x.npy", [1, 2, 3]), ("a.npz#x", [1, 2]), ("near.npy", [1, 2, 3])]
)
def test_files_below_the_folder(file: str, values: list[float], folder: Path) -> None:
    (spec,) = loaded(folder, check(f"layer: softmax\narrays: {{x: {{file: {file!r}}}}}"))
    found = spec.arrays["x"].values
    assert found is not None
    np.testing.assert_array_equal(found, values)


OUTSIDE = "must be a relative path below the folder of the config, without '..'"
FILES = {
    "../out.npy": f"'../out.npy'; {OUTSIDE}",
    "points/../../out.npy": f"'points/../../out.npy'; {OUTSIDE}",
    "/etc/passwd": f"'/etc/passwd'; {OUTSIDE}",
    "C:\\x.npy": f"'C:\\\\x.npy'; {OUTSIDE}",
    "..\\out.npy": f"'..\\\\out.npy'; {OUTSIDE}",
    "link.npy": "'link.npy' is a link that leads out of the folder of the config; must stay below it",
    "loop.npy": "'loop.npy'; must be a file",
    "points/y.npy": "no file 'points/y.npy'; must be below the folder of the config; did you mean 'x.npy'?",
    "points": "no file 'points'; must be below the folder of the config",
    "a.yaml": "'a.yaml'; must be a .npy file, or an array of a .npz file as in a.npz#x",
    "a.npz": "'a.npz'; must name one of its arrays, as in a.npz#x",
    "points/x.npy#x": "'points/x.npy#x'; must have no #",
    "a.npz#z": "no array 'z' in 'a.npz'; must be one of x, y",
    "nan.npy": "'nan.npy' holds nan at [0, 1]; must be finite",
    "complex.npy": "'complex.npy' holds complex128; must be an array of numbers",
    "objects.npy": (
        "'objects.npy' can't be read (Object arrays cannot be loaded when allow_pickle=False); "
        "must be what numpy.save writes"
    ),
    "words.npz#x": "'words.npz' can't be read (File is not a zip file); must be what numpy.save writes",
}


@pytest.mark.parametrize("file", FILES)
def test_refused_file(file: str, folder: Path) -> None:
    text = check(f"layer: softmax\narrays:\n  x:\n    file: {file!r}".replace("\\\\", "\\"))
    assert complaints(folder, text) == [f"6:15: checks[0].arrays.x.file: {FILES[file]}"]


def test_words_are_no_array(folder: Path) -> None:
    (sentence,) = complaints(folder, check("layer: softmax\narrays: {x: {file: words.npy}}"))
    assert sentence.startswith("4:24: checks[0].arrays.x.file: 'words.npy' can't be read (")
    assert sentence.endswith("; must be what numpy.save writes")


def test_a_large_file_is_not_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck_cli.config.files.BYTES", 2**20)
    assert complaints(folder, check("layer: softmax\narrays: {x: {file: 'bomb.npz#x'}}")) == [
        "4:24: checks[0].arrays.x.file: 'x' in 'bomb.npz' has 2097152 bytes; must be at most 1048576"
    ]
    np.save(folder / "large.npy", np.zeros(2**18))
    assert complaints(folder, check("layer: softmax\narrays: {x: {file: large.npy}}")) == [
        "4:24: checks[0].arrays.x.file: 'large.npy' has 2097280 bytes; must be at most 1048576"
    ]

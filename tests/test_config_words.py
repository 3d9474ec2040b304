"""`gradcheck check LAYER x:4,5 beta=2.0` as a check."""

import numpy as np
import pytest

from gradcheck_cli.config import ConfigError
from gradcheck_cli.config.words import from_words


def sentences(layer: str, *words: str, **settings: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_words(layer, words, **settings)
    return [str(problem) for problem in caught.value.problems]


def test_shapes_and_options() -> None:
    spec = from_words("softmax", ["x:4,5", "beta=2.0", "axis=0"])
    assert vars(spec.layer) == {"beta": 2.0, "axis": 0}
    assert spec.arrays["x"].shape == (4, 5)
    assert (spec.id, spec.name, spec.layer_name) == ("check::softmax", "softmax", "softmax")
    assert (spec.file, spec.line, spec.column) == (None, None, None)
    assert spec.reproduce == "gradcheck check softmax x:4,5 beta=2.0 axis=0 --seed 0"


def test_values_of_arrays_and_settings() -> None:
    spec = from_words(
        "linear", ["x=[1, 2, 3]", "W:2,3", "b={fill: 0}"], view="jacobian", wrt=["x", "b"], seed=4, dtype=None
    )
    values = spec.arrays["x"].values
    assert values is not None
    np.testing.assert_array_equal(values, [1, 2, 3])
    assert (spec.view, spec.wrt, spec.seed, spec.dtype) == ("jacobian", ("x", "b"), 4, "float64")
    assert spec.reproduce == (
        "gradcheck check linear 'x=[1, 2, 3]' W:2,3 'b={fill: 0}' --view jacobian --wrt x,b --seed 4"
    )


def test_a_scalar_has_the_empty_shape() -> None:
    assert from_words("relu", ["x:"]).arrays["x"].shape == ()
    assert from_words("relu", ["x:3,"]).arrays["x"].shape == (3,)


WRONG = {
    "foo": "foo: neither a shape nor a value; must be name:4,5 or name=value",
    "x:4,a": "x:4,a: the shape '4,a'; must be lengths, as in x:4,5",
    "x:-1": "x:-1: the shape '-1'; must be lengths, as in x:4,5",
    "beta=": "beta=: no value; must be name=value",
    "beta=2.O": "beta=2.O: the text '2.O'; must be a number",
    "beta='1'": "beta='1': the text '1'; must be a number",
    "beta=.inf": "beta=.inf: the number .inf; must be finite",
    "beta=[1": "beta=[1: no YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
    "betta=2.0": "betta=2.0: unknown option or array 'betta'; did you mean 'beta'?",
    "zzz=2.0": "zzz=2.0: unknown option or array 'zzz'; must be one of beta, axis, x",
    "y:4": "y:4: unknown array 'y'; must be one of x",
    "x=[1, .nan]": "x=[1, .nan]: the number .nan; must be finite",
    "x:": "x:: shape (); must have at least one axis",
    "axis=3": "axis=3: the number 3; must be in [-1, 1) for x of shape (5,)",
}


@pytest.mark.parametrize("word", WRONG)
def test_wrong_word(word: str) -> None:
    words = [word] if word.startswith("x") else [word, "x:5"]
    assert sentences("softmax", *words) == [WRONG[word]]


def test_wrong_layer_and_settings() -> None:
    assert sentences("softmaxx", "x:5") == ["softmaxx: unknown layer 'softmaxx'; did you mean 'softmax'?"]
    assert sentences("relu", dtype="float8", wrt=["y"], points=0) == [
        "--dtype: the text 'float8'; must be 'float64', 'float32' or 'float16'; did you mean 'float64'?",
        "--points: the number 0; must be at least 1",
        "--wrt: unknown array 'y'; must be one of x",
    ]


def test_a_word_that_comes_twice() -> None:
    assert sentences("softmax", "x:5", "x=[1]") == ["x=[1]: 'x' again, after 'x:5'; must be given once"]


def test_what_does_not_fit_names_the_word() -> None:
    assert sentences("linear", "x:4,3", "in_features=2") == ["x:4,3: shape (4, 3); must end in in_features = 2"]
    assert sentences("softmax_cross_entropy", "x:3", "target=5") == ["target=5: class 5; must be in [0, 3)"]

"""The homework configs hold the numbers that their comments state."""

from pathlib import Path

import numpy as np
import pytest

from gradcheck_cli import config
from gradcheck_cli.layer import Layer
from gradcheck_cli.spec import CheckSpec

FOLDER = Path(__file__).parent.parent / "configs" / "homework"


def checks(file: str) -> dict[str, CheckSpec]:
    return {spec.name: spec for spec in config.load([str(FOLDER / file)])}


def test_the_warm_up_has_the_gradients_of_its_comment() -> None:
    spec = checks("linear.yaml")["warm-up"]
    assert isinstance(spec.layer, Layer)
    assert spec.cotangent is not None
    arrays = {name: given.values for name, given in spec.arrays.items() if given.values is not None}
    np.testing.assert_allclose(spec.layer.forward(**arrays), [4.1, -2.3], rtol=1e-15)
    gradients = spec.layer.vjp(spec.cotangent[0], **arrays)
    np.testing.assert_array_equal(gradients["W"], [[1.0, -0.5], [-3.0, 1.5]])
    np.testing.assert_array_equal(gradients["b"], [0.5, -1.5])
    np.testing.assert_array_equal(gradients["x"], [-0.25, -5.5])


def test_softmax_is_checked_for_four_temperatures_in_both_views() -> None:
    found = [(spec.view, vars(spec.layer)["beta"]) for spec in checks("softmax.yaml").values()]
    assert found == [*(("jacobian", beta) for beta in (0.5, 1.0, 2.0, 10.0)), ("vjp", 2.0)]
    assert all(spec.arrays["x"].values is not None for spec in checks("softmax.yaml").values())


@pytest.mark.parametrize("name", checks("chain.yaml"))
def test_the_chains_begin_with_linear(name: str) -> None:
    spec = checks("chain.yaml")[name]
    assert spec.layer_name == "chain"
    assert vars(spec.layer)["labels"][0] == "linear"

"""The contract of a layer: specs, errors that say what must hold, outputs as a tuple."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from gradcheck_cli.layer import (
    ArrayError,
    ArraySpec,
    Differentiable,
    Generic,
    Layer,
    OptionError,
    as_outputs,
)
from gradcheck_cli.registry import LAYERS


def test_array_error_says_which_array_what_came_and_what_must_hold() -> None:
    error = ArrayError("W", "shape (2, 3)", "must be (3, 2)")
    assert str(error) == "array 'W': shape (2, 3); must be (3, 2)"
    assert (error.array, error.came, error.must) == ("W", "shape (2, 3)", "must be (3, 2)")
    assert isinstance(error, ValueError)


def test_option_error_says_which_option_its_value_and_what_must_hold() -> None:
    error = OptionError("axis", 3, "must be below 2")
    assert str(error) == "option 'axis': 3; must be below 2"
    assert (error.option, error.value, error.must) == ("axis", 3, "must be below 2")


@pytest.mark.parametrize("error", [ArrayError("a", "b", "c"), OptionError("o", (1, 2), "m")])
def test_errors_travel_between_processes(error: ValueError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_only_float_arrays_are_differentiable() -> None:
    assert ArraySpec((2,)).differentiable
    assert isinstance(ArraySpec((2,)).draw, Generic)
    assert not ArraySpec((2,), differentiable=False).differentiable
    assert not ArraySpec((2,), "integer", differentiable=True).differentiable
    assert not ArraySpec((2,), "boolean").differentiable


def test_outputs_as_a_tuple() -> None:
    one = as_outputs(np.ones(2))
    assert [part.shape for part in one] == [(2,)]
    several = as_outputs((np.ones(2), np.float64(3.0)))
    assert [part.shape for part in several] == [(2,), ()]
    assert as_outputs(()) == ()


@pytest.mark.parametrize("name", LAYERS)
def test_built_in_layers_keep_the_contract(name: str) -> None:
    kind = LAYERS[name]
    layer = kind(**kind.EXAMPLES[0].options)
    assert isinstance(layer, Layer)
    assert isinstance(layer, Differentiable)
    assert kind.name == name
    specs = layer.arrays(**dict(kind.EXAMPLES[0].shapes))
    assert any(spec.differentiable for spec in specs.values())


def test_what_lacks_a_vjp_is_no_layer() -> None:
    class Half:
        def forward(self) -> None: ...

    assert not isinstance(Half(), Differentiable)

"""Drawn arrays and cotangents: the same for a seed, away from degenerate points, in the dtype asked for."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli.draws import draw_arrays, draw_cotangent, generator, given_shapes
from gradcheck_cli.layer import (
    Array,
    ArrayError,
    ArraySpec,
    Fill,
    Generic,
    Integers,
    Mask,
    Normal,
    Positive,
    Simplex,
    Spd,
    Uniform,
    strata,
)
from gradcheck_cli.spec import Given

SPECS = {
    "x": ArraySpec((4, 3)),
    "k": ArraySpec((5,), "integer", Integers(0, 7)),
    "m": ArraySpec((6,), "boolean", Mask()),
}


def drawn(seed: int = 0, point: int = 0, dtype: str = "float64", **given: Given) -> dict[str, Array]:
    return draw_arrays(SPECS, given, dtype, seed, point)


def test_a_seed_gives_the_same_numbers_and_another_gives_others() -> None:
    one, two = drawn(), drawn()
    for name in SPECS:
        np.testing.assert_array_equal(one[name], two[name])
    assert not np.array_equal(one["x"], drawn(seed=1)["x"])
    assert not np.array_equal(one["x"], drawn(point=1)["x"])


def test_another_array_changes_no_other() -> None:
    np.testing.assert_array_equal(draw_arrays({"x": SPECS["x"]}, {}, "float64", 0, 0)["x"], drawn()["x"])
    assert not np.array_equal(generator(0, 0, "a").normal(size=3), generator(0, 0, "b").normal(size=3))


def test_kinds_have_their_dtypes() -> None:
    arrays = drawn(dtype="float32")
    assert {name: str(array.dtype) for name, array in arrays.items()} == {"x": "float32", "k": "int64", "m": "bool"}
    assert ((arrays["k"] >= 0) & (arrays["k"] < 7)).all()


def test_given_values_are_kept_and_copied() -> None:
    mine = np.array([[1, 2], [3, 4]])
    arrays = drawn(x=Given(values=mine))
    np.testing.assert_array_equal(arrays["x"], mine)
    assert arrays["x"].dtype == np.float64
    arrays["x"][:] = 0
    assert mine[0, 0] == 1


def test_given_dtype_rules() -> None:
    assert drawn(x=Given(values=np.ones(2), dtype="float16"))["x"].dtype == np.float16


def test_given_shape_and_draw() -> None:
    arrays = drawn(x=Given(shape=(2, 5), draw=Fill(7.0)))
    np.testing.assert_array_equal(arrays["x"], np.full((2, 5), 7.0))


def test_values_of_an_integer_array_must_be_whole() -> None:
    with pytest.raises(ArrayError) as caught:
        drawn(k=Given(values=np.array([1.0, 2.5])))
    assert str(caught.value) == "array 'k': values that are not whole; must be integers"
    assert drawn(k=Given(values=np.array([1.0, 2.0])))["k"].dtype == np.int64


def test_an_unknown_array_is_named() -> None:
    with pytest.raises(ArrayError) as caught:
        drawn(y=Given(values=np.ones(2)))
    assert str(caught.value) == "array 'y': no such array; the arrays are x, k, m"


def test_shapes_that_are_given() -> None:
    given = {"x": Given(values=np.ones((2, 3))), "y": Given(shape=(4,)), "z": Given(draw=Fill())}
    assert given_shapes(given) == {"x": (2, 3), "y": (4,)}


def test_cotangent_of_a_scalar_is_1() -> None:
    (dy,) = draw_cotangent([np.array(3.0)], 0, 0)
    assert dy.shape == ()
    assert dy == 1.0


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_cotangent_is_never_constant_nor_small(dtype: str) -> None:
    dy, other = draw_cotangent([np.zeros((20, 5), dtype), np.zeros(7, dtype)], 3, 1)
    assert dy.dtype == other.dtype == dtype
    assert dy.shape == (20, 5)
    assert ((np.abs(dy) >= 0.5) & (np.abs(dy) <= 1.5)).all()
    assert (dy > 0).any()
    assert (dy < 0).any()
    assert not np.array_equal(dy.ravel()[:7], other)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 2, 7, 200])
def test_strata_are_apart(size: int) -> None:
    values = np.sort(strata(RNG, size))
    assert (values > 0).all()
    assert (values < 1).all()
    assert (np.diff(values) >= 0.5 / size).all()
    assert strata(RNG, 0).size == 0


@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (5, 6, 7)])
def test_generic_values_keep_away_from_0_and_1_and_ties(shape: tuple[int, ...]) -> None:
    size = np.abs(Generic()(RNG, shape))
    assert size.shape == shape
    assert (((size >= 0.15) & (size <= 0.9)) | ((size >= 1.1) & (size <= 1.9))).all()
    assert np.unique(size).size == size.size
    np.testing.assert_allclose(np.abs(Generic(1e-3)(np.random.default_rng(1), shape)).max(initial=0), 1e-3, rtol=1)


def test_generic_values_have_both_signs() -> None:
    values = Generic()(RNG, (200,))
    assert 60 < (values > 0).sum() < 140


def test_positive_values_keep_away_from_0_and_1_and_ties() -> None:
    values = Positive()(RNG, (50, 3))
    assert (((values >= 0.3) & (values <= 0.9)) | ((values >= 1.1) & (values <= 2.0))).all()
    assert np.unique(values).size == 150


def test_uniform_values_fill_their_interval() -> None:
    values = Uniform(-2.0, 3.0)(RNG, (100,))
    assert values.min() < -1.9
    assert values.max() > 2.9
    assert (np.diff(np.sort(values)) >= 5 * 0.5 / 100 * 0.999).all()


def test_normal_values() -> None:
    values = Normal(3.0, 0.5)(RNG, (4000,))
    assert values.mean() == pytest.approx(3.0, abs=0.05)
    assert values.std() == pytest.approx(0.5, abs=0.05)


def test_spd_matrices() -> None:
    a = Spd()(RNG, (2, 4, 4))
    np.testing.assert_array_equal(a, np.swapaxes(a, -1, -2))
    eigenvalues = np.linalg.eigvalsh(a)
    assert (eigenvalues > 0.5).all()
    assert (eigenvalues < 2.5).all()
    assert (np.diff(eigenvalues, axis=-1) >= 0.249).all()


def test_simplex_weights() -> None:
    weights = Simplex()(RNG, (3, 5))
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0)
    assert (weights > 0.02).all()


def test_masks_keep_something() -> None:
    mask = Mask(0.05)(RNG, (100, 4))
    assert mask.dtype == bool
    assert mask.any(axis=-1).all()
    assert Mask(0.5)(RNG, ()).shape == ()


def test_fill() -> None:
    np.testing.assert_array_equal(Fill(2.5)(RNG, (2, 2)), np.full((2, 2), 2.5))

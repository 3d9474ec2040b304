"""Natural scales of arrays."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.scales import median

SHAPES = array_shapes(min_dims=1, max_dims=3, max_side=6)


@given(arrays(np.float64, SHAPES, elements=st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_median_is_that_of_numpy(values: Array) -> None:
    assert median(values) == float(np.median(values))


def test_median_with_values_that_are_not_finite() -> None:
    assert math.isnan(median(np.array([1.0, math.nan, 2.0])))
    assert median(np.array([1.0, math.inf, math.inf])) == math.inf
    assert median(np.array([-math.inf, 1.0, 2.0])) == 1.0

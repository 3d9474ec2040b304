"""`check`: one gradient from Python, with no file."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np

from gradcheck_cli.adapters.handed import subject_of
from gradcheck_cli.adapters.library import made_by
from gradcheck_cli.layer import Array
from gradcheck_cli.registry import METHODS, UnknownNameError
from gradcheck_cli.results import CheckResult
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Difference, Given, Tolerance, View

DTYPES = ("float64", "float32", "float16")  # the most precise first


def check(
    layer: object,
    arrays: Mapping[str, Any],
    *,
    cotangent: Any = None,
    wrt: str | Iterable[str] | None = None,
    view: str = "vjp",
    seed: int = 0,
    difference: str | Mapping[str, Any] | Difference | None = None,
    tolerance: float | Mapping[str, float] | Tolerance | None = None,
) -> CheckResult:
    """Compare the gradient of a layer with finite differences at the given arrays, element by element.

    Parameters
    ----------
    layer
        One of: an object with `forward(**arrays)` and `vjp(dy, **arrays)`, where `arrays()` is optional; a pair
        `(forward, backward)` in the course convention, `forward(x, w) -> (out, cache)` and `backward(dout, cache) ->
        (dx, dw)`; a PyTorch or JAX callable. A torch module is copied, and those of its parameters that are not among
        the arrays are drawn near their values.
    arrays
        From names to numbers. Float arrays are differentiated, in their own dtype; integer and boolean ones are
        passed on. What a layer with `arrays()` needs beside them is drawn from the seed.
    cotangent
        dL/dy in the shape of the output, a tuple of them for several outputs; default is random.
    wrt
        The names of the arrays to judge; default is every float array.
    view
        "vjp" judges dL/d(array), "jacobian" every dy_j/dx_i.
    difference
        A method such as "central", or a mapping of `method` and one of `step`, `relative_step`; default is automatic.
    tolerance
        A relative tolerance, or a mapping of `rtol` and `atol`; default is the measured uncertainty.

    Returns
    -------
    A result that is falsy unless the verdict is pass; `print(result)` shows its table.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit. What the layer's own code raises is not raised but is the result's `error`, with
        the verdict error.
    """
    if view not in ("vjp", "jacobian"):
        raise ValueError(f"view is {view!r}; must be 'vjp' or 'jacobian'")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {seed!r}; must be an integer of at least 0")
    given = _given(arrays)
    values = {name: one.values for name, one in given.items() if one.values is not None}
    subject = subject_of(layer, values, seed, {library for one in arrays.values() if (library := made_by(one))})
    spec = CheckSpec(
        id=f"check::{subject.name}",
        name=subject.name,
        layer=subject.layer,
        layer_name=subject.kind,
        arrays=given,
        cotangent=_cotangent(cotangent),
        wrt=_wrt(wrt),
        view=cast("View", view),
        dtype=_narrowest(given),
        seed=seed,
        difference=_difference(difference),
        tolerance=_tolerance(tolerance),
    )
    result = run_check(spec)
    error = result.error
    if error is not None and error.type in ("ArrayError", "OptionError") and error.traceback_line is None:
        raise ValueError(error.message)  # without a line of somebody's code it is about what was given
    if result.printed and not result:
        print(f"{result.id} printed:\n{result.printed.rstrip()}", file=sys.stderr)
    return result


def _given(arrays: object) -> dict[str, Given]:
    """The arrays; those that have a dtype of their own keep it."""
    if not isinstance(arrays, Mapping):
        raise TypeError(f"arrays is a {type(arrays).__name__}; must map names to numbers, as in {{'x': x}}")
    for name in arrays:
        if not isinstance(name, str):
            raise TypeError(f"arrays has the key {name!r}; must be the name of an array")
    pinned = {name: hasattr(value, "dtype") for name, value in arrays.items()}
    values = {name: _numbers(f"arrays[{name!r}]", value) for name, value in arrays.items()}
    return {name: Given(values=one, dtype=one.dtype.name if pinned[name] else None) for name, one in values.items()}


def _numbers(what: str, value: Any) -> Array:
    """A value as an array of finite real numbers."""
    try:  # a tensor that records gradients does not become an array by itself
        array = np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{what} is a {type(value).__name__}; must be numbers ({error})") from None
    if array.dtype.kind not in "iub" and array.dtype.name not in DTYPES:
        came = f"a {type(value).__name__}" if array.dtype.kind in "OUSV" else f"of dtype {array.dtype}"
        kinds = f"{', '.join(DTYPES)}, integers or booleans"
        raise TypeError(f"{what} is {came}; must be numbers ({kinds}); bind other arguments before")
    wrong = ~np.isfinite(array)
    if wrong.any():
        raise ValueError(f"{what} holds {array[wrong][0]} at {np.argwhere(wrong)[0].tolist()}; must be finite")
    return array


def _narrowest(given: Mapping[str, Given]) -> str:
    """The least precise dtype of the float arrays: the rounding of the check is judged by it."""
    return max((one.dtype for one in given.values() if one.dtype in DTYPES), key=DTYPES.index, default=DTYPES[0])


def _cotangent(value: Any) -> tuple[Array, ...] | None:
    """One array for each output: a tuple, or a list of arrays, holds several."""
    if value is None:
        return None
    several = isinstance(value, list) and bool(value) and all(isinstance(part, np.ndarray) for part in value)
    if not several and not isinstance(value, tuple):
        return (_numbers("cotangent", value),)
    return tuple(_numbers(f"cotangent[{k}]", part) for k, part in enumerate(value))


def _wrt(value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else tuple(value)
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError(f"wrt is {value!r}; must be the name of an array, or several")
    return names


def _difference(value: object) -> Difference | None:
    if isinstance(value, str):
        value = Difference(value)
    elif isinstance(value, Mapping):
        value = Difference(**_keys("difference", value, ("method", "step", "relative_step")))
    if value is None:
        return None
    if not isinstance(value, Difference):
        raise TypeError(f"difference is {value!r}; must be the name of a method, or a mapping with method and step")
    if value.method not in tuple(METHODS):
        raise ValueError(str(UnknownNameError("difference method", value.method, METHODS)))
    steps = {"step": value.step, "relative_step": value.relative_step}
    given = {key: step for key, step in steps.items() if step is not None}
    if len(given) > 1:
        raise ValueError("difference has both step and relative_step; must have at most one")
    for key, step in given.items():
        if _positive(f"difference {key}", step) == 0:
            raise ValueError(f"difference {key} is 0; must be greater than 0")
    return value


def _tolerance(value: object) -> Tolerance | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        value = Tolerance(**_keys("tolerance", value, ("rtol", "atol")))
    elif not isinstance(value, Tolerance):
        value = Tolerance(rtol=_positive("tolerance", value))
    _positive("tolerance rtol", value.rtol)
    _positive("tolerance atol", value.atol)
    return value


def _keys(what: str, given: Mapping[Any, Any], known: tuple[str, ...]) -> dict[str, Any]:
    unknown = [key for key in given if key not in known]
    if unknown or not given:
        came = f"the key {unknown[0]!r}" if unknown else "no key"
        raise ValueError(f"{what} has {came}; must have {' or '.join(known)}")
    return dict(given)


def _positive(what: str, value: object) -> float:
    """A finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{what} is {value!r}; must be a number")
    if not 0 <= value < math.inf:
        raise ValueError(f"{what} is {value}; must be finite and at least 0")
    return float(value)

"""`check`: one gradient from Python, with no file."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np

from gradcheck_cli.adapters.library import libraries_of
from gradcheck_cli.adapters.user_code import Code, UserCodeError, listed, spec_of
from gradcheck_cli.layer import Array, ArraySpec, Layer, Shape
from gradcheck_cli.registry import METHODS, UnknownNameError
from gradcheck_cli.results import CheckResult
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Difference, Foreign, Given, Tolerance, View

DTYPES = ("float64", "float32", "float16")
Numbers: TypeAlias = "Mapping[str, Array]"


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
        A method such as "central", or a mapping of `method` and one of `step` and `relative_step`; default is automatic.
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
    subject = _subject(layer, values, seed)
    spec = CheckSpec(
        id=f"check::{subject.name}",
        name=subject.name,
        layer=subject.layer,
        layer_name=subject.kind,
        arrays=given,
        cotangent=_cotangent(cotangent),
        wrt=_wrt(wrt, subject),
        view=cast("View", view),
        dtype=_narrowest(given),
        seed=seed,
        difference=_difference(difference),
        tolerance=_tolerance(tolerance),
    )
    result = run_check(spec)
    if result.error is not None and result.error.type == "ArrayError" and result.error.traceback_line is None:
        raise ValueError(result.error.message)  # found by gradcheck itself, before any of the layer's code was to blame
    if result.printed and not result:
        sys.stderr.write(result.printed)
    return result


# --- what is checked ---


@dataclass(frozen=True)
class Subject:
    """What is checked, its name, and its kind. `arrays` are the names of its arrays, where no others can be."""

    layer: Layer | Foreign
    name: str
    kind: str
    arrays: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Described:
    """A layer that does not describe its arrays: they are those that were given."""

    layer: Any
    specs: Mapping[str, ArraySpec]

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:  # noqa: ARG002 - nothing is fitted
        """The arrays as they were given."""
        return self.specs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)


@dataclass(frozen=True, eq=False)
class Callable_:
    """A callable of a library that becomes a layer when its check runs: trying it out is part of the check."""

    wrap: Callable[[], Any]

    def references(self) -> Mapping[str, str]:
        """No code is named."""
        return {}

    def problems(self, arrays: Any, constants: Any) -> list[tuple[str, str]]:  # noqa: ARG002 - the protocol's
        """None that could be told without running it."""
        return []

    def build(self, arrays: Numbers, constants: Mapping[str, Any], seed: int) -> Any:  # noqa: ARG002 - bound already
        """Wrap it."""
        return self.wrap()

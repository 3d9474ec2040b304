"""JAX code as a layer: a function, a `custom_vjp` or a `custom_jvp`, with the gradients of jax.vjp."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from gradcheck_cli.adapters.placement import Placement, input_names, parameters_of, place
from gradcheck_cli.adapters.references import malformed, resolve
from gradcheck_cli.adapters.stacking import stacked_axes, unstacked, works
from gradcheck_cli.adapters.user_code import UserCodeError, fresh, spec_of
from gradcheck_cli.layer import Array, ArraySpec, Outputs, Shape
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class JaxLayer:
    """A function of JAX arrays, with or without a derivative of its own.

    Formula:
        y = target(arrays, constants)
        dL/d(array) from jax.vjp

    Arrays:
        those that are given, by name or else in the order of the signature

    Outputs may be any tree of arrays; those that are not floating point are left out. 64-bit numbers are enabled while
    the code is imported and evaluated, and only then.
    """

    name: ClassVar[str] = "jax"
    short: ClassVar[str] = "target"

    target: str

    def references(self) -> dict[str, str]:
        """The code that is named."""
        return {"target": self.target}

    def problems(self, arrays: Collection[str], constants: Collection[str]) -> list[tuple[str, str]]:  # noqa: ARG002 - the signature tells only when the code is imported
        """What can be told without importing."""
        complaint = malformed(self.target)
        found = [("target", complaint)] if complaint else []
        if not arrays:
            found.append(("", "has no arrays; name each with its values or its shape under arrays"))
        return found

    def inputs(self, arrays: Collection[str], constants: Collection[str]) -> tuple[str, ...]:
        """The parameters that are arrays, in order, for a chain."""
        return input_names(parameters_of(self._resolved()), arrays, constants)

    def accepts(self, constants: Collection[str]) -> tuple[str, ...]:
        """Those of the constants that are parameters, for a chain that shares its constants."""
        parameters = parameters_of(self._resolved())
        any_name = any(one.kind is one.VAR_KEYWORD for one in parameters)
        return tuple(name for name in constants if any_name or name in {one.name for one in parameters})

    def build(self, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> JaxFunction:  # noqa: ARG002 - JAX draws nothing by itself
        """Import the code and wrap it."""
        return from_callable(self._resolved(), arrays, constants, label=self.target.partition(":")[2])

    def _resolved(self) -> Any:
        with _double():  # arrays that the module makes when it is imported are of 64 bits too
            return resolve(self.target)


def from_callable(
    function: Any,
    arrays: Mapping[str, Array],
    constants: Mapping[str, Any] | None = None,
    *,
    label: str | None = None,
) -> JaxFunction:
    """Wrap a function of JAX arrays that is there already."""
    label = label or label_of(function)
    if not callable(function):
        raise UserCodeError(f"{label} cannot be called; must be a function")
    given = {name: np.asarray(array) for name, array in arrays.items()}
    placement = place(label, parameters_of(function), given, constants or {})
    specs = {name: spec_of(array) for name, array in given.items()}
    layer = JaxFunction(label, function, placement, constants or {}, specs)
    return replace(layer, stacks=works(layer.forward, layer._stacked, given))


def check_names(function: Any, arrays: Collection[str]) -> None:
    """Every array must be taken, and every required parameter filled. Nothing is run.

    Raises `UserCodeError`.
    """
    place(label_of(function), parameters_of(function), arrays, {})


def label_of(function: Any) -> str:
    """What somebody's code is called."""
    return str(getattr(function, "__name__", type(function).__name__))


@dataclass(frozen=True, eq=False)
class JaxFunction:
    """JAX code as a layer."""

    label: str
    function: Callable[..., Any]
    placement: Placement
    constants: Mapping[str, Any]
    specs: Mapping[str, ArraySpec]
    stacks: bool = False
    one_at_a_time: ClassVar[bool] = True  # JAX has threads of its own

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        """The arrays that were named when it was built, in the shapes given now."""
        return {name: replace(spec, shape=given.get(name, spec.shape)) for name, spec in self.specs.items()}

    def forward(self, **arrays: Array) -> Outputs:
        """Evaluate the function."""
        with _double():
            return _numpy(self._call(_inputs(arrays)))

    def vjp(self, dy: Any, **arrays: Array) -> dict[str, Array]:
        """What jax.vjp says."""
        jax = _require_jax()
        wrt = [name for name, spec in self.specs.items() if spec.differentiable]
        with _double():
            inputs = _inputs(arrays)

            def differentiated(*parts: Any) -> tuple[Any, ...]:
                return self._call({**inputs, **dict(zip(wrt, parts, strict=True))})

            outputs, pull_back = jax.vjp(differentiated, *(inputs[name] for name in wrt))
            cotangents = dy if isinstance(dy, (tuple, list)) else (dy,)
            pairs = zip(cotangents, outputs, strict=True)
            found = pull_back(tuple(jax.numpy.asarray(one, y.dtype) for one, y in pairs))
            return {name: np.array(one) for name, one in zip(wrt, found, strict=True)}

    @property
    def forward_stacked(self) -> Callable[..., Outputs]:
        """Stacked evaluation, there when jax.vmap gives what single calls give."""
        if not self.stacks:
            raise AttributeError("no forward_stacked: jax.vmap does not reproduce single calls")
        return self._stacked

    def _stacked(self, **arrays: Array) -> Outputs:
        axes = stacked_axes(arrays)
        with _double():
            inputs = _inputs(unstacked(arrays, axes))
            return _numpy(_require_jax().vmap(self._call, in_axes=(axes,))(inputs))

    def _call(self, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
        jax = _require_jax()
        args, by_name = self.placement.arguments(inputs, fresh(self.constants))
        leaves = jax.tree.leaves(self.function(*args, **by_name))
        for leaf in leaves:
            if not hasattr(leaf, "dtype") and not isinstance(leaf, (int, float, complex)):
                raise UserCodeError(f"{self.label} returned a {type(leaf).__name__}; must be arrays")
        outputs = tuple(map(jax.numpy.asarray, leaves))
        numbers = tuple(one for one in outputs if jax.numpy.issubdtype(one.dtype, jax.numpy.inexact))
        if not numbers:
            raise UserCodeError(f"{self.label} returned no floating-point array; must be at least one")
        return numbers


def _inputs(arrays: Mapping[str, Array]) -> dict[str, Any]:
    jax = _require_jax()
    return {name: jax.numpy.asarray(array) for name, array in arrays.items()}


def _numpy(outputs: Sequence[Any]) -> Outputs:
    arrays = tuple(np.array(one) for one in outputs)
    return arrays if len(arrays) > 1 else arrays[0]


def _double() -> AbstractContextManager[Any]:
    """64-bit numbers within the block; the place of the switch differs between versions of JAX."""
    jax = _require_jax()
    if hasattr(jax, "enable_x64"):
        switch: AbstractContextManager[Any] = jax.enable_x64(True)
        return switch
    older: AbstractContextManager[Any] = importlib.import_module("jax.experimental").enable_x64(True)
    return older


def _require_jax() -> Any:
    try:
        return importlib.import_module("jax")
    except ModuleNotFoundError as error:
        message = "jax is not installed here; install it with: pip install 'gradcheck-cli[jax]'"
        raise ModuleNotFoundError(message, name=error.name) from error

"""A pair of functions, forward and backward, as courses and numpy projects write them; or one that returns both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from gradcheck_cli.adapters.references import malformed, resolve
from gradcheck_cli.adapters.user_code import Code, count, fresh, listed, spec_of
from gradcheck_cli.layer import Array, ArraySpec, Layer, Outputs, Shape
from gradcheck_cli.values import dataclass

ORDER = "say which with gradients: [...], in the order returned, null for one to skip"


@dataclass(frozen=True)
class Functions:
    """Functions of named arrays and constants.

    Formula:
        forward(x, w, b) -> out, (out, cache), or with `outputs: 2` (h, c) or (h, c, cache)
        backward(dout, cache) -> (dx, dw, db), or {"x": dx, "w": dw, "b": db}

    Arrays and constants are handed over under the names of the parameters. `backward` takes one cotangent for each
    output first. Of its other parameters those named like an array or a constant get it, as in
    `backward(dout, x, w, b)`; one other gets the cache, or the output where forward returns no cache. The gradients are
    those of the float arrays in the order of forward's signature, or what `gradients` says (null skips one).

    `loss_and_gradient` names one function that returns (loss, gradient), (loss, dx, dw) or (loss, {"w": dw}).
    """

    name: ClassVar[str] = "functions"

    forward: str | None = None
    backward: str | None = None
    loss_and_gradient: str | None = None
    gradients: Sequence[str | None] | None = None
    outputs: int = 1

    def references(self) -> Mapping[str, str]:
        """The functions by option."""
        options = {"forward": self.forward, "backward": self.backward, "loss_and_gradient": self.loss_and_gradient}
        return {option: reference for option, reference in options.items() if reference is not None}

    def problems(self, arrays: Collection[str], constants: Collection[str]) -> Sequence[tuple[str, str]]:  # noqa: ARG002 - the signature of a foreign layer
        """What can be told without importing."""
        found = [(option, complaint) for option, ref in self.references().items() if (complaint := malformed(ref))]
        if self.loss_and_gradient is not None:
            beside = [option for option in ("forward", "backward") if option in self.references()]
            found += [(option, "stands beside loss_and_gradient; must be the one or the other") for option in beside]
            if self.outputs != 1:
                found.append(("outputs", "a loss is the only output of loss_and_gradient"))
        else:
            for option in ("forward", "backward"):
                if option not in self.references():
                    found.append((option, "missing; must be module:name, or use loss_and_gradient"))
        if self.outputs < 1:
            found.append(("outputs", f"{self.outputs}; must be at least 1"))
        if not arrays:
            found.append(("", "has no arrays; name each with its values or its shape under arrays"))
        return found

    def accepts(self, constants: Collection[str]) -> tuple[str, ...]:
        """Those of the constants that are parameters, for a chain that shares its constants."""
        code = self._code()
        return tuple(name for name in constants if name in code.names or code.takes_any_name)

    def inputs(self, arrays: Collection[str], constants: Collection[str]) -> tuple[str, ...]:
        """The parameters of forward that are arrays, in order, for a chain."""
        code = self._code()
        return tuple(name for name in code.names if name not in constants and (name in arrays or name in code.required))

    def build(self, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> Layer:  # noqa: ARG002 - functions are not drawn
        """Import the functions and wrap them."""
        code = self._code()
        specs, order = _describe(code, arrays, constants, self.gradients)
        if self.loss_and_gradient is not None:
            return LossAndGradient(code, specs, constants, order)
        backward = Code.named(self.backward or "", resolve(self.backward or ""))
        return FunctionPair(code, specs, constants, order, backward, self.outputs)

    def _code(self) -> Code:
        reference = self.loss_and_gradient or self.forward or ""
        return Code.named(reference, resolve(reference))


def from_pair(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    arrays: Mapping[str, Array],
    constants: Mapping[str, Any] | None = None,
    gradients: Sequence[str | None] | None = None,
    outputs: int = 1,
) -> Layer:
    """Wrap two functions that are there already, in the convention of `Functions`."""
    code, constants = Code.named("forward", forward), constants or {}
    specs, order = _describe(code, arrays, constants, gradients)
    return FunctionPair(code, specs, constants, order, Code.named("backward", backward), outputs)


def _describe(
    code: Code, arrays: Mapping[str, Array], constants: Mapping[str, Any], gradients: Sequence[str | None] | None
) -> tuple[dict[str, ArraySpec], tuple[str | None, ...]]:
    """The arrays in the order of the signature, and the order in which their gradients come back."""
    code.check_names(arrays, constants)
    names = [name for name in code.names if name in arrays] + [name for name in arrays if name not in code.names]
    specs = {name: spec_of(np.asarray(arrays[name])) for name in names}
    if gradients is None:
        return specs, tuple(name for name, spec in specs.items() if spec.differentiable)
    for name in gradients:
        if name is not None and (name not in specs or not specs[name].differentiable):
            floats = [one for one, spec in specs.items() if spec.differentiable]
            raise code.error(f"gradients names {name!r}; must be among the float arrays {listed(floats)}")
    return {name: replace(spec, differentiable=name in gradients) for name, spec in specs.items()}, tuple(gradients)


@dataclass(frozen=True, eq=False)
class _Wrapped:
    """What both conventions share: a function of arrays and constants, and the order of its gradients."""

    code: Code
    specs: Mapping[str, ArraySpec]
    constants: Mapping[str, Any]
    order: tuple[str | None, ...]

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        """The arrays that were named when it was built, in the shapes given now."""
        return {name: replace(spec, shape=given.get(name, spec.shape)) for name, spec in self.specs.items()}

    def _call(self, arrays: Mapping[str, Array]) -> Any:
        return self.code.call((), {**arrays, **fresh(self.constants)})


@dataclass(frozen=True, eq=False)
class FunctionPair(_Wrapped):
    """A forward and a backward function as a layer."""

    backward: Code
    outputs: int = 1

    def forward(self, **arrays: Array) -> Outputs:
        """The output, or a tuple of outputs, without the cache."""
        return self._forward(arrays)[0]

    def vjp(self, dy: Any, **arrays: Array) -> dict[str, Array]:
        """Run forward for a fresh cache, then backward."""
        return self._backward(dy, arrays)[1]

    def output_in_vjp(self, dy: Any, **arrays: Array) -> Outputs:
        """What forward computed inside the backward pass: must be what it computes alone."""
        return self._backward(dy, arrays)[0]

    def _forward(self, arrays: Mapping[str, Array]) -> tuple[Outputs, bool, Any]:
        """The outputs, whether there is a cache, and the cache."""
        value = self._call(arrays)
        parts = value if isinstance(value, tuple) else (value,)
        if len(parts) not in (self.outputs, self.outputs + 1):
            outputs = "the output" if self.outputs == 1 else f"{self.outputs} outputs"
            raise self.code.error(
                f"{self.code.name} returned {count(len(parts), 'value')}; must be {outputs}, or {outputs} and a cache"
            )
        outputs_only = tuple(self.code.array(part, "its output") for part in parts[: self.outputs])
        y = outputs_only[0] if self.outputs == 1 else outputs_only
        cached = len(parts) > self.outputs
        return y, cached, parts[-1] if cached else None

    def _backward(self, dy: Any, arrays: Mapping[str, Array]) -> tuple[Outputs, dict[str, Array]]:
        y, cached, cache = self._forward(arrays)
        cotangents = dy if isinstance(dy, tuple) else (dy,)
        named = {**arrays, **fresh(self.constants)}
        rest = self.backward.names[len(cotangents) :]
        unknown = [name for name in rest if name not in named and (cached or name in self.backward.required)]
        if unknown:
            named[unknown[0]] = cache if cached else y
        lacking = [name for name in unknown[1:] if name in self.backward.required]
        if lacking or len(self.backward.names) < len(cotangents):
            raise self._uncallable(len(cotangents), lacking, cached)
        value = self.backward.call(cotangents, named)
        how = f"taken to be for the float arrays in the order of the signature; {ORDER}"
        return y, self.backward.gradients(value, self.order, how)

    def _uncallable(self, cotangents: int, lacking: Sequence[str], cached: bool) -> Exception:
        name, takes = self.backward.name, listed(self.backward.names)
        after = "the cache" if cached else "arrays and constants by name, or the output"
        must = f"must take {count(cotangents, 'cotangent')} first, then {after}"
        if not lacking:
            return self.backward.error(f"{name} takes {takes}; {must}")
        return self.backward.error(f"{name} takes {takes}, and {listed(lacking)} is no array or constant; {must}")


@dataclass(frozen=True, eq=False)
class LossAndGradient(_Wrapped):
    """A function that returns a loss and its gradient, as a layer.

    It sees no cotangent: its gradient is multiplied by dL/d(loss) here, so linearity in dy holds by itself, and
    `ignores_dy` says that testing it would test nothing.
    """

    ignores_dy: ClassVar[bool] = True

    def forward(self, **arrays: Array) -> Array:
        """The loss."""
        return self._both(arrays)[0]

    def vjp(self, dy: Any, **arrays: Array) -> dict[str, Array]:
        """The gradient of the loss, times dL/d(loss)."""
        scale = np.reshape(dy, ())
        return {name: gradient * scale for name, gradient in self._both(arrays)[1].items()}

    def _both(self, arrays: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        value, name = self._call(arrays), self.code.name
        if not isinstance(value, tuple) or len(value) < 2:
            raise self.code.error(f"{name} returned a {type(value).__name__}; must be (loss, gradient)")
        loss = self.code.array(value[0], "its loss")
        if loss.size != 1:
            raise self.code.error(f"{name} returned a loss of shape {loss.shape}; must be one number")
        gradients = value[1] if len(value) == 2 else value[1:]
        return loss, self.code.gradients(gradients, self.order, ORDER)

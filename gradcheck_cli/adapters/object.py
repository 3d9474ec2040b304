"""A layer object: forward and backward methods, parameters and gradients in its attributes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from gradcheck_cli.adapters.object_state import (
    Parameter,
    Search,
    copied,
    gradient_of,
    initialised,
    nudged,
    seeded,
    unchecked,
)
from gradcheck_cli.adapters.references import malformed, resolve
from gradcheck_cli.adapters.user_code import Code, Recall, UserCodeError, fresh, listed, spec_of, spellings
from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Layer, Outputs, Shape, as_outputs
from gradcheck_cli.values import dataclass, field


@dataclass(frozen=True)
class ObjectLayer:
    """A class with forward and backward methods.

    Formula:
        forward(X) -> Y, or a tuple of outputs
        backward(dY) -> dX, or a tuple or mapping with one gradient for each float input

    The object is made with `options`, and run once under the seed. Its parameters are the float arrays in the mapping
    `parameters` or `params`, or the attributes that have a gradient: `W` beside `dW`, `grad_W` or `W_grad`. The
    gradients are looked for under these names too, or in the mapping `gradients` or `grads`. `parameters` and
    `gradients` name another attribute, list the parameters, or map each to where its gradient is (null: it has none).

    Inputs go to forward by position, in the order of `input`, or else by the names of its parameters; a single array
    goes to it under any name. Every evaluation works on a copy of the initialised object.
    """

    name: ClassVar[str] = "object"
    short: ClassVar[str] = "class_"

    class_: str
    options: Mapping[str, Any] = field(default_factory=dict)
    input: str | Sequence[str] | None = None
    parameters: str | Sequence[str] | None = None
    gradients: str | Mapping[str, str | None] | None = None
    forward: str = "forward"
    backward: str = "backward"

    def references(self) -> Mapping[str, str]:
        """The class."""
        return {"class": self.class_}

    def problems(self, arrays: Collection[str], constants: Collection[str]) -> Sequence[tuple[str, str]]:  # noqa: ARG002 - the signature of a foreign layer
        """What can be told without importing."""
        complaint = malformed(self.class_)
        found = [("class", complaint)] if complaint else []
        found += [
            (option, f"{method!r} is not the name of a method")
            for option, method in (("forward", self.forward), ("backward", self.backward))
            if not method.isidentifier()
        ]
        if not arrays:
            found.append(("", "has no input; name it with its values or its shape under arrays"))
        return found

    def accepts(self, constants: Collection[str]) -> tuple[str, ...]:
        """Those of the constants that forward takes, for a chain that shares its constants."""
        code = Code.named(self.class_, getattr(self._class(), self.forward, None))
        return tuple(name for name in constants if name in code.names or code.takes_any_name)

    def inputs(self, arrays: Collection[str], constants: Collection[str]) -> tuple[str, ...]:
        """The names of the inputs, for a chain."""
        if self.input is not None:
            return (self.input,) if isinstance(self.input, str) else tuple(self.input)
        code = Code.named(self.class_, getattr(self._class(), self.forward, None))
        return tuple(
            name for name in code.names[1:] if name not in constants and (name in arrays or name in code.required)
        )

    def build(self, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> Layer:
        """Make the object, and wrap it."""
        with seeded(seed):
            made = self._class()(**fresh(self.options))
        return self.wrapped(made, arrays, constants, seed)

    def wrapped(self, made: object, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> Layer:
        """Run an object once, and find its parameters and gradients."""
        for method in (self.forward, self.backward):
            if not callable(getattr(made, method, None)):
                raise UserCodeError(f"{self.class_} has no method {method!r}; name it with forward: or backward:")
        inputs, by_name = self._inputs(made, arrays, constants)
        run = _Methods(type(made).__name__, self.forward, self.backward, inputs, by_name, constants)
        given = {name: np.asarray(arrays[name]) for name in inputs}
        state, varying = initialised(made, run.outputs, given, seed)
        trial = copied(state)
        with seeded(seed):
            y = run.outputs(trial, given)
            dy = tuple(np.ones_like(part) for part in y) if isinstance(y, tuple) else np.ones_like(y)
            run.gradients(trial, dy)
        parameters = Search(self.class_, self.parameters, self.gradients).find(state, trial, varying)
        twice = [name for name in inputs if name in parameters]
        if twice:
            raise UserCodeError(f"{self.class_} has a parameter {twice[0]!r} like its input; rename the input")
        specs = {name: spec_of(given[name]) for name in inputs}
        specs |= {name: _parameter_spec(one) for name, one in parameters.items()}
        named = self.parameters is not None
        left = [] if named else [name for name in unchecked(state, parameters, varying) if run.uses(state, name, given)]
        return BuiltObject(state, run, specs, parameters, tuple(_without_gradient(run.owner, name) for name in left))

    def _class(self) -> Callable[..., Any]:
        thing = resolve(self.class_)
        if not callable(thing):
            raise UserCodeError(f"{self.class_} is a {type(thing).__name__}; must be a class")
        return thing

    def _inputs(
        self, made: object, arrays: Mapping[str, Array], constants: Mapping[str, Any]
    ) -> tuple[tuple[str, ...], bool]:
        """The given arrays that go to forward, in order, and whether they go by name."""
        code = Code(getattr(made, self.forward), f"{type(made).__name__}.{self.forward}")
        for name in constants:
            if name not in code.names and not code.takes_any_name:
                raise code.error(f"{code.name} takes no constant {name!r}; its parameters are {listed(code.names)}")
        if self.input is not None:
            names = (self.input,) if isinstance(self.input, str) else tuple(self.input)
        else:
            names = tuple(name for name in code.names if name in arrays) or tuple(arrays)
            if len(names) != 1 and not set(names) <= set(code.names):
                raise code.error(f"{code.name} takes {listed(code.names)}; say which arrays it gets with input: [...]")
        absent = [name for name in names if name not in arrays]
        if absent:
            raise code.error(f"input {listed(absent)} is not given; name it under arrays with its values or its shape")
        return names, self.input is None and set(names) <= set(code.names)


def from_object(thing: object, arrays: Mapping[str, Array], seed: int = 0) -> Layer:
    """Wrap an object that is there already, in the convention of `ObjectLayer`. It is copied and never run itself."""
    return ObjectLayer(type(thing).__name__).wrapped(copied(thing), arrays, {}, seed)


def _without_gradient(owner: str, name: str) -> str:
    return (
        f"{owner}.{name} is not checked: forward depends on it, and no gradient for it was found "
        f"({listed(spellings(name)[1:])}); if it is none of the parameters, list those that are: parameters: [...]"
    )


def _parameter_spec(parameter: Parameter) -> ArraySpec:
    draw = Recall(parameter.values)
    return ArraySpec(parameter.values.shape, draw=draw, differentiable=parameter.gradient is not None)


@dataclass(frozen=True, eq=False)
class _Methods:
    """How the methods of an object are called."""

    owner: str
    forward: str
    backward: str
    inputs: tuple[str, ...]
    by_name: bool
    constants: Mapping[str, Any]

    def outputs(self, thing: object, arrays: Mapping[str, Array]) -> Outputs:
        """Run forward on the inputs and the constants."""
        code = Code(getattr(thing, self.forward), f"{self.owner}.{self.forward}")
        inputs, constants = {name: arrays[name] for name in self.inputs}, fresh(self.constants)
        value = code.call((), inputs | constants) if self.by_name else code.call(list(inputs.values()), constants)
        if isinstance(value, tuple):
            return tuple(code.array(part, "an output") for part in value)
        return code.array(value, "its output")

    def uses(self, state: object, attribute: str, arrays: Mapping[str, Array]) -> bool:
        """Whether the outputs depend on an array among the attributes."""
        values = getattr(state, attribute)
        one, two = (
            as_outputs(self.outputs(copied(state, [(values, other)]), arrays)) for other in (values, nudged(values))
        )
        return not all(map(np.array_equal, one, two))

    def gradients(self, thing: object, dy: Any) -> tuple[Code, Any]:
        """Run backward on the cotangents."""
        code = Code(getattr(thing, self.backward), f"{self.owner}.{self.backward}")
        return code, code.call(dy if isinstance(dy, tuple) else (dy,), fresh(self.constants))


@dataclass(frozen=True, eq=False)
class BuiltObject:
    """An initialised object as a layer; it is copied for every evaluation and never run itself."""

    state: object
    methods: _Methods
    specs: Mapping[str, ArraySpec]
    parameters: Mapping[str, Parameter]
    notes: tuple[str, ...] = ()

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        """The inputs in the shapes given, and the parameters as the object made them."""
        for name, parameter in self.parameters.items():
            if given.get(name, parameter.values.shape) != parameter.values.shape:
                must = f"must be {parameter.values.shape}, as {self.methods.owner} makes it"
                raise ArrayError(name, f"shape {given[name]}", must)
        return {name: replace(spec, shape=given.get(name, spec.shape)) for name, spec in self.specs.items()}

    def forward(self, **arrays: Array) -> Outputs:
        """Run the forward method of a copy."""
        return self.methods.outputs(self._with(arrays), arrays)

    def vjp(self, dy: Any, **arrays: Array) -> dict[str, Array]:
        """Run forward and backward of a copy and collect the gradients."""
        return self._both(dy, arrays)[1]

    def output_in_vjp(self, dy: Any, **arrays: Array) -> Outputs:
        """What forward computed inside the backward pass: must be what it computes alone."""
        return self._both(dy, arrays)[0]

    def _with(self, arrays: Mapping[str, Array]) -> object:
        return copied(self.state, [(one.values, arrays[name]) for name, one in self.parameters.items()])

    def _both(self, dy: Any, arrays: Mapping[str, Array]) -> tuple[Outputs, dict[str, Array]]:
        thing = self._with(arrays)
        y = self.methods.outputs(thing, arrays)
        code, value = self.methods.gradients(thing, dy)
        floats = [name for name in self.methods.inputs if self.specs[name].differentiable]
        gradients: dict[str, Array] = {}
        if value is None:
            value = {name: stored for name in floats if (stored := _stored(thing, name)) is not None} or None
        if floats:
            how = f"must return one for each float input, {listed(floats)}"
            gradients |= code.gradients(value, floats, how)
        for name, one in self.parameters.items():
            if one.gradient is not None:
                gradients[name] = code.array(gradient_of(thing, one.gradient), f"the gradient for {name}")
        return y, gradients


def _stored(thing: object, name: str) -> Any:
    """The gradient of an input that backward left in an attribute instead of returning it."""
    left = inspect.getattr_static
    return next((getattr(thing, key) for key in spellings(name)[1:] if left(thing, key, None) is not None), None)

"""PyTorch code as a layer: an `autograd.Function`, a module or a function, with the gradients of its autograd.

The number of threads is left as the process has it: workers are limited through their environment, and a program that
calls `check` keeps what it has set.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from gradcheck_cli.adapters.placement import Placement, input_names, parameters_of, place
from gradcheck_cli.adapters.references import malformed, resolve
from gradcheck_cli.adapters.torch_layer import Call, Evaluation, Gradient, Near, seeded
from gradcheck_cli.adapters.user_code import UserCodeError, listed, spec_of
from gradcheck_cli.layer import Array, ArrayError, ArraySpec, OptionError
from gradcheck_cli.values import dataclass, field


@dataclass(frozen=True)
class TorchLayer:
    """An `autograd.Function`, an `nn.Module` class with its options, or any callable of tensors.

    Formula:
        y = target(arrays, constants)
        dL/d(array) from torch.autograd.grad; order 2 takes that gradient itself for y, its cotangent for an array `dy`

    Arrays:
        those that are given, by name or else in the order of the signature; integer ones become long tensors
        the parameters of a module, named as by named_parameters, drawn near their initial values unless given
        dy (dy0, dy1, ... for several outputs): the cotangent, with order 2 only

    Outputs that are not floating point, such as indices, are left out. What draws random numbers is evaluated under
    the same seed each time. A module keeps its buffers: every evaluation starts from a copy of them.
    """

    name: ClassVar[str] = "torch"
    short: ClassVar[str] = "target"

    target: str
    options: dict[str, Any] = field(default_factory=dict)
    order: Literal[1, 2] = 1
    device: str | None = None

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
        return input_names(_signature(resolve(self.target)), arrays, constants)

    def accepts(self, constants: Collection[str]) -> tuple[str, ...]:
        """Those of the constants that are parameters, for a chain that shares its constants."""
        parameters = _signature(resolve(self.target))
        any_name = any(one.kind is one.VAR_KEYWORD for one in parameters)
        return tuple(name for name in constants if any_name or name in {one.name for one in parameters})

    def build(self, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> Evaluation:
        """Import the code and wrap it."""
        _require_torch()
        thing = resolve(self.target)
        return from_callable(
            thing,
            arrays,
            constants,
            options=self.options,
            order=self.order,
            device=self.device,
            seed=seed,
            label=self.target.partition(":")[2],
        )


def from_callable(
    thing: Any,
    arrays: Mapping[str, Array],
    constants: Mapping[str, Any] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    order: int = 1,
    device: str | None = None,
    seed: int = 0,
    label: str | None = None,
) -> Evaluation:
    """Wrap a torch callable that is there already, in the convention of `TorchLayer`."""
    torch = _require_torch()
    label = label or label_of(thing)
    given = {name: np.asarray(array) for name, array in arrays.items()}
    place_ = _device(device)
    with seeded(seed, place_):
        thing = _instance(label, thing, options or {})
    cotangents = {name: given.pop(name) for name in list(given) if order == 2 and _is_cotangent(name)}
    if isinstance(thing, torch.nn.Module):
        call = _module_call(label, thing, given, constants or {}, place_)
    else:
        parameters = _signature(thing)
        function = thing.apply if _is_function(thing) else thing
        call = Call(label, function, place(label, parameters, given, constants or {}), constants or {}, place_)
    specs = _specs(call, given)
    layer = Evaluation(call, specs, seed).probed({**_values(specs, seed), **given})
    return layer if order == 1 else _second_order(call, layer, given, cotangents)


def check_names(thing: Any, arrays: Collection[str]) -> None:
    """Every array must be taken, and every required parameter filled. Nothing is run.

    Raises `UserCodeError`.
    """
    module = thing if isinstance(thing, _require_torch().nn.Module) else None
    own = {name for name, _ in module.named_parameters()} if module is not None else set()
    place(label_of(thing), _signature(thing), [name for name in arrays if name not in own], {})


def label_of(thing: Any) -> str:
    """What somebody's code is called."""
    return str(getattr(thing, "__name__", type(thing).__name__))


def _second_order(
    call: Call, layer: Evaluation, given: Mapping[str, Array], cotangents: Mapping[str, Array]
) -> Evaluation:
    """The gradient itself as a layer: of the same arrays and of the cotangents of the outputs."""
    point = {**_values(layer.specs, layer.seed), **given}
    y = layer.forward(**point)
    outputs = y if isinstance(y, tuple) else (y,)
    names = [f"dy{k}" for k in range(len(outputs))] if isinstance(y, tuple) else ["dy"]
    for name in cotangents:
        if name not in names:
            raise ArrayError(name, "no such array", f"the cotangents are {listed(names)}")
    for name in names:
        if name in layer.specs:
            raise ArrayError(name, "an array has the name of a cotangent", "rename the parameter for order 2")
    gradient = Gradient(call, [name for name, spec in layer.specs.items() if spec.differentiable], names)
    dy_specs = {name: ArraySpec(output.shape) for name, output in zip(names, outputs, strict=True)}
    second = Evaluation(gradient, {**layer.specs, **dy_specs}, layer.seed)
    return second.probed({**_values(second.specs, layer.seed), **given, **cotangents})


def _is_cotangent(name: str) -> bool:
    return name == "dy" or (name.startswith("dy") and name[2:].isdigit())


def _require_torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        message = "torch is not installed here; install it with: pip install 'gradcheck-cli[torch]'"
        raise ModuleNotFoundError(message, name=error.name) from error


def _device(device: str | None) -> Any:
    torch = _require_torch()
    try:
        found = torch.device(device or "cpu")
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0]
        raise OptionError("device", device, f"must be a device that torch can use here ({why})") from error
    return found


def _is_function(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, _require_torch().autograd.Function)


def _instance(label: str, thing: Any, options: Mapping[str, Any]) -> Any:
    """What is called: a class is made an instance with the options, a module is copied."""
    torch = _require_torch()
    if isinstance(thing, type) and not _is_function(thing):
        thing = thing(**options)
    elif options:
        raise UserCodeError(f"{label} is no class, so it takes no options; give them as constants")
    if isinstance(thing, torch.nn.Module):
        return copy.deepcopy(thing)
    if not callable(thing):
        raise UserCodeError(f"{label} cannot be called; must be a function, a Function or a Module")
    return thing


def _signature(thing: Any) -> tuple[inspect.Parameter, ...]:
    """The parameters that are arrays and constants: those of forward, without its context."""
    torch = _require_torch()
    if _is_function(thing):
        parameters = parameters_of(thing.forward)
        separate = thing.setup_context is not torch.autograd.Function.setup_context
        return parameters if separate else parameters[1:]
    if isinstance(thing, type):
        called = "forward" if issubclass(thing, torch.nn.Module) else "__call__"
        return parameters_of(getattr(thing, called))[1:]
    return parameters_of(thing.forward if isinstance(thing, torch.nn.Module) else thing)


def _module_call(
    label: str, module: Any, given: Mapping[str, Array], constants: Mapping[str, Any], device: Any
) -> Call:
    """A module as a function of its inputs and its parameters, in the dtype of the arrays."""
    torch = _require_torch()
    floats = [array.dtype for array in given.values() if array.dtype.kind == "f"]
    dtype = torch.from_numpy(np.zeros((), np.result_type(*floats) if floats else np.float64)).dtype
    module = module.to(device=device, dtype=dtype)
    parameters = _signature(module)
    lazy = any(isinstance(one, torch.nn.parameter.UninitializedParameter) for one in module.parameters())
    known = dict(module.named_parameters())
    inputs = {name: array for name, array in given.items() if name not in known}
    placement: Placement = place(label, parameters, inputs, constants)
    if lazy:  # the first call gives its parameters their shapes
        call = Call(label, module, placement, constants, device)
        with torch.no_grad():
            call(call.tensors(inputs))
        known = dict(module.named_parameters())
    return Call(label, module, placement, constants, device, known, dict(module.named_buffers()))


def _specs(call: Call, given: Mapping[str, Array]) -> dict[str, ArraySpec]:
    """Inputs as they were given, then the parameters of a module."""
    specs = {name: spec_of(array) for name, array in given.items() if name not in call.parameters}
    for name, parameter in call.parameters.items():
        values = parameter.detach().cpu().numpy().copy()
        if name in given and given[name].shape != values.shape:
            raise ArrayError(name, f"shape {given[name].shape}", f"must be {values.shape}, like the parameter")
        specs[name] = ArraySpec(values.shape, draw=Near(values), differentiable=parameter.requires_grad)
    return specs


def _values(specs: Mapping[str, ArraySpec], seed: int) -> dict[str, Array]:
    """Some values of every array, to try the layer out."""
    rng = np.random.default_rng(seed)
    return {name: np.asarray(spec.draw(rng, spec.shape)) for name, spec in specs.items()}

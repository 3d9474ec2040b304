"""Evaluation of torch code on numpy arrays: forward, autograd, stacks through vmap."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from gradcheck_cli.adapters.placement import Placement
from gradcheck_cli.adapters.stacking import stacked_axes, unstacked, works
from gradcheck_cli.adapters.user_code import UserCodeError, fresh
from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Generic, Outputs, Shape
from gradcheck_cli.values import dataclass, field


@dataclass(frozen=True, eq=False)
class Near:
    """Draws near the initial values of a parameter, so that a weight of 1 or a bias of 0 hides no wrong gradient."""

    values: Array

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        largest = float(np.max(np.abs(self.values), initial=0.0))
        return np.asarray(self.values + Generic(0.25 * (largest or 1.0))(rng, shape).astype(self.values.dtype))


@dataclass(frozen=True, eq=False)
class Call:
    """Somebody's function of tensors. For a module `parameters` and `buffers` are those it was built with."""

    label: str
    function: Any
    placement: Placement
    constants: Mapping[str, Any]
    device: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    buffers: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, tensors: Mapping[str, Any]) -> tuple[Any, ...]:
        """The floating-point outputs."""
        import torch

        constants = {name: self._constant(value) for name, value in fresh(self.constants).items()}
        args, by_name = self.placement.arguments(tensors, constants)
        if not self.parameters and not self.buffers:
            return self._outputs(self.function(*args, **by_name))
        state = {name: tensors[name] for name in self.parameters}
        dtype = next((tensor.dtype for tensor in tensors.values() if _is_number(tensor)), None)
        for name, buffer in self.buffers.items():
            state[name] = buffer.to(dtype) if dtype is not None and buffer.is_floating_point() else buffer
            state[name] = state[name].clone()
        return self._outputs(torch.func.functional_call(self.function, state, tuple(args), by_name))

    def tensors(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        """The arrays as tensors on the device: integers long, and all numbers complex when one is."""
        import torch

        tensors = {name: _tensor(np.asarray(array)).to(self.device) for name, array in arrays.items()}
        if any(tensor.is_complex() for tensor in tensors.values()):
            for name, tensor in tensors.items():
                if tensor.is_floating_point():
                    tensors[name] = tensor.to(torch.promote_types(tensor.dtype, torch.complex64))
        return tensors

    def _constant(self, value: Any) -> Any:
        return _tensor(value).to(self.device) if isinstance(value, np.ndarray) else value

    def _outputs(self, value: Any) -> tuple[Any, ...]:
        import torch

        parts = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        for part in parts:
            if part is not None and not isinstance(part, torch.Tensor):
                raise UserCodeError(f"{self.label} returned a {type(part).__name__}; must be a tensor or several")
        outputs = tuple(part for part in parts if part is not None and _is_number(part))
        if not outputs:
            raise UserCodeError(f"{self.label} returned no floating-point tensor; must be at least one")
        return outputs


@dataclass(frozen=True, eq=False)
class Gradient:
    """The gradient of a call with respect to some arrays, as a call of those arrays and of the cotangents."""

    call: Call
    wrt: Sequence[str]
    cotangents: Sequence[str]

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Those of the module, whose shapes are fixed."""
        return self.call.parameters

    @property
    def device(self) -> Any:
        """Where it is evaluated."""
        return self.call.device

    def tensors(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        """The arrays as tensors."""
        return self.call.tensors(arrays)

    def __call__(self, tensors: Mapping[str, Any]) -> tuple[Any, ...]:
        """dL/d(array) for every array, with a graph of its own where one is recorded."""
        import torch

        recording = torch.is_grad_enabled()
        with torch.enable_grad():
            inputs = {name: tensor for name, tensor in tensors.items() if name not in self.cotangents}
            for name in self.wrt:
                if not inputs[name].requires_grad:
                    inputs[name] = inputs[name].detach().requires_grad_()
            outputs = self.call(inputs)
            dy = [tensors[name] for name in self.cotangents]
            return gradients(outputs, dy, [inputs[name] for name in self.wrt], recording)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Torch code as a layer. `seed` is set before each evaluation when the code draws random numbers."""

    call: Call | Gradient
    specs: Mapping[str, ArraySpec]
    seed: int
    random: bool = False
    stacks: bool = False
    one_at_a_time: ClassVar[bool] = True  # modules are given their parameters for the time of a call

    def probed(self, point: Mapping[str, Array]) -> Evaluation:
        """The same layer, knowing whether it draws random numbers and whether it can be stacked."""
        import torch

        with seeded(self.seed, self.call.device), torch.no_grad():
            before = _random_state(self.call.device)
            self.call(self.call.tensors(point))
            random = not torch.equal(before, _random_state(self.call.device))
        layer = replace(self, random=random)
        stacks = not random and works(layer.forward, layer._stacked, point)
        return replace(layer, stacks=stacks)

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        """The arrays that were named when it was built, in the shapes given now, then the parameters."""
        for name in self.call.parameters:
            if given.get(name, self.specs[name].shape) != self.specs[name].shape:
                raise ArrayError(name, f"shape {given[name]}", f"must be {self.specs[name].shape}, like the parameter")
        return {name: replace(spec, shape=given.get(name, spec.shape)) for name, spec in self.specs.items()}

    def forward(self, **arrays: Array) -> Outputs:
        """Evaluate without recording."""
        import torch

        with torch.no_grad(), self._reproducible():
            return _numpy(self.call(self.call.tensors(arrays)))

    def vjp(self, dy: Any, /, **arrays: Array) -> dict[str, Array]:  # an array may be called dy: order 2 has one
        """What autograd says."""
        import torch

        wrt = [name for name, spec in self.specs.items() if spec.differentiable]
        with torch.enable_grad(), self._reproducible():
            tensors = self.call.tensors(arrays)
            leaves = {name: tensors[name].requires_grad_() for name in wrt}
            outputs = self.call({**tensors, **leaves})
            cotangents = [_tensor(np.asarray(one)) for one in (dy if isinstance(dy, (tuple, list)) else (dy,))]
            like = [one.to(y.device, y.dtype) for one, y in zip(cotangents, outputs, strict=True)]
            found = gradients(outputs, like, list(leaves.values()), recording=False)
        return {name: _array(one) for name, one in zip(wrt, found, strict=True)}

    @property
    def forward_stacked(self) -> Callable[..., Outputs]:
        """Stacked evaluation, there when vmap gives what single calls give."""
        if not self.stacks:
            raise AttributeError("no forward_stacked: torch.func.vmap does not reproduce single calls")
        return self._stacked

    def _stacked(self, **arrays: Array) -> Outputs:
        import torch

        axes = stacked_axes(arrays)
        tensors = self.call.tensors(unstacked(arrays, axes))

        def one(*parts: Any) -> tuple[Any, ...]:
            return self.call(dict(zip(tensors, parts, strict=True)))

        vectorised = torch.func.vmap(one, in_dims=tuple(axes[name] for name in tensors))
        with torch.no_grad():
            return _numpy(vectorised(*tensors.values()))

    def _reproducible(self) -> contextlib.AbstractContextManager[None]:
        return seeded(self.seed, self.call.device) if self.random else contextlib.nullcontext()


def gradients(outputs: Sequence[Any], dy: Sequence[Any], inputs: Sequence[Any], recording: bool) -> tuple[Any, ...]:
    """dL/d(input), zero for an input that no output depends on."""
    import torch

    pairs = [(y, cotangent) for y, cotangent in zip(outputs, dy, strict=True) if y.requires_grad]
    if not pairs or not inputs:
        return tuple(torch.zeros_like(one) for one in inputs)
    ys, cotangents = zip(*pairs, strict=True)
    found = torch.autograd.grad(ys, inputs, cotangents, create_graph=recording, allow_unused=True)
    return tuple(torch.zeros_like(x) if one is None else one for one, x in zip(found, inputs, strict=True))


@contextlib.contextmanager
def seeded(seed: int, device: Any) -> Iterator[None]:
    """Torch's random numbers from this seed, the state outside kept."""
    import torch

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _random_state(device: Any) -> Any:
    import torch

    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


def _is_number(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _tensor(array: Array) -> Any:
    import torch

    if array.dtype.kind in "iu":
        return torch.from_numpy(array.astype(np.int64))
    # torch shares memory, so that code which changes its input is seen; but not memory that is locked or runs backwards
    shared = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if shared else array.copy())


def _array(tensor: Any) -> Array:
    import torch

    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    return np.array((tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy())


def _numpy(outputs: Sequence[Any]) -> Outputs:
    arrays = tuple(_array(one) for one in outputs)
    return arrays if len(arrays) > 1 else arrays[0]

"""The works in torch, jax and autograd, each in the way its users write it. Imported only where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks.scale import RELATIVE_ERROR, Spoiled
from tests.benchmarks.works import BETA, Work


def in_torch(work: Work) -> tuple[Callable[..., Any], list[Any]]:
    """The function and its arguments as float64 tensors that require a gradient."""
    import torch
    from torch.nn import functional as F  # noqa: N812 - what everybody calls it

    target = torch.tensor(work.constants.get("3.target", 0))
    functions: dict[str, Callable[..., Any]] = {
        "W1": F.linear,
        "W2": lambda x: F.softmax(BETA * x, dim=-1),
        "W3": lambda x, W0, b0, W2, b2: F.cross_entropy(F.linear(F.relu(F.linear(x, W0, b0)), W2, b2), target),
        "W4": lambda x, W, b: F.conv2d(x, W, b, padding=1),
    }
    arguments = [torch.tensor(array, requires_grad=True) for array in work.arrays.values()]
    if isinstance(work.layer, Spoiled):
        places = torch.tensor(work.layer.wrong)
        return (lambda x, W, b: F.linear(x, _spoiled(W, places), b)), arguments
    return functions[work.name], arguments


def _spoiled(W: Any, places: Any) -> Any:
    """W itself, with a gradient that is wrong in some places."""
    import torch

    class Spoil(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, W: Any) -> Any:
            return W.clone()

        @staticmethod
        def backward(_: Any, dy: Any) -> Any:
            dW = dy.clone()
            dW.view(-1)[places] *= 1 + RELATIVE_ERROR
            return dW

    return Spoil.apply(W)


def in_jax(work: Work) -> Callable[..., Any]:
    """The function of jax arrays in float64."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    target = work.constants.get("3.target")

    def network(x: Any, W0: Any, b0: Any, W2: Any, b2: Any) -> Any:
        scores = jax.nn.relu(x @ W0.T + b0) @ W2.T + b2
        return -jax.nn.log_softmax(scores)[jnp.arange(len(x)), target].mean()

    def convolution(x: Any, W: Any, b: Any) -> Any:
        return jax.lax.conv_general_dilated(x, W, (1, 1), "SAME") + b[:, None, None]

    functions: dict[str, Callable[..., Any]] = {
        "W1": lambda x, W, b: x @ W.T + b,
        "W2": lambda x: jax.nn.softmax(BETA * x),
        "W3": network,
        "W4": convolution,
    }
    return functions[work.name]


def in_autograd(work: Work) -> Callable[..., Any]:
    """The function of autograd's numpy."""
    import autograd.numpy as anp
    from autograd.scipy.special import logsumexp

    target = work.constants.get("3.target")

    def network(x: Any, W0: Any, b0: Any, W2: Any, b2: Any) -> Any:
        scores = anp.maximum(anp.dot(x, W0.T) + b0, 0.0) @ W2.T + b2
        return anp.mean(logsumexp(scores, axis=1) - scores[anp.arange(len(x)), target])

    def convolution(x: Any, W: Any, b: Any) -> Any:
        padded = anp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "constant")
        height, width = x.shape[2:]
        parts = [
            anp.einsum("nchw,oc->nohw", padded[:, :, k : k + height, m : m + width], W[:, :, k, m])
            for k in range(3)
            for m in range(3)
        ]
        return sum(parts) + b[:, None, None]

    functions: dict[str, Callable[..., Any]] = {
        "W1": lambda x, W, b: anp.dot(x, W.T) + b,
        "W2": lambda x: anp.exp(BETA * x - logsumexp(BETA * x)),
        "W3": network,
        "W4": convolution,
    }
    return functions[work.name]

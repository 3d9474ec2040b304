"""Linear layers with something behind them and gradients spoiled at will, checked within a small budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.results import ArrayResult, CheckResult, Rows
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from tests.benchmarks.scale import mixing

BUDGET = 20  # evaluations, so that small arrays are searched
Pull = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Dense:
    """y = f(x @ W.T + b), with the VJP of f as a function of dy and z."""

    f: Callable[[Array], Array] = lambda z: z
    pull: Pull = lambda dy, z: dy

    def forward(self, x: Array, W: Array, b: Array) -> Array:
        return self.f(x @ W.T + b)

    def vjp(self, dy: Array, x: Array, W: Array, b: Array) -> dict[str, Array]:
        dz = self.pull(dy, x @ W.T + b)
        return {"x": dz @ W, "W": dz.T @ x, "b": dz.sum(axis=0)}


def relu_pull(dy: Array, z: Array) -> Array:
    return dy * (z > 0)


def batch_norm(z: Array) -> Array:
    return np.asarray((z - z.mean(axis=0)) / z.std(axis=0))


def batch_norm_pull(dy: Array, z: Array) -> Array:
    y = batch_norm(z)
    return np.asarray((dy - dy.mean(axis=0) - y * (dy * y).mean(axis=0)) / z.std(axis=0))


def softmax(z: Array) -> Array:
    powers = np.exp(z - z.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def softmax_pull(dy: Array, z: Array) -> Array:
    y = softmax(z)
    return np.asarray(y * (dy - (dy * y).sum(axis=0)))


BEHIND: dict[str, tuple[Callable[[Array], Array], Pull]] = {
    "nothing": (lambda z: z, lambda dy, z: dy),
    "tanh": (np.tanh, lambda dy, z: dy * (1 - np.tanh(z) ** 2)),
    "relu": (lambda z: np.maximum(z, 0.0), relu_pull),
    "mixing": (mixing, lambda dy, z: mixing(dy)),
    "batch norm": (batch_norm, batch_norm_pull),
    "softmax over the batch": (softmax, softmax_pull),
}


@dataclass(frozen=True)
class Spoiled:
    """A layer whose gradients are passed through `spoil` before anyone sees them."""

    layer: Any
    spoil: Callable[[dict[str, Array]], Any]

    def forward(self, **arrays: Array) -> Any:
        return self.layer.forward(**arrays)

    def vjp(self, dy: Any, **arrays: Array) -> dict[str, Array]:
        gradients = dict(self.layer.vjp(dy, **arrays))
        self.spoil(gradients)
        return gradients


def scaled(places: Sequence[int] | Array, factor: float = 1.01, name: str = "W") -> Callable[[dict[str, Array]], None]:
    """Some entries of a gradient times a factor."""

    def spoil(gradients: dict[str, Array]) -> None:
        gradients[name].reshape(-1)[np.asarray(places, int)] *= factor

    return spoil


def dense(n: int = 24, batch: int = 4, seed: int = 0) -> dict[str, Array]:
    """Arrays of a dense layer n to n."""
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(size=(batch, n)), "W": rng.normal(size=(n, n)) / np.sqrt(n), "b": rng.normal(size=n)}


@dataclass(frozen=True)
class Plain:
    """A layer made of forward and vjp and nothing else, as the runner takes it."""

    layer: Any
    shapes: Mapping[str, tuple[int, ...]]

    def arrays(self, **given: Any) -> Any:
        from gradcheck_cli.layer import ArraySpec

        return {name: ArraySpec(shape) for name, shape in self.shapes.items()}

    def forward(self, **arrays: Array) -> Any:
        return self.layer.forward(**arrays)

    def vjp(self, dy: Any, **arrays: Array) -> Any:
        return self.layer.vjp(dy, **arrays)


def search(layer: Any, arrays: Mapping[str, Array], **asked: Any) -> CheckResult:
    """The result of a layer at these arrays within a small budget, every visited element kept."""
    wrapped = Plain(layer, {name: np.shape(array) for name, array in arrays.items()})
    given = {name: Given(values=np.asarray(array)) for name, array in arrays.items()}
    spec = CheckSpec("test::search", "search", wrapped, "small", given, **({"budget": BUDGET} | asked))
    return run_check(spec, Rows(None))


def array(result: CheckResult, name: str = "W") -> ArrayResult:
    """One array of a result."""
    (found,) = (one for one in result.arrays if one.name == name)
    return found


def named(result: CheckResult, name: str = "W") -> list[int]:
    """The flat indices of the elements that fail."""
    one = array(result, name)
    wrong = [element.index for element in one.worst if element.outcome in ("fail", "nonfinite")]
    return sorted(int(np.ravel_multi_index(index, one.shape)) for index in wrong)


def adds_up(result: CheckResult) -> bool:
    """Whether every element is counted once."""
    return all(
        one.elements == one.passed + one.kinks + one.inconclusive + one.failed + one.nonfinite + one.covered
        and one.visited == len(one.worst)
        for one in result.arrays
    )

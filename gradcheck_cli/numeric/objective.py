"""A layer at one point as a vector function: every evaluation goes through here, on fresh copies, and is counted."""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import ContextVar
from copy import copy
from functools import partial
from typing import Any, TypeVar

import numpy as np

from gradcheck_cli.layer import Array, Differentiable, Outputs, Shape, as_outputs
from gradcheck_cli.numeric.threads import Threads
from gradcheck_cli.values import dataclass, field

T = TypeVar("T")

ROOM = 64_000_000  # bytes of all values of one chunk of elements


@dataclass
class Ledger:
    """Counts the points at which forward was evaluated, by the phase that asked, and the VJP calls apart."""

    evaluations: Counter[str] = field(default_factory=Counter)
    vjp_calls: int = 0
    phase: str = "plumbing"

    @property
    def total(self) -> int:
        """How many evaluations there were."""
        return sum(self.evaluations.values())


class Objective:
    """Forward and VJP of a layer at one point, with the outputs laid end to end.

    In the VJP view there is one unit, the contraction of all outputs with the cotangent; in the Jacobian view each
    output is a unit of its own. `weights` are the flat cotangent, or ones. It `lends` large arrays where user code is
    known to leave them alone; where it is `costly`, noise is measured along fewer lines. `room` (bytes) is for values,
    `fine` keeps the directions of those lines.
    """

    def __init__(
        self,
        layer: Differentiable,
        arrays: Mapping[str, Array],
        cotangent: Sequence[Array],
        view: str = "vjp",
        ledger: Ledger | None = None,
    ) -> None:
        self.layer, self.arrays, self.view = layer, dict(arrays), view
        self.ledger = ledger or Ledger()
        self.shapes: tuple[Shape, ...] = tuple(part.shape for part in cotangent)
        self.dtypes = tuple(part.dtype for part in cotangent)
        self.several = False
        self.stacks = False
        self.lends = False
        self.costly = False
        self.room = ROOM
        self.threads = Threads()
        self.fine: dict[tuple[str, int, np.dtype[Any]], Array] = {}
        flat = flatten(cotangent)
        self.cotangent = flat.astype(np.float64, copy=False)
        self.weights = self.cotangent if view == "vjp" else np.ones(flat.size)
        self.outputs = flat.size
        self.units = 1 if view == "vjp" else flat.size

    @property
    def parts(self) -> list[slice]:
        """Where each output lies."""
        ends = itertools.accumulate((math.prod(shape) for shape in self.shapes), initial=0)
        return [slice(low, high) for low, high in itertools.pairwise(ends)]

    def at(self, arrays: Mapping[str, Array]) -> Array:
        """All outputs at other arrays, flat. User code gets copies. Its exceptions come through."""
        self.ledger.evaluations[self.ledger.phase] += 1
        with quiet:
            value = self.layer.forward(**self._handed(arrays))
        self.several = isinstance(value, tuple)
        return flatten(as_outputs(value))

    def _handed(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Copies for user code; of large arrays, once it is known to leave them alone, what cannot be written to."""
        return {
            name: lent(array) if self.lends and array.nbytes > LARGE else array.copy() for name, array in arrays.items()
        }

    def changed(self, changes: Mapping[str, Array]) -> Array:
        """All outputs with some arrays replaced."""
        return self.at(self.arrays | dict(changes))

    def stacked(self, name: str, stack: Array) -> Outputs:
        """Outputs for a stack of one array, of which every output has a row each."""
        arrays = {other: array[None].copy() for other, array in self.arrays.items()} | {name: stack}
        with quiet:
            return self.layer.forward_stacked(**arrays)  # type: ignore[attr-defined, no-any-return]

    def moved(self, changes: Mapping[str, Array]) -> Array | None:
        """All outputs with some arrays replaced; None where forward raises or is not finite there."""
        try:
            values = self.changed(changes)
        except Exception:  # noqa: BLE001 - outside its domain user code may raise anything; the caller steps elsewhere
            return None
        finite = values.size == self.outputs and bool(np.isfinite(values).all())
        return values if finite else None

    def in_turn(self, jobs: Sequence[Callable[[Objective], T]]) -> Generator[T]:
        """What each job finds with this objective, in order; layers that can be stacked may have several threads.

        Evaluations are counted when a result is taken, so that their number does not depend on the threads.
        """
        if self.threads.count < 2 or not self.stacks or getattr(self.layer, "one_at_a_time", False):
            yield from (job(self) for job in jobs)
            return
        with contextlib.closing(self.threads.in_turn([partial(self._apart, job) for job in jobs])) as found:
            for result, evaluations in found:
                self.ledger.evaluations.update(evaluations)
                yield result

    def _apart(self, job: Callable[[Objective], T]) -> tuple[T, Counter[str]]:
        """What a job finds, and its own count of evaluations."""
        mine = copy(self)
        mine.ledger = Ledger(phase=self.ledger.phase)
        return job(mine), mine.ledger.evaluations

    def along(self, name: str, index: int, unit: int | None = None) -> Callable[[Any], Array | None]:
        """The outputs as a function of the value of one entry; of one output only when `unit` is given."""
        array = self.arrays[name]

        def function(value: Any) -> Array | None:
            changed = array.astype(np.result_type(array, value)) if np.iscomplexobj(value) else array.copy()
            changed.reshape(-1)[index] = value
            values = self.moved({name: changed})
            return values if values is None or unit is None else values[unit : unit + 1]

        return function

    def vjp(self, flat: Array, arrays: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """What the layer's own derivative says for a flat cotangent. Its exceptions come through."""
        self.ledger.vjp_calls += 1
        kinds = zip(self.parts, self.shapes, self.dtypes, strict=True)
        parts = [flat[part].reshape(shape).astype(dtype) for part, shape, dtype in kinds]
        with quiet:
            gradients = self.layer.vjp(
                tuple(parts) if self.several else parts[0], **self._handed(arrays or self.arrays)
            )
        return kept(gradients)

    def contract(self, terms: Array, weights: Array) -> Array:
        """Contract weighted terms, one for each output on the last axis, to one for each unit."""
        return self.gather(terms * weights)

    def gather(self, terms: Array) -> Array:
        """Contract terms, one for each output on the last axis, to one for each unit."""
        return terms.sum(axis=-1, keepdims=True) if self.view == "vjp" else terms

    def gather_noise(self, terms: Array) -> Array:
        """Contract independent standard deviations: the root of the sum of squares, without overflow."""
        largest = float(np.max(terms, initial=0.0)) or 1.0
        return np.asarray(largest * np.sqrt(self.gather((terms / largest) ** 2)))


LARGE = 2**20  # bytes of an array from which on a copy costs more than most layers


def lent(array: Array) -> Array:
    """The array itself, but not to be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def kept(gradients: Mapping[str, Any]) -> dict[str, Any]:
    """Gradients as they are now: user code may hand out one buffer again and again."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in gradients.items()}


class Quiet:
    """Warnings of user code at extreme points are not the checker's news. Entered again inside, it costs nothing.

    A thread that works in the context of another one is inside where that is: warnings are told by process, not thread.
    """

    _depth: ContextVar[int] = ContextVar("depth", default=0)
    _stack: ContextVar[contextlib.ExitStack] = ContextVar("stack")

    def __enter__(self) -> None:
        depth = self._depth.get()
        self._depth.set(depth + 1)
        if not depth:
            stack = contextlib.ExitStack()
            stack.enter_context(warnings.catch_warnings(action="ignore"))
            stack.enter_context(np.errstate(all="ignore"))
            self._stack.set(stack)

    def __exit__(self, *info: object) -> None:
        depth = self._depth.get() - 1
        self._depth.set(depth)
        if not depth:
            self._stack.get().close()


quiet = Quiet()


def flatten(outputs: Sequence[Array]) -> Array:
    """Outputs laid end to end, copied, in the widest of their dtypes, at least float64."""
    if len(outputs) == 1:
        return outputs[0].astype(np.result_type(outputs[0].dtype, np.float64), "C").reshape(-1)
    flat = [np.ravel(output) for output in outputs]
    joined = np.concatenate(flat) if flat else np.zeros(0)
    return joined.astype(np.result_type(joined.dtype, np.float64), copy=False)


def fitted(gradient: Any, shape: Shape) -> Array:
    """A gradient as a flat float64 column; broadcast if its shape allows, else NaN (plumbing says what is wrong)."""
    try:
        values = np.asarray(gradient, dtype=np.float64)
        return (values if values.shape == shape else np.broadcast_to(values, shape).copy()).reshape(-1)
    except (TypeError, ValueError):
        return np.full(math.prod(shape), np.nan)

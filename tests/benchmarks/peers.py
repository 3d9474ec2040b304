"""Who is measured: our tool and other checkers, each prepared for a work and then called again and again.

Every peer checks all arrays of the work in float64, with its own defaults where it has any.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.results import CheckResult, Outcome, Rows
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from tests.benchmarks.frameworks import in_autograd, in_jax, in_torch
from tests.benchmarks.scale import Spoiled
from tests.benchmarks.works import END_TO_END, WORKS, Work

Values = Mapping[str, Array]
STEP = 1e-5  # what course code takes
OURS, FAST, THREADED = "gradcheck", "torch gradcheck, fast mode", "gradcheck, 2 threads"
NAMED = 100  # elements that are kept where some are to be named
FEW = 100_000  # elements up to which all are kept to measure their errors


@dataclass
class Counted:
    """A function that counts its calls."""

    function: Callable[..., Any]
    calls: int = 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.function(*arguments)


@dataclass(frozen=True)
class Prepared:
    """A check that is ready to run, and what can be told of what it returned.

    `evaluations` counts those of forward, `look` finds the numeric values (NaN where there is none) if the checker
    tells them, `note` says what numbers can't.
    """

    run: Callable[[], Any]
    evaluations: Callable[[Any], int]
    look: Callable[[Any], Values | None] = lambda _: None
    note: Callable[[Any], str | None] = lambda _: None


@dataclass(frozen=True)
class Peer:
    """A checker: the package that it needs, and whether it sees every element."""

    who: str
    prepare: Callable[[Work], Prepared]
    needs: str | None = None
    per_element: bool = True
    works: tuple[str, ...] = tuple(WORKS)

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return self.needs is None or find_spec(self.needs) is not None


def _split(work: Work, flat: Array) -> dict[str, Array]:
    """Columns of a flat gradient or Jacobian, array by array; a Jacobian is a table of outputs by entries."""
    ends = np.cumsum([array.size for array in work.arrays.values()])
    parts = dict(zip(work.arrays, np.split(np.asarray(flat), ends[:-1], axis=-1), strict=True))
    return parts if work.view == "jacobian" else {n: part.reshape(work.arrays[n].shape) for n, part in parts.items()}


def check_spec(work: Work) -> CheckSpec:
    """The work as a check of ours: every array given, with the cotangent."""
    given = {name: Given(values=array) for name, array in {**work.arrays, **work.constants}.items()}
    cotangent = (work.dy,) if work.view == "vjp" else None
    return CheckSpec(
        work.name, work.name, work.layer, work.name, given, cotangent, view=work.view, exhaustive=work.exhaustive
    )


def _gradcheck(work: Work, threads: int = 1) -> Prepared:
    spec = replace(check_spec(work), threads=threads)
    kept = Rows(limit=NAMED, beyond=NAMED) if isinstance(work.layer, Spoiled) else Rows()
    return Prepared(
        lambda: run_check(spec, kept),
        lambda result: result.evaluations,
        lambda result: _values(work, result if work.elements > FEW else run_check(spec, Rows(None))),
        lambda result: _told(work, result),
    )


def _values(work: Work, result: CheckResult) -> Values:
    """The numeric value of every element that is kept; NaN for the others."""
    values = {}
    for array in result.arrays:
        shape = (work.dy.size, array.shape[0]) if work.view == "jacobian" else array.shape
        values[array.name] = np.full(shape, np.nan)
        for element in array.worst:
            values[array.name][(element.output or ()) + element.index] = element.numeric
    return values


def _told(work: Work, result: CheckResult) -> str | None:
    """Which of the wrong weights were named, and what was only covered."""
    if not isinstance(work.layer, Spoiled):
        return None if result else f"verdict {result.verdict}"
    wrong = {("W", tuple(map(int, np.unravel_index(place, work.arrays["W"].shape)))) for place in work.layer.wrong}
    named = {(array.name, one.index) for array in result.arrays for one in array.worst if one.outcome is Outcome.FAIL}
    told = f"{len(named & wrong)} of {len(wrong)} named, {len(named - wrong)} in error"
    covered = [array for array in result.arrays if array.covered]
    return told + "".join(f"; {one.covered:,} of {one.name} covered to {one.covered_resolution:.0e}" for one in covered)


def _naive(work: Work) -> Prepared:
    """The loop of course code: perturb one entry in place, evaluate twice, contract the difference with dy."""
    forward = Counted(work.forward)
    arrays = {name: array.copy() for name, array in work.arrays.items()}

    def run() -> Values:
        gradients = {}
        for name, array in arrays.items():
            jacobian = work.view == "jacobian"
            gradient = np.zeros((work.dy.size, array.size) if jacobian else array.shape)
            for index in np.ndindex(array.shape):
                old = array[index]
                array[index] = old + STEP
                right = forward(*arrays.values())
                array[index] = old - STEP
                left = forward(*arrays.values())
                array[index] = old
                if jacobian:
                    gradient[:, index[0]] = (right - left) / (2 * STEP)
                else:
                    gradient[index] = np.sum((right - left) * work.dy) / (2 * STEP)
            gradients[name] = gradient
        return gradients

    return Prepared(run, lambda _: forward.calls, lambda values: values)


def _flat(work: Work) -> tuple[Counted, Array]:
    """The work as a function of one vector, and that vector; what it returns is a number, or in the Jacobian view y."""
    ends = np.cumsum([array.size for array in work.arrays.values()])[:-1]
    shapes = [array.shape for array in work.arrays.values()]

    def function(vector: Array) -> Any:
        parts = [part.reshape(shape) for part, shape in zip(np.split(vector, ends), shapes, strict=True)]
        return work.forward(*parts) if work.view == "jacobian" else work.objective(*parts)

    return Counted(function), np.concatenate([array.ravel() for array in work.arrays.values()])


def _scipy(work: Work) -> Prepared:
    from scipy.optimize._numdiff import approx_derivative  # where scipy keeps it; its solvers call it

    function, x = _flat(work)
    return Prepared(
        lambda: approx_derivative(function, x, method="3-point"),
        lambda _: function.calls,
        lambda found: _split(work, found),
    )


def _numdifftools(work: Work) -> Prepared:
    import numdifftools

    function, x = _flat(work)
    kind = numdifftools.Jacobian if work.view == "jacobian" else numdifftools.Gradient
    return Prepared(lambda: kind(function)(x), lambda _: function.calls, lambda found: _split(work, found))


def _jacobi(work: Work) -> Prepared:
    from jacobi import jacobi

    function, x = _flat(work)
    return Prepared(lambda: jacobi(function, x)[0], lambda _: function.calls, lambda found: _split(work, found))


def _openmdao(work: Work) -> Prepared:
    import openmdao.api as om

    forward, jacobian = Counted(work.forward), work.view == "jacobian"
    keys = {name: name.replace(".", "_") for name in work.arrays}

    class Component(om.ExplicitComponent):  # type: ignore[misc]
        def setup(self) -> None:
            for name, array in work.arrays.items():
                self.add_input(keys[name], array)
            self.add_output("y", np.zeros(work.dy.shape) if jacobian else 0.0)
            self.declare_partials("y", "*")

        def compute(self, inputs: Any, outputs: Any) -> None:
            y = forward(*(inputs[key] for key in keys.values()))
            outputs["y"] = y if jacobian else np.vdot(y, work.dy)

        def compute_partials(self, inputs: Any, partials: Any) -> None:
            for name, value in work.gradient().items():
                partials["y", keys[name]] = value if jacobian else value.reshape(1, -1)

    problem = om.Problem(reports=False)
    problem.model.add_subsystem("component", Component())
    with contextlib.redirect_stdout(io.StringIO()):
        problem.setup()
        problem.run_model()
    forward.calls = 0

    def look(found: Any) -> Values:
        table = np.concatenate([found["component"]["y", key]["J_fd"] for key in keys.values()], axis=1)
        return _split(work, table if jacobian else table[0])

    return Prepared(lambda: problem.check_partials(out_stream=None, form="central"), lambda _: forward.calls, look)


def _torch(work: Work, *, scalar: bool = False, fast: bool = False) -> Prepared:
    import torch

    torch.set_num_threads(1)
    function, arguments = in_torch(work)
    dy = torch.tensor(work.dy)
    counted = Counted((lambda *arrays: (function(*arrays) * dy).sum()) if scalar else function)
    return Prepared(
        lambda: torch.autograd.gradcheck(counted, arguments, fast_mode=fast, raise_exception=False),
        lambda _: counted.calls,
        note=lambda right: _blind(work, right),
    )


def _jax(work: Work) -> Prepared:
    import jax
    from jax.test_util import check_grads

    function, arguments = in_jax(work), tuple(work.arrays.values())
    counted = Counted(jax.jit(function))
    return Prepared(lambda: check_grads(counted, arguments, order=1, modes=("rev",)), lambda _: counted.calls)


def _autograd(work: Work) -> Prepared:
    from autograd.test_util import check_grads

    arguments = tuple(work.arrays.values())
    counted = Counted(in_autograd(work))
    check = check_grads(counted, tuple(range(len(arguments))), modes=["rev"], order=1)
    return Prepared(lambda: check(*arguments), lambda _: counted.calls)


def _blind(work: Work, right: bool) -> str | None:
    """What a checker that only says yes or no made of the work."""
    if not isinstance(work.layer, Spoiled):
        return None if right else "called wrong"
    return "called right" if right else "called wrong, none named"


PEERS = (
    Peer(OURS, _gradcheck),
    Peer("naive numpy loop", _naive),
    Peer("scipy approx_derivative", _scipy, "scipy"),
    Peer(
        "torch gradcheck, scalar objective", partial(_torch, scalar=True), "torch", works=("W1", "W3", END_TO_END, "W4")
    ),
    Peer("torch gradcheck on the layer", _torch, "torch", works=("W1", "W2", "W4")),
    Peer("OpenMDAO check_partials", _openmdao, "openmdao"),
    Peer("numdifftools", _numdifftools, "numdifftools"),
    Peer("jacobi", _jacobi, "jacobi"),
    Peer(FAST, partial(_torch, fast=True), "torch", per_element=False),
    Peer("jax check_grads", _jax, "jax", per_element=False),
    Peer("autograd check_grads", _autograd, "autograd", per_element=False),
)
TWO = Peer(THREADED, partial(_gradcheck, threads=2), works=("threads",))
BY_NAME: Mapping[str, Peer] = {peer.who: peer for peer in (*PEERS, TWO)}

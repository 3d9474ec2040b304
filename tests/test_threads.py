"""Threads over stacks: whatever their number, the same numbers, counts and errors; other code has one thread."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.adapters.chain import Chain
from gradcheck_cli.adapters.formula import Formula
from gradcheck_cli.batch.fingerprint import fingerprint
from gradcheck_cli.cli.process import run_process
from gradcheck_cli.layer import Array, ArraySpec, Shape
from gradcheck_cli.numeric import copies, sampling
from gradcheck_cli.numeric.threads import Threads
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given, RunSpec


def test_results_come_in_turn() -> None:
    gate = threading.Event()

    def slow() -> int:
        assert gate.wait(10)  # the first ends after the second
        return 1

    def quick() -> int:
        gate.set()
        return 2

    with Threads(2) as threads:
        assert list(threads.in_turn([slow, quick, lambda: 3])) == [1, 2, 3]


def test_one_thread_makes_each_call_when_it_is_asked_for() -> None:
    made: list[int] = []
    calls: list[Callable[[], None]] = [lambda k=k: made.append(k) for k in range(3)]  # type: ignore[misc]
    next(Threads().in_turn(calls))
    assert made == [0]


def test_an_error_comes_in_its_turn() -> None:
    def fail() -> int:
        raise ValueError("no")

    with Threads(2) as threads:
        turns = threads.in_turn([lambda: 1, fail, lambda: 3])
        assert next(turns) == 1
        with pytest.raises(ValueError, match="no"):
            next(turns)


def test_stopping_early_waits_for_what_is_under_way() -> None:
    made: list[int] = []
    calls: list[Callable[[], None]] = [lambda k=k: made.append(k) for k in range(50)]  # type: ignore[misc]
    with Threads(2) as threads:
        turns = threads.in_turn(calls)
        next(turns)
        turns.close()
        before = list(made)
        assert len(before) <= 4
        list(threads.in_turn([threading.Event().set, threading.Event().set]))
        assert made == before


def test_calls_are_made_in_the_context_of_the_caller() -> None:
    with Threads(2) as threads, np.errstate(divide="raise"):
        settings = list(threads.in_turn([np.geterr, np.geterr]))
    assert [one["divide"] for one in settings] == ["raise", "raise"]


def spec(layer: Any, shapes: Mapping[str, Shape], threads: int = 1) -> CheckSpec:
    return CheckSpec(
        "t", "t", layer, "t", {name: Given(shape=shape) for name, shape in shapes.items()}, threads=threads
    )


def known(result: CheckResult) -> dict[str, Any]:
    """All that a result says but how long it took."""
    return {name: value for name, value in result.to_dict().items() if name != "seconds"}


CASES: dict[str, tuple[Any, dict[str, Shape]]] = {
    "linear": (LAYERS["linear"](in_features=9, out_features=7), {"x": (8, 9)}),
    "conv2d": (LAYERS["conv2d"](in_channels=2, out_channels=3, kernel_size=3), {"x": (2, 2, 9, 9)}),
    "softmax": (LAYERS["softmax"](beta=2.0), {"x": (8, 9)}),
    "relu": (LAYERS["relu"](), {"x": (8, 9)}),
    "attention": (LAYERS["scaled_dot_product_attention"](), {"q": (6, 5)}),
    "formula": (Formula("tanh(W @ x)", {"p": "dy * (1 - y**2)"}, {"W": "outer(p, x)", "x": "W.T @ p"}), {}),
    "chain": (Chain((LAYERS["linear"](9, 6), LAYERS["tanh"]()), ("linear", "tanh")), {"0.x": (8, 9)}),
}
CASES["formula"][1].update(W=(12, 10), x=(10,))


@pytest.fixture
def small_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are many of them."""
    monkeypatch.setattr(sampling, "STACK_BYTES", 4000)
    monkeypatch.setattr(copies, "BYTES", 8000)


@pytest.mark.usefixtures("small_stacks")
@pytest.mark.parametrize("view", ["vjp", "jacobian"])
@pytest.mark.parametrize("name", CASES)
def test_numbers_and_counts_do_not_depend_on_the_threads(name: str, view: Any) -> None:
    one, two, five = (run_check(replace(spec(*CASES[name], count), view=view), Rows(None)) for count in (1, 2, 5))
    assert one.verdict is Verdict.PASS
    assert known(one) == known(two) == known(five)


@dataclass
class Watched:
    """A square that remembers how many calls were made at a time, and by which threads."""

    stacks: bool = True
    alone: bool = False
    fails: float = np.inf
    inside: int = 0
    most: int = 0
    threads: set[int] = field(default_factory=set)
    lock: Any = field(default_factory=threading.Lock)

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        return {"x": ArraySpec((40, 40))}

    def forward(self, x: Array) -> Array:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.threads.add(threading.get_ident())
        warnings.warn("of nobody's interest", stacklevel=1)
        y = np.sort(x * x, axis=None).sum() + x.sum(axis=-1)  # so long that another thread has its turn
        with self.lock:
            self.inside -= 1
        return np.asarray(y)

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": 2 * x * dy.sum() + dy[:, None]}

    @property
    def one_at_a_time(self) -> bool:
        return self.alone

    @property
    def forward_stacked(self) -> Any:
        if not self.stacks:
            raise AttributeError
        return self._stacked

    def _stacked(self, x: Array) -> Array:
        if self.fails < len(x):
            raise RuntimeError("too many rows")
        return np.stack([self.forward(row) for row in x])


@pytest.mark.usefixtures("small_stacks")
def test_stacks_are_evaluated_by_several_threads() -> None:
    layer = Watched()
    assert run_check(spec(layer, {}, 3)).verdict is Verdict.PASS
    assert len(layer.threads) > 1


@pytest.mark.usefixtures("small_stacks")
@pytest.mark.parametrize("layer", [Watched(stacks=False), Watched(alone=True)])
def test_other_code_is_called_by_one_thread(layer: Watched) -> None:
    assert run_check(spec(layer, {}, 3)).verdict is Verdict.PASS
    assert layer.threads == {threading.get_ident()}


@pytest.mark.usefixtures("small_stacks")
def test_links_of_a_chain_that_need_one_thread_have_one() -> None:
    chain = Chain((LAYERS["tanh"](), Watched(alone=True)), ("tanh", "watched"))
    assert chain.one_at_a_time
    assert not Chain((LAYERS["tanh"](), LAYERS["tanh"]()), ("tanh", "tanh")).one_at_a_time


def test_where_stacks_fail_single_calls_are_made_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "STACK_BYTES", 80_000)
    layers = [Watched(fails=2), Watched(fails=2)]
    one, three = (run_check(spec(layer, {}, count), Rows(None)) for layer, count in zip(layers, (1, 3), strict=True))
    assert one.verdict is Verdict.PASS
    assert known(one) == known(three)
    assert layers[1].most == 1


def test_threads_are_no_part_of_what_was_asked() -> None:
    asked = spec(LAYERS["relu"](), {"x": (2,)})
    assert fingerprint(asked, Rows()) == fingerprint(replace(asked, threads=4), Rows())


@pytest.mark.parametrize("words", [["check", "softmax", "x:5"], ["run", "configs/homework/as_printed.yaml"]])
def test_the_commands_pass_the_number_on(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunSpec] = []
    for command in ("check", "run"):
        monkeypatch.setattr(f"gradcheck_cli.cli.{command}.execute", lambda spec, *_: asked.append(spec))
    assert run_process([*words, "--threads", "3"]) == 0
    assert run_process(words) == 0
    assert [{check.threads for check in spec.checks} for spec in asked] == [{3}, {1}]


def test_no_threads_are_refused() -> None:
    assert run_process(["check", "softmax", "--threads", "0"]) == 2

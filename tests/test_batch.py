"""Plans, orders, fingerprints and losses: what a batch decides before and after the checks are made."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.adapters.chain import Chain, ForeignChain
from gradcheck_cli.adapters.formula import Formula
from gradcheck_cli.adapters.functions import Functions
from gradcheck_cli.batch import dispatch, lost, plan
from gradcheck_cli.batch.chunk import Chunk, Ended, Reason, Running, TransferError, WorkersError
from gradcheck_cli.batch.fingerprint import fingerprint
from gradcheck_cli.batch.order import Order
from gradcheck_cli.batch.work import out_of_memory, packed, run_chunk
from gradcheck_cli.layer import Uniform
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, ErrorInfo, Rows, Verdict
from gradcheck_cli.spec import CheckSpec, Given, RunSpec

USER = Functions(forward="m:f", backward="m:b")


def spec(name: str, layer: Any = None, **more: Any) -> CheckSpec:
    return CheckSpec(f"a.yaml::{name}", name, layer or LAYERS["tanh"](), "tanh", **more)


def result(name: str, met: bool = True) -> CheckResult:
    return CheckResult(f"a.yaml::{name}", name, "tanh", Verdict.PASS if met else Verdict.FAIL, met=met)


def asked(count: int, **more: Any) -> RunSpec:
    return RunSpec(tuple(spec(f"c{k}") for k in range(count)), **more)


@pytest.mark.parametrize(
    ("specs", "in_process"),
    [
        ([spec("a")], True),
        ([spec("a", Formula(forward="x", gradients={"x": "dy"}))] * 12, True),
        ([spec("a")] * 13, False),
        ([spec("a"), spec("b", timeout=3.0)], False),
        ([spec("a", USER)], False),
        ([spec("a", ForeignChain((USER,), ("functions",)))], False),
        ([spec("a", Chain((LAYERS["tanh"](),), ("tanh",)))], True),
        ([], True),
    ],
)
def test_few_harmless_checks_are_made_in_this_process(specs: list[CheckSpec], in_process: bool) -> None:
    assert plan.jobs_for(specs) == (0 if in_process else plan.processors())


@pytest.mark.parametrize(
    ("count", "workers", "sizes"),
    [(1, 2, [1]), (13, 2, [1] * 13), (100, 2, [6] * 16 + [4]), (3000, 2, [64] * 46 + [56]), (0, 2, [])],
)
def test_chunks_follow_the_count(count: int, workers: int, sizes: list[int]) -> None:
    found = list(plan.chunks(asked(count), range(count), workers))
    assert [len(chunk.specs) for chunk in found] == sizes
    assert [number for chunk in found for number in chunk.numbers] == list(range(count))


def test_check_with_a_time_limit_travels_alone() -> None:
    specs = [spec(f"c{k}", timeout=2.0 if k == 20 else None) for k in range(64)]
    found = list(plan.chunks(RunSpec(tuple(specs)), range(64), 2))
    assert [(chunk.numbers, chunk.timeout) for chunk in found if chunk.timeout] == [((20,), 2.0)]
    assert sorted(number for chunk in found for number in chunk.numbers) == list(range(64))


def test_shards_are_the_same_for_ever() -> None:
    shards = [plan.shard_of(f"configs/a.yaml::c{k}", 5) for k in range(1000)]
    assert shards[:8] == [5, 2, 3, 1, 2, 2, 4, 4]
    assert min(shards.count(k) for k in range(1, 6)) > 150
    assert set(shards) == {1, 2, 3, 4, 5}


def test_default_memory_is_shared_out() -> None:
    one, four = plan.default_memory(1), plan.default_memory(4)
    assert one is not None
    assert four == one // 4 >= 2**26


def told(
    run: RunSpec, known: dict[str, CheckResult], puts: Sequence[tuple[int, CheckResult]]
) -> tuple[Order, list[str]]:
    names: list[str] = []
    order = Order(run, known, lambda check: names.append(check.name))
    for number, check in puts:
        order.put(number, check)
    return order, names


def test_results_are_told_in_order() -> None:
    order, names = told(asked(4), {"a.yaml::c1": result("c1")}, [(2, result("c2")), (0, result("c0"))])
    assert names == ["c0", "c1", "c2"]
    assert order.missing == [0, 2, 3]
    assert not order.complete
    order.put(3, result("c3"))
    assert order.complete
    assert [check.name for check in order.results] == ["c0", "c1", "c2", "c3"]


def test_enough_failures_are_counted_in_order() -> None:
    puts = [(4, result("c4", met=False)), (3, result("c3")), (1, result("c1", met=False)), (0, result("c0"))]
    order, names = told(asked(5, stop_at=1), {}, puts)
    assert names == ["c0", "c1"]
    assert order.complete
    assert [check.name for check in order.results] == ["c0", "c1"]


def test_results_behind_a_gap_are_kept_when_interrupted() -> None:
    order, names = told(asked(3), {}, [(2, result("c2"))])
    assert names == []
    assert [check.name for check in order.results] == ["c2"]


def test_known_failures_count() -> None:
    order, names = told(asked(3, stop_at=1), {"a.yaml::c0": result("c0", met=False)}, [])
    assert order.complete
    assert names == ["c0"]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"layer": LAYERS["softmax"](beta=2.0)},
        {"arrays": {"x": Given(values=np.array([1.0, 2.5]))}},
        {"arrays": {"x": Given(values=np.array([1.0, 2.0], np.float32))}},
        {"arrays": {"x": Given(shape=(2,), draw=Uniform(0.0, 2.0))}},
        {"arrays": {"y": Given(values=np.array([1.0, 2.0]))}},
        {"line": 7},
        {"wrt": ("x",)},
        {"timeout": 3.0},
    ],
    ids=str,
)
def test_fingerprint_changes_with_what_is_asked(other: dict[str, Any]) -> None:
    one = spec("a", LAYERS["softmax"](beta=1.0), arrays={"x": Given(values=np.array([1.0, 2.0]))})
    same = pickle.loads(pickle.dumps(one))
    assert fingerprint(one, Rows()) == fingerprint(same, Rows())
    assert fingerprint(one, Rows()) != fingerprint(one, Rows(3, 3))
    assert fingerprint(one, Rows()) != fingerprint(replace(one, **other), Rows())


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (lost.died(-11), "the worker died: SIGSEGV"),
        (lost.died(-250), "the worker died: signal 250"),
        (lost.died(3), "the worker died: exit status 3"),
        (lost.died(None), "the worker died before it took the check"),
        (lost.timed_out(2.5), "no verdict within the timeout of 2.5 s; the worker was ended"),
        (lost.no_memory(1288490189), "the worker reached its memory limit of 1.2 GiB; --memory-limit sets it"),
        (lost.no_memory(700 * 2**20), "the worker reached its memory limit of 700 MiB; --memory-limit sets it"),
    ],
)
def test_reason_is_told(reason: Reason, message: str) -> None:
    one = spec("a", expect="fail", seed=3, file="a.yaml", line=2, column=5, reproduce="gradcheck run a.yaml::a")
    check = lost.without_result(one, reason, 1.5)
    assert check.error == ErrorInfo(reason.type, message)
    assert (check.verdict, check.expected, check.met) == (Verdict.ERROR, Verdict.FAIL, False)
    assert (check.id, check.seed, check.line, check.column, check.seconds) == ("a.yaml::a", 3, 2, 5, 1.5)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (ErrorInfo("_ArrayMemoryError", "Unable to allocate 8 GiB"), True),
        (ErrorInfo("MemoryError", ""), True),
        (ErrorInfo("RuntimeError", "DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (ErrorInfo("ValueError", "no"), False),
        (None, False),
    ],
)
def test_refused_memory_is_known(error: ErrorInfo | None, is_it: bool) -> None:
    assert out_of_memory(replace(result("a"), error=error)) is is_it


def test_chunk_travels_and_comes_back() -> None:
    chunk = plan.chunk(asked(3), [0, 2])
    results = pickle.loads(run_chunk(packed(chunk, ())))
    assert [check.name for check in results] == ["c0", "c2"]
    assert {check.verdict for check in results} == {Verdict.PASS}


def test_chunk_that_cannot_travel_says_so() -> None:
    chunk = Chunk((0,), (spec("a", constants={"f": lambda: 0}),), Rows())
    with pytest.raises(TransferError, match=r"^cannot be sent to a worker: \w+: "):
        packed(chunk, ())
    with pytest.raises(TransferError, match=r"^cannot be read by the worker: UnpicklingError: "):
        run_chunk(b"no pickle")


def test_other_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = packed(plan.chunk(asked(1), [0]), ())
    monkeypatch.setattr("gradcheck_cli.batch.work.__version__", "0.0.9")
    with pytest.raises(
        WorkersError, match=r"^a worker has gradcheck 0\.0\.9, this is 0\.1\.0; install the same version"
    ):
        run_chunk(payload)


class Seen(dispatch.Watch):
    """Notes what a run tells."""

    def __init__(self) -> None:
        self.told_names: list[str] = []
        self.ended_names: list[str] = []
        self.ticks: list[Sequence[Running]] = []
        self.closed = 0

    def told(self, check: CheckResult) -> None:
        self.told_names.append(check.name)

    def ended(self, check: CheckResult) -> CheckResult:
        self.ended_names.append(check.name)
        return check

    def tick(self, running: Sequence[Running]) -> None:
        self.ticks.append(running)

    def closing(self) -> None:
        self.closed += 1


class Played:
    """A crew that makes at most two checks of a chunk, last chunk first, and loses those that hold a bad one."""

    attempts = 1

    def __init__(self, bad: set[int], tells: bool, size: int = 2) -> None:
        self.bad, self.tells, self.size = bad, tells, size
        self.chunks: list[Chunk] = []
        self.alone: list[int] = []
        self.closed = 0

    def takes(self, chunk: Chunk) -> bool:
        return len(self.chunks) < 3

    def send(self, chunk: Chunk) -> Ended | None:
        self.chunks.append(chunk)
        self.alone += chunk.numbers if chunk.alone else ()
        return None

    def wait(self, seconds: float) -> list[Ended]:
        chunk = self.chunks.pop()
        bad = [number for number in chunk.numbers if number in self.bad]
        if bad:
            return [Ended(chunk, reason=lost.died(-11), suspect=bad[0] if self.tells else None)]
        return [Ended(chunk, [result(one.name) for one in chunk.specs[:2]])]

    @property
    def running(self) -> list[Running]:
        return []

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(("tells", "alone"), [(True, {5, 6, 40}), (False, None)])
def test_only_the_guilty_are_errors(tells: bool, alone: set[int] | None) -> None:
    crew, seen = Played({5, 6, 40}, tells), Seen()
    run = dispatch.run(asked(64), seen, crew)
    assert [check.name for check in run.checks] == [f"c{k}" for k in range(64)] == seen.told_names
    assert [check.name for check in run.checks if check.error] == ["c5", "c6", "c40"]
    assert sorted(seen.ended_names) == sorted(seen.told_names)
    assert seen.ended_names != seen.told_names
    assert alone is None or set(crew.alone) == alone
    assert {5, 6, 40} <= set(crew.alone)
    assert (crew.closed, seen.closed) == (1, 1)


def test_crew_is_closed_whatever_happens() -> None:
    class Fails(Seen):
        def ended(self, check: CheckResult) -> CheckResult:
            raise OSError("disk full")

    crew, seen = Played(set(), True), Fails()
    with pytest.raises(OSError, match=r"^disk full$"):
        dispatch.run(asked(3), seen, crew)
    assert (crew.closed, seen.closed) == (1, 1)


def test_interruption_keeps_what_is_done() -> None:
    class Interrupts(Seen):
        def tick(self, running: Sequence[Running]) -> None:
            if len(self.ended_names) >= 4:
                raise KeyboardInterrupt

    class Stops(Seen):
        @property
        def stopping(self) -> bool:
            return len(self.ended_names) >= 4

    for kind in (Interrupts, Stops):
        for crew in (None, Played(set(), True)):
            run = dispatch.run(asked(40), kind(), crew)
            assert run.interrupted
            assert 4 <= len(run.checks) <= 6


def test_in_process_the_check_under_way_is_told() -> None:
    seen = Seen()
    run = dispatch.run(asked(3), seen, None, {"a.yaml::c1": result("c1")})
    assert [check.name for check in run.checks] == ["c0", "c1", "c2"] == seen.told_names
    assert seen.ended_names == ["c0", "c2"]
    assert [[one.number for one in running] for running in seen.ticks] == [[0], [2], []]


def test_nothing_is_made_when_all_is_known() -> None:
    seen = Seen()
    run = dispatch.run(asked(2), seen, None, {f"a.yaml::c{k}": result(f"c{k}") for k in range(2)})
    assert (len(run.checks), seen.ended_names, seen.told_names) == (2, [], ["c0", "c1"])


def test_every_layer_travels() -> None:
    for name in LAYERS:
        for example in LAYERS[name].EXAMPLES:
            layer = LAYERS[name](**example.options)
            assert pickle.loads(pickle.dumps(layer)) == layer

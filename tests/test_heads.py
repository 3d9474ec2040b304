"""End to end in a chain: only what lies behind an array is evaluated again, many elements of its head at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.adapters.chain import Chain
from gradcheck_cli.draws import draw_arrays
from gradcheck_cli.layer import Array, Layer, Outputs, Shape
from gradcheck_cli.numeric import shared
from gradcheck_cli.numeric.heads import head_of
from gradcheck_cli.numeric.objective import Objective
from gradcheck_cli.numeric.resuming import Resuming
from gradcheck_cli.numeric.scales import lengths
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import Verdict
from gradcheck_cli.spec import Given
from gradcheck_cli.tiers import first
from tests.judging import check, outcomes
from tests.wrong_layers import MUTATORS, Mutated

NAMES = ("linear", "relu", "linear", "softmax_cross_entropy")
SHAPES: dict[str, Shape] = {"0.x": (12, 9), "0.W": (11, 9), "2.W": (7, 11)}
GIVEN = {name: Given(shape=shape) for name, shape in SHAPES.items()}


@dataclass
class Watched:
    """A link that tells how often it was evaluated."""

    inner: Any
    calls: Counter[str] = field(default_factory=Counter)

    def arrays(self, **given: Shape) -> Any:
        return self.inner.arrays(**given)

    def forward(self, **arrays: Array) -> Outputs:
        self.calls["forward"] += 1
        return self.inner.forward(**arrays)  # type: ignore[no-any-return]

    def forward_stacked(self, **arrays: Array) -> Outputs:
        self.calls["stacked"] += 1
        return self.inner.forward_stacked(**arrays)  # type: ignore[no-any-return]

    def vjp(self, dy: Any, **arrays: Array) -> Mapping[str, Array]:
        return self.inner.vjp(dy, **arrays)  # type: ignore[no-any-return]


def network(*links: Layer) -> Chain:
    return Chain(links or tuple(LAYERS[name]() for name in NAMES), NAMES)


def at_a_point(layer: Chain) -> tuple[Resuming, Objective]:
    """The objective that resumes, and one that does not."""
    arrays = draw_arrays(layer.arrays(**SHAPES), GIVEN, "float64", 0, 0)
    y = layer.forward(**arrays)
    assert isinstance(y, np.ndarray)
    resuming, plain = (kind(layer, arrays, [np.ones_like(y)]) for kind in (Resuming, Objective))
    resuming.stacks = True
    return resuming, plain


@pytest.mark.parametrize("name", ["0.x", "0.b", "2.W", "2.b"])
def test_forward_resumes_at_the_link_of_the_array(name: str) -> None:
    watched = tuple(Watched(LAYERS[one]()) for one in NAMES)
    resuming, plain = at_a_point(network(*watched))
    resuming.moved({"2.b": resuming.arrays["2.b"]})  # what the links are handed is found once
    for link in watched:
        link.calls.clear()
    changes = {name: 1.1 * resuming.arrays[name]}
    found = resuming.moved(changes)
    assert [link.calls["forward"] for link in watched] == [int(k >= int(name[0])) for k in range(4)]
    np.testing.assert_array_equal(found, plain.moved(changes))
    stack = np.stack([resuming.arrays[name], changes[name]])
    np.testing.assert_allclose(resuming.stacked(name, stack), plain.stacked(name, stack), rtol=1e-13)


def test_several_arrays_move_from_the_first_of_their_links_on() -> None:
    resuming, plain = at_a_point(network())
    for names in (("2.W", "2.b"), ("0.W", "2.b")):
        changes = {name: 0.9 * resuming.arrays[name] for name in names}
        np.testing.assert_array_equal(resuming.moved(changes), plain.moved(changes))


@pytest.mark.parametrize(("name", "stop"), [("0.x", 3), ("0.W", 2), ("0.b", 2), ("2.W", 3), ("2.b", 3)])
def test_the_head_ends_before_the_link_that_mixes(name: str, stop: int) -> None:
    resuming, _ = at_a_point(network())
    head = head_of(resuming, name, lengths(resuming.arrays[name].reshape(-1)))
    assert head is not None
    assert head.stop == stop
    groups, elements = 0, []
    for rows, reached in head.members(name):
        assert reached.shape == (rows.shape[1], head.middle.size)
        groups += len(rows)
        elements += rows.reshape(-1).tolist()
    assert sorted(elements) == list(range(resuming.arrays[name].size))
    assert groups * 2 <= resuming.arrays[name].size


def test_no_head_where_nothing_is_stacked_or_the_first_link_mixes() -> None:
    resuming, plain = at_a_point(network())
    length = lengths(resuming.arrays["0.x"].reshape(-1))
    assert head_of(plain, "0.x", length) is None
    resuming.stacks = False
    assert head_of(resuming, "0.x", length) is None
    mixing = Chain((LAYERS["reshape"](), LAYERS["softmax"](), LAYERS["tanh"]()), ("reshape", "softmax", "tanh"))
    found = check(mixing, {"0.x": Given(shape=(9, 9))}, exhaustive=True)
    assert found.verdict is Verdict.PASS
    assert found.evaluations_by_tier["tier1"] >= 2 * 81


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("mutator", ["none", "scaled", "one_wrong_element", "transposed"])
def test_outcomes_are_those_without_heads(mutator: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    linear = LAYERS["linear"]()
    layer = network(
        linear if mutator == "none" else Mutated(linear, MUTATORS[mutator]), *(LAYERS[name]() for name in NAMES[1:])
    )
    found = check(layer, GIVEN, exhaustive=True, dtype=dtype)
    monkeypatch.setattr("gradcheck_cli.tiers.scene.head_of", lambda *_: None)
    plain = check(layer, GIVEN, exhaustive=True, dtype=dtype)
    assert outcomes(found) == outcomes(plain)
    assert found.verdict is (Verdict.PASS if mutator == "none" else Verdict.FAIL)


@dataclass(frozen=True)
class Crosstalk:
    """A link whose stacks leak from each row into the next one; the pairs by which stacks are tried do not show it."""

    inner: Layer

    def arrays(self, **given: Shape) -> Any:
        return self.inner.arrays(**given)

    def forward(self, **arrays: Array) -> Outputs:
        return self.inner.forward(**arrays)

    def forward_stacked(self, **arrays: Array) -> Any:
        y = self.inner.forward_stacked(**arrays)  # type: ignore[attr-defined]
        leak = np.zeros_like(y)
        leak[2:] = 1e-3 * (y[1:-1] - y[:1])
        return y + leak

    def vjp(self, dy: Any, **arrays: Array) -> Mapping[str, Array]:
        return self.inner.vjp(dy, **arrays)


def test_values_of_stacks_that_leak_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    believed = []

    def confirmed(*args: Any) -> bool:
        believed.append(shared.confirmed(*args))
        return believed[-1]

    monkeypatch.setattr(first, "shared", SimpleNamespace(sweep=shared.sweep, confirmed=confirmed))
    layer = network(*(LAYERS[name]() for name in NAMES[:3]), Crosstalk(LAYERS["softmax_cross_entropy"]()))
    assert check(layer, GIVEN, exhaustive=True).verdict is Verdict.PASS
    assert believed == [False, False, False]


@dataclass(frozen=True)
class Writing(Crosstalk):
    """A link that writes to the stacks that it is handed."""

    def forward_stacked(self, **arrays: Array) -> Any:
        x = next(iter(arrays.values()))
        x *= 1.0
        return self.inner.forward_stacked(**arrays)  # type: ignore[attr-defined]


def test_links_that_write_to_stacks_are_moved_one_by_one() -> None:
    layer = network(*(LAYERS[name]() for name in NAMES[:3]), Writing(LAYERS["softmax_cross_entropy"]()))
    found = check(layer, GIVEN, exhaustive=True)
    assert found.verdict is Verdict.PASS
    assert found.evaluations_by_tier["tier1"] >= 2 * sum(int(np.prod(shape)) for shape in SHAPES.values())

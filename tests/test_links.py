"""A chain judged link by link has the outcomes that it has end to end, and falls back to that where there is doubt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradcheck_cli import config, links
from gradcheck_cli.adapters.chain import Chain
from gradcheck_cli.layer import Array, ArraySpec, Layer, Outputs, Shape
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Outcome, Rows, Verdict
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Difference, Given, Tolerance
from tests.judging import Map, check, entrywise, outcomes, rules
from tests.wrong_layers import MUTATORS, Mutated

CONFIGS = Path(__file__).parent.parent / "configs"
NOTE = "judged link by link; a directional probe of the whole chain agrees to 1e-"
Links = tuple[str | tuple[str, dict[str, Any]], ...]


def linear(out: int) -> tuple[str, dict[str, Any]]:
    return "linear", {"out_features": out}


CHAINS: dict[str, tuple[Links, dict[str, Shape]]] = {
    "network": ((linear(8), "tanh", linear(6), "softmax", "mse"), {"0.x": (5, 7)}),
    "classifier": ((linear(8), "relu", linear(4), "softmax_cross_entropy"), {"0.x": (6, 7)}),
    "kinks handed on": ((linear(8), "relu", "relu", linear(3)), {"0.x": (5, 7)}),
    "ties handed on": (("conv2d", "relu", "max_pool2d"), {"0.x": (1, 3, 5, 5)}),
    "normalised": ((linear(6), "layer_norm", "gelu", "batch_norm", "log_softmax"), {"0.x": (7, 4)}),
    "deep": (sum(((linear(6), "tanh") for _ in range(6)), ()), {"0.x": (3, 5)}),
    "no parameters": (("tanh", "sigmoid", "softmax"), {"0.x": (8, 9)}),
}


def chain(name: str) -> tuple[Chain, dict[str, Any]]:
    """One of the chains, and the shapes of its arrays as they are given."""
    described, shapes = CHAINS[name]
    named = [(one, {}) if isinstance(one, str) else one for one in described]
    built = Chain(tuple(LAYERS[one](**options) for one, options in named), tuple(one for one, _ in named))
    return built, {array: Given(shape=shape) for array, shape in shapes.items()}


def both_ways(layer: Any, arrays: Mapping[str, Any] | None = None, **asked: Any) -> tuple[CheckResult, CheckResult]:
    """Link by link and end to end; what the elements come to must be the same."""
    found, whole = check(layer, arrays, **asked), check(layer, arrays, exhaustive=True, **asked)
    assert not is_by_links(whole)
    assert [array.name for array in found.arrays] == [array.name for array in whole.arrays]
    assert outcomes(found) == outcomes(whole)
    assert found.verdict == whole.verdict
    return found, whole


def is_by_links(result: CheckResult) -> bool:
    return any(note.startswith(NOTE) for note in result.notes)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CHAINS)
def test_outcomes_are_those_end_to_end(name: str, dtype: str) -> None:
    layer, arrays = chain(name)
    found, whole = both_ways(layer, arrays, dtype=dtype)
    assert is_by_links(found)
    assert found.verdict is Verdict.PASS
    assert [note for note in found.notes if not note.startswith(NOTE)] == list(whole.notes)
    for one, other in zip(found.arrays, whole.arrays, strict=True):
        by_index = {element.index: element for element in other.worst}
        for element in one.worst:
            end_to_end = by_index[element.index]
            slack = element.uncertainty + end_to_end.uncertainty + 1e-12 * abs(element.numeric)
            assert abs(element.numeric - end_to_end.numeric) <= slack


def configured() -> list[CheckSpec]:
    files = [str(CONFIGS / "homework" / "chain.yaml"), str(CONFIGS / "user_code" / "others.yaml")]
    return [spec for spec in config.load(files, allow=["configs.user_code.layers"]) if spec.layer_name == "chain"]


@pytest.mark.parametrize("spec", configured(), ids=lambda spec: spec.name)
def test_chains_of_the_examples(spec: CheckSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    few = run_check(spec, Rows(None))
    assert not is_by_links(few)  # it is not worth it
    monkeypatch.setattr(links, "WORTHWHILE", 0)
    result = run_check(spec, Rows(None))
    assert result.error is None
    assert is_by_links(result)
    assert outcomes(result) == outcomes(few)


def test_far_fewer_evaluations() -> None:
    layer, _ = chain("network")
    found, whole = both_ways(layer, {"0.x": Given(shape=(16, 64))})
    assert 4 * found.evaluations_by_tier["tier1"] < whole.evaluations_by_tier["tier1"]
    assert found.evaluations == sum(found.evaluations_by_tier.values())
    assert found.evaluations_by_tier["probe"] == 4


@pytest.mark.parametrize("number", range(4))
def test_a_wrong_link_fails_as_it_does_end_to_end(number: int) -> None:
    layer, arrays = chain("classifier")
    wrong = Mutated(layer.links[number], MUTATORS["scaled"])
    spoiled = Chain((*layer.links[:number], wrong, *layer.links[number + 1 :]), layer.labels)
    found, whole = both_ways(spoiled, arrays)
    assert found.verdict is Verdict.FAIL
    assert found.findings == whole.findings
    failed = {array.name for array in found.arrays if array.failed}
    assert failed == {array.name for array in found.arrays if int(array.name[0]) <= number}
    assert next(f.sentence for f in found.findings if f.rule == "link").startswith(f"link {number} (")


@dataclass(frozen=True)
class InMemoryOrder:
    """y = a x with weights a that are laid over x in the order in which it lies in memory: a mistake in forward.

    Alone it is given copies, where that is the order of the axes. `backward` says whether the VJP makes it, too.
    """

    backward: bool

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(given.get("x", (9, 8)))}

    def weights(self, x: Array) -> Array:
        order = "F" if x.flags.f_contiguous else "C"
        return np.linspace(1.0, 2.0, x.size).reshape(x.shape, order=order)

    def forward(self, x: Array) -> Array:
        return self.weights(x) * x

    def vjp(self, dy: Array, x: Array) -> dict[str, Array]:
        return {"x": dy * (self.weights(x) if self.backward else self.weights(np.ascontiguousarray(x)))}


TURN = Map(lambda x: np.tanh(x).T, lambda dy, x: dy.T / np.cosh(x) ** 2, (8, 9))


def test_a_chain_that_is_wrong_though_every_link_is_right_is_caught_by_the_probe() -> None:
    layer = Chain((TURN, InMemoryOrder(backward=False)), ("turn", "weigh"))
    found, _ = both_ways(layer)
    assert found.verdict is Verdict.FAIL
    assert found.evaluations_by_tier["probe"] >= 4
    (finding,) = [finding for finding in found.findings if finding.rule == "composition"]
    assert (finding.severity, finding.array) == ("error", None)
    assert finding.sentence == (
        "every link is right by itself, with the arrays that it is handed here: inside the chain one does something "
        "else; look for state, caches, or what depends on how an array lies in memory"
    )


def test_a_chain_whose_gradients_are_not_those_of_its_links_is_judged_end_to_end() -> None:
    layer = Chain((TURN, InMemoryOrder(backward=True)), ("turn", "weigh"))
    found, _ = both_ways(layer)
    assert found.verdict is Verdict.PASS
    assert not is_by_links(found)


@pytest.mark.parametrize("link", ["relu", "absolute"])
def test_a_kink_in_the_middle_is_judged_end_to_end(link: str) -> None:
    absolute = entrywise(np.abs, np.sign)  # 0 at 0, which is what central differences see, too
    shift = Map(lambda x: x - 1.0, lambda dy, x: dy, (80,))
    x = np.linspace(0.5, 2.5, 80)
    x[40] = 1.0
    layer = Chain((shift, absolute if link == "absolute" else LAYERS["relu"]()), ("shift", link))
    found, _ = both_ways(layer, {"0.x": x})
    assert not is_by_links(found)
    assert sum(array.kinks for array in found.arrays) == 1


def test_many_kinks_in_the_middle_are_no_wrong_composition() -> None:
    layer, _ = chain("classifier")
    x = np.random.default_rng(0).normal(size=(6, 7))
    x[2] = 0.0  # with b = 0, all units of one row sit on their kinks
    found, _ = both_ways(layer, {"0.x": x, "0.b": np.zeros(8)})
    assert not is_by_links(found)
    assert "composition" not in rules(found)


def test_elements_on_a_kink_of_their_own_are_accepted_link_by_link() -> None:
    x = np.random.default_rng(0).normal(size=(12, 6))
    x[0, :3] = 0.0
    layer = Chain((LAYERS["relu"](), LAYERS["tanh"]()), ("relu", "tanh"))
    found, _ = both_ways(layer, {"0.x": x})
    assert is_by_links(found)
    assert sum(array.kinks for array in found.arrays) == 3
    assert "3 elements sit exactly on a kink; any subgradient is right" in found.notes


@dataclass
class Counting:
    """A link that counts the calls of its forward."""

    inner: Layer
    calls: int = 0

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return self.inner.arrays(**given)

    def forward(self, **arrays: Array) -> Outputs:
        self.calls += 1
        return self.inner.forward(**arrays)

    def vjp(self, dy: Any, **arrays: Array) -> Mapping[str, Array]:
        return self.inner.vjp(dy, **arrays)


@dataclass(frozen=True)
class CountingChain(Chain):
    """A chain that counts how often it is asked for what."""

    runs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("arrays", "forward", "vjp", "points"), 0))

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        self.runs["arrays"] += 1
        return super().arrays(**given)

    def forward(self, **arrays: Array) -> Outputs:
        self.runs["forward"] += 1
        return super().forward(**arrays)

    def vjp(self, dy: Any, **arrays: Array) -> dict[str, Array]:
        self.runs["vjp"] += 1
        return super().vjp(dy, **arrays)

    def link_points(self, dy: Any, **arrays: Array) -> Any:
        self.runs["points"] += 1
        return super().link_points(dy, **arrays)


def test_every_evaluation_is_counted() -> None:
    plain, arrays = chain("network")
    counting = tuple(Counting(link) for link in plain.links)
    layer = CountingChain(counting, plain.labels)
    result = check(layer, arrays)
    assert is_by_links(result)
    runs = layer.runs
    inside = runs["forward"] + runs["vjp"] + runs["points"]  # each calls every link once
    alone = sum(link.calls - inside for link in counting) - (len(counting) - 1) * runs["arrays"]
    assert runs["points"] == 1
    assert result.evaluations == runs["forward"] + runs["points"] + alone


def test_only_the_links_behind_the_first_array_asked_for_are_judged() -> None:
    plain, _ = chain("classifier")
    wrong = Mutated(plain.links[0], MUTATORS["sign_flipped"])
    layer = Chain((wrong, plain.links[1], LAYERS["linear"](out_features=9), plain.links[3]), plain.labels)
    found, _ = both_ways(layer, {"0.x": Given(shape=(6, 7))}, wrt=("2.W",))
    assert found.verdict is Verdict.PASS
    assert is_by_links(found)
    assert [array.name for array in found.arrays] == ["2.W"]


def test_a_wrong_gradient_handed_back_fails_though_only_an_earlier_array_is_asked_for() -> None:
    plain, arrays = chain("network")
    wrong = Chain((*plain.links[:3], Mutated(plain.links[3], MUTATORS["scaled"]), plain.links[4]), plain.labels)
    arrays |= {"0.x": Given(shape=(9, 8))}
    found, _ = both_ways(wrong, arrays, wrt=("0.x",))
    assert found.verdict is Verdict.FAIL
    assert rules(found)[-1] == "link"


@dataclass(frozen=True)
class Split:
    """Two outputs."""

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"x": ArraySpec(given.get("x", (80,)))}

    def forward(self, x: Array) -> tuple[Array, Array]:
        return np.tanh(x[:40]), x[40:] ** 2

    def vjp(self, dy: Any, x: Array) -> dict[str, Array]:
        return {"x": np.concatenate([dy[0] / np.cosh(x[:40]) ** 2, 2 * x[40:] * dy[1]])}


@dataclass(frozen=True)
class Product:
    """Takes two arrays."""

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        return {"a": ArraySpec(given.get("a", (40,))), "b": ArraySpec(given.get("b", (40,)))}

    def forward(self, a: Array, b: Array) -> Array:
        return a * b

    def vjp(self, dy: Any, a: Array, b: Array) -> dict[str, Array]:
        return {"a": dy * b, "b": dy * a}


def test_several_outputs_are_handed_on() -> None:
    found, _ = both_ways(Chain((Split(), Product()), ("split", "product")))
    assert is_by_links(found)


def test_a_chain_may_end_in_several_outputs() -> None:
    found, _ = both_ways(Chain((LAYERS["tanh"](), Split()), ("tanh", "split")), {"0.x": Given(shape=(80,))})
    assert is_by_links(found)


def test_a_chain_in_a_chain_and_a_link_that_is_used_twice() -> None:
    inner, _ = chain("network")
    tanh = LAYERS["tanh"]()
    layer = Chain((tanh, tanh, Chain(inner.links[:4], inner.labels[:4])), ("tanh", "tanh", "network"))
    found, _ = both_ways(layer, {"0.x": Given(shape=(5, 7))})
    assert is_by_links(found)
    assert [array.name for array in found.arrays] == ["0.x", "2.0.W", "2.0.b", "2.2.W", "2.2.b"]


def test_a_wrong_link_of_a_chain_in_a_chain() -> None:
    inner, _ = chain("network")
    wrong = Chain((*inner.links[:3], Mutated(inner.links[3], MUTATORS["scaled"])), inner.labels[:4])
    found, _ = both_ways(Chain((LAYERS["tanh"](), wrong), ("tanh", "network")), {"0.x": Given(shape=(5, 7))})
    assert found.verdict is Verdict.FAIL
    assert found.findings[-1].sentence.startswith("link 1 (network) is wrong first, where the backward pass meets it: ")


def test_points_are_judged_each_for_itself() -> None:
    layer, arrays = chain("classifier")
    found, _ = both_ways(layer, arrays, points=3)
    assert found.points == 3
    assert found.elements == 3 * (42 + 56 + 8 + 32 + 4)
    assert sum(note.startswith(NOTE) for note in found.notes) <= 3


STAYS: dict[str, dict[str, Any]] = {
    "exhaustive": {"exhaustive": True},
    "an explicit step": {"difference": Difference(step=1e-5)},
    "an explicit tolerance": {"tolerance": Tolerance(rtol=1e-5)},
    "the Jacobian": {"view": "jacobian"},
}


@pytest.mark.parametrize("asked", STAYS.values(), ids=STAYS)
def test_what_stays_end_to_end(asked: dict[str, Any]) -> None:
    layer, arrays = chain("no parameters")
    result = check(layer, arrays, **asked)
    assert result.verdict is Verdict.PASS
    assert not is_by_links(result)


def test_one_link_is_judged_end_to_end() -> None:
    result = check(Chain((LAYERS["tanh"](),), ("tanh",)), {"0.x": Given(shape=(9, 8))})
    assert result.verdict is Verdict.PASS
    assert not is_by_links(result)


def noisy(scale: float) -> Callable[[Array], Array]:
    rng = np.random.default_rng(0)
    return lambda x: np.sin(x) * (1 + scale * rng.normal(size=x.shape))


def test_a_noisy_chain_is_judged_end_to_end() -> None:
    layer = Chain((LAYERS["tanh"](), entrywise(noisy(1e-9), np.cos)), ("tanh", "noisy"))
    result = check(layer, {"0.x": Given(shape=(9, 8))})
    assert "noisy-forward" in rules(result)
    assert not is_by_links(result)


def test_lost_digits_of_single_precision_are_found_as_they_are_end_to_end() -> None:
    def pull(dy: Array, x: Array) -> Array:
        return np.asarray(dy / np.cosh(x) ** 2 * x.dtype.type(1.0 if x.dtype == np.float64 else 1.5))

    layer = Chain((Map(np.tanh, pull, (9, 8)), LAYERS["sigmoid"]()), ("tanh", "sigmoid"))
    found, _ = both_ways(layer, dtype="float32")
    assert found.verdict is Verdict.FAIL
    assert {element.precision for array in found.arrays for element in array.worst} == {"rounding"}


def test_an_element_left_open_by_its_link_is_judged_end_to_end() -> None:
    jump = entrywise(lambda x: np.where(x > 0.5, x + 1, x), np.ones_like)
    x = np.linspace(-1.0, 2.0, 80)
    x[10] = 0.5
    found, _ = both_ways(Chain((jump, LAYERS["tanh"]()), ("jump", "tanh")), {"0.x": x})
    assert Outcome.INCONCLUSIVE in outcomes(found)
    assert not is_by_links(found)

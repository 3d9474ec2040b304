"""A chain that fails says which of its links is wrong first, by checking each at its actual activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.adapters.chain import Chain
from gradcheck_cli.layer import Array
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Verdict
from tests.judging import Map, check, entrywise, rules
from tests.wrong_layers import MUTATORS, Mutated

LINKS = ("linear", "tanh", "linear", "softmax", "mse")


def chain(*wrong: int, mutator: str = "scaled") -> Chain:
    """Five layers, of which the numbered ones have a mistake in their gradients."""
    links = [
        Mutated(LAYERS[name](), MUTATORS[mutator]) if k in wrong else LAYERS[name]() for k, name in enumerate(LINKS)
    ]
    return Chain(tuple(links), LINKS)


def sentence_of(result: CheckResult) -> str | None:
    (found,) = [finding for finding in result.findings if finding.rule == "link"] or [None]
    assert found is None or (found.severity, found.array) == ("error", None)
    return found and found.sentence


def test_right_links_are_not_blamed() -> None:
    result = check(chain())
    assert result.verdict is Verdict.PASS
    assert result.findings == ()


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("mutator", ["scaled", "sign_flipped"])
def test_the_wrong_link_is_named(number: int, mutator: str) -> None:
    result = check(chain(number, mutator=mutator))
    assert result.verdict is Verdict.FAIL
    sentence = sentence_of(result)
    assert sentence is not None
    start = f"link {number} ({LINKS[number]}) is wrong first, where the backward pass meets it: "
    assert sentence.startswith(start)
    assert "is wrong too" not in sentence
    assert len(sentence) > len(start)


def test_of_two_wrong_links_the_one_met_first_by_the_backward_pass_leads() -> None:
    sentence = sentence_of(check(chain(0, 3)))
    assert sentence is not None
    assert sentence.startswith("link 3 (softmax) is wrong first, where the backward pass meets it: ")
    assert sentence.endswith("; link 0 (linear) is wrong too")


def test_of_three_wrong_links_the_others_follow_in_order() -> None:
    sentence = sentence_of(check(chain(0, 1, 3)))
    assert sentence is not None
    assert sentence.endswith("; link 0 (linear), link 1 (tanh) are wrong too")


def test_a_link_that_is_wrong_only_at_its_actual_activations_is_found() -> None:
    def slope(x: Array) -> Array:
        return np.where(np.abs(x) > 5, 1.0, np.cos(x))  # drawn inputs never come so far

    links = (
        entrywise(lambda x: 10 + x, lambda x: 1.0),
        entrywise(np.sin, slope),
        entrywise(lambda x: x * x, lambda x: 2 * x),
    )
    sentence = sentence_of(check(Chain(links, ("shift", "sine", "square"))))
    assert sentence is not None
    assert sentence.startswith("link 1 (sine) is wrong first, where the backward pass meets it: ")


def test_a_link_that_spoils_only_what_it_hands_back_is_found() -> None:
    class Detached:
        """A linear layer whose parameters are right and whose input gets nothing."""

        inner = LAYERS["linear"]()

        def arrays(self, **given: Any) -> Any:
            return self.inner.arrays(**given)

        def forward(self, **arrays: Array) -> Any:
            return self.inner.forward(**arrays)

        def vjp(self, dy: Any, **arrays: Array) -> Any:
            return self.inner.vjp(dy, **arrays) | {"x": np.zeros_like(arrays["x"])}

    wrong = Chain((LAYERS["linear"](), LAYERS["tanh"](), Detached()), ("linear", "tanh", "detached"))
    result = check(wrong)
    sentence = sentence_of(result)
    assert sentence is not None
    assert sentence.startswith("link 2 (detached) is wrong first, where the backward pass meets it: ")
    failed = {array.name: array.failed for array in result.arrays}
    assert failed["2.W"] == failed["2.b"] == 0
    assert failed["0.W"] > 0


def test_a_layer_that_is_no_chain_has_no_links() -> None:
    wrong = Map(lambda x: x * x, lambda dy, x: dy * x)
    assert "link" not in rules(check(wrong))

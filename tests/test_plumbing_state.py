"""Caches, state, fresh random numbers and accumulation: whatever makes two calls at one point differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.layer import Array
from gradcheck_cli.numeric.objective import Ledger
from gradcheck_cli.plumbing.bench import Bench, first_look, first_vjp
from gradcheck_cli.plumbing.structure import PURITY, STRUCTURE, examine
from gradcheck_cli.results import Finding, Verdict
from tests.judging import rules
from tests.plumbing_layers import Clean, W, X, judged


class Stateful(Clean):
    """Reads what an earlier call left behind."""

    def __init__(self, mode: str) -> None:
        self.mode, self.calls, self.pulls, self.cache = mode, 0, 0, np.zeros((3, 2))
        self.total: dict[str, Array] = {}

    def forward(self, x: Array, W: Array) -> Any:
        self.calls += 1
        before, self.cache = self.cache, np.tanh(x @ W)
        if self.mode == "stale forward" and self.calls > 1:
            return before
        if self.mode == "random":
            return self.cache + 0.1 * np.random.default_rng(self.calls).normal(size=(3, 2))
        if self.mode == "noisy":
            return self.cache * (1 + 1e-8 * np.random.default_rng(self.calls).normal(size=(3, 2)))
        if self.mode == "growing":
            return np.tile(self.cache, (self.calls, 1))
        return self.cache

    def vjp(self, dy: Any, x: Array, W: Array) -> Any:
        if self.mode == "stale cache":
            inner = dy * (1 - self.cache**2)
            return {"x": inner @ W.T, "W": x.T @ inner}
        gradients = super().vjp(dy, x, W)
        if self.mode == "fresh mask":
            self.calls += 1
            return {name: g * np.random.default_rng(self.calls).normal(size=g.shape) for name, g in gradients.items()}
        if self.mode == "accumulates":
            for name, g in gradients.items():
                self.total[name] = self.total.get(name, 0) + g
            return {name: total.copy() for name, total in self.total.items()}
        if self.mode == "shape changes":
            self.pulls += 1
            return {name: g[: 2 - self.pulls % 2] for name, g in gradients.items()}
        return gradients


def findings_of(mode: str) -> list[Finding]:
    bench = Bench(Stateful(mode), {"x": X, "W": W}, ("x", "W"), Ledger())
    findings = examine(first_look(bench), PURITY)
    if not findings or findings[0].severity == "note":
        first_vjp(bench, (np.array([[0.5, -1.2], [0.9, 1.4], [-0.6, 0.7]]),))
        findings += examine(bench, STRUCTURE)
    return findings


def found(mode: str) -> Finding:
    return findings_of(mode)[0]


@pytest.mark.parametrize(
    ("mode", "size"), [("stale forward", r"1\.2"), ("random", r"\d\.\d+")], ids=["stale forward", "random"]
)
def test_forward_is_no_function(mode: str, size: str) -> None:
    finding = found(mode)
    assert (finding.rule, finding.severity, finding.array) == ("not-a-function", "error", None)
    start = "forward is not a function of its inputs: called twice at the same point, with another call between, its "
    assert finding.sentence.startswith(f"{start}outputs differ by ")
    assert finding.sentence.endswith("; look for random numbers, caches or state")
    result = judged(Stateful(mode))
    assert (result.verdict, rules(result), result.arrays) == (Verdict.FAIL, ["not-a-function"], ())


def test_forward_that_changes_its_shape_is_no_function() -> None:
    sentence = "forward returned another shape when called again at the same point"
    assert found("growing") == Finding("not-a-function", "error", None, sentence)


def test_slightly_random_forward_is_a_note() -> None:
    finding = found("noisy")
    assert (finding.rule, finding.severity) == ("noisy-forward", "note")
    difference = finding.sentence.removeprefix("forward is noisy: two calls at the same point differ by ")
    assert 1e-9 < float(difference) < 1e-7
    result = judged(Stateful("noisy"))
    assert rules(result) == ["noisy-forward"]
    assert result.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE)


def test_accumulating_gradient() -> None:
    for number, name in enumerate(("x", "W")):
        sentence = f"the gradient of {name!r} accumulates: a second call of the VJP returns twice the first"
        assert findings_of("accumulates")[number] == Finding("accumulates", "error", name, sentence)
    assert judged(Stateful("accumulates")).verdict is Verdict.FAIL


@pytest.mark.parametrize("mode", ["stale cache", "fresh mask"])
def test_hidden_state(mode: str) -> None:
    finding = found(mode)
    assert (finding.rule, finding.severity, finding.array) == ("hidden-state", "error", "x")
    assert finding.sentence.startswith("the gradient of 'x' changes by ")
    end = (
        " when the VJP is called again at the same point after another call of forward; "
        "look for caches, state or fresh random numbers"
    )
    assert finding.sentence.endswith(end)
    assert judged(Stateful(mode)).verdict is Verdict.FAIL


def test_gradient_that_changes_its_shape_is_hidden_state() -> None:
    findings = findings_of("shape changes")
    sentence = "the gradient of 'x' has another shape when the VJP is called again"
    assert Finding("hidden-state", "error", "x", sentence) in findings

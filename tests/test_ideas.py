"""What makes the checker fast decides nothing: with each idea switched off, every element has the same outcome.

The whole acceptance corpus is checked once as it is and once without each idea, and so is every built-in layer, right
and with one wrong element, in about a quarter of a minute. Stacks and shared evaluations are made to happen where they
would not pay: corpus layers get a `forward_stacked`, arrays of two elements are looked at for structure, and small
arrays get the look that longer steps depend on, and a few fails are enough for others to need no ladder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pytest

from gradcheck_cli.layer import Array, Outputs
from gradcheck_cli.numeric.structure import Detector
from gradcheck_cli.registry import LAYERS
from gradcheck_cli.results import CheckResult, Outcome, Rows
from gradcheck_cli.runner import run_check
from gradcheck_cli.spec import CheckSpec, Given
from tests.corpus import misbehaviour
from tests.corpus.measure import check
from tests.corpus.points import POINTS
from tests.corpus.wrong import WRONG
from tests.wrong_layers import mistaken

STATEFUL = misbehaviour.STATEFUL  # how a layer's memory shows depends on the calls that were made before
Switch: TypeAlias = Callable[[pytest.MonkeyPatch], None]


class Stacked:
    """A layer that can be stacked; a loop over its own forward serves as well as anything."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["layer"], name)

    def forward_stacked(self, **arrays: Array) -> Outputs:
        rows = max(len(array) for array in arrays.values())
        points = ({name: array[k % len(array)].copy() for name, array in arrays.items()} for k in range(rows))
        outputs = [self.layer.forward(**point) for point in points]
        if isinstance(outputs[0], tuple):
            return tuple(np.stack(part) for part in zip(*outputs, strict=True))
        return np.stack(outputs)


def built_in(name: str, wrong: bool) -> CheckResult:
    """The check of a layer at the first of its examples."""
    example = LAYERS[name].EXAMPLES[0]
    layer = LAYERS[name](**example.options)
    given = {array: Given(shape=shape) for array, shape in example.shapes.items()}
    made = mistaken(layer, "one_wrong_element") if wrong else layer
    return run_check(CheckSpec(name, name, made, name, given), Rows(None))


def checks() -> Iterator[tuple[str, CheckResult]]:
    """Every check with its name."""
    yield from ((point.name, check(point.name, Stacked(point.layer), point)) for point in POINTS)
    yield from ((wrong.name, check(wrong.name, Stacked(wrong.make()), wrong.point)) for wrong in WRONG)
    for name in LAYERS:
        yield f"built-in {name}", built_in(name, wrong=False)
        yield f"built-in {name}, one wrong", built_in(name, wrong=True)


@dataclass(frozen=True)
class Judged:
    """What is compared of an element."""

    outcome: Outcome
    analytic: float
    numeric: float
    uncertainty: float

    def agrees(self, other: Judged) -> bool:
        """Whether the outcome is the same, and the numbers are the same to their uncertainty where they decide."""
        if self.outcome is not other.outcome and not self.is_finer_than(other) and not other.is_finer_than(self):
            return False
        decided = self.outcome in (Outcome.PASS, Outcome.FAIL) and math.isfinite(self.numeric)
        return not decided or abs(self.numeric - other.numeric) <= self.uncertainty + other.uncertainty

    def is_finer_than(self, other: Judged) -> bool:
        """Whether it fails by less than the other one, which passes, says that it would have seen."""
        outcomes = (self.outcome, other.outcome) == (Outcome.FAIL, Outcome.PASS)
        return outcomes and self.uncertainty < abs(self.analytic - self.numeric) <= other.uncertainty


@dataclass(frozen=True)
class Summary:
    """What is compared of a check."""

    verdict: str
    findings: frozenset[tuple[str, str | None]]
    evaluations: int
    elements: Mapping[tuple[str, tuple[int, ...]], Judged]

    @classmethod
    def of(cls, name: str, result: CheckResult) -> Summary:
        elements = {
            (array.name, one.index): Judged(one.outcome, one.analytic, one.numeric, one.uncertainty)
            for array in result.arrays
            for one in array.worst
            if one.precision == "formula"
        }
        errors = frozenset((one.rule, one.array) for one in result.findings if one.severity == "error")
        errors = frozenset({("any", None)}) if errors and name in STATEFUL else errors
        return cls(result.verdict, errors, result.evaluations, elements)

    @property
    def wrong(self) -> set[str | None]:
        """The arrays of which something is wrong."""
        return {array for _, array in self.findings}

    def differences(self, other: Summary) -> Iterator[str]:
        both = self.elements.keys() & other.elements.keys()
        finer = any(self.elements[at].outcome is not other.elements[at].outcome for at in both)
        alike = self.wrong == other.wrong if finer else self.findings == other.findings
        if self.verdict != other.verdict or not alike:
            yield f"{self.verdict} {self.findings} became {other.verdict} {other.findings}"
        if self.elements.keys() != other.elements.keys():
            yield "other elements"
        for at in both:
            if not self.elements[at].agrees(other.elements[at]):
                yield f"{at}: {self.elements[at]} became {other.elements[at]}"


def summaries(*switches: Switch) -> dict[str, Summary]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradcheck_cli.tiers.scene.WORTHWHILE", 2)
        patch.setattr("gradcheck_cli.tiers.looks.MANY", 0)
        for name, few in {"MANY": 4, "LADDERS": 2, "FEWEST": 1}.items():
            patch.setattr(f"gradcheck_cli.tiers.alike.{name}", few)
        for switch in switches:
            switch(patch)
        return {name: Summary.of(name, result) for name, result in checks()}


def without_stacks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gradcheck_cli.runner.stacks_agree", lambda *_: False)


def without_structure(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gradcheck_cli.tiers.scene.detect", lambda *_: ())


def without_local_support(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Detector, "_local", lambda *_: None)


def without_trust(patch: pytest.MonkeyPatch) -> None:
    """The closing probe contradicts every structure."""
    patch.setattr("gradcheck_cli.numeric.shared.confirmed", lambda *_: False)


def without_longer_steps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gradcheck_cli.tiers.looks.MANY", 10**9)


def without_plain_fails(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gradcheck_cli.tiers.alike.MANY", 10**9)


def without_rungs_ahead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gradcheck_cli.tiers.climb.pass_ahead", lambda _, left: left)


@pytest.fixture(scope="module")
def whole() -> dict[str, Summary]:
    return summaries()


# with so many checks whose evaluations differ at least: the idea was there before, and is gone
OFF = [
    pytest.param(without_stacks, 500, id="stacks"),
    pytest.param(without_structure, 500, id="structure"),
    pytest.param(without_local_support, 20, id="local support"),
    pytest.param(without_trust, 300, id="trust in the structure"),
    pytest.param(without_longer_steps, 500, id="longer steps"),
    pytest.param(without_plain_fails, 100, id="plain fails"),
    pytest.param(without_rungs_ahead, 100, id="rungs ahead"),
]


@pytest.mark.parametrize(("switch", "fewest"), OFF)
def test_outcomes_are_the_same_without(switch: Switch, fewest: int, whole: dict[str, Summary]) -> None:
    other = summaries(switch)
    assert whole.keys() == other.keys()
    assert {name: list(whole[name].differences(other[name])) for name in whole} == {name: [] for name in whole}
    assert sum(whole[name].evaluations != other[name].evaluations for name in whole) >= fewest

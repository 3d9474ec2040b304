"""Dataclasses that are quick to define behave as those of `dataclasses` do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import gradcheck_cli
from gradcheck_cli import values
from gradcheck_cli.results import Rows

PACKAGE = Path(gradcheck_cli.__file__).parents[1]


def pair(**settings: bool) -> tuple[Any, Any]:
    """The same class, made here and there."""

    def made(dataclass: Any) -> Any:
        @dataclass(**settings)
        class Sample:
            """Of every kind of field."""

            first: int
            second: str = "two"
            third: list[int] = dataclasses.field(default_factory=list)
            fourth: float = dataclasses.field(default=4.0, repr=False, compare=False)
            fifth: dict[str, int] = dataclasses.field(default_factory=dict, init=False, compare=False)
            sixth: int = dataclasses.field(default=6, init=False)
            _seventh: tuple[int, ...] = ()

            def __post_init__(self) -> None:
                self.fifth["post"] = self.first

            @cached_property
            def doubled(self) -> int:
                return 2 * self.first

        return Sample

    return made(values.dataclass), made(dataclasses.dataclass)


@values.dataclass(frozen=True)
class Kept:
    """At the top of its module, for pickle."""

    number: int
    words: tuple[str, ...] = ()


@values.dataclass(frozen=True)
class Empty:
    """With no field."""


SETTINGS = [{"frozen": True}, {"frozen": True, "eq": False}, {"frozen": False}]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    ("args", "given"),
    [((1,), {}), ((1, "b"), {"third": [3]}), ((), {"first": 1, "fourth": 0.5}), ((1, "b", [2], 0.5, (7,)), {})],
)
def test_values_are_made_alike(settings: dict[str, bool], args: tuple[Any, ...], given: dict[str, Any]) -> None:
    for _ in range(2):  # the first value is made in another way
        ours, theirs = (cls(*args, **given) for cls in pair(**settings))
        assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
        assert repr(ours) == repr(theirs)
        assert vars(ours) == vars(theirs)
        assert (ours.doubled, ours.sixth, ours.fifth) == (2, 6, {"post": 1})


@pytest.mark.parametrize("words", ["()", "(1, 2, 3, 4, 5, 6)", "(1, first=1)", "(1, other=1)", "(1, sixth=1)"])
def test_what_cannot_be_made_is_refused_alike(words: str) -> None:
    messages = []
    for cls in pair(frozen=True):
        for _ in range(2):
            with pytest.raises(TypeError) as caught:
                eval(f"cls{words}", {"cls": cls})
            messages.append(str(caught.value))
    assert len(set(messages)) == 1


def test_defaults_that_are_made_are_not_shared() -> None:
    cls, _ = pair(frozen=True)
    assert cls(1).third is not cls(1).third


def test_frozen_values_refuse_assignments_alike() -> None:
    for name in ("first", "other"):
        messages = []
        for cls in pair(frozen=True):
            one = cls(1)
            with pytest.raises(dataclasses.FrozenInstanceError) as caught:
                setattr(one, name, 2)
            messages.append(str(caught.value))
            with pytest.raises(dataclasses.FrozenInstanceError) as caught:
                delattr(one, name)
            messages.append(str(caught.value))
        assert messages[:2] == messages[2:]
    thawed, _ = pair(frozen=False)
    one = thawed(1)
    one.first = 2
    assert one.first == 2


def test_equal_values_are_equal_and_hash_alike() -> None:
    for cls in pair(frozen=True):
        assert cls(1) == cls(1, fourth=0.0)
        assert cls(1) != cls(2)
        assert cls(1) != (1, "two", [], 6, ())
    assert {Kept(1), Kept(1), Kept(2)} == {Kept(2), Kept(1)}
    for cls in pair(frozen=True, eq=False):
        assert cls(1) != cls(1)
        assert len({cls(1), cls(1)}) == 2
    for cls in pair(frozen=False):
        assert cls(1) == cls(1)
        with pytest.raises(TypeError, match="unhashable type"):
            hash(cls(1))


def test_values_are_replaced_copied_and_pickled() -> None:
    one = Kept(1, ("a",))
    assert dataclasses.replace(one, number=2) == Kept(2, ("a",))
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert [field.name for field in dataclasses.fields(Kept)] == ["number", "words"]
    assert repr(Empty()) == "Empty()"
    match one:
        case Kept(number, words):
            assert (number, words) == (1, ("a",))


def test_own_methods_are_kept() -> None:
    @values.dataclass(frozen=True)
    class Own:
        """With a text of its own."""

        number: int = 0

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 5

    assert (repr(Own(1)), Own(1) == 3, hash(Own(1))) == ("own", True, 5)


def test_the_first_value_of_a_process_may_be_a_pickled_one() -> None:
    code = f"import pickle; print(pickle.loads({pickle.dumps(Rows(limit=3))!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE, capture_output=True, text=True, check=True)
    assert done.stdout == "Rows(limit=3, beyond=10)\n"


@pytest.mark.parametrize("base", [values.dataclass, dataclasses.dataclass])
@pytest.mark.parametrize("derived", [values.dataclass, dataclasses.dataclass])
def test_frozen_classes_derive_from_frozen_ones_only(base: Any, derived: Any) -> None:
    @base(frozen=True)
    class One:
        """With a field."""

        first: int

    @derived(frozen=True)
    class Two(One):
        """With one more."""

        second: int = 2

    two = Two(1)
    assert (repr(two).rpartition(".")[2], two == Two(1, 2), hash(two) == hash(Two(1))) == (
        "Two(first=1, second=2)",
        True,
        True,
    )
    for name in ("first", "second", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(two, name, 3)
    with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):
        derived(type("Three", (One,), {"__annotations__": {"third": int}}))

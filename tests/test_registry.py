"""From names to things: one folder, one name space, did-you-mean, plug-ins."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from gradcheck_cli.registry import ADAPTERS, LAYERS, METHODS, REPORTS, Registry, UnknownNameError, did_you_mean

Folder = Callable[[dict[str, str]], Registry[Any]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """A package of the given modules, as a registry."""

    def make(modules: dict[str, str]) -> Registry[Any]:
        name = f"things_{abs(hash(tmp_path))}"
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text("")
        for module, text in modules.items():
            (package / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        return Registry(name, "thing", entry_points="gradcheck_cli.test", members=("forward",))

    yield make
    for module in [name for name in sys.modules if name.startswith("things_")]:
        del sys.modules[module]


def test_a_new_file_is_found(folder: Folder) -> None:
    things = folder(
        {
            "one": "class B:\n    name = 'b'\nclass A:\n    name = 'a'\n",
            "two": "from .one import B\nclass C(B):\n    name = 'c'\nclass D(B): pass\nclass E:\n    name = 3\n",
        }
    )
    assert list(things) == ["a", "b", "c"]
    assert len(things) == 3
    assert things["c"].__name__ == "C"
    assert "b" in things
    assert "d" not in things
    assert 3 not in things


def test_two_of_one_name_are_refused(folder: Folder) -> None:
    things = folder({"one": "class A:\n    name = 'a'\n", "two": "class B:\n    name = 'a'\n"})
    with pytest.raises(ImportError, match=r"^two things are named 'a': the second is in things_\d+\.two$"):
        list(things)


def test_an_unknown_name_gets_a_hint(folder: Folder) -> None:
    things = folder({"one": "class A:\n    name = 'linear'\n"})
    with pytest.raises(UnknownNameError) as caught:
        _ = things["linaer"]
    assert str(caught.value) == "unknown thing 'linaer'; did you mean 'linear'?"
    assert (caught.value.what, caught.value.name, caught.value.known) == ("thing", "linaer", ("linear",))
    with pytest.raises(UnknownNameError, match=r"^unknown thing 'zzz'$"):
        _ = things["zzz"]


@dataclasses.dataclass(frozen=True)
class Plug:
    """What an installed package might add."""

    forward: int = 0


def entry(name: str, value: Any) -> metadata.EntryPoint:
    class Ready(metadata.EntryPoint):
        def load(self) -> Any:
            if isinstance(value, Exception):
                raise value
            return value

    return Ready(name=name, value="plug:Thing", group="gradcheck_cli.test")


def install(monkeypatch: pytest.MonkeyPatch, *entries: metadata.EntryPoint) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: list(entries))


def test_plug_ins_join(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, entry("mine", Plug))
    things = folder({"one": "class A:\n    name = 'a'\n"})
    assert list(things) == ["a", "mine"]
    assert things["mine"] is Plug


BROKEN = {
    "taken": (entry("a", Plug), "the thing 'a' is left out: its name is taken"),
    "not importable": (
        entry("mine", ImportError("no module named 'x'")),
        "the thing 'mine' is left out: plug:Thing can't be imported (ImportError: no module named 'x')",
    ),
    "no dataclass": (
        entry("mine", object()),
        "the thing 'mine' is left out: plug:Thing must be a dataclass with forward",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plug_in_keeps_no_other_from_being_used(
    name: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, message = BROKEN[name]
    install(monkeypatch, broken, entry("other", Plug))
    things = folder({"one": "class A:\n    name = 'a'\n"})
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        assert list(things) == ["a", "other"]


def test_did_you_mean() -> None:
    assert did_you_mean("sotfmax", ["softmax", "tanh"]) == "; did you mean 'softmax'?"
    assert did_you_mean("xyz", ["softmax", "tanh"]) == ""


@pytest.mark.parametrize(
    ("things", "some"),
    [
        (LAYERS, {"linear", "softmax", "relu", "mse"}),
        (METHODS, {"central", "forward", "backward", "richardson", "complex_step"}),
        (REPORTS, {"table", "json"}),
        (ADAPTERS, {"functions", "formula", "object", "torch", "jax"}),
    ],
)
def test_what_the_tool_itself_offers(things: Registry[Any], some: set[str]) -> None:
    assert some <= set(things)

"""Whose line is told when somebody's code raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.adapters.user_code import UserCodeError
from gradcheck_cli.raised import error_info
from gradcheck_cli.results import ErrorInfo


def raised(function: Any, *arguments: Any, **named: Any) -> ErrorInfo:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it raises is looked at
        function(*arguments, **named)
    traceback = caught.value.__traceback__
    assert traceback is not None
    return error_info(caught.value.with_traceback(traceback.tb_next))  # without the frame of this test


def compiled(folder: Path, file: str, text: str, **names: Any) -> Any:
    """The function `f` of a module that lies there."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    exec(compile(text, path, "exec"), names)
    return names["f"]


def test_the_users_last_line_is_told(tmp_path: Path) -> None:
    inner = compiled(tmp_path, "inner.py", "def f(x):\n    raise KeyError(x)\n")
    outer = compiled(tmp_path, "outer.py", "def f(x):\n    return g(x)\n", g=inner)
    info = raised(outer, "a")
    assert info == ErrorInfo("KeyError", "'a'", f"{tmp_path / 'inner.py'}:2: raise KeyError(x)")


@pytest.mark.parametrize("library", [json.loads, np.linalg.inv, lambda x: (_ for _ in ()).throw(ValueError)])
def test_lines_of_python_and_numpy_are_passed_over(library: Any, tmp_path: Path) -> None:
    f = compiled(tmp_path, "mine.py", "def f(x):\n    return g(x)\n", g=library)
    own = __file__ if library.__module__ == __name__ else str(tmp_path / "mine.py")
    assert (raised(f, "{").traceback_line or "").startswith(f"{own}:")


def test_a_package_is_told_where_no_line_is_the_users(tmp_path: Path) -> None:
    plug_in = compiled(tmp_path, "site-packages/cubes/layers.py", "def f(x):\n    return g(x)\n", g=json.loads)
    assert raised(plug_in, "{").traceback_line == f"{tmp_path / 'site-packages/cubes/layers.py'}:2: return g(x)"
    library = compiled(tmp_path, "site-packages/torch/graph.py", "def f(x):\n    return g(x)\n", g=json.loads)
    assert raised(library, "{").traceback_line is None


def test_a_breach_of_a_convention_tells_where_the_code_begins(tmp_path: Path) -> None:
    def breach() -> None:
        raise UserCodeError("f returned None", "mine.py:3: def f(x):")

    broken = compiled(
        tmp_path, "site-packages/torch/vmap.py", "def f():\n    raise g\n", g=UserCodeError("a", "b.py:1")
    )
    assert raised(broken).traceback_line == "b.py:1"
    assert raised(breach).message == "f returned None"


def test_an_exit_is_told_as_what_it_is() -> None:
    def leaves() -> None:
        raise SystemExit("enough")

    sentence = "the code ended the program with exit code 'enough'; it must return or raise an exception"
    assert (raised(leaves).type, raised(leaves).message) == ("SystemExit", sentence)


def test_an_exception_that_cannot_be_told_is_told_by_its_type() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def mutters() -> None:
        raise MuteError

    assert (raised(mutters).type, raised(mutters).message) == ("MuteError", "")


def test_our_own_lines_are_nobodys() -> None:
    from gradcheck_cli.layer import ArrayError
    from gradcheck_cli.layers.dense import Linear

    info = raised(Linear(3, 2).arrays, x=(4,))
    assert (info.type, info.traceback_line) == (ArrayError.__name__, None)

"""Code named in a config: what is refused before anything is imported, and what resolves."""

import os
import sys
from pathlib import Path

import pytest

from gradcheck_cli.adapters.references import (
    UnresolvedReferenceError,
    allow_imports,
    locate,
    malformed,
    refusal,
    resolve,
)

SOURCE = """
import os
from os import system
from os import *
from pathlib import Path as P
raise_if_imported = 1 / 0

def mine(x):
    def inner(y):
        return y
    return x

class Layer:
    def method(self): ...

try:
    import faster
except ImportError:
    def fallback(x): return x
else:
    fast: int = 2
if True:
    one, (two, *three) = 1, (2, 3)
for index in ():
    looped = 4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "victim.py").write_text(SOURCE)
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "__init__.py").write_text("from os import system\n")
    (tmp_path / "package" / "inner" / "deep.py").write_text("def f(x): return x\n")
    return tmp_path


FORM = "must be module:name, such as layers:affine_forward"
NOT_DEFINED = "is not defined in victim.py; module 'victim' must define it itself, not import it"
HOSTILE = [
    ("victim:os.system", f"'os.system' is not a name that victim can define; {FORM}"),
    ("victim:os", f"'os' {NOT_DEFINED}"),
    ("victim:system", f"'system' {NOT_DEFINED}"),
    ("victim:P", f"'P' {NOT_DEFINED}"),
    ("victim:popen", f"'popen' {NOT_DEFINED}"),
    ("victim:inner", f"'inner' {NOT_DEFINED}; did you mean 'mine'?"),
    ("victim:method", f"'method' {NOT_DEFINED}"),
    ("victim:__import__", f"'__import__' {NOT_DEFINED}"),
    ("victim:__builtins__", f"'__builtins__' {NOT_DEFINED}"),
    ("victim:Layer.__init__.__globals__", f"'Layer.__init__.__globals__' is not a name that victim can define; {FORM}"),
    ("victim:mine()", f"'mine()' is not a name that victim can define; {FORM}"),
    ("victim:lambda", f"'lambda' is not a name that victim can define; {FORM}"),
    ("victim:ｍine", f"'ｍine' is not a name that victim can define; {FORM}"),
    ("victim: mine", f"' mine' is not a name that victim can define; {FORM}"),
    ("victim:", f"'' is not a name that victim can define; {FORM}"),
    ("victim:os:system", f"'os:system' is not a name that victim can define; {FORM}"),
    ("victim", f"'victim' names no module; {FORM}"),
    (":mine", f"'' is not the name of a module; {FORM}"),
    ("..victim:mine", f"'..victim' is not the name of a module; {FORM}"),
    ("../victim.py:mine", f"'../victim.py' is a path; {FORM}"),
    ("/etc/passwd:root", f"'/etc/passwd' is a path; {FORM}"),
    ("victim.py:mine", "'victim.py' is a file; name the module 'victim'"),
    ("package:system", "'system' is not defined in __init__.py; module 'package' must define it itself, not import it"),
]
OUTSIDE = ["os:system", "victims:mine", "vic:mine", "subprocess:run", "builtins:eval", "posix:system", "layers.nn:f"]


@pytest.mark.parametrize(("reference", "sentence"), HOSTILE)
def test_hostile_name_is_refused_in_an_allowed_module(folder: Path, reference: str, sentence: str) -> None:
    assert refusal(reference, ["victim", "package"], [folder]) == sentence
    assert "victim" not in sys.modules


@pytest.mark.parametrize("reference", OUTSIDE)
def test_module_outside_the_allowed_is_refused_with_what_to_type(folder: Path, reference: str) -> None:
    module = reference.partition(":")[0]
    assert refusal(reference, ["victim", "package", ""], [folder]) == (
        f"module '{module}' is not allowed; add --allow {module}, "
        f'or allow = ["{module}"] under [tool.gradcheck] in pyproject.toml'
    )


@pytest.mark.parametrize("name", ["mine", "Layer", "fallback", "fast", "one", "two", "three", "looped"])
def test_what_a_module_defines_at_top_level_may_be_named(folder: Path, name: str) -> None:
    assert refusal(f"victim:{name}", ["victim"], [folder]) is None


def test_a_package_allows_what_is_below_it(folder: Path) -> None:
    assert refusal("package.inner.deep:f", ["package"], [folder]) is None
    assert refusal("package.inner.deep:f", ["package.inner.deep"], [folder]) is None
    assert refusal("package.inner.deep:f", ["package.inner.dee"], [folder]) is not None


def test_a_module_without_source_is_left_to_resolve(folder: Path) -> None:
    assert refusal("math:sin", ["math"], [folder]) is None
    assert resolve("math:sin")(0) == 0


def test_a_module_that_is_not_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken_source.py").write_text("def f(:\n")
    assert (
        refusal("broken_source:f", ["broken_source"], [tmp_path])
        == "module 'broken_source' cannot be read: invalid syntax in line 1"
    )


def test_malformed_is_quiet_on_good_references() -> None:
    assert malformed("configs.user_code.layers:affine_forward") is None


def test_the_first_folder_wins(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "victim.py").write_text("")
    assert locate("victim", [str(other), str(folder)]) == other / "victim.py"
    assert locate("nowhere.at.all", [str(folder)]) is None


def test_allowed_folders_come_last_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    allow_imports([tmp_path])
    allow_imports([tmp_path])
    assert sys.path == [*before, str(tmp_path)]
    monkeypatch.chdir(tmp_path)
    allow_imports()
    assert sys.path == [*before, str(tmp_path)]


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_resolve_refuses_a_foreign_function_under_an_own_name(importable: Path) -> None:
    (importable / "aliasing.py").write_text("import os\nrun = os.system\n")
    assert refusal("aliasing:run", ["aliasing"], [importable]) is None
    with pytest.raises(UnresolvedReferenceError) as caught:
        resolve("aliasing:run")
    assert str(caught.value) == (
        f"'run' in 'aliasing' was defined in {os.system.__module__!r}; must be defined in the module itself: "
        "wrap it in a function there"
    )


def test_resolve_says_that_a_name_is_missing(importable: Path) -> None:
    (importable / "nearly_empty.py").write_text("if False:\n    f = 1\n")
    with pytest.raises(UnresolvedReferenceError, match=r"^module 'nearly_empty' defines no 'f'$"):
        resolve("nearly_empty:f")


def test_resolve_refuses_a_module_and_a_number(importable: Path) -> None:
    (importable / "holds_values.py").write_text("import os\nsystem = os\nnumber = 1\n")
    for name, kind in (("system", "module"), ("number", "int")):
        with pytest.raises(UnresolvedReferenceError) as caught:
            resolve(f"holds_values:{name}")
        assert str(caught.value) == (
            f"{name!r} in 'holds_values' is a {kind}; must be a function or a class defined there"
        )


def test_resolve_says_that_a_module_is_missing() -> None:
    with pytest.raises(UnresolvedReferenceError) as caught:
        resolve("no_such_module_here.nn:f")
    assert str(caught.value) == (
        "no module named 'no_such_module_here'; 'no_such_module_here.nn:f' is looked for in the working directory "
        "and among what is installed"
    )


def test_what_a_module_raises_passes_through(importable: Path) -> None:
    (importable / "needs_more.py").write_text("import surely_not_installed\ndef f(): ...\n")
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        resolve("needs_more:f")
    (importable / "raises_here.py").write_text("def f(): ...\n1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        resolve("raises_here:f")


def test_resolve_returns_the_thing(importable: Path) -> None:
    (importable / "well_made.py").write_text("class Layer: ...\n")
    assert resolve("well_made:Layer").__name__ == "Layer"

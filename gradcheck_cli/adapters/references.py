"""From "module:name" in a config to somebody's code: who may be named, where it must be defined, how it is imported."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import os
import pkgutil
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from gradcheck_cli.registry import did_you_mean

SUFFIXES = (".py", *EXTENSION_SUFFIXES)
FORM = "module:name, such as layers:affine_forward"


class UnresolvedReferenceError(ImportError):
    """A reference that leads to nothing that its module defines."""


def malformed(reference: str) -> str | None:
    """Say what is wrong with the way a reference is written, if anything."""
    module, colon, name = reference.partition(":")
    if not colon:
        return f"{reference!r} names no module; must be {FORM}"
    if not all(_is_identifier(part) for part in module.split(".")):
        if module.endswith(".py") or "/" in module:
            return f"{module!r} is a path; must be {FORM}"
        return f"{module!r} is not the name of a module; must be {FORM}"
    if not _is_identifier(name):
        return f"{name!r} is not a name that {module} can define; must be {FORM}"
    if module.endswith(".py"):
        return f"{module!r} is a file; name the module {module.removesuffix('.py')!r}"
    return None


def misnamed(module: str) -> str | None:
    """Say why a module can't be allowed under this name, if so, and which name is meant."""
    if all(_is_identifier(part) for part in module.split(".")) and not module.endswith(".py"):
        return None
    meant = module.partition(":")[0].removesuffix(".py").strip("./\\").replace("/", ".").replace("\\", ".")
    known = all(map(_is_identifier, meant.split(".")))
    hint = f"; did you mean {meant!r}?" if known else "; must be one such as layers or package.layers"
    return f"{module!r} is not the name of a module{hint}"


def refusal(reference: str, allow: Collection[str], paths: Sequence[str | os.PathLike[str]] = (".",)) -> str | None:
    """Say why this code may not be used, or return None. Nothing is imported.

    `allow` names the allowed modules and packages, `paths` the folders that `allow_imports` adds. The name must be
    defined in the module itself, by a `def`, a `class` or an assignment: what it imports is not on offer. A module that
    is not written in Python has no source to read; for it `resolve` decides.
    """
    complaint = malformed(reference)
    if complaint:
        return complaint
    module, _, name = reference.partition(":")
    if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in allow):
        return (
            f"module {module!r} is not allowed; add --allow {module}, "
            f'or allow = ["{module}"] under [tool.gradcheck] in pyproject.toml'
        )
    folders = [*sys.path, *map(str, paths)]
    source = locate(module, folders)
    if source is None and not _importable(module):
        where = ", ".join("the working directory" if str(path) == "." else repr(str(path)) for path in paths)
        return f"no module {module!r} in {where} or among what is installed{did_you_mean(module, _modules(paths))}"
    if source is None or source.suffix != ".py":
        return None
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        return f"module {module!r} cannot be read: {_why(error)}"
    defined = list(_defined(tree.body))
    if name in defined:
        return None
    return (
        f"{name!r} is not defined in {source.name}; module {module!r} must define it itself, not import it"
        f"{did_you_mean(name, defined)}"
    )


def locate(module: str, folders: Iterable[str]) -> Path | None:
    """Find the file of a module in the first folder that has it, without importing its packages."""
    for folder in folders:
        place = Path(folder or ".", *module.split("."))
        for candidate in (place / "__init__.py", *(place.with_name(place.name + suffix) for suffix in SUFFIXES)):
            if candidate.is_file():
                return candidate
    return None


def _importable(module: str) -> bool:
    """Whether Python finds a module that is in no folder of its path: a built-in one, an editable installation."""
    top, _, rest = module.partition(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # __main__ was imported from nowhere
        return False
    if spec is None or not rest:
        return spec is not None and spec.origin is not None  # a folder without code has none
    return locate(rest, spec.submodule_search_locations or ()) is not None


def _modules(folders: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The modules right in these folders."""
    return [info.name for info in pkgutil.iter_modules(map(str, folders))]


def _why(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.msg} in line {error.lineno}"
    return str(error)


def allow_imports(paths: Iterable[str | os.PathLike[str]] = (".",)) -> None:
    """Let folders be imported from, after everything that is installed: they can't shadow numpy."""
    for path in paths:
        folder = str(Path(path).resolve())
        if folder not in sys.path:
            sys.path.append(folder)


def resolve(reference: str) -> object:
    """Import what a reference names.

    Raises `UnresolvedReferenceError` where the module or the name does not exist, or the name was defined elsewhere;
    what the module itself raises passes through.
    """
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UnresolvedReferenceError(
            f"no module named {error.name!r}; {reference!r} is looked for in the working directory and among what is "
            f"installed"
        ) from error
    if name not in vars(module):
        raise UnresolvedReferenceError(f"module {module_name!r} defines no {name!r}")
    thing = vars(module)[name]
    home = getattr(thing, "__module__", None)
    if home is None:
        raise UnresolvedReferenceError(
            f"{name!r} in {module_name!r} is a {type(thing).__name__}; must be a function or a class defined there"
        )
    if home != module_name:
        raise UnresolvedReferenceError(
            f"{name!r} in {module_name!r} was defined in {home!r}; must be defined in the module itself: "
            f"wrap it in a function there"
        )
    return thing


def _is_identifier(word: str) -> bool:
    return word.isascii() and word.isidentifier() and not keyword.iskeyword(word)


def _defined(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Names that statements define at the top level of a module, those inside if, try, with and loops too."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign() | ast.AnnAssign():
                for node in ast.walk(statement):
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                        yield node.id
            case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While():
                for block in ("body", "orelse", "finalbody"):
                    yield from _defined(getattr(statement, block, ()))
                for handler in getattr(statement, "handlers", ()):
                    yield from _defined(handler.body)

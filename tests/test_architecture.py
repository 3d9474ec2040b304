"""The house keeps its shape: modules import from lower ranks only, files and functions stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradcheck_cli

ROOT = Path(gradcheck_cli.__file__).parent
NAME = "gradcheck_cli"
RANKS = {
    name: rank
    for rank, names in enumerate(
        [
            ["values"],
            ["layer", "registry"],
            ["evidence", "results", "as_json", "from_json"],
            ["layers", "adapters", "differences", "reports"],
            ["spec", "raised"],
            ["draws", "compare", "numeric"],
            ["plumbing", "tiers", "diagnosis", "config"],
            ["assemble", "precision", "costs"],
            ["links"],
            ["runner"],
            ["api", "batch"],
            ["cli", "pytest_plugin", "__main__"],
        ]
    )
    for name in names
}
# results turn into JSON and back; the plug-in shows results as the command line does
PEERS = {("results", "as_json"), ("as_json", "results"), ("as_json", "from_json"), ("from_json", "results")}
PEERS |= {("pytest_plugin", "cli"), ("__main__", "cli")}
FREE = {"__init__"}  # the public names, which it imports when they are asked for
ALLOWED_UPWARD = {("results", "reports.table")}  # printing a check is a report's work; imported inside the function
LONGEST_FILE, LONGEST_FUNCTION = 300, 40

FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module of the package that a file imports, with whether it does so inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; must be absolute"
            # `from gradcheck_cli import spec` names a module, `from gradcheck_cli.spec import RunSpec` one in front
            whole = node.module == NAME
            names = [f"{NAME}.{alias.name}" for alias in node.names] if whole else [node.module or ""]
        else:
            continue
        yield from ((name.removeprefix(f"{NAME}."), node in inside) for name in names if name.startswith(f"{NAME}."))


def rank_of(module: str) -> int:
    return RANKS[module.split(".")[0]]


def test_every_module_has_a_rank() -> None:
    places = {module_of(path).split(".")[0] for path in FILES} - FREE
    assert places <= RANKS.keys()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_downward(path: Path) -> None:
    importer = module_of(path)
    if importer in FREE:
        return
    for imported, inside_function in imports(path):
        top = imported.split(".")[0]
        if imported == "__version__" or top == importer.split(".")[0]:
            continue
        if (importer, imported) in ALLOWED_UPWARD and inside_function:
            continue
        lower = rank_of(imported) < rank_of(importer)
        peer = (importer.split(".")[0], top) in PEERS
        assert lower or peer, f"{importer} (rank {rank_of(importer)}) imports {imported}"


@pytest.mark.parametrize(("one", "other"), [("layers", "adapters"), ("adapters", "layers"), ("reports", "layers")])
def test_open_sets_do_not_know_each_other(one: str, other: str) -> None:
    known = {name.split(".")[0] for path in (ROOT / one).rglob("*.py") for name, _ in imports(path)}
    assert other not in known


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert code_lines(node) <= LONGEST_FUNCTION, f"{path}:{node.lineno}: {node.name}"


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring aside."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring

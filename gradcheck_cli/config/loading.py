"""Paths of the command line to specs: files, folders, stdin, and one check of them by name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from gradcheck_cli.config.assembly import STDIN, Origin, assemble
from gradcheck_cli.config.document import Documents
from gradcheck_cli.config.kinds import default_name
from gradcheck_cli.config.matrix import expand
from gradcheck_cli.config.nodes import Node
from gradcheck_cli.config.problems import ConfigError, Place, Problem, Problems
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.results import ExitCode
from gradcheck_cli.spec import CheckSpec
from gradcheck_cli.values import dataclass

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class _Named:
    """A spec and the name its check has in the file, before a matrix adds to it."""

    spec: CheckSpec
    base: str


def load(
    paths: Sequence[str],
    *,
    allow: Collection[str] = (),
    seed: int | None = None,
    stdin: TextIO | None = None,
    pythonpath: Sequence[str] = (".",),
) -> tuple[CheckSpec, ...]:
    """Return the checks that the paths name, in their order, each once.

    A path is a file, a folder (all configs below it, sorted) or `-` for stdin; `::NAME` behind it selects a check, or
    all combinations of one with a matrix. `allow` names the modules whose code may be used, found on sys.path or in the
    folders of `pythonpath`; `seed` replaces those of the configs.

    Raises `ConfigError` with everything that is wrong in all of them.
    """
    return _load(paths, allow, seed, stdin, pythonpath)


def validate(paths: Sequence[str], *, stdin: TextIO | None = None) -> tuple[CheckSpec, ...]:
    """Read and check configs as `load` does, but ask no allowance: nothing of them is going to run."""
    return _load(paths, None, None, stdin, (".",))


def _load(
    paths: Sequence[str],
    allow: Collection[str] | None,
    seed: int | None,
    stdin: TextIO | None,
    pythonpath: Sequence[str],
) -> tuple[CheckSpec, ...]:
    problems = Problems()
    documents = Documents(stdin, problems)
    read: dict[str, list[_Named] | None] = {}
    chosen: dict[str, CheckSpec] = {}
    for path in paths:
        where, separator, name = path.partition("::")
        files = list(_files(where, problems))
        for file in files:
            if file not in read:
                folder = Path.cwd() if file == STDIN else Path(file).parent
                read[file] = _file(documents, Origin(file, folder, allow, pythonpath, seed), problems)
        found = [one for file in files for one in read[file] or ()]
        if separator and all(read[file] is not None for file in files):
            found = _select(where, name, found, problems) if files else []
        chosen |= {one.spec.id: one.spec for one in found}
    if problems:
        raise ConfigError(problems)
    return tuple(chosen.values())


def _files(path: str, problems: Problems) -> Iterator[str]:
    """The names of the configs at a path."""
    if path == "-":
        yield STDIN
    elif os.path.isfile(path):
        yield Path(path).as_posix()
    elif os.path.isdir(path):
        below = sorted(_below(path))
        if not below:
            sentence = "no configs in this folder; must hold *.yaml or *.yml files"
            problems.append(Problem(path, None, None, "", sentence, ExitCode.NOTHING))
        yield from (file.as_posix() for file in below)
    elif os.path.exists(path):
        problems.add(Place(path), "neither a file nor a folder; must be one of them")
    else:
        parent = Path(path).parent
        near = os.listdir(parent) if parent.is_dir() else []
        problems.add(Place(path), f"no such file or folder; must exist{did_you_mean(Path(path).name, near)}")


def _below(folder: str) -> Iterator[Path]:
    """The configs below a folder, hidden files and folders aside: CI services and git hooks keep their YAML there."""
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(here, name) for name in files if name.endswith(_SUFFIXES) and not name.startswith("."))


def _select(path: str, name: str, found: Iterable[_Named], problems: Problems) -> list[_Named]:
    found = list(found)
    selected = [one for one in found if name in (one.spec.name, one.base)]
    if not selected:
        known = dict.fromkeys(word for one in found for word in (one.base, one.spec.name))
        near = did_you_mean(name, known) or "; must be the name of one in it"
        problems.add(Place(path), f"unknown check {name!r}{near}")
    return selected


def _file(documents: Documents, origin: Origin, problems: Problems) -> list[_Named] | None:
    """The checks of a file, or None if something is wrong with it."""
    before = len(problems)
    checks = documents.checks(origin.file or "")
    named: list[_Named] = []
    bases = list(_names(checks, problems))
    unique = len(problems) == before
    for base, check in bases:
        for suffix, one in expand(check, problems):
            spec = assemble(one, base + suffix, origin, problems)
            if spec is not None:
                named.append(_Named(spec, base))
    often = Counter(one.spec.id for one in named)
    for spec in (one.spec for one in named if unique and often[one.spec.id] > 1):
        problems.add(Place(spec.file, spec.line, spec.column), f"two checks are {spec.name!r}; must be different")
    return named if len(problems) == before else None


def _names(checks: Sequence[Node], problems: Problems) -> Iterator[tuple[str, Node]]:
    """The checks with their names; those without one are called after their layer, `linear`, `linear-2`."""
    taken: dict[str, Place] = {}
    for check in checks:
        name = check.mapping.get("name")
        if name is None or not isinstance(name.value, str):
            continue
        if name.value in taken:
            line = taken[name.value].line
            problems.add(
                name.place, f"the name {name.value!r} again; must be unique in its file, and is on line {line} already"
            )
        taken.setdefault(name.value, name.place)
    often: Counter[str] = Counter()
    for check in checks:
        name = check.mapping.get("name")
        if name is not None and isinstance(name.value, str):
            yield name.value, check
            continue
        own = default_name(check)
        often[own] += 1
        while (free := own if often[own] == 1 else f"{own}-{often[own]}") in taken:
            often[own] += 1
        taken[free] = check.place
        yield free, check

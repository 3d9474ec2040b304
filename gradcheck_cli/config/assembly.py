"""From the node of one check to its spec."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gradcheck_cli.config.arrays import read_array
from gradcheck_cli.config.cotangents import read_cotangent
from gradcheck_cli.config.fitting import Fitting, usual_specs
from gradcheck_cli.config.keys import CheckKeys, DifferenceKeys, ToleranceKeys
from gradcheck_cli.config.kinds import (
    Subject,
    also_known,
    kinds_in,
    note_foreign,
    note_references,
    read_subject,
    refuse_beside,
)
from gradcheck_cli.config.nodes import Node
from gradcheck_cli.config.problems import Problems
from gradcheck_cli.config.sentences import fit
from gradcheck_cli.layer import Array, ArraySpec, Integers, Kind, Layer
from gradcheck_cli.registry import METHODS, UnknownNameError
from gradcheck_cli.spec import CheckSpec, Difference, Foreign, Given, Tolerance
from gradcheck_cli.values import dataclass, field

STDIN = "<stdin>"
_OPEN = ("object", "torch", "chain")  # have arrays that the config need not name: parameters, links' arrays


@dataclass(frozen=True)
class Origin:
    """Where checks come from and what holds for all of them. `allow` is None when nothing is going to run."""

    file: str | None
    folder: Path
    allow: Collection[str] | None = ()
    pythonpath: Sequence[str] = (".",)
    seed: int | None = None


@dataclass
class _Parts:
    """What was read of a check. `given` has None for an array that could not be read."""

    keys: CheckKeys
    subject: Subject | None
    given: dict[str, Given | None]
    cotangent: tuple[Array, ...] | None = None
    references: Mapping[str, str] = field(default_factory=dict)


def assemble(node: Node, name: str, origin: Origin, problems: Problems) -> CheckSpec | None:
    """Return the spec of a check, or note all that is wrong with it."""
    before = len(problems)
    others = node.without(*kinds_in(node))
    keys = fit(CheckKeys, others, problems, also=also_known, part=True) or CheckKeys()
    given = {name: read_array(entry, origin.folder, problems) for name, entry in _entries(node).items()}
    _known_method(node, problems)
    parts = _Parts(keys, read_subject(node, problems), given)
    if parts.subject is not None:
        fitting = Fitting(node, parts.subject, {k: one for k, one in given.items() if one is not None}, problems)
        if isinstance(parts.subject.layer, Foreign):
            _foreign(parts, parts.subject, fitting, origin)
        else:
            _layer(parts, parts.subject.layer, fitting, origin)
    _expected(node, keys, problems)
    return _spec(node, name, parts, origin) if len(problems) == before and parts.subject else None


def _entries(node: Node) -> Mapping[str, Node]:
    arrays = node.mapping.get("arrays")
    return arrays.mapping if arrays is not None else {}


def _known_method(node: Node, problems: Problems) -> None:
    method = node.at(("difference", "method"))[0]
    if isinstance(method.value, str) and method.value not in METHODS:
        problems.add(method.place, str(UnknownNameError("difference method", method.value, METHODS)))


def _layer(parts: _Parts, layer: Layer, fitting: Fitting, origin: Origin) -> None:
    """A layer can be asked which arrays it has, and small ones can be run."""
    keys, check = parts.keys, fitting.check
    refuse_beside(check, ["constants"], "layer" if "layer" in check.mapping else "chain", fitting.problems)
    before = len(fitting.problems)
    specs = fitting.specs(layer)
    for key, names in (("wrt", keys.wrt), ("expect_arrays", keys.expect_arrays)):
        fitting.wrt(key, names or (), specs if specs is not None else usual_specs(layer))
    if specs is None:
        return
    fitting.dtypes(specs, keys.dtype)
    written = check.mapping.get("cotangent")
    said = written is not None and written.value is not None
    fixed = any(one.values is not None and specs[name].kind != "float" for name, one in fitting.given.items())
    whole = len(fitting.problems) == before and None not in parts.given.values()
    shapes = fitting.outputs(layer, specs, keys.dtype, keys.seed) if whole and (said or fixed) else None
    if written is not None and said:
        parts.cotangent = read_cotangent(written, shapes, None, origin.folder, keys.dtype, fitting.problems)


def _foreign(parts: _Parts, subject: Subject, fitting: Fitting, origin: Origin) -> None:
    """Of somebody's code no more is known than what the config says."""
    keys, problems = parts.keys, fitting.problems
    fitting.given = {name: _typed(one) for name, one in fitting.given.items()}
    parts.given.update(fitting.given)
    note_foreign(subject, list(parts.given), list(keys.constants or ()), problems)
    parts.references = note_references(subject, origin.allow, origin.pythonpath, problems)
    specs = {name: _foreign_spec(one) for name, one in parts.given.items()}
    closed = subject.name not in _OPEN
    for name, one in fitting.given.items():
        if closed and one.values is None and one.shape is None:
            problems.add(_entries(fitting.check)[name].place, "no shape; must have one, for no layer tells it")
    fitting.dtypes(specs, keys.dtype)
    for key, names in (("wrt", keys.wrt), ("expect_arrays", keys.expect_arrays)):
        fitting.wrt(key, names or (), specs, closed=closed)
    written = fitting.check.mapping.get("cotangent")
    if written is not None and written.value is not None:
        count = 1 if subject.name == "formula" else getattr(subject.layer, "outputs", None)
        parts.cotangent = read_cotangent(written, None, count, origin.folder, keys.dtype, problems)


def _typed(given: Given) -> Given:
    """Integers that are drawn, and booleans, stay what they are; a layer would say which of its arrays are such."""
    if given.dtype is None and isinstance(given.draw, Integers):
        return replace(given, dtype="int64")
    boolean = given.values is not None and given.values.dtype.kind == "b"
    return replace(given, dtype="bool") if boolean and given.dtype is None else given


def _foreign_spec(given: Given | None) -> ArraySpec:
    kinds_of: Mapping[str, Kind] = {"i": "integer", "u": "integer", "b": "boolean"}
    letter = np.dtype(given.dtype).kind if given is not None and given.dtype else "f"
    return ArraySpec((), kinds_of.get(letter, "float"))


def _expected(node: Node, keys: CheckKeys, problems: Problems) -> None:
    if keys.expect_arrays is None:
        return
    if keys.expect != "fail":
        problems.add(
            node.key("expect_arrays"), f"expect is {keys.expect!r}; must be 'fail' where arrays are expected to"
        )
    for k, name in enumerate(keys.expect_arrays):
        if keys.wrt is not None and name not in keys.wrt:
            place = node.mapping["expect_arrays"].items[k].place
            problems.add(place, f"{name!r} is not under wrt; must be one of {', '.join(keys.wrt)}")


def _spec(node: Node, name: str, parts: _Parts, origin: Origin) -> CheckSpec:
    keys, subject = parts.keys, parts.subject
    assert subject is not None
    seed = keys.seed if origin.seed is None else origin.seed
    ident = f"{origin.file or 'check'}::{name}"
    return CheckSpec(
        id=ident,
        name=name,
        layer=subject.layer,
        layer_name=subject.name,
        arrays={name: one for name, one in parts.given.items() if one is not None},
        cotangent=parts.cotangent,
        wrt=None if keys.wrt is None else tuple(keys.wrt),
        view=keys.view,
        dtype=keys.dtype,
        points=keys.points,
        seed=seed,
        difference=_difference(keys.difference),
        tolerance=_tolerance(keys.tolerance),
        expect=keys.expect,
        expect_arrays=None if keys.expect_arrays is None else tuple(keys.expect_arrays),
        constants=keys.constants or {},
        timeout=keys.timeout,
        file=origin.file,
        line=node.place.line,
        column=node.place.column,
        reproduce=_reproduce(ident, seed, parts.references.values()),
    )


def _difference(keys: DifferenceKeys | None) -> Difference | None:
    return None if keys is None else Difference(keys.method, keys.step, keys.relative_step)


def _tolerance(keys: ToleranceKeys | None) -> Tolerance | None:
    return None if keys is None else Tolerance(keys.rtol or 0.0, keys.atol or 0.0)


def _reproduce(ident: str, seed: int, references: Iterable[str]) -> str:
    """The command that runs this check alone, with the modules that it needs."""
    modules = dict.fromkeys(reference.partition(":")[0] for reference in references)
    words = ["gradcheck", "run", ident.replace(f"{STDIN}::", "-::", 1) if ident.startswith(STDIN) else ident]
    return shlex.join([*words, "--seed", str(seed), *(word for module in modules for word in ("--allow", module))])

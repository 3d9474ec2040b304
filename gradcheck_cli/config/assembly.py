"""From the node of one check to its spec."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradcheck_cli.config.arrays import read_array
from gradcheck_cli.config.cotangents import read_cotangent
from gradcheck_cli.config.fitting import Fitting
from gradcheck_cli.config.kinds import Subject, kinds, note_foreign, note_references, read_subject
from gradcheck_cli.config.models import CheckKeys, DifferenceKeys
from gradcheck_cli.config.nodes import Node
from gradcheck_cli.config.problems import Problems
from gradcheck_cli.config.sentences import fit
from gradcheck_cli.layer import Array, Integers
from gradcheck_cli.registry import METHODS, UnknownNameError
from gradcheck_cli.spec import CheckSpec, Difference, Foreign, Given, Tolerance

_OPEN = ("object", "torch", "chain")  # have arrays that the config need not name: parameters, links' arrays


@dataclass(frozen=True)
class Origin:
    """Where checks come from and what holds for all of them. `allow` is None when nothing is going to run."""

    file: str | None
    folder: Path
    allow: Collection[str] | None = ()
    pythonpath: Sequence[str] = (".",)
    seed: int | None = None


def assemble(node: Node, name: str, origin: Origin, problems: Problems) -> CheckSpec | None:
    """Return the spec of a check, or note all that is wrong with it."""
    before = len(problems)
    also = (*kinds(), "matrix", "extends")
    keys = fit(CheckKeys, node.without(*kinds()), problems, also=also, part=True) or CheckKeys()
    difference = _difference(keys.difference, node, problems)
    subject = read_subject(node, problems)
    read = _arrays(node, origin.folder, problems)
    given = {name: one for name, one in read.items() if one is not None}
    cotangent, references = None, {}
    if subject is not None:
        fitting = Fitting(node, subject, given, problems)
        if isinstance(subject.layer, Foreign):
            given = {name: _typed(one) for name, one in given.items()}
            fitting.given = dict(given)
            references = _foreign(fitting, keys, read, origin, problems)
            count = 1 if subject.name == "formula" else getattr(subject.layer, "outputs", None)
            cotangent = _cotangent(node, None, count, origin.folder, keys, problems)
        else:
            cotangent = _layer(fitting, keys, read, origin, problems)
    _expected(node, keys, problems)
    if len(problems) > before or subject is None:
        return None
    seed = keys.seed if origin.seed is None else origin.seed
    ident = f"{origin.file or 'check'}::{name}"
    return CheckSpec(
        id=ident,
        name=name,
        layer=subject.layer,
        layer_name=subject.name,
        arrays=given,
        cotangent=cotangent,
        wrt=None if keys.wrt is None else tuple(keys.wrt),
        view=keys.view,
        dtype=keys.dtype,
        points=keys.points,
        seed=seed,
        difference=difference,
        tolerance=keys.tolerance and Tolerance(keys.tolerance.rtol or 0.0, keys.tolerance.atol or 0.0),
        expect=keys.expect,
        expect_arrays=None if keys.expect_arrays is None else tuple(keys.expect_arrays),
        constants=keys.constants or {},
        timeout=keys.timeout,
        file=origin.file,
        line=node.place.line,
        column=node.place.column,
        reproduce=reproduce(ident, seed, references),
    )

"""Defaults: keys that a check has unless it says otherwise."""

from __future__ import annotations

from dataclasses import replace

from gradcheck_cli.config.kinds import BESIDE, kind_of
from gradcheck_cli.config.nodes import Node

_BY_NAME = ("options", "arrays", "constants")


def merged(check: Node, defaults: Node | None) -> Node:
    """Return the check with the defaults for what it leaves out.

    Options, arrays and constants are merged name by name, any other key is taken whole. A check that names what it
    checks leaves the layer of the defaults, and what belongs to that, behind.
    """
    if defaults is None:
        return check
    kind, other = kind_of(check), kind_of(defaults)
    if kind is not None and other is not None:
        same = kind == other and check.mapping[kind].plain() == defaults.mapping[other].plain()
        defaults = defaults.without(other, *(() if same else BESIDE))
    entries, keys = {**defaults.mapping, **check.mapping}, {**defaults.keys, **check.keys}
    for name in _BY_NAME:
        ours, theirs = check.mapping.get(name), defaults.mapping.get(name)
        if ours is not None and theirs is not None and ours.mapping and theirs.mapping:
            inner = {**theirs.mapping, **ours.mapping}
            entries[name] = replace(ours, value=inner, keys={**theirs.keys, **ours.keys})
    return replace(check, value=entries, keys=keys)

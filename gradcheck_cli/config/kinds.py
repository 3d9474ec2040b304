"""What a check is about: a built-in layer, somebody's code or formula, or a chain of these."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from gradcheck_cli.adapters.references import malformed, refusal
from gradcheck_cli.config.hints import fields_of, hints_of
from gradcheck_cli.config.keys import CheckKeys
from gradcheck_cli.config.nodes import Node, clipped
from gradcheck_cli.config.paths import note_at
from gradcheck_cli.config.problems import Problems
from gradcheck_cli.config.sentences import fit_fields, unknown
from gradcheck_cli.layer import Layer, OptionError
from gradcheck_cli.registry import ADAPTERS, LAYERS, UnknownNameError
from gradcheck_cli.spec import Foreign
from gradcheck_cli.values import dataclass

BESIDE = ("options", "order", "device")  # may stand beside the key that names what is checked


@dataclass(frozen=True)
class Subject:
    """What is checked: the layer or its description, its name, and the node that names it."""

    layer: Layer | Foreign
    name: str
    node: Node


def kinds() -> tuple[str, ...]:
    """The keys of which a check has exactly one. To know them all, every adapter is imported."""
    return ("layer", *ADAPTERS, "chain")


def also_known() -> tuple[str, ...]:
    """The keys of a check that `CheckKeys` lacks."""
    return (*kinds(), "matrix", "extends")


def kinds_in(node: Node) -> list[str]:
    """Those of these keys that a check or a link has, as they are written."""
    others = {*hints_of(CheckKeys), "matrix", "extends"}
    return [key for key in node.mapping if key not in others and (key in ("layer", "chain") or key in ADAPTERS)]


def kind_of(node: Node) -> str | None:
    """The first of these keys that a check or a link has."""
    return next(iter(kinds_in(node)), None)


def default_name(node: Node) -> str:
    """What a check is called that has no name of its own."""
    kind = kind_of(node)
    return str(node.mapping["layer"].value) if kind == "layer" else kind or "check"


def read_subject(node: Node, problems: Problems) -> Subject | None:
    """Return what a check or a link is about, or note what is wrong with it."""
    present = kinds_in(node)
    for extra in present[1:]:
        problems.add(node.key(extra), f"{extra!r} beside {present[0]!r}; must be exactly one of {', '.join(kinds())}")
    if not present:
        problems.add(node.place, f"nothing to check; must have exactly one of {', '.join(kinds())}")
        return None
    if present[0] == "chain":
        return _chain(node, problems)
    if present[0] != "layer":
        return _foreign(node, present[0], problems)
    layer = _layer(node, problems)
    return None if layer is None else Subject(layer, default_name(node), node.mapping["layer"])


def _layer(node: Node, problems: Problems) -> Layer | None:
    named = node.mapping["layer"]
    refuse_beside(node, ("order", "device"), "layer", problems)
    if not isinstance(named.value, str):
        problems.add(named.place, f"{named.shown()}; must be the name of a layer")
        return None
    try:
        cls = LAYERS[named.value]
    except UnknownNameError as error:
        problems.add(named.place, str(error))
        return None
    options = node.mapping.get("options")
    if options is None or options.value is None:
        options = Node({}, named.place)
    layer: Layer | None = _construct(cls, options, "option", problems)
    return layer


def _foreign(node: Node, kind: str, problems: Problems) -> Subject | None:
    cls, named = ADAPTERS[kind], node.mapping[kind]
    short = getattr(cls, "short", None)
    keys = fields_of(cls)
    if short is not None and isinstance(named.value, str):
        named = Node({short.rstrip("_"): named}, named.place)
    if isinstance(named.value, dict):
        beside = [name for name in BESIDE if name in node.mapping and name in keys]
        for name in beside:
            if name in named.mapping:
                problems.add(node.key(name), f"{name!r} both beside and in {kind!r}; must be given once")
            named = named.with_entry(name, node.mapping[name], node.key(name))
        refuse_beside(node, [name for name in BESIDE if name not in keys], kind, problems)
    foreign: Foreign | None = _construct(cls, named, "key", problems)
    return None if foreign is None else Subject(foreign, kind, named)


def refuse_beside(node: Node, names: Iterable[str], kind: str, problems: Problems) -> None:
    """Note keys that mean nothing to this kind, if the check itself has them; defaults serve other kinds as well."""
    for name in names:
        said = name in node.mapping and node.mapping[name].value is not None
        if said and node.key(name).path.startswith(node.place.path):
            problems.add(node.key(name), f"{name!r} beside {kind!r}; must be left out")


def _chain(node: Node, problems: Problems) -> Subject | None:
    named = node.mapping["chain"]
    refuse_beside(node, BESIDE, "chain", problems)
    if not named.items or not all(isinstance(item.value, dict) for item in named.items):
        odd = next((item for item in named.items if not isinstance(item.value, dict)), named)
        must = "must be a list of links, as in [{layer: linear}, {layer: softmax}]"
        problems.add(odd.place, f"{odd.shown()}; {must if odd is named else 'must be a mapping'}")
        return None
    links = [_link(item, problems) for item in named.items]
    built = [link for link in links if link is not None]
    if len(built) < len(links):
        return None
    from gradcheck_cli.adapters.chain import Chain, ForeignChain  # which few files need

    labels = tuple(link.name for link in built)
    layers = tuple(link.layer for link in built if not isinstance(link.layer, Foreign))
    if len(layers) == len(built):
        return Subject(Chain(layers, labels), "chain", named)
    return Subject(ForeignChain(tuple(link.layer for link in built), labels), "chain", named)


def _link(node: Node, problems: Problems) -> Subject | None:
    present = kinds_in(node)
    for name in node.mapping:
        if name == "chain" or name not in (*present, *BESIDE):
            known = [kind for kind in kinds() if kind != "chain"]
            problems.add(node.key(name), unknown("key", name, [*known, *BESIDE]))
    return None if "chain" in node.mapping else read_subject(node, problems)


def _construct(cls: type, node: Node, what: str, problems: Problems) -> Any:
    """Return cls(**options), or None when something is wrong with them."""
    values = fit_fields(cls, node, problems, what)
    if values is None:
        return None
    given = {field.name: values[key] for key, field in fields_of(cls).items() if key in values}
    try:
        return cls(**given)
    except OptionError as error:
        note_option(error, node, problems)
    except ValueError as error:
        problems.add(node.place, str(error))
    return None


def note_option(error: OptionError, node: Node, problems: Problems) -> None:
    """Note an impossible option where it is written, or else where its layer is."""
    option = node.child(error.option.rstrip("_"))
    if option is not None:
        came = f"the list {clipped(option.label())}" if isinstance(option.value, list) else option.shown()
        problems.add(option.place, f"{came}; {error.must}")
    else:
        problems.add(node.place, str(error))


def note_foreign(subject: Subject, known: Collection[str], constants: Collection[str], problems: Problems) -> None:
    """Note what a description of somebody's code says is wrong with itself. Nothing is imported."""
    for option, sentence in cast("Foreign", subject.layer).problems(known, constants):
        note_at(subject.node, option, sentence, problems)


def note_references(
    subject: Subject, allow: Collection[str] | None, pythonpath: Sequence[str], problems: Problems
) -> Mapping[str, str]:
    """Return the references to code, and note those that are malformed or not allowed. Nothing is imported.

    With `allow` None, whether they are allowed is not asked.
    """
    found = cast("Foreign", subject.layer).references()
    for option, reference in found.items():
        sentence = malformed(reference) if allow is None else refusal(reference, allow, pythonpath)
        if sentence:
            note_at(subject.node, option, sentence, problems)
    return found

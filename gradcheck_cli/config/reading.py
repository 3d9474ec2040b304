"""Strict YAML: one document to nodes with positions, or the located reasons why not.

ruamel.yaml's events are turned into nodes one by one, with no recursion: a file is refused at the event that is one
too deep, and an alias before it is expanded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from gradcheck_cli.config.nodes import Node, clipped
from gradcheck_cli.config.problems import Place, Problems
from gradcheck_cli.config.scalars import resolve
from gradcheck_cli.values import dataclass, field

DEPTH = 50
EXPANDED = 100_000  # nodes that all aliases of a file together may add
BYTES = 32 * 2**20


class _RefusedError(Exception):
    """The rest of the file can't be read."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place, self.message = place, message


def decode(raw: bytes, file: str, problems: Problems) -> str | None:
    """Return the text of a file, or note why it has none."""
    if len(raw) > BYTES:
        problems.add(Place(file), f"{len(raw)} bytes; must be at most {BYTES}")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        line, column = _position(before, len(before))
        problems.add(Place(file, line, column), f"the byte 0x{raw[error.start]:02x}; must be UTF-8")
        return None


def read(text: str, file: str | None, problems: Problems) -> Node | None:
    """Return the one document in the text, or note why there is none.

    Without a file, the text is a word of the command line.
    """
    builder = _Builder(file, problems)
    try:
        for event in _events(text, file):
            builder.take(event)
    except _RefusedError as refused:
        problems.add(refused.place, refused.message)
        return None
    if builder.root is None:
        problems.add(Place(file, 1, 1), "nothing is in it; must be a mapping")
    return None if builder.broken else builder.root


def _position(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 1, of a character."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _events(text: str, file: str | None) -> Iterator[Any]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except ReaderError as error:
        place = Place(file, *_position(text, error.position))
        raise _RefusedError(
            place, f"the character {chr(error.character)!r}; must be escaped, in double quotes"
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        raise _RefusedError(
            place, f"no YAML: {', '.join(part for part in (error.context, error.problem) if part)}"
        ) from None
    except (YAMLError, ValueError, OverflowError) as error:  # the scanner passes int() and chr() on
        raise _RefusedError(Place(file), f"no YAML: {clipped(str(error), 200)}") from None


@dataclass(frozen=True)
class _Extent:
    """How many nodes there are in a node, itself and what aliases expand to included, and on how many levels."""

    size: int = 1
    depth: int = 0

    def around(self, inner: _Extent) -> _Extent:
        return _Extent(self.size + inner.size, max(self.depth, inner.depth + 1))


@dataclass
class _Open:
    """A list or mapping whose end has not come; `key` is the one that waits for its value."""

    node: Node
    anchor: str | None
    keys: dict[str, Place] = field(default_factory=dict)
    key: str | None = None
    waiting: bool = False
    extent: _Extent = _Extent(1, 1)

    def path(self) -> str:
        """The path of the entry that comes next."""
        if isinstance(self.node.value, list):
            return self.node.place.below(len(self.node.value))
        return self.node.place.path if self.key is None else self.node.place.below(self.key)


class _Builder:
    """Turns events into nodes."""

    def __init__(self, file: str | None, problems: Problems) -> None:
        self.file, self.problems = file, problems
        self.root: Node | None = None
        self.broken = False
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, _Extent] | None] = {}
        self._documents = self._expanded = 0

    def take(self, event: Any) -> None:
        """Take the next event."""
        kind = type(event).__name__.removesuffix("Event")
        place = self._place(event)
        if getattr(event, "ctag", None) is not None:
            self._note(place, f"the tag {str(event.ctag)!r}; must be plain YAML, which has none")
        if kind == "Scalar":
            self._add(Node(self._scalar(event, place), place, written=event.value), _Extent(), event.anchor)
        elif kind in ("SequenceStart", "MappingStart"):
            self._begin(Node([] if kind[0] == "S" else {}, place), event.anchor)
        elif kind in ("SequenceEnd", "MappingEnd"):
            done = self._open.pop()
            self._add(Node(done.node.value, done.node.place, done.keys), done.extent, done.anchor)
        elif kind == "Alias":
            self._alias(event.anchor, place)
        elif kind == "DocumentStart":
            self._document(event, place)

    def _place(self, event: Any) -> Place:
        path = self._open[-1].path() if self._open else ""
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1, path)

    def _note(self, place: Place, message: str) -> None:
        self.broken = True
        self.problems.add(place, message)

    def _document(self, event: Any, place: Place) -> None:
        self._documents += 1
        if self._documents > 1:
            raise _RefusedError(place, "a second document; must be one")
        if event.version not in (None, (1, 2)):
            self._note(place, f"YAML {'.'.join(map(str, event.version))}; must be 1.2")

    def _scalar(self, event: Any, place: Place) -> Any:
        try:
            value = resolve(event.value) if event.implicit[0] else event.value
            event.value.encode()
        except UnicodeEncodeError:
            self._note(place, "half of a surrogate pair; must be a character")
            return ""
        except ValueError as error:
            self._note(place, str(error))
            return 0
        return value

    def _begin(self, node: Node, anchor: str | None) -> None:
        if len(self._open) >= DEPTH:
            raise self._too_deep(node.place)
        if anchor:
            self._anchors[anchor] = None
        self._open.append(_Open(node, anchor))

    def _too_deep(self, place: Place) -> _RefusedError:
        place = Place(place.file, place.line, place.column)  # the path would be a long one
        return _RefusedError(place, f"nested deeper than {DEPTH} levels; must be flatter")

    def _alias(self, anchor: str, place: Place) -> None:
        if anchor not in self._anchors:
            raise _RefusedError(place, f"the alias '*{anchor}' of nothing; must follow its anchor '&{anchor}'")
        known = self._anchors[anchor]
        if known is None:
            raise _RefusedError(place, f"the alias '*{anchor}' inside its own anchor; must follow it")
        node, extent = known
        self._expanded += extent.size
        if len(self._open) + extent.depth > DEPTH:
            raise self._too_deep(place)
        if self._expanded > EXPANDED:
            raise _RefusedError(place, f"aliases that expand to more than {EXPANDED} values; must be fewer")
        self._add(node, extent, None)

    def _add(self, node: Node, extent: _Extent, anchor: str | None) -> None:
        """Put a finished node where it belongs."""
        if anchor:
            self._anchors[anchor] = (node, extent)
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.extent = parent.extent.around(extent)
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif not parent.waiting:
            parent.key, parent.waiting = self._key(node, parent), True
        else:
            if parent.key is not None:
                parent.node.mapping[parent.key] = node
            parent.key, parent.waiting = None, False

    def _key(self, node: Node, parent: _Open) -> str | None:
        """The text of a key, or None for one that can't be."""
        if node.value == "<<":
            self._note(
                node.place, "a merge key '<<'; must be written out, for YAML 1.2 has none (see defaults, extends)"
            )
            return None
        if not isinstance(node.value, str):
            self._note(node.place, f"{node.shown()} as a key; must be a word")
            return None
        place = Place(self.file, node.place.line, node.place.column, parent.node.place.below(node.value))
        if node.value in parent.keys:
            first = parent.keys[node.value].line
            self._note(place, f"a repeated key; must be given once, and is on line {first} already")
            return None
        parent.keys[node.value] = place
        return node.value

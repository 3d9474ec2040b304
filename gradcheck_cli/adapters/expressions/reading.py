"""From text to a syntax tree within the limits, and from a node of the tree back to its place in the text."""

from __future__ import annotations

import ast
import warnings

from gradcheck_cli.adapters.expressions.limits import DEPTH, LENGTH, NODES
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class Mistake:
    """What is wrong with an expression, and the column, from 1, where it is."""

    column: int
    sentence: str

    def __str__(self) -> str:
        return f"column {self.column}: {self.sentence}"


class Refused(ValueError):  # noqa: N818 - it never leaves this package
    """The text is no expression, or one that is too large to be looked at."""

    def __init__(self, column: int, sentence: str) -> None:
        super().__init__(sentence)
        self.mistake = Mistake(column, sentence)


@dataclass(frozen=True)
class Source:
    """The text of one expression, line breaks turned into spaces, and what precedes it cut off."""

    text: str
    indent: int

    def column(self, node: ast.expr | ast.keyword) -> int:
        """Where a node starts in the text that the user wrote, from 1."""
        # the parser counts bytes, the user counts characters
        return self.indent + len(self.text.encode()[: node.col_offset].decode()) + 1

    def segment(self, node: ast.expr) -> str:
        """The text of a node, cut to a length that fits a message."""
        text = self.text.encode()[node.col_offset : node.end_col_offset].decode()
        return text if len(text) <= 60 else text[:57] + "..."


def read(written: str) -> tuple[Source, ast.expr]:
    """Parse an expression; raises `Refused`."""
    if len(written) > LENGTH:
        raise Refused(LENGTH + 1, f"the expression has {len(written)} characters; at most {LENGTH} are allowed")
    flat = "".join(" " if letter.isspace() else letter for letter in written)
    text = flat.strip()
    if not text:
        raise Refused(1, "the expression is empty")
    if "#" in text:
        raise Refused(flat.index("#") + 1, "a comment is not part of an expression; leave it out")
    for position, letter in enumerate(flat):
        if not letter.isprintable():
            raise Refused(position + 1, f"the character {letter!r} is not part of an expression")
    source = Source(text, len(flat) - len(flat.lstrip()))
    tree = _parse(source)
    _measure(source, tree)
    return source, tree


def _parse(source: Source) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python's doubts, as about "1if x", are refusals here
            return ast.parse(source.text, mode="eval").body
    except SyntaxError as problem:
        column = source.indent + max(problem.offset or 1, 1)
        raise Refused(column, f"this is not an expression: {problem.msg}") from None
    except (ValueError, RecursionError, MemoryError):
        raise Refused(1, "this is not an expression that can be read") from None


def _measure(source: Source, tree: ast.expr) -> None:
    """Bound the number of parts and their depth, without recursion."""
    nodes, depth, level = 0, 0, [tree]
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if nodes > NODES or depth > DEPTH:
            what = f"at most {NODES} parts" if nodes > NODES else f"at most {DEPTH} operations inside each other"
            raise Refused(source.column(tree), f"the expression is too long: it may have {what}; use let steps")
        level = [part for node in level for part in _parts(node)]


def _parts(node: ast.expr) -> list[ast.expr]:
    children = list(ast.iter_child_nodes(node))
    children += [child.value for child in children if isinstance(child, ast.keyword)]
    return [child for child in children if isinstance(child, ast.expr)]

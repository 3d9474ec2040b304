"""From the syntax tree of an expression to closures over named values. A node that is not listed is a mistake."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from gradcheck_cli.adapters.expressions import operators
from gradcheck_cli.adapters.expressions.calls import FUNCTIONS, UNKNOWN, computation, spec_problem, static_problem
from gradcheck_cli.adapters.expressions.function import DTYPE, Function
from gradcheck_cli.adapters.expressions.limits import INTEGER, FormulaError
from gradcheck_cli.adapters.expressions.reading import Mistake, Refused, Source, read
from gradcheck_cli.adapters.expressions.stacked_functions import transpose
from gradcheck_cli.adapters.expressions.stacks import Rule, elementwise, item, keep, matmul, plainly
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.values import dataclass, field

CONSTANTS: Mapping[str, float] = {"pi": math.pi, "e": math.e, "inf": math.inf}
FAILURES = (ValueError, TypeError, IndexError, ArithmeticError, MemoryError)

_INSTEAD = {
    "BitXor": "'^' is not the power; write **",
    "BoolOp": "'and' and 'or' don't work on arrays; write & or |, with each comparison in parentheses",
    "Not": "'not' doesn't work on arrays; write ~, with the comparison in parentheses",
    "IfExp": "'if' doesn't work on arrays; write where(condition, a, b)",
}


@dataclass(frozen=True)
class Values:
    """The named values that an expression sees, and the dtype of arrays that it makes out of nothing.

    `apply` computes one operation, given its rule for stacks and its operands.
    """

    names: dict[str, Any]
    dtype: np.dtype[Any]
    apply: Callable[[Callable[..., Any], Rule | None, Sequence[Any]], Any] = plainly


Run = Callable[[Values], Any]


@dataclass(frozen=True)
class Expression:
    """A compiled expression: the names it uses, its mistakes, and how to compute it when it has none."""

    part: str
    uses: frozenset[str]
    mistakes: tuple[Mistake, ...]
    run: Run


@dataclass(frozen=True)
class Node:
    """A compiled part of an expression; `static` is its value when that is a number known without any array."""

    run: Run
    static: Any = UNKNOWN


def compile_expression(
    part: str, written: str, names: Collection[str], elsewhere: Mapping[str, str] | None = None
) -> Expression:
    """Read one expression of a formula.

    `names` have a value when it is computed; `elsewhere` says of other names why they have none here.
    """
    try:
        source, tree = read(written)
    except Refused as refused:
        return Expression(part, frozenset(), (refused.mistake,), _never)
    compiler = _Compiler(part, source, frozenset(names), elsewhere or {})
    if isinstance(tree, ast.Tuple):
        compiler.mistake(tree, "a formula has one result; write [a, b] to make one array of several numbers")
    node = compiler.compile(tree)
    if node.static is None or node.static is ...:
        compiler.mistake(tree, "this is not a number")
    mistakes = tuple(sorted(compiler.mistakes, key=lambda mistake: mistake.column))
    run = compiler.operation(tree, operators.as_array, [node], elementwise).run
    return Expression(part, frozenset(compiler.uses), mistakes, run)


def _never(_: Values) -> NoReturn:
    raise AssertionError("an expression with mistakes is not computed")


@dataclass
class _Compiler:
    part: str
    source: Source
    names: frozenset[str]
    elsewhere: Mapping[str, str]
    mistakes: list[Mistake] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)

    def mistake(self, node: ast.expr | ast.keyword, sentence: str) -> Node:
        self.mistakes.append(Mistake(self.source.column(node), sentence))
        return Node(_never)

    def compile(self, node: ast.expr) -> Node:
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name():
                return self.name(node)
            case ast.BinOp():
                return self.operator(node, node.op, operators.BINARY, [node.left, node.right])
            case ast.UnaryOp():
                return self.operator(node, node.op, operators.UNARY, [node.operand])
            case ast.Compare():
                return self.comparison(node)
            case ast.Call():
                return self.call(node)
            case ast.Subscript():
                parts = [self.compile(node.value), self.index(node.slice)]
                return self.operation(node, operators.item, parts, item)
            case ast.Attribute():
                return self.attribute(node)
            case ast.List() | ast.Tuple():
                return self.sequence(node)
        what = f"'{self.source.segment(node)}' is not part of formulas"
        return self.mistake(node, _INSTEAD.get(type(node).__name__, what))

    def operation(self, node: ast.expr, compute: Callable[..., Any], parts: Sequence[Node], rule: Rule | None) -> Node:
        """Compute the parts, then this; a failure is told with its place and the shapes that met there."""
        runs = [part.run for part in parts]

        def run(values: Values) -> Any:
            operands = [one(values) for one in runs]
            try:
                return values.apply(compute, rule, operands)
            except FAILURES as problem:
                raise FormulaError(self.part, self.source.column(node), self.why(node, operands, problem)) from problem

        return Node(run)

    def why(self, node: ast.expr, operands: Sequence[Any], problem: Exception) -> str:
        shapes = [str(one.shape) for one in operands if isinstance(one, np.ndarray)]
        met = f" with shapes {' and '.join(shapes)}" if shapes else ""
        why = problem.args[-1] if isinstance(problem, OverflowError) else problem  # after the number of the system
        return f"cannot compute '{self.source.segment(node)}'{met}: {why}"

    def constant(self, node: ast.Constant) -> Node:
        value = node.value
        if isinstance(value, str):
            return self.mistake(node, "text is only the first argument of einsum")
        if isinstance(value, (bytes, complex)):
            return self.mistake(node, f"'{self.source.segment(node)}' is not a real number")
        if isinstance(value, (int, float)) and not abs(value) <= (INTEGER if isinstance(value, int) else math.inf):
            return self.mistake(node, "the integer is too large; at most 2**63 - 1 is allowed; write a float")
        return Node(lambda _: value, value)

    def name(self, node: ast.Name) -> Node:
        name = node.id
        if name in self.names:
            self.uses.add(name)
            return Node(lambda values: values.names[name])
        if name in CONSTANTS:
            return Node(lambda _: CONSTANTS[name], CONSTANTS[name])
        if name in self.elsewhere:
            return self.mistake(node, f"{name!r} {self.elsewhere[name]}")
        if name in FUNCTIONS:
            return self.mistake(node, f"{name!r} is a function; write {name}(...)")
        hint = did_you_mean(name, self.names) or f"; the names here are {', '.join(sorted(self.names))}"
        return self.mistake(node, f"unknown name {name!r}{hint}")

    def operator(
        self, node: ast.expr, op: ast.AST, table: Mapping[str, Callable[..., Any]], operands: list[ast.expr]
    ) -> Node:
        kind = type(op).__name__
        if kind not in table:
            return self.mistake(node, _INSTEAD.get(kind, f"'{self.source.segment(node)}' is not part of formulas"))
        parts = [self.compile(one) for one in operands]
        made = self.operation(node, table[kind], parts, matmul if kind == "MatMult" else elementwise)
        if not all(isinstance(part.static, (bool, int, float)) for part in parts):
            return made
        try:  # sizes that are written as numbers are known now, and so refused now
            value = table[kind](*(part.static for part in parts))
        except FAILURES as problem:
            return self.mistake(node, self.why(node, [], problem))
        return Node(made.run, value)

    def comparison(self, node: ast.Compare) -> Node:
        kinds = [type(op).__name__ for op in node.ops]
        if not all(kind in operators.COMPARISON for kind in kinds):
            return self.mistake(node, f"'{self.source.segment(node)}' is not part of formulas")
        compute = operators.chain(*(operators.COMPARISON[kind] for kind in kinds))
        return self.operation(node, compute, [self.compile(one) for one in (node.left, *node.comparators)], elementwise)

    def sequence(self, node: ast.List | ast.Tuple) -> Node:
        kind = list if isinstance(node, ast.List) else tuple
        parts = [self.compile(one) for one in node.elts]
        made = self.operation(node, lambda *values: kind(operators.sequence(*values)), parts, keep)
        if any(part.static is UNKNOWN for part in parts):
            return made
        return Node(made.run, kind(part.static for part in parts))

    def index(self, node: ast.expr) -> Node:
        if isinstance(node, ast.Tuple):
            return self.operation(node, lambda *items: items, [self.index(one) for one in node.elts], keep)
        if isinstance(node, ast.Slice):
            ends = [Node(lambda _: None) if one is None else self.compile(one) for one in _ends(node)]
            return self.operation(node, slice, ends, keep)
        return self.compile(node)

    def attribute(self, node: ast.Attribute) -> Node:
        if node.attr != "T":
            instead = f"; write {node.attr}(...)" if node.attr in FUNCTIONS else ""
            return self.mistake(node, f"unknown attribute {node.attr!r}; only .T exists{instead}")
        part = self.compile(node.value)
        return self.operation(node, lambda value: operators.as_array(value).T, [part], transpose)

    def call(self, node: ast.Call) -> Node:
        function = self.callee(node.func)
        words = [str(keyword.arg) for keyword in node.keywords]
        if any(isinstance(one, ast.Starred) for one in node.args) or any(one.arg is None for one in node.keywords):
            return self.mistake(node, "* and ** are not part of a call in formulas")
        before = len(self.mistakes)
        parts = self.arguments(node, function)
        if function is None or len(self.mistakes) > before:
            return Node(_never)
        refusal = function.refusal(self.source.segment(node.func), len(node.args), words)
        if refusal is not None:
            return self.mistake(node, refusal)
        static = [part.static for part in parts]
        given, named = static[: len(node.args)], dict(zip(words, static[len(node.args) :], strict=True))
        problem = static_problem(function, given, named)
        if problem is not None:
            return self.mistake(node, self.why(node, [], problem))
        if function.typed:
            parts, words = [*parts, Node(lambda values: values.dtype)], [*words, DTYPE]
        rule = function.rule(len(node.args), words)
        return self.operation(node, computation(function, len(node.args), words), parts, rule)

    def callee(self, node: ast.expr) -> Function | None:
        called = self.source.segment(node)
        if isinstance(node, ast.Name) and node.id in FUNCTIONS:
            return FUNCTIONS[node.id]
        if isinstance(node, ast.Attribute) and node.attr in FUNCTIONS:
            self.mistake(node, f"'{called}' is not a function of formulas; write {node.attr}(...)")
        elif isinstance(node, ast.Name) and (node.id in self.names or node.id in CONSTANTS):
            self.mistake(node, f"'{called}' is not a function; write * for a product")
        else:
            self.mistake(node, f"unknown function '{called}'{did_you_mean(called, FUNCTIONS)}")
        return None

    def arguments(self, node: ast.Call, function: Function | None) -> list[Node]:
        """The arguments in a row, those of the keywords last; only einsum has a text among them, the first."""
        given, first = node.args, node.args[0] if node.args else None
        parts: list[Node] = []
        if function is FUNCTIONS["einsum"] and first is not None:
            given = node.args[1:]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                spec = first.value
                problem = spec_problem(spec, len(given))
                parts = [self.mistake(first, problem) if problem else Node(lambda _: spec, spec)]
            else:
                parts = [self.mistake(first, "the first argument of einsum is a text, as in 'ij,jk->ik'")]
        parts += [self.compile(one) for one in given]
        return parts + [self.compile(keyword.value) for keyword in node.keywords]


def _ends(node: ast.Slice) -> tuple[ast.expr | None, ast.expr | None, ast.expr | None]:
    return node.lower, node.upper, node.step

"""A formula derived on paper: forward, and its gradients or its Jacobian, as expressions."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from keyword import iskeyword
from typing import Any, ClassVar

import numpy as np

from gradcheck_cli.adapters.expressions import Expression, FormulaError, compile_expression
from gradcheck_cli.adapters.expressions.compiler import Values
from gradcheck_cli.adapters.expressions.limits import INTEGER, STACK, STEPS
from gradcheck_cli.adapters.expressions.stacks import Stack, Widest, spread, together
from gradcheck_cli.adapters.user_code import spec_of
from gradcheck_cli.layer import Array, ArraySpec, OptionError, Shape
from gradcheck_cli.registry import did_you_mean
from gradcheck_cli.values import dataclass, field


@dataclass(frozen=True)
class Formula:
    """Expressions over the arrays, the constants, earlier let steps, and in derivatives y and dy.

    Formula:
        y = forward
        dL/d(array) = gradients[array], or dyᵀ jacobian[array]

    Arrays:
        those that are given; the ones without a gradient or Jacobian are held fixed
        jacobian[array] has the axes of y first, then those of the array
        a gradient that comes out as a number stands for an array filled with it
    """

    name: ClassVar[str] = "formula"

    forward: str
    let: dict[str, str] = field(default_factory=dict)
    gradients: dict[str, str] = field(default_factory=dict)
    jacobian: dict[str, str] = field(default_factory=dict)

    def references(self) -> dict[str, str]:
        return {}

    def problems(self, arrays: Collection[str], constants: Collection[str]) -> list[tuple[str, str]]:
        return [*_names(self, arrays, constants), *_Compiled.of(self, arrays, constants).mistakes()]

    def accepts(self, constants: Collection[str]) -> tuple[str, ...]:
        """Those of the constants that an expression uses, for a chain that shares its constants."""
        uses = _Compiled.of(self, (), constants).uses
        return tuple(name for name in constants if _normal(name) in uses)

    def build(self, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> FormulaLayer:  # noqa: ARG002 - nothing is random
        for path, sentence in self.problems(arrays, constants):
            raise ValueError(f"formula.{path}: {sentence}")
        compiled = _Compiled.of(self, arrays, constants)
        specs = {
            name: replace(spec, differentiable=spec.differentiable and name in compiled.derivative)
            for name, spec in ((name, spec_of(array)) for name, array in arrays.items())
        }
        used = {name: constants[name] for name in self.accepts(constants)}
        kind = JacobianLayer if self.jacobian else FormulaLayer
        return kind(compiled, specs, {name: _number(name, value) for name, value in used.items()})


@dataclass(frozen=True, eq=False)
class FormulaLayer:
    """A compiled formula with gradients."""

    compiled: _Compiled
    specs: Mapping[str, ArraySpec]
    constants: Mapping[str, Any]
    widths: dict[tuple[Shape, ...], int] = field(default_factory=dict, init=False, repr=False)

    def arrays(self, **given: Shape) -> dict[str, ArraySpec]:
        return {name: replace(spec, shape=given.get(name, spec.shape)) for name, spec in self.specs.items()}

    def forward(self, **arrays: Array) -> Array:
        return _result(self.compiled.forward, *self._run(self._values(arrays)))

    def forward_stacked(self, **arrays: Array) -> Array:
        """So many points at a time that the largest value on the way stays in cache."""
        rows = max(len(array) for array in arrays.values())
        point = {name: array[0] for name, array in arrays.items()}
        if rows == 1:
            return self.forward(**point)[None]
        moving = {name: array for name, array in arrays.items() if len(array) == rows}
        size = max(1, STACK // self._width(point))
        ends = [(start, min(start + size, rows)) for start in range(0, rows, size)]
        return np.concatenate([self._piece(point, moving, start, stop) for start, stop in ends])

    def _piece(self, point: Mapping[str, Array], moving: Mapping[str, Array], start: int, stop: int) -> Array:
        values = self._values(point)
        values.names.update({_normal(name): Stack(array[start:stop]) for name, array in moving.items()})
        y, values = self._run(replace(values, apply=together))
        return _result(self.compiled.forward, spread(y, stop - start), values)

    def _width(self, point: Mapping[str, Array]) -> int:
        """The elements of the largest value on the way, learned at one point of each shape."""
        shapes = tuple(array.shape for array in point.values())
        if shapes not in self.widths:
            widest = Widest(max((array.size for array in point.values()), default=1))
            self._run(replace(self._values(point), apply=widest))
            self.widths[shapes] = max(1, widest.elements)
        return self.widths[shapes]

    def _run(self, values: Values) -> tuple[Any, Values]:
        with np.errstate(all="ignore"):
            self.compiled.take_steps([self.compiled.forward], values)
            return self.compiled.forward.run(values), values

    def vjp(self, dy: Array, **arrays: Array) -> dict[str, Array]:
        found = self._derivatives({**arrays, "dy": dy})
        return {name: np.full(arrays[name].shape, value) if value.ndim == 0 else value for name, value in found.items()}

    def _values(self, arrays: Mapping[str, Array]) -> Values:
        floats = [array.dtype for name, array in arrays.items() if name != "dy" and array.dtype.kind in "fc"]
        named = {_normal(name): value for name, value in {**self.constants, **arrays}.items()}
        return Values(named, np.result_type(*floats) if floats else np.dtype(np.float64))

    def _derivatives(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        values = self._values(arrays)
        derivative = self.compiled.derivative
        with np.errstate(all="ignore"):
            self.compiled.take_steps(derivative.values(), values)
            return {
                name: _result(expression, expression.run(values), values) for name, expression in derivative.items()
            }


@dataclass(frozen=True, eq=False)
class JacobianLayer(FormulaLayer):
    """A compiled formula with a Jacobian, which serves the VJP as well."""

    def jacobian(self, **arrays: Array) -> dict[str, Array]:
        """Every ∂y_j/∂x_i: for each array, the axes of the output first, then those of the array."""
        return self._derivatives(arrays)

    def vjp(self, dy: Array, **arrays: Array) -> dict[str, Array]:
        gradients = {}
        for name, jacobian in self.jacobian(**arrays).items():
            must = (*np.shape(dy), *arrays[name].shape)
            if jacobian.shape != must:
                sentence = f"the result has shape {jacobian.shape}; it must have the axes of y, then of {name}: {must}"
                raise FormulaError(f"jacobian.{name}", 1, sentence)
            gradients[name] = np.asarray(np.tensordot(dy, jacobian, axes=np.ndim(dy)), dtype=jacobian.dtype)
        return gradients


@dataclass(frozen=True)
class _Compiled:
    """The expressions of a formula: its steps in the order in which they can be taken, y among them."""

    forward: Expression
    steps: dict[str, Expression]
    derivative: Mapping[str, Expression]

    @classmethod
    def of(cls, formula: Formula, arrays: Collection[str], constants: Collection[str]) -> _Compiled:
        base = {_normal(name) for name in (*arrays, *constants)}
        lets, needs = _let_steps(formula, base)
        early = [name for name in lets if not needs[name]]
        late = {name: f"is computed from {' and '.join(sorted(needs[name]))}" for name in lets if needs[name]}
        not_yet = {"y": "is what forward computes", "dy": "arrives only after forward", **late}
        forward = compile_expression("forward", formula.forward, base | set(early), not_yet)
        part = "jacobian" if formula.jacobian else "gradients"
        names, elsewhere = base | set(lets) | {"y", "dy"}, {}
        if part == "jacobian":  # it must not depend on what arrives from above
            elsewhere = {name: "depends on dy, and a Jacobian does not" for name in lets if "dy" in needs[name]}
            elsewhere["dy"] = "is not there: a Jacobian does not depend on it"
            names -= set(elsewhere)
        derivative = {
            array: compile_expression(f"{part}.{array}", text, names, elsewhere)
            for array, text in {**formula.gradients, **formula.jacobian}.items()
        }
        steps = {**{name: lets[name] for name in early}, "y": forward, **{name: lets[name] for name in late}}
        return cls(forward, steps, derivative)

    @property
    def uses(self) -> set[str]:
        """Every name in any expression."""
        return {name for expression in self._all() for name in expression.uses}

    def _all(self) -> Iterator[Expression]:
        yield from self.steps.values()
        yield from self.derivative.values()

    def mistakes(self) -> list[tuple[str, str]]:
        """Every mistake, with the path of its option."""
        return [(expression.part, str(mistake)) for expression in self._all() for mistake in expression.mistakes]

    def take_steps(self, wanted: Iterable[Expression], values: Values) -> None:
        """Compute the steps that the wanted expressions use, and no others."""
        needed = {name for expression in wanted for name in expression.uses}
        for name in reversed(self.steps):
            needed |= self.steps[name].uses if name in needed else set()
        for name, step in self.steps.items():
            if name in needed:
                values.names[name] = step.run(values)


def _let_steps(formula: Formula, base: Collection[str]) -> tuple[dict[str, Expression], dict[str, set[str]]]:
    """The let steps, and for each whether it needs y or dy, itself or through others."""
    steps: dict[str, Expression] = {}
    needs: dict[str, set[str]] = {"y": {"y"}, "dy": {"dy"}}
    later = {_normal(name): "is a later step; steps are computed in their order" for name in formula.let}
    for name, text in formula.let.items():
        steps[_normal(name)] = step = compile_expression(f"let.{name}", text, {*base, *steps, "y", "dy"}, later)
        needs[_normal(name)] = set().union(*(needs.get(used, set()) for used in step.uses))
    return steps, needs


def _names(formula: Formula, arrays: Collection[str], constants: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the names of a formula, as (path, sentence)."""
    if formula.gradients and formula.jacobian:
        yield "jacobian", "there are gradients too; give either gradients or a jacobian"
    if not formula.gradients and not formula.jacobian:
        yield "gradients", "no derivative is given; give gradients or a jacobian"
    if len(formula.let) > STEPS:
        yield "let", f"there are {len(formula.let)} steps; at most {STEPS} are allowed"
    for part, names in (("gradients", formula.gradients), ("jacobian", formula.jacobian)):
        for name in names:
            if name not in arrays:
                hint = did_you_mean(name, arrays) or f"; the arrays are {', '.join(arrays)}"
                yield f"{part}.{name}", f"there is no array {name!r}{hint}"
    for name in (*arrays, *constants):
        if (reason := _unusable(name)) is not None:
            yield "forward", f"{'array' if name in arrays else 'constant'} {name!r}: {reason}; give it another name"
    taken = {_normal(name) for name in (*arrays, *constants)}
    for name in formula.let:
        reason = "an array or constant has that name" if _normal(name) in taken else _unusable(name)
        if reason is not None:
            yield f"let.{name}", f"the step {name!r}: {reason}; give it another name"


def _unusable(name: str) -> str | None:
    if name in ("y", "dy"):
        return f"{name} means {'the output' if name == 'y' else 'dL/dy'} in a formula"
    return None if name.isidentifier() and not iskeyword(name) else "an expression can't hold that name"


def _normal(name: str) -> str:
    """The name as Python's parser reads it in an expression: ϵ and ε are one."""
    return unicodedata.normalize("NFKC", name)


def _number(name: str, value: Any) -> Any:
    """A constant as a number or an array of numbers."""
    if isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) <= INTEGER):
        return value
    array = np.asarray(value) if isinstance(value, (list, tuple, np.ndarray, np.generic)) else None
    if array is None or array.dtype.kind not in "biuf":
        raise OptionError(f"constants.{name}", value, "must be a number or a list of numbers to be used in a formula")
    return array


def _result(expression: Expression, value: Any, values: Values) -> Array:
    """The value of an expression as a new array in the dtype of the check."""
    array = np.asarray(value)
    if array.dtype.kind == "c" and values.dtype.kind != "c":
        raise FormulaError(expression.part, 1, "the result is complex; it must be real")
    return np.array(array, dtype=values.dtype)

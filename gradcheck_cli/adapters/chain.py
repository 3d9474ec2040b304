"""Layers applied in turn, differentiated by the chain rule."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeGuard

import numpy as np

from gradcheck_cli.adapters.user_code import UserCodeError, listed
from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Layer, Outputs, Shape, as_outputs
from gradcheck_cli.values import dataclass, field


def own(everything: Mapping[str, Any], k: int) -> dict[str, Any]:
    """What is named `k.name` belongs to link k, under its bare name."""
    prefix = f"{k}."
    return {name.removeprefix(prefix): thing for name, thing in everything.items() if name.startswith(prefix)}


def _drawn(specs: Mapping[str, ArraySpec]) -> dict[str, Array]:
    """Some arrays that fit, to learn the shape of what a link hands on."""
    dtypes = {"float": np.float64, "integer": np.int64, "boolean": np.bool_}
    rng = np.random.default_rng(0)
    return {name: np.asarray(spec.draw(rng, spec.shape)).astype(dtypes[spec.kind]) for name, spec in specs.items()}


@dataclass(frozen=True)
class LinkPoint:
    """One link as a backward pass meets it.

    All its arrays, which of them the link before `handed` on, its outputs (`several` when they are a tuple), the
    cotangent that the links after it hand back, and what its own vjp makes of that.
    """

    arrays: Mapping[str, Array]
    handed: tuple[str, ...]
    outputs: tuple[Array, ...]
    several: bool
    cotangent: Any
    gradients: Mapping[str, Any]

    @property
    def cotangents(self) -> tuple[Array, ...]:
        """The cotangent as a tuple, one for each output."""
        return as_outputs(self.cotangent)


@dataclass(frozen=True)
class Chain:
    """Links applied in turn.

    Formula:
        y = f_n(... f_1(f_0(x)))

    Arrays:
        `k.name` is the array `name` of link k. From the second link on, the first array takes what the link before
        hands on (for several outputs the first arrays, in order), so it is not an array of the chain.

    VJP:
        dy_(k-1) = dL/d(first array of link k), from the vjp of link k at dy_k; dy_n = dy

    `labels` says in messages what each link is.
    """

    links: tuple[Layer, ...]
    labels: tuple[str, ...]
    _names: dict[int, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        """Describe every array, shapes propagated link by link by running each on drawn arrays."""
        specs: dict[str, ArraySpec] = {}
        outputs: tuple[Array, ...] = ()
        for k, link in enumerate(self.links):
            shapes = own(given, k)
            handed = dict(zip(self._first(k, len(outputs), shapes), outputs, strict=True))
            fitted = self._fit(k, shapes, handed)
            specs |= {f"{k}.{name}": spec for name, spec in fitted.items() if name not in handed}
            if k + 1 < len(self.links):
                with np.errstate(all="ignore"):
                    outputs = as_outputs(link.forward(**(_drawn(fitted) | handed)))
        return specs

    def forward(self, **arrays: Array) -> Outputs:
        """Apply every link to what the one before hands on."""
        return _last(self._run("forward", arrays))

    def vjp(self, dy: Any, **arrays: Array) -> dict[str, Array]:
        """Walk from the last link to the first; each turns its cotangent into the one of the link before."""
        gradients: dict[str, Array] = {}
        for k, link in self._backward(dy, arrays):
            gradients |= {f"{k}.{name}": one for name, one in link.gradients.items() if name not in link.handed}
        return {name: gradients[name] for name in arrays if name in gradients}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the links have to say to the reader."""
        notes = ((k, note) for k, link in enumerate(self.links) for note in getattr(link, "notes", ()))
        return tuple(f"{self._link(k)}: {note}" for k, note in notes)

    @property
    def forward_stacked(self) -> Callable[..., Outputs]:
        """Stacked evaluation, there when every link has it."""
        lacking = [label for link, label in zip(self.links, self.labels, strict=True) if not _stacks(link)]
        if lacking:
            raise AttributeError(f"no forward_stacked in {', '.join(lacking)}")
        return lambda **arrays: _last(self._run("forward_stacked", arrays))

    def link_points(self, dy: Any, **arrays: Array) -> list[LinkPoint]:
        """Each link as the backward pass meets it, in the order of the links."""
        return [link for _, link in self._backward(dy, arrays)][::-1]

    @property
    def one_at_a_time(self) -> bool:
        """Whether a link can't be called by two threads."""
        return any(getattr(link, "one_at_a_time", False) for link in self.links)

    def outputs(self, **arrays: Array) -> list[Outputs]:
        """The outputs of every link."""
        return [y for _, y in self._run("forward", arrays)]

    def part(self, k: int, stop: int, y: Outputs, arrays: Mapping[str, Array], method: str = "forward") -> Outputs:
        """The outputs of the link before `stop`, from what is handed to link k on; the links before k are not run."""
        return _last(self._run(method, arrays, k, stop, y))

    def _run(
        self, method: str, arrays: Mapping[str, Array], first: int = 0, stop: int | None = None, y: Outputs = ()
    ) -> Iterator[tuple[dict[str, Array], Outputs]]:
        """All arrays of each link, and its outputs."""
        by_link: dict[str, dict[str, Array]] = {}
        for name, array in arrays.items():
            number, _, bare = name.partition(".")
            by_link.setdefault(number, {})[bare] = array
        for k, link in enumerate(self.links[first:stop], first):
            mine, outputs = by_link.get(str(k), {}), as_outputs(y)
            names = self._first(k, len(outputs), {name: array.shape for name, array in mine.items()})
            point = dict(zip(names, outputs, strict=True)) | mine
            y = getattr(link, method)(**point)
            yield point, y

    def _backward(self, dy: Any, arrays: Mapping[str, Array]) -> Iterator[tuple[int, LinkPoint]]:
        """From the last link to the first."""
        points = list(self._run("forward", arrays))
        for k in reversed(range(len(self.links))):
            point, y = points[k]
            handed = tuple(name for name in point if f"{k}.{name}" not in arrays)
            gradients = self.links[k].vjp(dy, **point)
            yield k, LinkPoint(point, handed, as_outputs(y), isinstance(y, tuple), dy, gradients)
            if k:
                parts = tuple(self._handed_back(k, name, gradients, point[name].shape) for name in handed)
                dy = parts if isinstance(points[k - 1][1], tuple) else parts[0]

    def _handed_back(self, k: int, name: str, gradients: Mapping[str, Array], shape: Shape) -> Array:
        if gradients.get(name) is None:
            raise ArrayError(
                f"{k}.{name}", f"no gradient from {self._link(k)}", f"{self._link(k - 1)} needs dL/d{name}"
            )
        gradient = np.asarray(gradients[name])
        if gradient.shape != shape:
            came = f"{self._link(k)} hands back a gradient of shape {gradient.shape}"
            raise ArrayError(f"{k}.{name}", came, f"must be {shape}, like the array")
        return gradient

    def _link(self, k: int) -> str:
        return f"link {k} ({self.labels[k]})"

    def _first(self, k: int, count: int, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
        """The arrays of link k that take the `count` outputs of the link before."""
        if not count:
            return ()
        if k not in self._names:
            self._names[k] = _names_of(self.links[k], shapes)
        names = self._names[k]
        if len(names) < count:
            came = f"{self._link(k - 1)} hands on {count} arrays"
            raise ArrayError(f"{k}.{names[-1]}", came, f"{self._link(k)} takes {len(names)}")
        return names[:count]

    def _fit(self, k: int, shapes: Mapping[str, Shape], handed: Mapping[str, Array]) -> Mapping[str, ArraySpec]:
        """The arrays of link k, fitted to the shapes that are given and to what it is handed."""
        flow = {name: array.shape for name, array in handed.items()}
        try:
            specs = self.links[k].arrays(**{**shapes, **flow})
        except ArrayError as error:
            name = f"{k}.{error.array}"
            if error.array in flow:
                raise ArrayError(name, f"{self._link(k - 1)} hands on {error.came}", error.must) from error
            beside = "".join(f" beside {one} {shape} from {self._link(k - 1)}" for one, shape in flow.items())
            raise ArrayError(name, error.came + beside, error.must) from error
        for name, shape in flow.items():
            if not specs[name].differentiable:
                came = f"{self._link(k - 1)} hands it on, and {self._link(k)} has no gradient for it"
                raise ArrayError(f"{k}.{name}", came, "must be a float array that is differentiated")
            if specs[name].shape != shape:
                came = f"{self._link(k - 1)} hands on shape {shape}"
                raise ArrayError(f"{k}.{name}", came, f"must be {specs[name].shape}")
        return specs


def _last(points: Iterator[tuple[dict[str, Array], Outputs]]) -> Outputs:
    """The outputs of the last link; those of the links before are let go on the way."""
    return deque(points, maxlen=1)[0][1]


def _stacks(link: Layer) -> bool:
    return hasattr(link, "forward_stacked")


def _names_of(link: Layer, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """The names of a link's arrays in order; the shapes help only where its options rule its default shapes out."""
    try:
        return tuple(link.arrays())
    except ArrayError:
        return tuple(link.arrays(**shapes))


class Buildable(Protocol):
    """Somebody's code, described: what a `Foreign` of spec.py offers, seen from below."""

    def references(self) -> Mapping[str, str]:
        """From option paths to the code that they name."""

    def problems(self, arrays: Collection[str], constants: Collection[str]) -> Sequence[tuple[str, str]]:
        """What is wrong with the description."""

    def build(self, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> Layer:
        """Make the layer.

        Beside it two optional members serve a chain: `inputs(arrays, constants)`, the names of the arrays in order,
        what the chain hands on first (without it the one array handed on is called `x`), and
        `accepts(constants)`, those of the constants that concern it (without it all do).
        """


def is_buildable(link: object) -> TypeGuard[Buildable]:
    """Whether a link is still to be built."""
    return hasattr(link, "build") and hasattr(link, "references")


@dataclass(frozen=True)
class ForeignChain:
    """A chain in which some links are somebody's code; it becomes a `Chain` when its check runs.

    Option paths are those of the chain's list: `1.functions.forward`.
    """

    links: tuple[Layer | Buildable, ...]
    labels: tuple[str, ...]

    def references(self) -> Mapping[str, str]:
        """From the path of each option that names code to its "module:name"."""
        return {
            f"{path}{option}": reference
            for _, path, link in self._foreign()
            for option, reference in link.references().items()
        }

    def problems(self, arrays: Collection[str], constants: Collection[str]) -> Sequence[tuple[str, str]]:
        """What is wrong with the description of any link."""
        found: list[tuple[str, str]] = []
        for k, path, link in self._foreign():
            named = [*(["x"] if k else []), *own(dict.fromkeys(arrays), k)]
            found += [(f"{path}{option}", sentence) for option, sentence in link.problems(named, constants)]
        return found

    def build(self, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> Chain:
        """Build link after link, each on what the ones before hand on. Constants are shared by all, by name."""
        built: list[Layer] = []
        unused = set(constants)
        for k, link in enumerate(self.links):
            if not is_buildable(link):
                built.append(link)  # type: ignore[arg-type] # what is not to be built is a layer
                continue
            mine = own(arrays, k)
            taken = link.accepts(constants) if hasattr(link, "accepts") else constants
            theirs = {name: constants[name] for name in taken}
            unused -= theirs.keys()
            outputs = self._handed_on(built, arrays) if built else ()
            names = link.inputs(mine, theirs) if hasattr(link, "inputs") else ("x",)
            handed = dict(zip((name for name in names if name not in mine), outputs, strict=False))
            built.append(link.build(handed | mine, theirs, seed))
        if unused:
            raise UserCodeError(f"no link of the chain takes the constant {listed(sorted(unused))}")
        return Chain(tuple(built), self.labels)

    def _handed_on(self, built: Sequence[Layer], arrays: Mapping[str, Array]) -> tuple[Array, ...]:
        so_far = Chain(tuple(built), self.labels[: len(built)])
        specs = so_far.arrays(**{name: array.shape for name, array in arrays.items()})
        given = {name: array for name, array in arrays.items() if name in specs}
        return as_outputs(so_far.forward(**(_drawn(specs) | given)))

    def _foreign(self) -> Iterator[tuple[int, str, Buildable]]:
        for k, link in enumerate(self.links):
            if is_buildable(link):
                kind = getattr(link, "name", "")
                yield k, f"{k}.{kind}." if kind else f"{k}.", link

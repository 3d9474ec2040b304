"""What was asked: frozen, picklable descriptions of checks, made by the configuration or the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from gradcheck_cli.layer import Array, Draw, Layer, Shape
from gradcheck_cli.results import Rows
from gradcheck_cli.values import dataclass, field

View: TypeAlias = Literal["vjp", "jacobian"]


@dataclass(frozen=True)
class Tolerance:
    """An explicit tolerance: an error up to atol + rtol * max(|analytic|, |numeric|) is accepted."""

    rtol: float = 0.0
    atol: float = 0.0


@dataclass(frozen=True)
class Difference:
    """An explicit difference method, and at most one of an absolute and a relative step."""

    method: str = "central"
    step: float | None = None
    relative_step: float | None = None


@dataclass(frozen=True, eq=False)
class Given:
    """What is said about one array: its values, or a shape and a draw. What is None is left to the layer.

    `dtype` overrides the dtype of the check for this array.
    """

    values: Array | None = None
    shape: Shape | None = None
    draw: Draw | None = None
    dtype: str | None = None


@runtime_checkable
class Foreign(Protocol):
    """A description of somebody's code that becomes a layer only when its check runs.

    Its fields are the keys of its mapping in a config. Paths of options are dotted, as in "gradients.W".
    """

    def references(self) -> Mapping[str, str]:
        """From the path of each option that names code to its "module:name"; nothing is imported."""

    def problems(self, arrays: Collection[str], constants: Collection[str]) -> Sequence[tuple[str, str]]:
        """What is wrong with it, as (path of an option, sentence); nothing is imported or computed."""

    def build(self, arrays: Mapping[str, Array], constants: Mapping[str, Any], seed: int) -> Layer:
        """Import and wrap the code, given the arrays that were named and the constants."""


@dataclass(frozen=True, eq=False)
class CheckSpec:
    """One check. `cotangent` has one array for each output; `file`, `line`, `column` say where it was written.

    Arrays whose elements would take more than `budget` evaluations, or more than `max_memory` bytes, are searched by
    probes; `exhaustive` asks for every element of every array, chains end to end.
    `threads` evaluate large layers; what comes out does not depend on how many they are.
    """

    id: str
    name: str
    layer: Layer | Foreign
    layer_name: str
    arrays: Mapping[str, Given] = field(default_factory=dict)
    cotangent: tuple[Array, ...] | None = None
    wrt: tuple[str, ...] | None = None
    view: View = "vjp"
    dtype: str = "float64"
    points: int = 1
    seed: int = 0
    difference: Difference | None = None
    tolerance: Tolerance | None = None
    expect: Literal["pass", "fail"] = "pass"
    expect_arrays: tuple[str, ...] | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    exhaustive: bool = False
    budget: int | None = None
    max_memory: int | None = None
    threads: int = 1
    file: str | None = None
    line: int | None = None
    column: int | None = None
    reproduce: str = ""


@dataclass(frozen=True, eq=False)
class RunSpec:
    """Many checks, and how many of their elements to keep."""

    checks: tuple[CheckSpec, ...]
    rows: Rows = field(default_factory=Rows)
    stop_at: int | None = None

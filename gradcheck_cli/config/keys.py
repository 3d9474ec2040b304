"""The keys of a configuration file, version 1."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic_core import PydanticCustomError

from gradcheck_cli.config.hints import Keys, Limits

Finite: TypeAlias = Annotated[float, Limits(allow_inf_nan=False)]
Positive: TypeAlias = Annotated[float, Limits(gt=0, allow_inf_nan=False)]
Least0: TypeAlias = Annotated[float, Limits(ge=0, allow_inf_nan=False)]
Word: TypeAlias = Annotated[str, Limits(min_length=1)]
Words: TypeAlias = Annotated[list[Word], Limits(min_length=1)]


class FileKeys(Keys):
    """A file."""

    version: Literal[1]
    extends: Any = None
    defaults: dict[str, Any] | None = None
    checks: Annotated[list[dict[str, Any]], Limits(min_length=1)] | None = None


class ToleranceKeys(Keys):
    """An explicit tolerance."""

    rtol: Least0 | None = None
    atol: Least0 | None = None

    def agree(self) -> None:
        if self.rtol is None and self.atol is None:
            raise PydanticCustomError("tolerance", "must have rtol, atol or both")


class DifferenceKeys(Keys):
    """An explicit difference method."""

    method: Word = "central"
    step: Positive | None = None
    relative_step: Positive | None = None

    def agree(self) -> None:
        if self.step is not None and self.relative_step is not None:
            raise PydanticCustomError("step", "must have at most one of step and relative_step")


class CheckKeys(Keys):
    """A check, less what is checked, `matrix` and `extends`."""

    name: Word | None = None
    options: dict[str, Any] | None = None
    arrays: dict[str, Any] | None = None
    constants: dict[str, Any] | None = None
    cotangent: Any = None
    wrt: Words | None = None
    view: Literal["vjp", "jacobian"] = "vjp"
    dtype: Literal["float64", "float32", "float16"] = "float64"
    points: Annotated[int, Limits(ge=1)] = 1
    seed: Annotated[int, Limits(ge=0)] = 0
    difference: DifferenceKeys | None = None
    tolerance: ToleranceKeys | None = None
    expect: Literal["pass", "fail"] = "pass"
    expect_arrays: Words | None = None
    timeout: Positive | None = None
    order: Any = None
    device: Any = None


class NormalKeys(Keys):
    """Normal values."""

    mean: Finite = 0.0
    scale: Positive = 1.0


class UniformKeys(Keys):
    """Values spread evenly over [low, high)."""

    low: Finite = 0.0
    high: Finite = 1.0

    def agree(self) -> None:
        if self.low >= self.high:
            raise PydanticCustomError("range", "must have low below high")


class IntegersKeys(Keys):
    """Integers in [low, high)."""

    low: Annotated[int, Limits(ge=-(2**63))] = 0
    high: Annotated[int, Limits(le=2**63 - 1)]

    def agree(self) -> None:
        if self.low >= self.high:
            raise PydanticCustomError("range", "must have low below high")


DType: TypeAlias = Literal[
    "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"
]


class ArrayKeys(Keys):
    """One array, if it is not given as bare numbers."""

    values: Any = None
    file: Word | None = None
    shape: tuple[Annotated[int, Limits(ge=0)], ...] | None = None
    normal: NormalKeys | None = None
    uniform: UniformKeys | None = None
    integers: IntegersKeys | None = None
    fill: bool | Finite | None = None
    dtype: DType | None = None

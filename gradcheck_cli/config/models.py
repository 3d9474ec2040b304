"""The keys of a configuration file, version 1."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gradcheck_cli.config.sentences import Strict

Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Least0: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Word: TypeAlias = Annotated[str, Field(min_length=1)]
Words: TypeAlias = Annotated[list[Word], Field(min_length=1)]


class FileKeys(Strict):
    """A file."""

    version: Literal[1]
    extends: Any = None
    defaults: dict[str, Any] | None = None
    checks: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None


class ToleranceKeys(Strict):
    """An explicit tolerance."""

    rtol: Least0 | None = None
    atol: Least0 | None = None

    @model_validator(mode="after")
    def _any(self) -> ToleranceKeys:
        if self.rtol is None and self.atol is None:
            raise PydanticCustomError("tolerance", "must have rtol, atol or both")
        return self


class DifferenceKeys(Strict):
    """An explicit difference method."""

    method: Word = "central"
    step: Positive | None = None
    relative_step: Positive | None = None

    @model_validator(mode="after")
    def _one_step(self) -> DifferenceKeys:
        if self.step is not None and self.relative_step is not None:
            raise PydanticCustomError("step", "must have at most one of step and relative_step")
        return self


class CheckKeys(Strict):
    """A check, less what is checked, `matrix` and `extends`."""

    name: Word | None = None
    options: dict[str, Any] | None = None
    arrays: dict[str, Any] | None = None
    constants: dict[str, Any] | None = None
    cotangent: Any = None
    wrt: Words | None = None
    view: Literal["vjp", "jacobian"] = "vjp"
    dtype: Literal["float64", "float32", "float16"] = "float64"
    points: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    difference: DifferenceKeys | None = None
    tolerance: ToleranceKeys | None = None
    expect: Literal["pass", "fail"] = "pass"
    expect_arrays: Words | None = None
    timeout: Positive | None = None
    order: Any = None
    device: Any = None


class NormalKeys(Strict):
    """Normal values."""

    mean: Finite = 0.0
    scale: Positive = 1.0


class UniformKeys(Strict):
    """Values spread evenly over [low, high)."""

    low: Finite = 0.0
    high: Finite = 1.0

    @model_validator(mode="after")
    def _some(self) -> UniformKeys:
        if self.low >= self.high:
            raise PydanticCustomError("range", "must have low below high")
        return self


class IntegersKeys(Strict):
    """Integers in [low, high)."""

    low: Annotated[int, Field(ge=-(2**63))] = 0
    high: Annotated[int, Field(le=2**63 - 1)]

    @model_validator(mode="after")
    def _some(self) -> IntegersKeys:
        if self.low >= self.high:
            raise PydanticCustomError("range", "must have low below high")
        return self


DType: TypeAlias = Literal[
    "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"
]


class ArrayKeys(Strict):
    """One array, if it is not given as bare numbers."""

    values: Any = None
    file: Word | None = None
    shape: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    normal: NormalKeys | None = None
    uniform: UniformKeys | None = None
    integers: IntegersKeys | None = None
    fill: bool | Finite | None = None
    dtype: DType | None = None

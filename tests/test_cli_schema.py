"""`gradcheck schema`: what configs and results look like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import constructed_results as constructed
import jsonschema
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from gradcheck_cli.cli.schema import schema
from gradcheck_cli.registry import ADAPTERS, LAYERS
from gradcheck_cli.results import RunResult

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if "/." not in path.as_posix())


def printed(*words: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(CliRunner().invoke(schema, words, standalone_mode=False).stdout)
    jsonschema.Draft202012Validator.check_schema(plain)
    return plain


@pytest.fixture(scope="module")
def config() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(printed())


@pytest.fixture(scope="module")
def result() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(printed("--result"))


def read(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_schema_takes_every_config(path: Path, config: jsonschema.Draft202012Validator) -> None:
    assert [error.message for error in config.iter_errors(read(path.read_text("utf-8")))] == []


@pytest.mark.parametrize(
    "check",
    [
        "{layer: softmax, options: {beta: 2.0}, arrays: {x: [1, 2]}}",
        "{layer: softmax, options: null, arrays: null, wrt: null, timeout: null}",
        "{layer: linear, matrix: {options.in_features: [1, 2], include: [{dtype: float32}]}}",
        "{layer: relu, arrays: {x: [[1, 2.5], [true, 1e-6]]}, cotangent: [[1, 2], [3, 4]]}",
        "{layer: relu, arrays: {x: {shape: [2, 0], normal: {scale: 0.5}}}, cotangent: [{file: a.npy}]}",
        "{layer: relu, arrays: {x: {values: [1], dtype: int64}}, expect: fail, expect_arrays: [x]}",
        "{formula: {forward: x, gradients: {x: dy}}, arrays: {x: 1}, constants: {n: 3}}",
        "{torch: 'a:F', order: [x, y], device: cpu}",
        "{object: {class: 'a:F', options: {n: 1}, parameters: [W], gradients: {W: null}}}",
        "{functions: {forward: 'a:f', backward: 'a:g', outputs: 2}}",
        "{chain: [{layer: softmax, options: {beta: 1}}, {formula: {forward: x, gradients: {x: dy}}}]}",
        "{difference: {method: richardson}, tolerance: {rtol: 1e-6}, points: 3, seed: 4, view: jacobian}",
    ],
)
def test_schema_takes_what_is_right(check: str, config: jsonschema.Draft202012Validator) -> None:
    assert [error.message for error in config.iter_errors(read(f"version: 1\nchecks: [{check}]"))] == []


@pytest.mark.parametrize(
    "text",
    [
        "checks: [{layer: relu}]",
        "version: 2\nchecks: [{layer: relu}]",
        "version: 1",
        "version: 1\nchecks: []",
        "version: 1\ncheck: [{layer: relu}]",
        *(
            f"version: 1\nchecks: [{check}]"
            for check in (
                "{layer: rleu}",
                "{layer: relu, colour: red}",
                "{layer: relu, formula: {forward: x}}",
                "{layer: softmax, options: {beat: 2.0}}",
                "{layer: softmax, options: {axis: 1.5}}",
                "{layer: relu, view: jacobean}",
                "{layer: relu, dtype: int64}",
                "{layer: relu, points: 0}",
                "{layer: relu, seed: -1}",
                "{layer: relu, difference: {method: centre}}",
                "{layer: relu, arrays: {x: {shapes: [2]}}}",
                "{layer: relu, arrays: {x: abc}}",
                "{layer: relu, matrix: {dtype: float32}}",
                "{layer: relu, matrix: {dtype: []}}",
                "{functions: {forwards: 'a:f'}}",
                "{chain: []}",
                "{chain: [{layer: relu, options: {x: 1}}]}",
                "{chain: [{options: {}}]}",
            )
        ),
    ],
)
def test_schema_refuses_what_is_wrong(text: str, config: jsonschema.Draft202012Validator) -> None:
    assert not config.is_valid(read(text))


def test_schema_knows_every_layer_and_adapter_with_defaults() -> None:
    plain = printed()
    check = plain["$defs"]["CheckKeys"]
    assert check["properties"]["layer"] == {"enum": list(LAYERS)}
    assert set(ADAPTERS) | {"chain"} <= set(check["properties"])
    assert plain["$defs"]["Softmax"] == {
        "additionalProperties": False,
        "properties": {"beta": {"type": "number", "default": 1.0}, "axis": {"type": "integer", "default": -1}},
        "type": "object",
        "title": "softmax",
        "description": "Probabilities proportional to the exponential of the input, along one axis.",
    }


@pytest.mark.parametrize(
    "run",
    [
        constructed.run(),
        constructed.run(constructed.warm_up(), shard=(1, 2), positions=(0,)),
        constructed.run(interrupted=True),
        RunResult(()),
    ],
)
def test_report_follows_the_schema(run: RunResult, result: jsonschema.Draft202012Validator) -> None:
    assert [error.message for error in result.iter_errors(run.to_dict())] == []


def test_report_with_anything_else_does_not_follow_the_schema(result: jsonschema.Draft202012Validator) -> None:
    plain = constructed.run().to_dict()
    assert not result.is_valid({**plain, "schema_version": 2})
    assert not result.is_valid({**plain, "more": 1})
    assert not result.is_valid({key: value for key, value in plain.items() if key != "numpy"})
    plain["checks"][0]["arrays"][0]["worst"][0]["analytic"] = "NaN"
    assert not result.is_valid(plain)

"""`gradcheck layers`: the list, the page of one, and JSON, for every layer that is found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest
from click.testing import CliRunner

from gradcheck_cli.cli.app import app
from gradcheck_cli.cli.pages import ArrayEntry, Option, page, type_text
from gradcheck_cli.layer import ArraySpec
from gradcheck_cli.registry import LAYERS

KEYS = ["name", "family", "summary", "formula", "arrays", "options", "source", "examples"]


def printed(*words: str) -> str:
    outcome = CliRunner().invoke(app, ["layers", *words], standalone_mode=False)
    assert outcome.exception is None
    return outcome.stdout


@pytest.fixture(scope="module")
def listed() -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = json.loads(printed("--json"))
    return plain


def test_list_names_every_layer_once() -> None:
    names = [line.split()[0] for line in printed().splitlines() if line.startswith("  ") and line[2] != " "]
    assert sorted(names) == list(LAYERS)


def test_json_has_every_layer_sorted_by_name(listed: list[dict[str, Any]]) -> None:
    assert [one["name"] for one in listed] == list(LAYERS)
    assert all(list(one) == KEYS for one in listed)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_has_a_page_with_all_its_parts(name: str) -> None:
    one = page(name, LAYERS[name])
    assert one.summary.endswith((".", ")"))
    assert all(one.sections[title] for title in ("Formula", "Arrays", "VJP", "Source"))
    assert one.arrays
    assert len(one.examples) >= 3


@pytest.mark.parametrize("name", ["linear", "softmax"])
def test_json_of_one_is_its_entry(name: str, listed: list[dict[str, Any]]) -> None:
    assert json.loads(printed(name, "--json")) == next(one for one in listed if one["name"] == name)


def test_entry_of_linear_is_whole(listed: list[dict[str, Any]]) -> None:
    linear = next(one for one in listed if one["name"] == "linear")
    assert linear["family"] == "dense"
    assert linear["summary"] == "Affine map of the last axis."
    assert linear["formula"] == "y = x Wᵀ + b"
    assert linear["arrays"] == [
        {"name": "x", "shape": [3], "kind": "float", "differentiable": True},
        {"name": "W", "shape": [2, 3], "kind": "float", "differentiable": True},
        {"name": "b", "shape": [2], "kind": "float", "differentiable": True},
    ]
    assert linear["options"] == [
        {"name": "in_features", "type": "int | None", "default": None},
        {"name": "out_features", "type": "int | None", "default": None},
    ]
    assert linear["source"].startswith("Goodfellow, Bengio, Courville, Deep Learning (2016)")
    assert linear["examples"][1] == {"options": {}, "arrays": {"x": [4, 5], "W": [3, 5], "b": [3]}}


def test_page_of_softmax_tells_everything() -> None:
    told = printed("softmax")
    for part in (
        "softmax (normalised exponentials)\nProbabilities proportional to",
        "\n\nFormula\n  y_i = exp(β x_i) / Σ_k exp(β x_k), with β = beta\n\n",
        "\n  unless given: x (5,)\n\nOptions\n  beta  float  default 1.0\n  axis  int    default -1\n\nVJP\n",
        "\n  dL/dx_i = β y_i (dy_i − Σ_k dy_k y_k)\n\nSource\n  Goodfellow",
        "\n\nCheck it\n  gradcheck check softmax x:5\n",
    ):
        assert part in told


@pytest.mark.parametrize("width", ["80", "140"])
def test_list_and_pages_keep_to_the_width(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert all(len(line) <= int(width) for line in printed().splitlines())
    for name in LAYERS:
        assert all(len(line) <= int(width) for line in printed(name).splitlines()), name


def test_what_continues_a_line_is_joined_to_it_and_wrapped_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    told = printed("layer_norm")
    assert (
        "\nFormula\n"
        "  n = (x − m) / √(s + eps), with m and s the mean and variance of x\n"
        "      over the axes in F\n"
        "  y = gamma n + beta\n"
    ) in told
    monkeypatch.setenv("COLUMNS", "140")
    formula = page("layer_norm", LAYERS["layer_norm"]).sections["Formula"]
    assert "".join(f"  {line}\n" for line in formula.splitlines()) in printed("layer_norm")


@pytest.mark.parametrize("name", LAYERS)
def test_the_command_on_a_page_passes(name: str) -> None:
    command = printed(name).rstrip().splitlines()[-1].split()
    assert command[:3] == ["gradcheck", "check", name]
    outcome = CliRunner().invoke(app, [*command[1:], "-q"], standalone_mode=False)
    assert (outcome.exception, outcome.return_value) == (None, 0)


@dataclass(frozen=True)
class Bare:
    size: int
    name: ClassVar[str] = "bare"

    def arrays(self, **given: tuple[int, ...]) -> dict[str, ArraySpec]:
        return {"x": ArraySpec((self.size,))}


def test_plug_in_that_tells_little_has_a_short_page() -> None:
    one = page("bare", Bare)
    assert one.options == (Option("size", "int", None),)
    assert (one.arrays, one.sections, one.examples) == ((), {}, ())


def test_arrays_of_a_mask_are_not_differentiable() -> None:
    assert ArrayEntry("mask", (3, 4), "boolean", False) in page("dropout", LAYERS["dropout"]).arrays


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (int | None, "int | None"),
        (tuple[int, ...] | int, "tuple[int, ...] | int"),
        (Literal["mean", "sum"], "'mean' | 'sum'"),
        (Literal["fro"] | None, "'fro' | None"),
    ],
)
def test_types_are_told_as_people_write_them(hint: Any, text: str) -> None:
    assert type_text(hint) == text

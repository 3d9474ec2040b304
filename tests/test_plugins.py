"""Layers that installed packages add, through a package that is installed for the test: a module and its metadata."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gradcheck_cli

PACKAGE = str(Path(gradcheck_cli.__file__).parents[1])  # the copy under test, installed or not
MODULE = '''\
"""Cubes."""

from dataclasses import dataclass

from gradcheck_cli.layer import ArraySpec


@dataclass(frozen=True)
class Cube:
    """The cube of every entry.

    Formula:
        y = scale x³
    """

    scale: float = 1.0

    def arrays(self, **given):
        return {"x": ArraySpec(given.get("x", (3,)))}

    def forward(self, x):
        return self.scale * x**3

    def vjp(self, dy, x):
        if self.scale == 13:
            raise LookupError("no luck")
        return {"x": 3 * self.scale * dy * x**2}


class Bare:
    pass


number = 1
'''


def install(site: Path, **entry_points: str) -> None:
    """Put the package `cubes` there, as pip does."""
    (site / "site-packages" / "cubes-1.0.dist-info").mkdir(parents=True)
    (site / "site-packages" / "cubes.py").write_text(MODULE, encoding="utf-8")
    info = site / "site-packages" / "cubes-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cubes\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[gradcheck_cli.layers]\n{lines}")


def gradcheck(*words: str, cwd: Path) -> Any:
    paths = os.pathsep.join([PACKAGE, str(cwd / "site-packages")])
    return subprocess.run(
        [sys.executable, "-P", "-m", "gradcheck_cli", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_a_layer_of_a_package_is_like_a_built_in_one(tmp_path: Path) -> None:
    install(tmp_path, cube="cubes:Cube")
    listed = json.loads(gradcheck("layers", "cube", "--json", cwd=tmp_path).stdout)
    assert (listed["name"], listed["summary"]) == ("cube", "The cube of every entry.")
    assert [option["name"] for option in listed["options"]] == ["scale"]
    checked = gradcheck("check", "cube", "x:2", "scale=2.0", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    (tmp_path / "a.yaml").write_text(
        "version: 1\nchecks:\n  - {layer: cube, options: {scale: 2.0}}\n"
        "  - {chain: [{layer: cube}, {layer: softmax}]}\n"
    )
    ran = gradcheck("run", "a.yaml", "-q", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    (tmp_path / "a.yaml").write_text("version: 1\nchecks:\n  - {layer: cube, options: {scal: 2.0}}\n  - {layer: cub}\n")
    assert gradcheck("run", "a.yaml", cwd=tmp_path).stderr == (
        "a.yaml:3:29: checks[0].options.scal: unknown option 'scal'; did you mean 'scale'?\n"
        "a.yaml:4:13: checks[1].layer: unknown layer 'cub'; did you mean 'cube'?\n"
    )


def test_what_its_code_raises_is_told_by_its_own_line(tmp_path: Path) -> None:
    install(tmp_path, cube="cubes:Cube")
    done = gradcheck("check", "cube", "scale=13.0", "--report", "json", cwd=tmp_path)
    error = json.loads(done.stdout)["checks"][0]["error"]
    where = tmp_path / "site-packages" / "cubes.py"
    assert (error["type"], error["message"]) == ("LookupError", "no luck")
    assert error["traceback_line"] == f'{where}:26: raise LookupError("no luck")'


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("cube", "cubes:Cub", "cubes:Cub can't be imported (AttributeError: module 'cubes' has no attribute 'Cub')"),
        ("cube", "nowhere:Cube", "nowhere:Cube can't be imported (ModuleNotFoundError: No module named 'nowhere')"),
        ("cube", "cubes:Bare", "cubes:Bare must be a dataclass with arrays, forward, vjp"),
        ("cube", "cubes:number", "cubes:number must be a dataclass with arrays, forward, vjp"),
        ("tanh", "cubes:Cube", "its name is taken"),
    ],
)
def test_a_broken_package_is_left_out_and_told(name: str, value: str, why: str, tmp_path: Path) -> None:
    install(tmp_path, **{name: value})
    done = gradcheck("layers", cwd=tmp_path)
    assert done.returncode == 0
    assert "softmax" in done.stdout
    assert "  cube " not in done.stdout
    assert f"UserWarning: the layer '{name}' of cubes is left out: {why}\n" in done.stderr

"""Checks of configs as tests of pytest, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gradcheck_cli

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
PACKAGE = str(Path(gradcheck_cli.__file__).parents[1])  # the copy under test, installed or not
CODE = """\
def forward(x): return x**3, x
def right(dout, x): return 3 * dout * x**2
def wrong(dout, x):
    print("printed by wrong")
    return dout * x**2
def leaves(dout, x): raise SystemExit(7)
def sleeps(dout, x):
    import time
    time.sleep(60)
"""
PAIR = "functions: {{forward: 'mine:forward', backward: 'mine:{}'}}, arrays: {{x: [1.5, -2.0]}}"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with code, a config and a test; the plug-in is loaded by its module whether installed or not."""
    monkeypatch.setenv("PYTHONPATH", PACKAGE)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p gradcheck_cli.pytest_plugin -W error")
    monkeypatch.setenv("COLUMNS", "140")
    pytester.makeini("[pytest]\ngradcheck_files = configs/*.yaml\n")
    pytester.makepyprojecttoml('[tool.gradcheck]\nallow = ["mine"]\n')
    pytester.makepyfile(mine=CODE)
    pytester.mkdir("configs")
    pytester.mkdir("tests")
    (pytester.path / "tests" / "test_other.py").write_text("def test_other(): pass\n")
    return pytester


def config(project: pytest.Pytester, *checks: str, name: str = "a.yaml") -> None:
    lines = "".join(f"  - {{{check}}}\n" for check in checks)
    (project.path / "configs" / name).write_text(f"version: 1\nchecks:\n{lines}")


def shows(done: pytest.RunResult, *texts: str) -> None:
    """These texts, in this order, and no traceback."""
    shown = done.stdout.str()
    for text in texts:
        before, found, shown = shown.partition(text)
        assert found, f"{text!r} is not in {before}"
    assert "Traceback" not in done.stdout.str()
    assert "INTERNALERROR" not in done.stdout.str()


def test_checks_are_tests_with_their_names(project: pytest.Pytester) -> None:
    config(project, f"name: the cube, {PAIR.format('right')}", "layer: softmax, matrix: {options.beta: [1.0, 2.0]}")
    config(project, "layer: tanh, expect: fail", "layer: tanh, name: other", name="b.yaml")
    listed = project.runpytest_subprocess("--collect-only", "-q")
    assert listed.outlines[:6] == [
        "configs/a.yaml::the cube",
        "configs/a.yaml::softmax[beta=1.0]",
        "configs/a.yaml::softmax[beta=2.0]",
        "configs/b.yaml::tanh",
        "configs/b.yaml::other",
        "tests/test_other.py::test_other",
    ]
    project.runpytest_subprocess().assert_outcomes(passed=5, failed=1)
    project.runpytest_subprocess("configs/a.yaml::the cube").assert_outcomes(passed=1)
    project.runpytest_subprocess("-k", "softmax").assert_outcomes(passed=2, deselected=4)
    project.runpytest_subprocess("--lf").assert_outcomes(failed=1)
    project.runpytest_subprocess("-m", "not gradcheck", "--strict-markers").assert_outcomes(passed=1, deselected=5)


def test_a_failing_check_shows_table_output_and_how_to_reproduce_it(project: pytest.Pytester) -> None:
    config(project, f"name: a wrong one, {PAIR.format('wrong')}", f"name: leaves, {PAIR.format('leaves')}")
    done = project.runpytest_subprocess()
    done.assert_outcomes(passed=1, failed=2)
    shows(
        done,
        "_ a wrong one _",
        "fails: dL/dx is 0.3333 (1/3) times the right one in every element ",
        "configs/a.yaml::a wrong one  functions, float64\n  element ",
        "  reproduce: gradcheck run 'configs/a.yaml::a wrong one' --seed 0 --allow mine\n",
        "- Captured output call -",
        "\nprinted by wrong\n",
        "_ leaves _",
        "error: SystemExit: the code ended the program with exit code 7; it must return or raise an exception\n",
        "mine.py:6: def leaves(dout, x): raise SystemExit(7)\n",
        "FAILED configs/a.yaml::a wrong one - fails: dL/dx is 0.3333 ",
        "FAILED configs/a.yaml::leaves - error: SystemExit: ",
    )


def test_problems_of_a_config_are_errors_of_its_collection(project: pytest.Pytester) -> None:
    config(project, "layer: softmx", "layer: tanh, option: 1", "functions: {forward: 'os:f', backward: 'mine:right'}")
    done = project.runpytest_subprocess("--continue-on-collection-errors")
    done.assert_outcomes(passed=1, errors=1)
    shows(
        done,
        "_ ERROR collecting configs/a.yaml _",
        "configs/a.yaml:3:13: checks[0].layer: unknown layer 'softmx'; did you mean 'softmax'?\n",
        "configs/a.yaml:4:19: checks[1].option: unknown key 'option'; did you mean 'options'?\n",
        "configs/a.yaml:5:17: checks[2].functions: has no arrays; name each with its values or its shape ",
        "configs/a.yaml:5:27: checks[2].functions.forward: module 'os' is not allowed; add --allow os, or ",
        "ERROR configs/a.yaml",
    )


def test_code_is_allowed_by_the_pyproject_of_the_root_alone(project: pytest.Pytester) -> None:
    config(project, PAIR.format("right"))
    (project.path / "pyproject.toml").rename(project.path / "configs" / "pyproject.toml")
    done = project.runpytest_subprocess()
    done.assert_outcomes(errors=1)
    shows(done, "checks[0].functions.forward: module 'mine' is not allowed; add --allow mine, or ")
    project.makepyprojecttoml("[tool.gradcheck]\nalow = []\n")
    shows(project.runpytest_subprocess(), "pyproject.toml: tool.gradcheck: unknown key 'alow'; did you mean 'allow'?")


def test_it_works_from_a_folder_below_the_root(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    config(project, PAIR.format("right"), f"name: bad, {PAIR.format('wrong')}")
    monkeypatch.chdir(project.path / "configs")
    done = project.runpytest_subprocess("--rootdir", str(project.path), "-c", str(project.path / "tox.ini"))
    done.assert_outcomes(passed=1, failed=1)
    shows(done, "  reproduce: gradcheck run a.yaml::bad --seed 0 --allow mine")


@pytest.mark.parametrize("words", [[], ["tests", "configs"]], ids=["testpaths", "arguments"])
def test_testpaths_do_not_hide_the_configs(words: list[str], project: pytest.Pytester) -> None:
    project.makeini("[pytest]\ntestpaths = tests\ngradcheck_files = configs/*.yaml\n")
    config(project, "layer: tanh")
    project.runpytest_subprocess(*words).assert_outcomes(passed=2)
    project.makeini("[pytest]\ntestpaths = tests configs\ngradcheck_files = configs/*.yaml\n")
    project.runpytest_subprocess(*words).assert_outcomes(passed=2)
    project.runpytest_subprocess("tests").assert_outcomes(passed=1)


def test_it_is_asked_for(project: pytest.Pytester) -> None:
    config(project, "layer: softmx")
    project.makeini("[pytest]\n")
    project.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_pattern_that_matches_nothing_is_told(project: pytest.Pytester) -> None:
    done = project.runpytest_subprocess()
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert done.errlines[0] == f"ERROR: gradcheck_files: no file matches 'configs/*.yaml' below {project.path}"
    project.makeini("[pytest]\ngradcheck_files = /configs/*.yaml\n")
    assert project.runpytest_subprocess().errlines[0].startswith("ERROR: gradcheck_files: '/configs/*.yaml': ")


def test_a_time_limit_is_kept(project: pytest.Pytester) -> None:
    config(project, f"name: late, timeout: 2, {PAIR.format('sleeps')}", f"timeout: 60, {PAIR.format('right')}")
    done = project.runpytest_subprocess()
    done.assert_outcomes(passed=2, failed=1)
    shows(done, "FAILED configs/a.yaml::late - error: ")


@pytest.mark.parametrize(
    ("words", "passed"),
    [("", 2), ("-p gradcheck_cli.pytest_plugin", 2), ("-p no:gradcheck_cli.pytest_plugin -W default", 1)],
)
def test_an_installed_one_is_loaded_once(
    words: str, passed: int, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    info = project.mkdir("site") / "probe-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest11]\n" + "".join(f"{key} = {group[key]}\n" for key in group))
    monkeypatch.setenv("PYTHONPATH", f"{PACKAGE}:{project.path / 'site'}")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.setenv("PYTEST_ADDOPTS", words)
    config(project, "layer: tanh")
    project.runpytest_subprocess().assert_outcomes(passed=passed, warnings=2 - passed)


def test_its_module_is_light() -> None:
    heavy = "{'numpy', 'rich', 'click', 'pydantic', 'ruamel.yaml'}"
    code = f"import sys, gradcheck_cli.pytest_plugin\nprint(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""The command line through real processes: exit codes, streams, files, interruptions."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import gradcheck_cli
from gradcheck_cli import __version__
from gradcheck_cli.cli.options import report_names

GRADCHECK = [sys.executable, "-m", "gradcheck_cli"]
PACKAGE = str(Path(gradcheck_cli.__file__).parents[1])  # the copy under test, installed or not
TWO_CHECKS = """\
version: 1
checks:
  - {name: right, layer: softmax, arrays: {x: {shape: [3]}}}
  - {name: wrong, layer: tanh, arrays: {x: {shape: [2]}}, expect: fail}
  - {name: last, layer: relu, arrays: {x: {shape: [2]}}}
"""


def environment(**more: str) -> dict[str, str]:
    ignored = {"COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM"}
    kept = {key: value for key, value in os.environ.items() if key not in ignored}
    return {**kept, "PYTHONPATH": PACKAGE, "PYTHONIOENCODING": "utf-8", **more}


def gradcheck(*words: str, cwd: Path, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GRADCHECK, *words],
        cwd=cwd,
        env=environment(**more),
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def spoken(part: object) -> str | None:
    return " ".join(part) or "nothing" if isinstance(part, list) else None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a config of three checks, of which the second is not as expected."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a.yaml").write_text(TWO_CHECKS)
    return tmp_path


def python(code: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the entry point in a process with something changed before."""
    program = f"import sys\nfrom gradcheck_cli.__main__ import main\n{code}\n"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "configs/a.yaml::right"], 0),
        (["run"], 1),
        (["run", "configs/a.yaml::rigth"], 2),
        (["run", "configs/none"], 2),
        (["run", "--sed", "1"], 2),
        (["run", "--seed", "x"], 2),
        (["run", "--all", "--top", "3"], 2),
        (["run", "-q", "-v"], 2),
        (["run", "--report", "jsn"], 2),
        (["run", "--report", "json="], 2),
        (["run", "--report", "json=configs"], 2),
        (["run", "--report", "json=none/out.json"], 2),
        (["run", "--report", "json", "--report", "table"], 2),
        (["run", "-k", "right and"], 2),
        (["run", "-k", "nothing"], 5),
        (["run", "-k", "right or last"], 0),
        (["run", "empty"], 5),
        (["check", "softmax", "x:5", "beta=2.0"], 0),
        (["check", "linear", "x:4,3", "in_features=3", "out_features=2"], 0),
        (["check", "softmax", "--expect", "fail"], 1),
        (["check", "softmx"], 2),
        (["check"], 2),
        (["validate", "configs"], 0),
        (["validate", "none.yaml"], 2),
        (["validate"], 2),
        (["layers"], 0),
        (["layers", "softmx"], 2),
        (["rum"], 2),
        ([], 2),
        (["--version"], 0),
        (["-h"], 0),
        (["run", "-h"], 0),
    ],
    ids=spoken,
)
def test_exit_code(words: list[str], code: int, folder: Path) -> None:
    (folder / "empty").mkdir()
    done = gradcheck(*words, cwd=folder)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if code in (2, 5):
        assert done.stdout == ""
        assert done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["run", "--report", "jsn"],
            f"'--report': unknown format 'jsn'; did you mean 'json'?; there are {', '.join(report_names())}.",
        ),
        (["run", "--report", "json="], "'json=' names no file; write json=PATH, or json for standard output."),
        (["run", "--report", "json=configs"], "'configs' is a folder; name a file in it."),
        (["run", "--report", "json=none/a"], "the folder of 'none/a' does not exist; make it first."),
        (
            ["run", "--report", "json", "--report", "table=-"],
            "Error: the reports json and table both go to standard output; give one a =PATH.",
        ),
        (["run", "--all", "--top", "3"], "Error: --all and --top contradict each other; give one of them."),
        (["check", "relu", "-qv"], "Error: -v and -q contradict each other; give one of them."),
        (["run", "-k", "nothing"], "gradcheck: none of 3 checks matches -k 'nothing'"),
        (["rum"], "Error: no such command 'rum'; did you mean 'run'?"),
        (["layers", "softmx"], "Error: unknown layer 'softmx'; did you mean 'softmax'?"),
        (["layers", "zzz"], "Error: unknown layer 'zzz'; gradcheck layers lists them"),
        (["run", "configs/a.yaml::rigth"], "configs/a.yaml: unknown check 'rigth'; did you mean 'right'?"),
    ],
    ids=spoken,
)
def test_refusal_says_what_to_do(words: list[str], message: str, folder: Path) -> None:
    assert gradcheck(*words, cwd=folder).stderr.rstrip().endswith(message)


def test_every_problem_is_told_and_nothing_runs(folder: Path) -> None:
    (folder / "configs" / "b.yaml").write_text(
        "version: 1\nchecks:\n  - layer: linaer\n  - layer: tanh\n    option: {}\n    dtype: float63\n    seed: -1\n"
    )
    done = gradcheck("run", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        ["configs/b.yaml:3:12", "checks[0].layer"],
        ["configs/b.yaml:5:5", "checks[1].option"],
        ["configs/b.yaml:6:12", "checks[1].dtype"],
        ["configs/b.yaml:7:11", "checks[1].seed"],
    ]


def test_results_go_to_stdout_and_the_rest_to_stderr(folder: Path) -> None:
    done = gradcheck("run", "-x", cwd=folder)
    assert done.returncode == 1
    assert "configs/a.yaml::right" in done.stdout
    assert "configs/a.yaml::last" not in done.stdout
    assert "  passes, but was expected to fail: 2 elements; " in done.stdout
    assert "  reproduce: gradcheck run configs/a.yaml::wrong --seed 0\n" in done.stdout
    assert done.stderr == "gradcheck: stopped early; 1 of 3 checks were not run\n"


def test_maxfail_counts_what_is_not_as_expected(folder: Path) -> None:
    assert "configs/a.yaml::last" in gradcheck("run", "--maxfail", "2", cwd=folder).stdout


def test_standard_input_is_read(folder: Path) -> None:
    done = gradcheck("run", "-", "-q", cwd=folder, stdin=TWO_CHECKS.replace(", expect: fail", ""))
    assert done.returncode == 0
    assert done.stdout.startswith("3 checks pass; 7 elements, ")


def test_seed_of_the_command_line_wins(folder: Path) -> None:
    done = gradcheck("run", "configs/a.yaml::right", "--seed", "7", "--report", "json", cwd=folder)
    assert json.loads(done.stdout)["checks"][0]["seed"] == 7


def test_json_on_stdout_replaces_the_table(folder: Path) -> None:
    done = gradcheck("run", "--report", "json", cwd=folder)
    report = json.loads(done.stdout)
    assert (report["exit_code"], done.returncode) == (1, 1)
    assert [check["verdict"] for check in report["checks"]] == ["pass", "pass", "pass"]


def test_reports_are_written_beside_the_table(folder: Path) -> None:
    done = gradcheck("run", "--report", "json=out.json", "--report", "table=out.txt", "--width", "60", cwd=folder)
    assert json.loads((folder / "out.json").read_text())["summary"]["unmet"] == 1
    assert (folder / "out.txt").read_text() == done.stdout
    assert sorted(path.name for path in folder.iterdir()) == [".gradcheck", "configs", "out.json", "out.txt"]


def test_report_through_a_link_leaves_the_link(folder: Path) -> None:
    (folder / "there").mkdir()
    (folder / "out.json").symlink_to("there/out.json")
    gradcheck("run", "--report", "json=out.json", cwd=folder)
    assert (folder / "out.json").is_symlink()
    assert json.loads((folder / "there" / "out.json").read_text())["exit_code"] == 1


def test_report_to_a_device_leaves_the_device(folder: Path) -> None:
    assert gradcheck("run", "--report", "json=/dev/null", cwd=folder).returncode == 1
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize(("words", "shown"), [(["--all"], 30), (["--top", "3"], 3), (["--top", "40"], 30), ([], 10)])
def test_top_and_all_rule_table_and_json_alike(words: list[str], shown: int, folder: Path) -> None:
    done = gradcheck("check", "tanh", "x:30", *words, "--report", "json=out.json", cwd=folder)
    assert len(json.loads((folder / "out.json").read_text())["checks"][0]["arrays"][0]["worst"]) == shown
    assert done.stdout.count("\n  x[") == shown
    assert f"  {shown} of 30 elements shown, all others pass; --all shows them\n" in done.stdout or shown == 30


def test_pyproject_gives_the_paths(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.gradcheck]\npaths = ["configs/a.yaml::last"]\n')
    done = gradcheck("run", "-q", cwd=folder)
    assert done.stdout.startswith("1 check passes; 2 elements, ")


def test_pyproject_with_an_unknown_key_is_refused(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.gradcheck]\npath = []\n")
    done = gradcheck("run", cwd=folder)
    assert done.returncode == 2
    assert done.stderr == "pyproject.toml: tool.gradcheck: unknown key 'path'; did you mean 'paths'?\n"


@pytest.mark.parametrize(
    ("words", "variables", "coloured"),
    [
        ([], {}, False),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ([], {"FORCE_COLOR": ""}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_are_as_asked(words: list[str], variables: dict[str, str], coloured: bool, folder: Path) -> None:
    assert ("\x1b[" in gradcheck("check", "tanh", *words, cwd=folder, **variables).stdout) is coloured


@pytest.mark.parametrize(
    ("words", "variables", "title"),
    [
        ([], {}, "± uncertainty  abs error  rel error"),
        ([], {"COLUMNS": "80"}, "±  abs error  outcome"),
        (["--width", "140"], {"COLUMNS": "80"}, "± uncertainty  abs error  rel error"),
    ],
)
def test_width_is_as_asked(words: list[str], variables: dict[str, str], title: str, folder: Path) -> None:
    assert title in gradcheck("check", "tanh", *words, cwd=folder, **variables).stdout


def test_terminal_without_the_letters_shows_question_marks(folder: Path) -> None:
    done = gradcheck("check", "softmax", "--view", "jacobian", cwd=folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert re.search(r"\?y\[\d\]/\?x\[\d\]", done.stdout)


@pytest.mark.parametrize(
    "words", [["layers", "--json"], ["check", "tanh"], ["run", "--help"], ["--version"]], ids=" ".join
)
def test_closed_pipe_ends_quietly(words: list[str], folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [*GRADCHECK, *words],
            cwd=folder,
            env=environment(),
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert done.stderr == b""
    assert done.returncode == 141


def test_head_of_a_long_list_is_quiet(folder: Path) -> None:
    pipeline = f"{sys.executable} -m gradcheck_cli layers --json | head -n 1"
    done = subprocess.run(
        ["bash", "-c", pipeline], cwd=folder, env=environment(), capture_output=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr) == (b"[\n", b"")


def test_full_disk_is_no_verdict(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*GRADCHECK, "check", "tanh"],
            cwd=folder,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert done.stderr == b"Error: cannot write to standard output: No space left on device\n"
    assert done.returncode == 3


def test_interrupted_run_writes_what_is_done(folder: Path) -> None:
    (folder / "long.yaml").write_text(
        "version: 1\nchecks:\n  - {name: short, layer: tanh}\n  - {name: long, layer: tanh, points: 1000000}\n"
    )
    process = subprocess.Popen(
        [*GRADCHECK, "run", "long.yaml", "--report", "json=out.json"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    line = ""
    while not line.startswith("  passes:"):
        line = process.stdout.readline()
        assert line, "the first check must be shown when it ends"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == "gradcheck: interrupted; 1 of 2 checks were done\n"
    assert "interrupted; 1 check passes" in out
    report = json.loads((folder / "out.json").read_text())
    assert report["exit_code"] == 130
    assert [check["id"] for check in report["checks"]] == ["long.yaml::short"]


def test_bug_of_our_own_is_no_verdict(folder: Path) -> None:
    done = python(
        "import gradcheck_cli.runner\ngradcheck_cli.runner.run = lambda *_: {}['lost']\nsys.exit(main())",
        *["check", "tanh"],
        cwd=folder,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "gradcheck: internal error: KeyError at <string>:4, in <lambda>; this is a bug in gradcheck,"
    )


@pytest.mark.parametrize(
    "words",
    [["--version"], ["--help"], ["-h"], ["run", "-h"], ["check", "-h"], ["layers", "-h"], ["validate", "-h"], ["rum"]],
    ids=" ".join,
)
def test_help_loads_neither_numpy_nor_rich(words: list[str], folder: Path) -> None:
    code = "main()\nprint(sorted({'numpy', 'rich', 'pydantic', 'ruamel.yaml'} & sys.modules.keys()), file=sys.stderr)"
    assert python(code, *words, cwd=folder).stderr.splitlines()[-1] == "[]"


UNUSED = {
    "pydantic",  # its core validates
    "annotated_types",
    "numpy.ma",
    "statistics",
    "zipfile",
    "importlib.metadata",
    "difflib",
    "concurrent.futures",
    "multiprocessing",
    "pebble",
    "asyncio",
    "rich.progress",
    "rich.live",
    "rich.markdown",
    "gradcheck_cli.diagnosis.rules",
    "gradcheck_cli.batch.crew",
    "gradcheck_cli.config.words",
    "gradcheck_cli.config.files",
    "gradcheck_cli.config.schema",
    "gradcheck_cli.cli.expressions",
    "gradcheck_cli.cli.journal",
    "gradcheck_cli.from_json",
    "gradcheck_cli.raised",
    "gradcheck_cli.tiers.search",
    "gradcheck_cli.numeric.probes",
}


def test_small_run_imports_only_what_it_uses(folder: Path) -> None:
    (folder / "one.yaml").write_text(
        "version: 1\nchecks: [{layer: linear, options: {in_features: 3, out_features: 2}}]\n"
    )
    code = (
        "main()\n"
        f"print(sorted({UNUSED!r} & sys.modules.keys()), file=sys.stderr)\n"
        "for package in ('layers', 'differences', 'adapters', 'reports'):\n"
        "    inside = f'gradcheck_cli.{package}.'\n"
        "    print(sorted(m.removeprefix(inside) for m in sys.modules if m.startswith(inside)), file=sys.stderr)\n"
    )
    assert python(code, "run", "one.yaml", cwd=folder).stderr.splitlines() == [
        "[]",
        "['dense']",
        "['central', 'complex_step', 'method', 'richardson']",  # what the tiers are made of
        "['references']",
        "['_elements', '_text', '_unmet', 'table']",
    ]


def test_version_is_told(folder: Path) -> None:
    assert gradcheck("--version", cwd=folder).stdout == f"gradcheck {__version__}\n"
    assert python("sys.argv.append('--version')\nmain()", cwd=folder).stdout == f"gradcheck {__version__}\n"


def test_threads_of_blas_are_pinned_unless_given(folder: Path) -> None:
    code = "import os\nos.environ.pop('OMP_NUM_THREADS', None)\nos.environ['MKL_NUM_THREADS'] = '3'\nmain()\n"
    told = "print(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'], file=sys.stderr)"
    assert python(code + told, "-h", cwd=folder).stderr == "1 3\n"

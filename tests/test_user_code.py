"""Somebody's code through the command: what breaks stays in its check, what is hostile is refused before it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradcheck_cli

ROOT = Path(__file__).parents[1]
PACKAGE = str(Path(gradcheck_cli.__file__).parents[1])  # the copy under test, installed or not


def gradcheck(*words: str, cwd: Path, program: tuple[str, ...] = ("-m", "gradcheck_cli")) -> Any:
    """Run the command in a folder, as one who has it installed."""
    environment = {**os.environ, "PYTHONPATH": PACKAGE, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *program, *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


# --- code that breaks ---

BROKEN = """\
import os, sys, json
import numpy as np
def forward(x, w): return x @ w, (x, w)
def right(dout, cache): return dout @ cache[1].T, cache[0].T @ dout
def raises(dout, cache): return dout @ cache[1], 0
def raises_in_a_library(dout, cache): return json.loads("{")
def nothing(dout, cache): return None
def too_few(dout, cache): return dout @ cache[1].T
def a_text(dout, cache): return right(dout, cache)[0], "dw"
def leaves(dout, cache): sys.exit(3)
def leaves_well(dout, cache): raise SystemExit
class Odd(BaseException):
    def __str__(self): return 1 / 0
def raises_oddly(dout, cache): raise Odd
def recurses(dout, cache): return recurses(dout, cache)
def shape(dout, cache): return right(dout, cache)[0], right(dout, cache)[1].T
def dtype(dout, cache): return right(dout, cache)[0], right(dout, cache)[1].astype(int)
def prints(dout, cache):
    print("to stdout"); sys.stderr.write("to stderr\\n"); os.system("echo by a child")
    return right(dout, cache)[0], -right(dout, cache)[1]
def prints_and_is_right(dout, cache):
    print("nobody wants to see this")
    return right(dout, cache)
"""
ENDED = "the code ended the program with exit code {}; it must return or raise an exception"
ERRORS = {
    "raises": ("ValueError", "matmul: Input operand 1 has a mismatch in its core dimension", 5),
    "raises_in_a_library": ("JSONDecodeError", "Expecting property name enclosed in double quotes", 6),
    "nothing": ("UserCodeError", "nothing returned None; must return the gradient for x, w", 7),
    "too_few": ("UserCodeError", "too_few returned 1 gradient for 2 arrays (x, w); taken to be", 8),
    "a_text": ("UserCodeError", "a_text returned a str as the gradient for w; must be an array of numbers", 9),
    "leaves": ("SystemExit", ENDED.format(3), 10),
    "leaves_well": ("SystemExit", ENDED.format(None), 11),
    "raises_oddly": ("Odd", "", 14),
    "recurses": ("RecursionError", "maximum recursion depth exceeded", 15),
}
FINDINGS = {
    "shape": "the gradient of 'w' has shape (2, 3), 'w' has (3, 2); it is transposed",
    "dtype": "the gradient of 'w' is int64; it must be float64 like 'w'",
    "prints": "dL/dw has the wrong sign everywhere",
}
NAMES = [*ERRORS, *FINDINGS, "prints_and_is_right"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run of all of them: its folder, and the process that ended."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "mine.py").write_text(BROKEN)
    arrays = "arrays: {x: {shape: [4, 3]}, w: {shape: [3, 2]}}"
    lines = [f"  - {{name: {name}, functions: {{forward: 'mine:forward', backward: 'mine:{name}'}}, {arrays}}}\n"
             for name in NAMES]  # fmt: skip
    (folder / "mine.yaml").write_text("version: 1\nchecks:\n" + "".join(lines))
    return folder, gradcheck("run", "mine.yaml", "--allow", "mine", "-n", "0", "--report", "json", cwd=folder)


@pytest.fixture(scope="module")
def checks(broken: tuple[Path, Any]) -> dict[str, Any]:
    """By name; that this is JSON says that nothing of the code's came between."""
    return {check["name"]: check for check in json.loads(broken[1].stdout)["checks"]}


def test_broken_code_does_not_end_the_run(broken: tuple[Path, Any], checks: dict[str, Any]) -> None:
    assert list(checks) == NAMES
    assert broken[1].returncode == 1
    assert "Traceback" not in broken[1].stderr


@pytest.mark.parametrize("name", ERRORS)
def test_what_code_raises_is_the_error_of_its_check(
    name: str, broken: tuple[Path, Any], checks: dict[str, Any]
) -> None:
    kind, message, line = ERRORS[name]
    error = checks[name]["error"]
    assert (checks[name]["verdict"], error["type"]) == ("error", kind)
    assert error["message"].startswith(message)
    assert bool(message) == bool(error["message"])
    assert error["traceback_line"] == f"{broken[0] / 'mine.py'}:{line}: {BROKEN.splitlines()[line - 1].strip()}"


@pytest.mark.parametrize("name", FINDINGS)
def test_what_code_returns_wrong_is_found(name: str, checks: dict[str, Any]) -> None:
    assert (checks[name]["verdict"], checks[name]["error"]) == ("fail", None)
    found = [(one["array"], one["sentence"]) for one in checks[name]["findings"] if one["severity"] == "error"]
    assert found[0][0] == "w"
    assert found[0][1].startswith(FINDINGS[name])
    assert [array["failed"] + array["nonfinite"] > 0 for array in checks[name]["arrays"]] == [False, True]


def test_output_is_shown_on_stderr_where_the_check_does_not_pass(broken: tuple[Path, Any]) -> None:
    told = broken[1].stderr
    assert "mine.yaml::prints printed:\n" in told
    assert all(text in told for text in ("to stdout\n", "to stderr\n", "by a child\n"))
    assert "nobody wants to see this" not in told


def test_a_module_that_fails_to_import_is_the_error_of_its_checks(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("import surely_not_installed\ndef f(x): return x\ndef g(dout, x): return dout\n")
    (tmp_path / "a.yaml").write_text(
        "version: 1\nchecks:\n"
        "  - {name: late, functions: {forward: 'late:f', backward: 'late:g'}, arrays: {x: 1.0}}\n"
        "  - {name: fine, layer: tanh}\n"
    )
    done = gradcheck("run", "a.yaml", "--allow", "late", "-n", "0", "--report", "json", cwd=tmp_path)
    late, fine = json.loads(done.stdout)["checks"]
    assert (done.returncode, late["verdict"], fine["verdict"]) == (1, "error", "pass")
    assert late["error"] == {
        "type": "ModuleNotFoundError",
        "message": "No module named 'surely_not_installed'",
        "traceback_line": f"{tmp_path / 'late.py'}:1: import surely_not_installed",
    }


def test_notes_of_a_layer_reach_the_reader(tmp_path: Path) -> None:
    (tmp_path / "nn.py").write_text(
        "import numpy as np\nclass Scale:\n"
        "    def __init__(self): self.s = np.array([2.0, 3.0])\n"
        "    def forward(self, x): return self.s * x\n"
        "    def backward(self, dy): return self.s * dy\n"
    )
    link = "{object: 'nn:Scale'}"
    (tmp_path / "a.yaml").write_text(
        "version: 1\nchecks:\n"
        "  - {name: alone, object: 'nn:Scale', arrays: {x: {shape: [2]}}}\n"
        f"  - {{name: linked, chain: [{{layer: tanh}}, {link}], arrays: {{0.x: {{shape: [2]}}}}}}\n"
    )
    done = gradcheck("run", "a.yaml", "--allow", "nn", "-n", "0", "--report", "json", cwd=tmp_path)
    alone, linked = json.loads(done.stdout)["checks"]
    note = "Scale.s is not checked: forward depends on it, and no gradient for it was found (ds, grad_s, s_grad, d_s); "
    note += "if it is none of the parameters, list those that are: parameters: [...]"
    assert (alone["notes"], linked["notes"]) == ([note], [f"link 1 (object): {note}"])


# --- code that must not run ---

VICTIM = """\
from os import system
from pathlib import Path as P
import os
open("CANARY", "w").close()
def mine(x): return x
class Layer:
    def forward(self, x): return x
"""
HOSTILE_NAMES = [
    "victim:os.system", "victim:os", "victim:system", "victim:P", "victim:__import__", "victim:__builtins__",
    "victim:__loader__", "victim:Layer.forward", "victim:Layer.__init__.__globals__", "victim:mine()", "victim:",
    "victim", ":mine", "victim.os:system", "..victim:mine", "../victim.py:mine", "/etc/passwd:root", "victim.py:mine",
    "victim:ｍine", "victim:mine;import os", "os:system", "subprocess:Popen", "builtins:eval", "posix:system",
    "importlib:import_module", "victims:mine", "gradcheck_cli.registry:LAYERS",
]  # fmt: skip
KINDS = {
    "functions": "{{functions: {{forward: '{}', backward: 'victim:mine'}}, arrays: {{x: 1.0}}}}",
    "object": "{{object: {{class: '{}'}}, arrays: {{x: 1.0}}}}",
    "torch": "{{torch: '{}', arrays: {{x: 1.0}}}}",
    "jax": "{{jax: '{}', arrays: {{x: 1.0}}}}",
    "chain": "{{chain: [{{layer: tanh}}, {{object: {{class: '{}'}}}}]}}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_refused_before_anything_runs(kind: str, tmp_path: Path) -> None:
    (tmp_path / "victim.py").write_text(VICTIM)
    lines = [f"  - {KINDS[kind].format(name)}\n" for name in HOSTILE_NAMES]
    (tmp_path / "a.yaml").write_text("version: 1\nchecks:\n  - {layer: tanh}\n" + "".join(lines), encoding="utf-8")
    done = gradcheck("run", "a.yaml", "--allow", "victim", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    refused = {int(line.split(":")[1]) - 3 for line in done.stderr.splitlines()}
    assert refused == set(range(1, len(HOSTILE_NAMES) + 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "victim.py"]


HOSTILE_FORMULAS = [
    "__import__('os').system('touch CANARY')", "().__class__.__bases__[0].__subclasses__()", "x.__class__", "x.base",
    "eval('1')", "exec('1')", "open('CANARY', 'w')", "getattr(x, 'T')", "(lambda: x)()", "[q for q in x]", "f'{x}'",
    "x.tofile('CANARY')", "x.T.dump('CANARY')", "np.load('a.npy')", "load('a.npy')", "globals()", "print(x)", "x := 3",
    "9**9**9", "10**10000", "zeros(10**10)", "eye(10**6)", "arange(10**10)", "x" + ".T" * 5000, "(" * 500 + ")" * 500,
    "+".join(["x"] * 20000), "-" * 20000 + "x", "'a' * 10**9", "x[::__import__('os')]", "*x", "x; x", "import os",
    "breakpoint()", "yield x", "await x", "os.system('touch CANARY')", "sum(x, axis=10**30)", "1 << 10**9",
    "exp(x, out=x)", "x.astype(object)", "ｅval(x)", "x\u202e", "def f(): pass", "while True: pass",
    "x if x else x", "input()", "vars()",
]  # fmt: skip


def test_hostile_formulas_are_refused_before_anything_runs(tmp_path: Path) -> None:
    formulas = [
        {"formula": {"forward": text, "gradients": {"x": "dy"}}, "arrays": {"x": [1.0, 2.0]}}
        for text in HOSTILE_FORMULAS
    ]
    beside = [
        {"formula": {"forward": "x", "gradients": {"x": text}}, "arrays": {"x": 1.0}} for text in HOSTILE_FORMULAS
    ]
    for given, option in ((formulas, "forward"), (beside, "gradients.x")):
        (tmp_path / "a.yaml").write_text(json.dumps({"version": 1, "checks": [{"layer": "tanh"}, *given]}))
        done = gradcheck("run", "a.yaml", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        refused = [line.split(": ")[1].split(",")[0] for line in done.stderr.splitlines()]
        assert set(refused) == {f"checks[{k + 1}].formula.{option}" for k in range(len(HOSTILE_FORMULAS))}
        assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


ONE = "version: 1\nchecks:\n  - {name: one, functions: {forward: '%s:f', backward: '%s:g'}, arrays: {x: [1.0, 2.0]}}\n"
CODE = "def f(x): return 2 * x\ndef g(dout, x): return 2 * dout\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A working directory with code, and a config in a folder of its own that names it."""
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a.yaml").write_text(ONE % ("mine", "mine"))
    return tmp_path


def test_the_refusal_says_what_to_type_and_typing_it_helps(project: Path) -> None:
    done = gradcheck("run", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == (
        "configs/a.yaml:3:38: checks[0].functions.forward: module 'mine' is not allowed; add --allow mine, or "
        'allow = ["mine"] under [tool.gradcheck] in pyproject.toml'
    )
    assert gradcheck("run", "--allow", "mine", cwd=project).returncode == 0
    (project / "pyproject.toml").write_text('[tool.gradcheck]\nallow = ["mine"]\n')
    assert gradcheck("run", cwd=project).returncode == 0


def test_only_the_pyproject_of_the_working_directory_allows(project: Path) -> None:
    (project / "configs" / "pyproject.toml").write_text('[tool.gradcheck]\nallow = ["mine"]\n')
    assert gradcheck("run", cwd=project).returncode == 2
    (project / "inner").mkdir()
    (project / "pyproject.toml").write_text('[tool.gradcheck]\nallow = ["mine"]\n')
    assert gradcheck("run", "../configs", cwd=project / "inner").returncode == 2


def test_an_allowance_for_a_module_is_none_for_others(project: Path) -> None:
    (project / "mines.py").write_text(CODE)
    (project / "configs" / "a.yaml").write_text(ONE % ("mine", "mines"))
    done = gradcheck("run", "--allow", "mine", cwd=project)
    assert done.returncode == 2
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["checks[0].functions.backward"]


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("mime", "no module 'mime' in the working directory or among what is installed; did you mean 'mine'?"),
        ("mine.deeper", "no module 'mine.deeper' in the working directory or among what is installed"),
        ("configs", "no module 'configs' in the working directory or among what is installed"),
    ],
)
def test_a_module_that_is_not_there_is_told_before_anything_runs(module: str, sentence: str, project: Path) -> None:
    (project / "configs" / "a.yaml").write_text(ONE % (module, module))
    done = gradcheck("run", "--allow", module, cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == f"configs/a.yaml:3:38: checks[0].functions.forward: {sentence}"


def test_a_name_that_is_not_there_is_told_before_anything_runs(project: Path) -> None:
    (project / "mine.py").write_text("def forward(x): return x\ndef g(dout, x): return dout\n1 / 0\n")
    (project / "configs" / "a.yaml").write_text((ONE % ("mine", "mine")).replace(":f'", ":forwad'"))
    done = gradcheck("run", "--allow", "mine", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "configs/a.yaml:3:38: checks[0].functions.forward: 'forwad' is not defined in mine.py; module 'mine' must "
        "define it itself, not import it; did you mean 'forward'?\n"
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("mine.py", "'mine.py' is not the name of a module; did you mean 'mine'?"),
        ("./code/mine.py", "'./code/mine.py' is not the name of a module; did you mean 'code.mine'?"),
        ("mine:f", "'mine:f' is not the name of a module; did you mean 'mine'?"),
        ("", "'' is not the name of a module; must be one such as layers or package.layers"),
        ("mine f", "'mine f' is not the name of a module; must be one such as layers or package.layers"),
    ],
)
def test_what_is_no_module_cannot_be_allowed(word: str, sentence: str, project: Path) -> None:
    done = gradcheck("run", "--allow", word, cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"Error: Invalid value for '--allow': {sentence}"
    if word:
        (project / "pyproject.toml").write_text(f"[tool.gradcheck]\nallow = [{word!r}]\n")
        assert gradcheck("run", cwd=project).stderr == f"pyproject.toml: tool.gradcheck.allow: {sentence}\n"


def test_code_is_found_in_the_folders_of_pythonpath(project: Path) -> None:
    (project / "src").mkdir()
    (project / "mine.py").rename(project / "src" / "mine.py")
    done = gradcheck("run", "--allow", "mine", cwd=project)
    assert done.returncode == 2
    (project / "pyproject.toml").write_text('[tool.gradcheck]\nallow = ["mine"]\npythonpath = ["src"]\n')
    assert gradcheck("run", cwd=project).returncode == 0


SCRIPT = ("-P", "-c", "import sys; from gradcheck_cli.__main__ import main; sys.exit(main())")


@pytest.mark.parametrize("program", [("-m", "gradcheck_cli"), SCRIPT], ids=["module", "script"])
def test_files_of_the_working_directory_shadow_nothing(program: tuple[str, ...], project: Path) -> None:
    for name in ("numpy", "rich", "click", "ruamel", "pydantic", "json", "registry"):
        (project / f"{name}.py").write_text("open('CANARY', 'w').close()\nraise SystemExit('shadowed')\n")
    (project / "mine.py").write_text(f"import json, numpy\nassert 'shadowed' not in dir(json)\n{CODE}")
    done = gradcheck("run", "--allow", "mine", "-n", "0", cwd=project, program=program)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (project / "CANARY").exists()


def test_the_working_directory_is_importable_only_with_an_allowance(project: Path) -> None:
    told = "import sys; from gradcheck_cli.__main__ import main; main(); print(sys.path, file=sys.stderr)"
    (project / "configs" / "a.yaml").write_text("version: 1\nchecks:\n  - {layer: tanh}\n")
    without = gradcheck("run", cwd=project, program=("-P", "-c", told)).stderr
    assert f"'{project}'" not in without
    allowed = gradcheck("run", "--allow", "mine", cwd=project, program=("-P", "-c", told)).stderr
    assert allowed.rstrip().endswith(f", '{project}']")


def test_arrays_come_from_below_the_config_and_without_pickle(project: Path) -> None:
    np.save(project / "outside.npy", np.ones(2))
    np.save(project / "configs" / "pickled.npy", np.array([object()]), allow_pickle=True)
    (project / "configs" / "link.npy").symlink_to(project / "outside.npy")
    np.savez(project / "configs" / "pickled.npz", x=np.array([{}]))
    files = ["../outside.npy", str(project / "outside.npy"), "pickled.npy", "link.npy", "pickled.npz#x", "none.npy"]
    lines = [f"  - {{layer: tanh, arrays: {{x: {{file: '{file}'}}}}}}\n" for file in files]
    (project / "configs" / "a.yaml").write_text("version: 1\nchecks:\n" + "".join(lines))
    done = gradcheck("run", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert [int(line.split(":")[1]) for line in done.stderr.splitlines()] == [3, 4, 5, 6, 7, 8]


# --- the examples ---


def test_the_examples_run_with_an_allowance_and_are_left_out_without_a_path() -> None:
    allowed = gradcheck("run", "configs/user_code", "--allow", "configs.user_code.layers", "--report", "json", cwd=ROOT)
    assert (allowed.returncode, allowed.stderr) == (0, "")
    names = [check["name"] for check in json.loads(allowed.stdout)["checks"]]
    course = {
        "affine", "relu", "batch normalisation", "layer normalisation", "dropout with a seed", "convolution",
        "max pooling", "svm loss", "softmax loss", "rnn step", "lstm step",
    }  # fmt: skip
    assert course <= set(names)
    listed = gradcheck("run", "--list", cwd=ROOT)
    assert listed.returncode == 0
    assert "configs/homework/linear.yaml::warm-up\n" in listed.stdout
    assert "configs/user_code" not in listed.stdout


def test_every_folder_of_examples_but_the_one_with_code_is_run_by_default() -> None:
    from gradcheck_cli.cli.project import read

    holding = {path.parent for path in (ROOT / "configs").rglob("*.yaml") if "\nchecks:" in path.read_text()}
    folders = {folder.relative_to(ROOT).as_posix() for folder in holding} - {"configs/user_code"}
    assert folders == set(read(ROOT).paths)


def test_a_torch_function_that_forgets_grad_output_is_told_so(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "ops.py").write_text(
        "import torch\nclass Square(torch.autograd.Function):\n"
        "    @staticmethod\n    def forward(ctx, x):\n        ctx.save_for_backward(x)\n        return x * x\n"
        "    @staticmethod\n    def backward(ctx, grad_output):\n        return 2 * ctx.saved_tensors[0]\n"
    )
    (tmp_path / "a.yaml").write_text("version: 1\nchecks:\n  - {torch: 'ops:Square', arrays: {x: {shape: [3]}}}\n")
    done = gradcheck("run", "a.yaml", "--allow", "ops", "-n", "0", "--report", "json", cwd=tmp_path)
    check = json.loads(done.stdout)["checks"][0]
    assert (done.returncode, check["verdict"]) == (1, "fail")
    assert check["findings"][0]["sentence"] == (
        "the gradient of 'x' ignores the upstream gradient: it is the same for dy, 2 dy and 0; "
        "multiply by dy (dL/dy) in the backward pass"
    )

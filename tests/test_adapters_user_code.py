"""What is said when somebody's code breaks its convention, raises or prints; and the examples through the command."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_adapters_functions import ROOT, SKIP, W, X, affine, affine_backward

from gradcheck_cli.adapters.functions import from_pair
from gradcheck_cli.adapters.user_code import UserCodeError


def broken(forward: Any = affine, backward: Any = affine_backward, **options: Any) -> None:
    layer = from_pair(forward, backward, {"x": X, "w": W}, **options)
    layer.vjp(np.ones((2, 2)), x=X, w=W)


ORDER = f"taken to be for the float arrays in the order of the signature; {SKIP}"
BREACHES: dict[str, tuple[dict[str, Any], str]] = {
    "too few gradients": (
        {"backward": lambda dout, cache: dout},
        f"backward returned 1 gradient for 2 arrays (x, w); {ORDER}",
    ),
    "too many gradients": (
        {"backward": lambda dout, cache: (dout, dout, dout)},
        f"backward returned 3 gradients for 2 arrays (x, w); {ORDER}",
    ),
    "nothing": ({"backward": lambda dout, cache: None}, "backward returned None; must return the gradient for x, w"),
    "a None": (
        {"backward": lambda dout, cache: (dout, None)},
        "backward returned None as the gradient for w; must be an array of numbers",
    ),
    "a text": (
        {"backward": lambda dout, cache: (dout, "dw")},
        "backward returned a str as the gradient for w; must be an array of numbers",
    ),
    "ragged": (
        {"backward": lambda dout, cache: (dout, [[1.0], [1.0, 2.0]])},
        "backward returned something ragged as the gradient for w; must be an array of numbers",
    ),
    "missing key": (
        {"backward": lambda dout, cache: {"dx": dout, "dW": dout}},
        "backward returned no gradient for w; its keys are dx, dW",
    ),
    "no output": (
        {"forward": lambda x, w: None},
        "forward returned None as its output; must be an array of numbers",
    ),
    "too many outputs": (
        {"forward": lambda x, w: (x, w, x)},
        "forward returned 3 values; must be the output, or the output and a cache",
    ),
    "too few outputs": (
        {"forward": lambda x, w: x @ w, "outputs": 2},
        "forward returned 1 value; must be 2 outputs, or 2 outputs and a cache",
    ),
    "missing array": (
        {"forward": lambda x, w, bias: x @ w + bias},
        "forward takes bias too; name it under arrays or constants",
    ),
    "unknown array": ({"forward": lambda x: x}, "forward takes no array 'w'; its parameters are x"),
    "unknown constant": (
        {"constants": {"epsilon": 1e-5}},
        "affine takes no constant 'epsilon'; its parameters are x, w",
    ),
    "both": ({"constants": {"w": 1}}, "'w' is an array and a constant; name it under one of them"),
    "unknown gradient": (
        {"gradients": ["x", "W"]},
        "gradients names 'W'; must be among the float arrays x, w",
    ),
    "no cotangent": (
        {"backward": lambda: None},
        "backward takes none; must take 1 cotangent first, then the cache",
    ),
    "two unknowns": (
        {"backward": lambda dout, cache, more: None},
        (
            "backward takes dout, cache, more, and more is no array or constant; "
            "must take 1 cotangent first, then the cache"
        ),
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_the_convention_is_told(breach: str) -> None:
    options, sentence = BREACHES[breach]
    with pytest.raises(UserCodeError, match=f"^{re.escape(sentence)}$") as caught:
        broken(**options)
    assert caught.value.line is not None
    assert re.match(r".*test_adapters_(functions|user_code)\.py:\d+: .*(def|lambda)", caught.value.line)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.line) == (sentence, caught.value.line)


def test_what_user_code_raises_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        broken(backward=lambda dout, cache: 1 / 0)
    assert caught.traceback[-1].path == Path(__file__)


def run_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gradcheck_cli", "run", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_examples_need_an_allowance_and_then_pass() -> None:
    refused = run_in(ROOT, "configs/user_code")
    assert (refused.returncode, refused.stdout) == (2, "")
    first = refused.stderr.splitlines()[0]
    place, _, sentence = first.partition(" checks[0].functions.forward: ")
    assert re.fullmatch(r"configs/user_code/course\.yaml:\d+:\d+:", place)
    assert sentence == (
        "module 'configs.user_code.layers' is not allowed; add --allow configs.user_code.layers, or "
        'allow = ["configs.user_code.layers"] under [tool.gradcheck] in pyproject.toml'
    )
    allowed = run_in(ROOT, "configs/user_code", "--allow", "configs.user_code.layers", "-q")
    assert (allowed.returncode, allowed.stderr) == (0, "")


BROKEN = """
import numpy as np
def forward(x, w): return x @ w, (x, w)
def raises(dout, cache): return dout @ cache[1], 0
def none(dout, cache): return None
def wrong(dout, cache):
    print("printed by backward")
    return dout @ cache[1].T, -cache[0].T @ dout
"""


def test_broken_code_is_its_own_checks_error_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    lines = [
        f"  - {{name: {name}, functions: {{forward: 'mine:forward', backward: 'mine:{name}'}}}}"
        for name in ("raises", "none", "wrong")
    ]
    head = "version: 1\ndefaults: {arrays: {x: {shape: [4, 3]}, w: {shape: [3, 2]}}}\nchecks:\n"
    (tmp_path / "mine.yaml").write_text(head + "\n".join(lines))
    ran = run_in(tmp_path, "mine.yaml", "--allow", "mine", "--report", "json=out.json")
    checks = json.loads((tmp_path / "out.json").read_text())["checks"]
    assert ran.returncode == 1
    assert [check["verdict"] for check in checks] == ["error", "error", "fail"]
    assert checks[0]["error"]["type"] == "ValueError"
    assert checks[0]["error"]["traceback_line"].endswith(
        "mine.py:4: def raises(dout, cache): return dout @ cache[1], 0"
    )
    assert checks[1]["error"]["message"] == "none returned None; must return the gradient for x, w"
    assert [array["failed"] for array in checks[2]["arrays"]] == [0, 6]
    assert "printed by backward" in ran.stderr
    assert "printed by backward" not in ran.stdout

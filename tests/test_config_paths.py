"""Files, folders, stdin and single checks; names, ids and the command that reproduces a check."""

import io
import os
from pathlib import Path

import pytest
from config_text import complaints, loaded

from gradcheck_cli import config
from gradcheck_cli.results import ExitCode

TWO = "version: 1\nchecks: [{name: warm-up, layer: linear, seed: 3}, {name: soft, layer: softmax}]\n"
MATRIX = "version: 1\nchecks: [{name: soft, layer: softmax, matrix: {options.beta: [1, 2.0]}}]\n"


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with configs."""
    monkeypatch.chdir(tmp_path)
    for file, text in (("b/two.yml", TWO), ("a.yaml", MATRIX), (".hidden/c.yaml", "wrong"), ("b/notes.txt", "")):
        path = Path("configs", file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    Path("empty").mkdir()


def ids(*paths: str, **settings: object) -> list[str]:
    return [spec.id for spec in config.load(paths, **settings)]  # type: ignore[arg-type]


def sentences(*paths: str) -> tuple[list[str], ExitCode]:
    with pytest.raises(config.ConfigError) as caught:
        config.load(paths)
    return [str(problem) for problem in caught.value.problems], caught.value.exit_code


ALL = [
    "configs/a.yaml::soft[beta=1]",
    "configs/a.yaml::soft[beta=2.0]",
    "configs/b/two.yml::warm-up",
    "configs/b/two.yml::soft",
]


@pytest.mark.parametrize(
    ("paths", "chosen"),
    [
        (["configs"], ALL),
        (["./configs/"], ALL),
        (["configs/b", "configs"], [*ALL[2:], *ALL[:2]]),
        (["configs/b/two.yml::soft"], ALL[3:]),
        (["configs/b/two.yml::soft", "configs/b/two.yml::warm-up"], [ALL[3], ALL[2]]),
        (["configs/a.yaml::soft"], ALL[:2]),
        (["configs/a.yaml::soft[beta=2.0]"], ALL[1:2]),
        (["configs::soft"], [ALL[0], ALL[1], ALL[3]]),
        ([], []),
    ],
)
def test_what_paths_choose(paths: list[str], chosen: list[str]) -> None:
    assert ids(*paths) == chosen


def test_every_id_chooses_its_check() -> None:
    for ident in ALL:
        assert ids(ident) == [ident]


def test_stdin() -> None:
    (spec,) = config.load(["-::soft"], stdin=io.StringIO(TWO))
    assert (spec.id, spec.file, spec.line) == ("<stdin>::soft", "<stdin>", 2)
    assert spec.reproduce == "gradcheck run -::soft --seed 0"
    assert len(config.load(["-"], stdin=io.TextIOWrapper(io.BytesIO(TWO.encode())))) == 2
    with pytest.raises(config.ConfigError, match=r"^<stdin>:1:4: the byte 0xff; must be UTF-8$"):
        config.load(["-"], stdin=io.TextIOWrapper(io.BytesIO(b"a: \xff"), encoding="ascii"))


def test_a_missing_path_and_an_unknown_name_are_wrong_usage() -> None:
    assert sentences("confgs") == (
        ["confgs: no such file or folder; must exist; did you mean 'configs'?"],
        ExitCode.USAGE,
    )
    assert sentences("configs/b/two.yml::warmup") == (
        ["configs/b/two.yml: unknown check 'warmup'; did you mean 'warm-up'?"],
        ExitCode.USAGE,
    )
    assert sentences("configs::zzz", "none") == (
        [
            "configs: unknown check 'zzz'; must be the name of one in it",
            "none: no such file or folder; must exist",
        ],
        ExitCode.USAGE,
    )


def test_a_folder_without_configs_has_nothing_to_check() -> None:
    nothing = "empty: no configs in this folder; must hold *.yaml or *.yml files"
    assert sentences("empty") == ([nothing], ExitCode.NOTHING)
    assert sentences("empty", "none")[1] == ExitCode.USAGE


def test_a_pipe_is_no_config() -> None:
    os.mkfifo("pipe.yaml")
    assert sentences("pipe.yaml")[0] == ["pipe.yaml: neither a file nor a folder; must be one of them"]


def test_problems_of_all_files_are_told_together() -> None:
    Path("configs/c.yaml").write_text("version: 1\nchecks: [{layer: linaer}]")
    Path("configs/b/d.yaml").write_text("")
    assert sentences("configs")[0] == [
        "configs/b/d.yaml:1:1: nothing is in it; must be a mapping",
        "configs/c.yaml:2:18: checks[0].layer: unknown layer 'linaer'; did you mean 'linear'?",
    ]
    assert ids("configs/a.yaml") == ALL[:2]


def test_the_seed_of_the_command_line_wins() -> None:
    (spec,) = config.load(["configs/b/two.yml::warm-up"])
    assert (spec.seed, spec.reproduce) == (3, "gradcheck run configs/b/two.yml::warm-up --seed 3")
    (spec,) = config.load(["configs/b/two.yml::warm-up"], seed=11)
    assert (spec.seed, spec.reproduce) == (11, "gradcheck run configs/b/two.yml::warm-up --seed 11")


def test_a_name_is_quoted_where_the_shell_needs_it(tmp_path: Path) -> None:
    Path("x.yaml").write_text('version: 1\nchecks: [{name: "it\'s $(here)", layer: relu}]')
    (spec,) = config.load(["x.yaml"])
    assert spec.reproduce == """gradcheck run 'x.yaml::it'"'"'s $(here)' --seed 0"""


def test_checks_without_a_name_are_called_after_their_layer(tmp_path: Path) -> None:
    text = """
version: 1
checks:
  - {layer: linear}
  - {layer: linear}
  - {layer: relu, name: linear-3}
  - {layer: linear}
  - {chain: [{layer: linear}]}
  - {formula: {forward: x, gradients: {x: dy}}, arrays: {x: [1]}}
"""
    assert [spec.name for spec in loaded(tmp_path, text)] == [
        "linear",
        "linear-2",
        "linear-3",
        "linear-4",
        "chain",
        "formula",
    ]


def test_names_are_unique_in_a_file(tmp_path: Path) -> None:
    text = "version: 1\nchecks:\n  - {name: a, layer: relu}\n  - {name: a, layer: tanh}\n"
    assert complaints(tmp_path, text) == [
        "4:12: checks[1].name: the name 'a' again; must be unique in its file, and is on line 3 already",
    ]
    text = "version: 1\nchecks:\n  - {name: 'relu[seed=1]', layer: relu}\n  - {layer: relu, matrix: {seed: [1]}}\n"
    assert complaints(tmp_path, text) == [
        "3:5: two checks are 'relu[seed=1]'; must be different",
        "4:5: two checks are 'relu[seed=1]'; must be different",
    ]


def test_validate_reads_the_same_files() -> None:
    assert [spec.id for spec in config.validate(["configs"])] == ALL

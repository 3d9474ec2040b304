"""Strict YAML: what is refused, where, and in which words."""

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_cli.config.nodes import Node
from gradcheck_cli.config.problems import Place, Problems
from gradcheck_cli.config.reading import decode, read
from gradcheck_cli.config.scalars import resolve


def problems_of(text: str) -> list[str]:
    problems = Problems()
    node = read(text, "a.yaml", problems)
    assert (node is None) == bool(problems)
    return [str(problem) for problem in problems]


def plain(text: str) -> Any:
    problems = Problems()
    node = read(text, "a.yaml", problems)
    assert node is not None, problems
    return node.plain()


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)
DEEP_BY_ALIAS = "a0: &a0 [1]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}]\n" for k in range(1, 50))

REFUSED = {
    "empty": ("", "1:1: nothing is in it; must be a mapping"),
    "only a comment": ("# nothing\n", "1:1: nothing is in it; must be a mapping"),
    "two documents": ("a: 1\n---\nb: 2\n", "2:1: a second document; must be one"),
    "an old YAML": ("%YAML 1.1\n---\na: 1\n", "2:1: YAML 1.1; must be 1.2"),
    "a tag": ("a: !foo 1\n", "1:4: a: the tag '!foo'; must be plain YAML, which has none"),
    "a tag of Python": (
        "a: !!python/object:os.system x\n",
        "1:4: a: the tag 'tag:yaml.org,2002:python/object:os.system'; must be plain YAML, which has none",
    ),
    "a merge key": (
        "a: {b: 1}\n<<: {c: 2}\n",
        "2:1: a merge key '<<'; must be written out, for YAML 1.2 has none (see defaults, extends)",
    ),
    "deep brackets": ("[" * 100_000, "1:51: nested deeper than 50 levels; must be flatter"),
    "deep dashes": ("- " * 10_000, "1:101: nested deeper than 50 levels; must be flatter"),
    "deep mappings": ("{a: " * 10_000, "1:201: nested deeper than 50 levels; must be flatter"),
    "deep by aliases": (DEEP_BY_ALIAS, "50:12: nested deeper than 50 levels; must be flatter"),
    "an alias bomb": (BOMB, "6:10: a5[0]: aliases that expand to more than 100000 values; must be fewer"),
    "an alias of itself": ("a: &x [*x]\n", "1:8: a[0]: the alias '*x' inside its own anchor; must follow it"),
    "an alias of nothing": ("a: *x\n", "1:4: a: the alias '*x' of nothing; must follow its anchor '&x'"),
    "a number as key": ("a: {1: 2}\n", "1:5: a: the number 1 as a key; must be a word"),
    "a list as key": ("[1]: 3\n", "1:1: a list as a key; must be a word"),
    "nothing as key": ("~: 3\n", "1:1: nothing as a key; must be a word"),
    "a control character": ("a: \x01", "1:4: the character '\\x01'; must be escaped, in double quotes"),
    "half a character": ('a: "\\ud800"', "1:4: a: half of a surrogate pair; must be a character"),
    "a number without end": (f"a: {'9' * 5000}", "1:4: a: a number of 5000 digits; must have at most 1000"),
    "a hexadecimal one": (f"a: 0x{'f' * 5000}", "1:4: a: a number of 5002 digits; must have at most 1000"),
    "a colon too many": ("a: b: c\n", "1:5: no YAML: mapping values are not allowed here"),
    "an open bracket": (
        "a: [1\n",
        "2:1: no YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
    ),
    "a tab": (
        "a:\n\t- 1\n",
        "2:1: no YAML: while scanning for the next token, found character '\\t' that cannot start any token",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_own_sentence_and_at_once(case: str) -> None:
    text, sentence = REFUSED[case]
    start = time.perf_counter()
    assert problems_of(text) == [f"a.yaml:{sentence}"]
    assert time.perf_counter() - start < 10


def test_every_repeated_key_is_reported() -> None:
    assert problems_of("a: 1\na: 2\nb: {c: 1, c: 2}\n") == [
        "a.yaml:2:1: a: a repeated key; must be given once, and is on line 1 already",
        "a.yaml:3:11: b.c: a repeated key; must be given once, and is on line 3 already",
    ]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"a: 1\nb: \xff", "a.yaml:2:4: the byte 0xff; must be UTF-8"),
        (b"\xff\xfea\0", "a.yaml:1:1: the byte 0xff; must be UTF-8"),
        ("a: é".encode("latin-1"), "a.yaml:1:4: the byte 0xe9; must be UTF-8"),
    ],
)
def test_what_is_not_utf_8_is_located(raw: bytes, sentence: str) -> None:
    problems = Problems()
    assert decode(raw, "a.yaml", problems) is None
    assert [str(problem) for problem in problems] == [sentence]


def test_utf_8_may_begin_with_a_byte_order_mark() -> None:
    assert decode(b"\xef\xbb\xbfa: \xc3\xa9", "a.yaml", Problems()) == "a: é"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-6", 1e-6),
        ("1E5", 1e5),
        ("-1.5e+3", -1500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("12", 12),
        ("017", 17),
        ("-3", -3),
        ("0o17", 15),
        ("0x1F", 31),
        ("9" * 100, int("9" * 100)),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("1e", "1e"),
        ("-", "-"),
        ("0o8", "0o8"),
    ],
)
def test_words_are_what_yaml_1_2_says(word: str, value: object) -> None:
    found = resolve(word)
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(resolve(".nan"))  # type: ignore[arg-type]


def test_quotes_make_text() -> None:
    assert plain("a: '1e-6'\nb: \"no\"\nc: |\n  1\n") == {"a": "1e-6", "b": "no", "c": "1\n"}


def test_small_aliases_are_expanded() -> None:
    assert plain("a: &x [1, {b: 2}]\nc: [*x, *x]\n") == {"a": [1, {"b": 2}], "c": [[1, {"b": 2}], [1, {"b": 2}]]}


def test_many_written_values_are_no_bomb() -> None:
    text = f"a: [{', '.join(['1'] * 20_000)}]\n"
    assert len(plain(text)["a"]) == 20_000


def test_every_node_and_key_knows_its_place() -> None:
    node = read("checks:\n  - name: a\n    arrays: {0.W: [1, 2]}\n", "a.yaml", Problems())
    assert node is not None
    check = node.mapping["checks"].items[0]
    assert check.place == Place("a.yaml", 2, 5, "checks[0]")
    assert check.keys["arrays"] == Place("a.yaml", 3, 5, "checks[0].arrays")
    assert check.mapping["arrays"].mapping["0.W"].items[1].place == Place("a.yaml", 3, 23, "checks[0].arrays.0.W[1]")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_json_reads_back_as_itself(value: object) -> None:
    assert plain(json.dumps(value)) == value


@given(st.text(st.sampled_from("ab:-[]{}#&*!|>'\"%@`, \n\t01.?~")))
def test_any_text_is_read_or_refused(text: str) -> None:
    problems = Problems()
    node = read(text, "a.yaml", problems)
    assert isinstance(node, Node) != bool(problems)

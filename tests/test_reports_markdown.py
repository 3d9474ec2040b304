"""Markdown of constructed results, read by a parser of Markdown."""

from __future__ import annotations

from typing import Any

import constructed_results as constructed
import pytest
from hypothesis import given
from hypothesis import strategies as some
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gradcheck_cli.reports.markdown import Markdown
from gradcheck_cli.results import CheckResult, ErrorInfo, Finding, Outcome, RunResult, Verdict

LINES = some.text(some.characters(exclude_categories=()), min_size=1)


def tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def rows(text: str) -> list[list[str]]:
    """The cells of the tables, as a reader sees them."""
    found: list[list[str]] = []
    for before, token in zip(tokens(text), tokens(text)[1:], strict=False):
        if before.type == "tr_open":
            found.append([])
        if before.type in ("td_open", "th_open"):
            found[-1].append(seen(token))
    return found


def seen(token: Token) -> str:
    return "".join(child.content for child in token.children or [] if child.type != "html_inline")


def nasty(text: str) -> CheckResult:
    wrong = constructed.element(0, analytic=2.0, numeric=1.0, outcome=Outcome.FAIL, reason=text)
    return constructed.check(
        text,
        text,
        Verdict.FAIL,
        constructed.array(text, (1,), [wrong]),
        met=False,
        findings=(Finding("elements", "error", text, text), Finding("power", "note", None, text)),
        notes=(text,),
        error=ErrorInfo(text, text, text),
        reproduce=text,
    )


def test_golden_report() -> None:
    run = constructed.run(constructed.warm_up(), constructed.transposed(), constructed.broken())
    assert Markdown().render(run) == GOLDEN


GOLDEN = """\
## gradcheck: 2 of 3 checks not as expected: 1 passes, 1 fails, 1 error

13 elements, 85 evaluations, 1.2 s.

| check | layer | verdict | why |
| --- | --- | --- | --- |
| `configs/a.yaml::broken [bold]` | mine:Layer | error | ValueError: shapes do not fit: |
| `configs/a.yaml::transposed` | dense | fails | W is transposed: analytic equals the transpose of numeric to 1.3e-10 |

### `configs/a.yaml::broken [bold]`

**error**, mine:Layer, float64 at `configs/a.yaml:3:5`.

```text
ValueError: shapes do not fit:
\\x1b[31m(3,) and (2,)
layers.py:12, in forward: "y = W @ x"
```

```sh
gradcheck run configs/a.yaml::broken [bold] --seed 0
```

### `configs/a.yaml::transposed`

**fails**, dense, float64 at `configs/a.yaml:3:5`.

- W is transposed: analytic equals the transpose of numeric to 1.3e-10
- W: the analytic gradient is nan at \\[1, 1\\], where forward is finite
- forward was evaluated in float64 although x was given as float32, which hides rounding errors of the layer

| element | analytic | numeric | ± uncertainty | abs error | rel error | outcome |
| --- | --- | --- | --- | --- | --- | --- |
| `W[1, 1]` | nan | 0.250000 | 1.0e-10 | nan | nan | nonfinite |
| `W[0, 1]` | 0.321751 | -1.25000 | 1.3e-10 | 1.6 | 1.3 | fail |
| `W[1, 0]` | -1.25000 | 0.321751 | 1.3e-10 | 1.6 | 1.3 | fail |

```sh
gradcheck run configs/a.yaml::transposed --seed 0
```
"""


def test_run_that_is_as_expected_is_two_lines() -> None:
    run = constructed.run(constructed.warm_up(), constructed.caught())
    assert Markdown().render(run) == (
        "## gradcheck: 2 checks, all as expected: 1 passes, 1 fails\n\n8 elements, 84 evaluations, 1.2 s.\n"
    )


def test_no_more_than_the_most_are_shown() -> None:
    checks = [constructed.check(str(k), "linear", Verdict.FAIL, met=False) for k in range(5)]
    text = Markdown(most=2).render(constructed.run(*checks))
    assert len(rows(text)) == 3
    assert text.count("### ") == 2
    assert "\n\n3 more are not as expected.\n\n" in text


@pytest.mark.parametrize(
    "text", ["a|b", "a\\|b", "a\\\\|b", "`x`", "``|", "*a* _b_ [c](d) <e> &lt;", "# a", "```", " a ", "$x$", "~~a~~"]
)
def test_text_of_users_is_shown_as_it_is(text: str) -> None:
    found = rows(Markdown().render(constructed.run(nasty(text))))
    assert [len(row) for row in found] == [4, 4, 7, 7]
    assert [found[1][0].strip(), found[1][1]] == [f"configs/a.yaml::{text}".strip(), text.strip()]
    assert found[3][0].strip() == f"{text}[0]".strip()
    assert found[3][-1] == f"fail ({text})"


@given(text=LINES)
def test_structure_stays_whatever_users_write(text: str) -> None:
    rendered = Markdown().render(RunResult((nasty(text),)))
    rendered.encode()
    assert [len(row) for row in rows(rendered)] == [4, 4, 7, 7]
    kinds: list[Any] = [token.type for token in tokens(rendered)]
    assert (kinds.count("heading_open"), kinds.count("fence"), kinds.count("table_open")) == (2, 2, 2)
    assert "html_block" not in kinds

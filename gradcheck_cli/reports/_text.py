"""Numbers, names and sentences as text. Numbers are never cut; names of users cannot move the cursor."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from gradcheck_cli.results import ArrayResult, CheckResult, Element, Outcome, Verdict

FEWEST_DIGITS, MOST_DIGITS = 6, 17  # 17 significant digits tell any two float64 apart

_WORDS = {
    Outcome.PASS: ("passes", "pass"),
    Outcome.KINK: ("kink", "kinks"),
    Outcome.INCONCLUSIVE: ("inconclusive", "inconclusive"),
    Outcome.FAIL: ("fails", "fail"),
    Outcome.NONFINITE: ("nonfinite", "nonfinite"),
}
_VERDICTS = {
    Verdict.PASS: ("passes", "pass"),
    Verdict.FAIL: ("fails", "fail"),
    Verdict.INCONCLUSIVE: ("inconclusive", "inconclusive"),
    Verdict.ERROR: ("error", "errors"),
}
_EXPONENT = re.compile(r"e([+-])0*(?=\d)")


def _compact(text: str) -> str:
    """1e-9 instead of 1e-09, 1e20 instead of 1e+20."""
    return _EXPONENT.sub(lambda match: "e" + match[1].removeprefix("+"), text)


def number(value: float, digits: int) -> str:
    """A value to so many significant digits, trailing zeros kept."""
    return "0" if value == 0 else _compact(f"{value:#.{digits}g}").removesuffix(".")


def pair(analytic: float, numeric: float) -> tuple[str, str]:
    """Both values to the same digits: the fewest that show how they differ."""
    equal = analytic == numeric or (math.isnan(analytic) and math.isnan(numeric))
    for digits in range(FEWEST_DIGITS, MOST_DIGITS + 1):
        texts = number(analytic, digits), number(numeric, digits)
        if equal or texts[0] != texts[1]:
            break
    return texts


def short(value: float) -> str:
    """An error or a bound: two digits are enough."""
    return "0" if value == 0 else _compact(f"{value:#.2g}").removesuffix(".")


def aligned(numbers: Sequence[str]) -> list[str]:
    """The numbers padded so that their decimal points stand below each other; nan and inf stand at the right."""
    parts = [text.partition(".") if text[-1].isdigit() else ("", "", text) for text in numbers]
    left = max((len(head) for head, _, _ in parts), default=0)
    right = max((len(dot + tail) for _, dot, tail in parts), default=0)
    return [f"{head:>{left}}{dot + tail:<{right}}" if head else f"{tail:>{left + right}}" for head, dot, tail in parts]


def plain(text: str) -> str:
    """Text of a user on one line: what does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, one: str, many: str | None = None) -> str:
    """1 check, 2 checks."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def seconds(value: float) -> str:
    """A duration to two digits."""
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"


def index(name: str, position: Sequence[int]) -> str:
    """W[0, 1], or the bare name of a scalar."""
    return f"{plain(name)}[{', '.join(map(str, position))}]" if position else plain(name)


def label(array: ArrayResult, element: Element) -> str:
    """What an element is called: W[0, 1], in the Jacobian view ∂y[2]/∂x[0], of several outputs ∂y1[2]/∂x[0]."""
    text = index(array.name, element.index)
    if element.output is None:
        return text
    output = "y" if element.output_number is None else f"y{element.output_number}"
    return f"∂{index(output, element.output)}/∂{text}"


def tier(name: str) -> str:
    """What a share of the evaluations was for."""
    return f"tier {name}" if name.isdigit() else plain(name)


def tally(arrays: Iterable[ArrayResult]) -> dict[Outcome, int]:
    """How many elements have each outcome, worst first; zeros are left out."""
    counts = dict.fromkeys(sorted(Outcome, key=lambda outcome: -outcome.severity), 0)
    for array in arrays:
        counts[Outcome.NONFINITE] += array.nonfinite
        counts[Outcome.FAIL] += array.failed
        counts[Outcome.INCONCLUSIVE] += array.inconclusive
        counts[Outcome.KINK] += array.kinks
        counts[Outcome.PASS] += array.passed
    return {outcome: count for outcome, count in counts.items() if count}


def tallied(counts: dict[Outcome, int]) -> str:
    """1 fails, 2 inconclusive, 9 pass."""
    return ", ".join(f"{count} {_WORDS[outcome][count != 1]}" for outcome, count in counts.items())


def verdicts(counts: dict[Verdict, int]) -> str:
    """1 passes, 2 errors; zeros are left out."""
    return ", ".join(f"{count} {_VERDICTS[verdict][count != 1]}" for verdict, count in counts.items() if count)


def headline(check: CheckResult) -> str:
    """The verdict of a check, beside what was expected."""
    word = _VERDICTS[check.verdict][0]
    if check.expected is Verdict.PASS:
        return word
    if check.met:
        return f"{word}, as expected"
    if check.verdict is Verdict.FAIL:
        return f"{word}, but not in the arrays that were expected to"
    return f"{word}, but was expected to fail"

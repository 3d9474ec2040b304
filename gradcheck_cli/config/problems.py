"""What is wrong with a configuration: located sentences, collected and raised together."""

from __future__ import annotations

from collections.abc import Iterable

from gradcheck_cli.results import ExitCode
from gradcheck_cli.values import dataclass


@dataclass(frozen=True)
class Place:
    """Where something is written: a file with a position in it, and the path of keys that leads there.

    Without a file it is a word of the command line, which then is the path.
    """

    file: str | None
    line: int | None = None
    column: int | None = None
    path: str = ""

    def below(self, key: str | int) -> str:
        """Return the path of an entry of what is written here."""
        if isinstance(key, int):
            return f"{self.path}[{key}]"
        return f"{self.path}.{key}" if self.path else key


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, and a sentence that says what came, what must hold and what was meant.

    `exit_code` is USAGE, or NOTHING for a folder in which there is nothing to check.
    """

    file: str | None
    line: int | None
    column: int | None
    path: str
    message: str
    exit_code: ExitCode = ExitCode.USAGE

    def __str__(self) -> str:
        position = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        if self.message.startswith("column "):  # a position inside the text that stands at the path
            return f"{position}: {self.path}, {self.message}"
        return ": ".join(part for part in (position, self.path, self.message) if part)


class ConfigError(Exception):
    """Everything that is wrong, sorted by place, each problem once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(dict.fromkeys(problems), key=_order))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)

    @property
    def exit_code(self) -> ExitCode:
        """NOTHING if all that is wrong is that there is nothing to check, else USAGE."""
        nothing = all(problem.exit_code is ExitCode.NOTHING for problem in self.problems)
        return ExitCode.NOTHING if nothing else ExitCode.USAGE


def _order(problem: Problem) -> tuple[str, int, int]:
    return problem.file or "", problem.line or 0, problem.column or 0


class Problems(list[Problem]):
    """The problems found so far."""

    def add(self, place: Place, message: str) -> None:
        """Note what is wrong at a place."""
        self.append(Problem(place.file, place.line, place.column, place.path, message))

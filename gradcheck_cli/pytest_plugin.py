"""The checks of config files as tests of pytest, for projects that name the files in `gradcheck_files` of their ini.

Loaded with every pytest of an environment that has gradcheck: nothing heavy is imported before a config is collected.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradcheck_cli.results import CheckResult
    from gradcheck_cli.spec import CheckSpec

FILES = "gradcheck_files"
found = pytest.StashKey[list[Path]]()


class NotAsExpectedError(Exception):
    """A check whose verdict is not the expected one."""

    def __init__(self, result: CheckResult) -> None:
        from gradcheck_cli.reports._text import headline

        finding = next((one.sentence for one in result.findings if one.severity == "error"), None)
        why = f"{result.error.type}: {result.error.message}" if result.error else finding
        first = ": ".join(filter(None, [headline(result), why]))  # pytest repeats this line in its summary
        super().__init__(f"{first}\n\n{result}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the key of the ini."""
    parser.addini(FILES, "configs of gradcheck whose checks are tests: patterns below the root folder", type="args")


def pytest_configure(config: pytest.Config) -> None:
    """Find the files. Where `testpaths` chooses what is collected, they are collected beside it."""
    config.addinivalue_line("markers", "gradcheck: a check of a gradient, from a config file")
    files = config.stash[found] = list(_matching(config.rootpath, config.getini(FILES)))
    if config.args_source is config.ArgsSource.TESTPATHS:
        below = [Path(config.rootpath, arg) for arg in config.args]
        config.args += [str(file) for file in files if not any(file.is_relative_to(folder) for folder in below)]


def _matching(root: Path, patterns: Sequence[str]) -> Iterator[Path]:
    for pattern in patterns:
        try:
            files = sorted(file for file in root.glob(pattern) if file.is_file())
        except (ValueError, NotImplementedError) as error:
            raise pytest.UsageError(
                f"{FILES}: {pattern!r}: {error}; must be a pattern such as configs/*.yaml"
            ) from None
        if not files:
            raise pytest.UsageError(f"{FILES}: no file matches {pattern!r} below {root}")
        yield from files


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a file that the ini names."""
    return ConfigFile.from_parent(parent, path=file_path) if file_path in parent.config.stash[found] else None


class ConfigFile(pytest.File):
    """A config; its checks are named as `gradcheck run` names them."""

    def collect(self) -> Iterator[pytest.Item]:
        """One test for each check; code is allowed by [tool.gradcheck] of the root folder's own pyproject.toml."""
        from gradcheck_cli import config
        from gradcheck_cli.adapters.references import allow_imports
        from gradcheck_cli.cli import project

        root = self.config.rootpath
        settings = project.read(root)
        folders = [str(root / folder) for folder in settings.pythonpath or (".",)]
        path = os.path.relpath(self.path)
        checks = config.load([path], allow=settings.allow, pythonpath=folders)
        if settings.allow:
            allow_imports(folders)
        for spec in checks:
            yield CheckItem.from_parent(self, name=spec.name, spec=spec, folders=folders)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ARG002 - a node has one, a collector none
        """All problems of the config, each with its place, without a traceback."""
        import click

        from gradcheck_cli.config import ConfigError

        if isinstance(excinfo.value, ConfigError):
            return "\n".join(map(str, excinfo.value.problems))
        if isinstance(excinfo.value, click.ClickException):
            return excinfo.value.format_message()
        return super().repr_failure(excinfo)


class CheckItem(pytest.Item):
    """One check."""

    def __init__(self, *, spec: CheckSpec, folders: Sequence[str], **given: Any) -> None:
        super().__init__(**given)
        self.spec, self.folders = spec, folders
        self.add_marker("gradcheck")

    def runtest(self) -> None:
        """Make the check."""
        result = _made(self.spec, self.folders)
        if result.printed:
            self.add_report_section("call", "output", result.printed)
        if not result.met:
            raise NotAsExpectedError(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The table of a check that is not as expected, with how to reproduce it."""
        if isinstance(excinfo.value, NotAsExpectedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The place of the check in its file."""
        return self.path, None if self.spec.line is None else self.spec.line - 1, self.name


def _made(spec: CheckSpec, folders: Sequence[str]) -> CheckResult:
    """The result; in a process of its own where a time limit must be kept."""
    if spec.timeout is None:
        from gradcheck_cli import runner

        return runner.run_check(spec)
    from gradcheck_cli.batch.crew import Crew
    from gradcheck_cli.batch.dispatch import Watch, run
    from gradcheck_cli.batch.plan import default_memory
    from gradcheck_cli.spec import RunSpec

    ended = run(RunSpec((spec,)), Watch(), Crew(1, default_memory(1), folders))
    if ended.interrupted:
        raise KeyboardInterrupt
    return ended.checks[0]

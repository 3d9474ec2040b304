"""Who makes the checks of a run: the options -n, --memory-limit and --executor, and what follows from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gradcheck_cli.cli.output import Refusal
from gradcheck_cli.values import dataclass

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from gradcheck_cli.batch.dispatch import Workforce
    from gradcheck_cli.spec import CheckSpec

F = TypeVar("F", bound=Callable[..., Any])
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
LEAST_MEMORY = 2**26
SECONDS = 10  # in which a scheduler must answer


@dataclass(frozen=True)
class Workers:
    """What is said about workers: None is up to the run.

    `allow` and `folders` say which code an executor may come from, and where checks import theirs from.
    """

    jobs: int | str | None = None
    memory_limit: int | None = None
    executor: str | None = None
    allow: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def crew(self, specs: Sequence[CheckSpec], count: int) -> Workforce | None:
        """Who makes the checks, of which `count` are still to be made; None is this process."""
        from gradcheck_cli.batch import plan

        if self.executor is not None:
            from gradcheck_cli.batch.executors import Hired

            make, leave = self._executor_maker(self.executor)
            return Hired(make, self._import_from, leave) if count else None
        jobs = plan.jobs_for(specs) if self.jobs is None else self.jobs
        jobs = plan.processors() if isinstance(jobs, str) else jobs
        jobs = min(jobs, count)
        if not jobs:
            return None
        from gradcheck_cli.batch.crew import Crew

        return Crew(jobs, self.memory_limit or plan.default_memory(jobs), self._import_from)

    @property
    def _import_from(self) -> tuple[str, ...]:
        """The folders of allowed code, wherever a worker is started."""
        return tuple(str(Path(folder).resolve()) for folder in self.folders) if self.allow else ()

    def must_agree(self, specs: Sequence[CheckSpec]) -> None:
        """Refuse what can't be kept, before anything is started."""
        if self.executor is not None and self.jobs is not None:
            raise click.UsageError("-n and --executor contradict each other: an executor has workers of its own.")
        if self.memory_limit is not None and (self.executor is not None or self.jobs == 0):
            other = "-n 0" if self.jobs == 0 else "--executor"
            raise click.UsageError(f"--memory-limit is for workers of this machine; leave it or {other} out.")
        limited = next((spec for spec in specs if spec.timeout is not None), None)
        if limited is not None and (self.executor is not None or self.jobs == 0):
            other = "--executor" if self.executor is not None else "-n 0"
            raise click.UsageError(
                f"{limited.id} has a timeout, which {other} can't keep: the worker can't be ended; "
                "use -n 1 or more, or leave the timeout out."
            )

    def _executor_maker(self, name: str) -> tuple[Callable[[], Executor], Callable[[], object]]:
        """What makes the executor, and what to do when the run is over."""
        if name.startswith("dask://"):
            return _dask(name.removeprefix("dask://"))
        from concurrent import futures

        from gradcheck_cli.adapters.references import refusal, resolve

        wrong = refusal(name, self.allow, self.folders or (".",))
        if wrong:
            raise click.UsageError(f"--executor: {wrong}")

        def make() -> Executor:
            try:
                executor = resolve(name)()  # type: ignore[operator]
            except Exception as error:
                raise Refusal(f"gradcheck: --executor {name}: {type(error).__name__}: {error}") from error
            if not isinstance(executor, futures.Executor):
                came = type(executor).__name__
                must = "must return a concurrent.futures.Executor"
                raise Refusal(f"gradcheck: --executor {name}: the function returned a {came}; {must}")
            return executor

        return make, lambda: None


def _dask(address: str) -> tuple[Callable[[], Executor], Callable[[], object]]:
    """The executor of a cluster whose scheduler is there."""
    try:
        from distributed import Client
    except ImportError as error:
        raise click.UsageError(
            "--executor dask://... needs dask's distributed; install 'gradcheck-cli[dask]'."
        ) from error
    try:
        client = Client(f"tcp://{address}", timeout=SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise click.UsageError(
            f"--executor dask://{address}: no scheduler answers there ({type(error).__name__}); must be its HOST:PORT."
        ) from error

    def make() -> Executor:
        # pure would give a chunk that is sent again the lost result of before
        executor: Executor = client.get_executor(pure=False)  # type: ignore[no-untyped-call]
        return executor

    return make, client.close


def jobs(ctx: click.Context, parameter: click.Parameter, text: str | None) -> int | str | None:  # noqa: ARG001 - click's signature
    """Read N or auto."""
    if text is None or text == "auto":
        return text
    if not re.fullmatch(r"[0-9]{1,4}", text):
        raise click.BadParameter(f"{text!r}; must be a number of workers, 0 for none, or auto.")
    return int(text)


def memory(ctx: click.Context, parameter: click.Parameter, text: str | None) -> int | None:  # noqa: ARG001 - click's signature
    """Read a number of bytes with a unit."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{text!r}; must be a number with a unit, as in 1.5G or 800M.")
    count = int(float(match[1]) * UNITS[match[2].upper()])
    if count < LEAST_MEMORY:
        raise click.BadParameter(f"{text!r}; must be at least 64M.")
    return count


def worker_options(command: F) -> F:
    """Add the options about workers, which a command gets by the names of the fields of `Workers`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "-n",
        "jobs",
        callback=jobs,
        metavar="N|auto",
        help="Number of worker processes; 0 makes the checks in this one. Default: 0 for a few checks, else auto.",
    ),
    click.option(
        "--memory-limit",
        callback=memory,
        metavar="SIZE",
        help="Memory that each worker may take, as in 1.5G. Default: half of the machine's over the workers.",
    ),
    click.option(
        "--executor",
        metavar="dask://HOST:PORT|MODULE:FACTORY",
        help="Send the checks to a dask cluster, or to a concurrent.futures.Executor that an allowed module makes.",
    ),
)

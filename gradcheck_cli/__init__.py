"""gradcheck: tells whether a hand-written gradient is right, which elements are wrong, and why."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck_cli.api import check as check
    from gradcheck_cli.layer import Layer as Layer
    from gradcheck_cli.results import CheckResult as CheckResult
    from gradcheck_cli.results import RunResult as RunResult

__version__ = "0.1.0"
__all__ = ["CheckResult", "Layer", "RunResult", "__version__", "check"]

_HOMES = {"check": "api", "Layer": "layer", "CheckResult": "results", "RunResult": "results"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

"""Independent truth for the tests of losses, whose targets have no gradient."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from layer_truth import assert_torch_agrees


def with_target(layer: Any, target: Any) -> Any:
    """The layer with its target, which has no gradient, filled in."""
    return SimpleNamespace(forward=partial(layer.forward, target=target), vjp=partial(layer.vjp, target=target))


def assert_loss_agrees(layer: Any, arrays: Any, function: Any) -> None:
    """Compare with a torch function of x and the target."""
    torch = pytest.importorskip("torch")
    target = torch.from_numpy(np.asarray(arrays["target"]))
    assert_torch_agrees(with_target(layer, arrays["target"]), {"x": arrays["x"]}, lambda x: function(x, target))

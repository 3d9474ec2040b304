"""What the layers that work element by element share."""

from __future__ import annotations

from collections.abc import Mapping

from gradcheck_cli.layer import Array, ArraySpec, Shape


class Elementwise:
    """One array x of any shape; a stack of points is one more point to it."""

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        """x, in the shape given."""
        return {"x": ArraySpec(given.get("x", (2, 3)))}

    def forward(self, x: Array) -> Array:
        """The output, in the shape of x."""
        raise NotImplementedError

    def forward_stacked(self, x: Array) -> Array:
        """The outputs of every point of the stack."""
        return self.forward(x)

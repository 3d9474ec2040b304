"""Whether the arrays of a check fit its layer: names, shapes, dtypes, `wrt`, and the shapes of the outputs."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from gradcheck_cli.config.arrays import misfit
from gradcheck_cli.config.kinds import Subject, note_option
from gradcheck_cli.config.nodes import Node
from gradcheck_cli.config.problems import Place, Problems
from gradcheck_cli.config.sentences import unknown
from gradcheck_cli.draws import draw_arrays, given_shapes
from gradcheck_cli.layer import ArrayError, ArraySpec, Layer, OptionError, Shape, as_outputs
from gradcheck_cli.spec import Given

ELEMENTS = 1_000_000  # up to here a layer is run once to learn the shapes of its outputs


class Fitting:
    """One check's arrays beside its layer; whatever does not fit is noted."""

    def __init__(self, check: Node, subject: Subject, given: Mapping[str, Given], problems: Problems) -> None:
        self.check, self.subject, self.given, self.problems = check, subject, dict(given), problems
        self.entries = check.mapping.get("arrays", Node({}, check.place))

    def specs(self, layer: Layer) -> Mapping[str, ArraySpec] | None:
        """Fit the layer to the given shapes."""
        try:
            specs = layer.arrays(**given_shapes(self.given))
        except (ArrayError, OptionError) as error:
            usual = usual_specs(layer)
            if usual is not None and self._drop_unknown(usual):
                return self.specs(layer)
            self.note(error)
            return None
        return self.specs(layer) if self._drop_unknown(specs) else specs

    def _drop_unknown(self, known: Collection[str]) -> bool:
        """Note and drop the given names that the layer does not have."""
        strange = [name for name in self.given if name not in known]
        for name in strange:
            self.problems.add(self.entries.key(name), unknown("array", name, known))
            del self.given[name]
        return bool(strange)

    def note(self, error: ArrayError | OptionError) -> None:
        """Note what a layer says about an array or an option, where that is written."""
        if isinstance(error, OptionError):
            options = self.check.mapping.get("options", self.subject.node)
            note_option(error, options, self.problems)
        elif error.array in self.entries.mapping:
            self.problems.add(self.place(error.array), f"{error.came}; {error.must}")
        else:
            self.problems.add(self._link(error.array).place, str(error))

    def place(self, name: str) -> Place:
        """Where the shape of a given array is written."""
        entry = self.entries.mapping[name]
        said = (entry.child(key) for key in ("shape", "values", "file"))
        return next((node for node in said if node is not None), entry).place

    def _link(self, name: str) -> Node:
        """The link of a chain whose array it is, or else what is checked."""
        number = re.match(r"(\d+)\.", name)
        link = self.subject.node.child(int(number[1])) if number else None
        return link or self.subject.node

    def dtypes(self, specs: Mapping[str, ArraySpec], dtype: str) -> None:
        """Note given values and dtypes that don't suit the kind of their array."""
        for name, one in self.given.items():
            kind = specs[name].kind if name in specs else "float"
            wanted = one.dtype or (dtype if kind == "float" else None)
            if one.dtype is not None and not _suits(one.dtype, kind):
                entry = self.entries.mapping[name]
                place = (entry.child("dtype") or entry).place
                self.problems.add(place, f"{one.dtype} for the {kind} array {name!r}; must be a {kind} dtype")
            elif one.values is not None and wanted and (wrong := misfit(one.values, wanted)):
                self.problems.add(self.place(name), wrong)

    def wrt(
        self, key: str, names: Sequence[str], specs: Mapping[str, ArraySpec] | None, *, closed: bool = True
    ) -> None:
        """Note names under `wrt` or `expect_arrays` that are no differentiable arrays.

        Unless it is closed, the layer may have arrays beside those of the specs.
        """
        for k, name in enumerate(names):
            place = self.check.mapping[key].items[k].place
            spec = specs.get(name) if specs is not None else None
            if name in names[:k]:
                self.problems.add(place, f"{name!r} again; must be named once")
            elif spec is None and specs is not None and closed:
                self.problems.add(place, unknown("array", name, specs))
            elif spec is not None and spec.kind != "float":
                self.problems.add(place, f"{name!r} is an array of kind {spec.kind}; must be a float array")
            elif spec is not None and not spec.differentiable:
                self.problems.add(place, f"{name!r} has no gradient; must be an array that has one")

    def outputs(self, layer: Layer, specs: Mapping[str, ArraySpec], dtype: str, seed: int) -> list[Shape] | None:
        """Return the shapes of the outputs, from one run at drawn arrays, unless the arrays are large."""
        shapes = {name: spec.shape for name, spec in specs.items()} | given_shapes(self.given)
        if sum(math.prod(shape) for shape in shapes.values()) > ELEMENTS:
            return None
        try:
            with np.errstate(all="ignore"):
                arrays = draw_arrays(specs, self.given, dtype, seed, 0)
                return [output.shape for output in as_outputs(layer.forward(**arrays))]
        except (ArrayError, OptionError) as error:
            self.note(error)
            return None


def usual_specs(layer: Layer) -> Mapping[str, ArraySpec] | None:
    """The arrays at default shapes; None if the options rule those out."""
    try:
        return layer.arrays()
    except (ArrayError, OptionError):
        return None


def _suits(dtype: str, kind: str) -> bool:
    letters = {"float": "f", "integer": "iu", "boolean": "b"}[kind]
    return np.dtype(dtype).kind in letters

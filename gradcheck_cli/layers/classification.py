"""Losses of classification: scores or log-probabilities over the last axis against a class or its probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradcheck_cli.layer import Array, ArrayError, ArraySpec, Example, OptionError, Shape, Simplex, Uniform
from gradcheck_cli.layers.exponentials import log_normalised_exp, normalised_exp, shifted_log_sum
from gradcheck_cli.layers.losses import Reduction, check_reduction, reduced, spread

FAMILY = "losses"


@dataclass(frozen=True)
class Classes:
    """Class numbers in [0, count). With an ignored number, one of several targets has it, and not all."""

    count: int
    ignored: int | None = None

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        classes = np.asarray(rng.integers(0, self.count, shape))
        if self.ignored is None:
            return classes
        classes = np.where(classes == self.ignored, (self.ignored + 1) % self.count, classes)
        if classes.size > 1:
            classes.flat[rng.integers(classes.size)] = self.ignored
        return classes


def fit_classes(given: Mapping[str, Shape], default: int = 3) -> tuple[Shape, Shape]:
    """Return the shapes of the scores x (..., C) and of their target classes (...)."""
    x, target = given.get("x"), given.get("target")
    if x is None:
        x = (*((4,) if target is None else target), default)
    if len(x) < 1 or x[-1] < 1:
        raise ArrayError("x", f"shape {x}", "must be (C,) or (..., C), with at least one class")
    if target is not None and target != x[:-1]:
        raise ArrayError("target", f"shape {target}", f"must be the shape of x without its last axis = {x[:-1]}")
    return x, x[:-1]


def counting(target: Array, classes: int, ignored: int | None = None) -> Array:
    """Booleans (...), true where a target counts. Raises ArrayError if a class does not exist."""
    counts = np.ones(target.shape, bool) if ignored is None else np.asarray(target != ignored)
    strange = ((target < 0) | (target >= classes)) & counts
    if strange.any():
        must = f"must be in [0, {classes})" + ("" if ignored is None else f" or ignore_index = {ignored}")
        raise ArrayError("target", f"class {target[strange].flat[0]}", must)
    return counts


def one_hot(target: Array, classes: int, ignored: int | None = None) -> Array:
    """Booleans (..., C), true at the class of each target that counts. Raises ArrayError if a class does not exist."""
    counts = counting(target, classes, ignored)
    return np.asarray((target[..., None] == np.arange(classes)) & counts[..., None])


def _check_weights(weights: tuple[float, ...] | None, classes: int | None = None) -> None:
    """Refuse impossible class weights; with the number of classes, also a wrong number of weights."""
    if weights is None:
        return
    if classes is not None and len(weights) != classes:
        raise OptionError("class_weights", weights, f"must be {classes} weights, one for each class")
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise OptionError("class_weights", weights, "must be finite, none negative, and not all zero")


def _weigh(chosen: Array, weights: tuple[float, ...] | None, x: Array) -> Array:
    """Multiply (..., C) by the weights of the classes, in the precision of x."""
    dtype = x.real.dtype
    return chosen.astype(dtype) if weights is None else chosen * np.asarray(weights, dtype)


def _dot(q: Array, z: Array) -> Array:
    """Σ_c q_c z_c over the last axis, where 0 times -inf is 0."""
    total = np.einsum("...i,...i->...", q, z)
    if not np.isfinite(total).all():
        total = np.einsum("...i,...i->...", q, np.where(q == 0, 0.0, z))
    return np.asarray(total)


@dataclass(frozen=True)
class Chosen:
    """The class of each target of a stack, and its weight: 0 for targets that do not count."""

    place: Array
    weight: Array

    @classmethod
    def of(cls, target: Array, x: Array, weights: tuple[float, ...] | None, ignored: int | None) -> Chosen:
        """Raises ArrayError if a class does not exist."""
        counts, dtype = counting(target, x.shape[-1], ignored), x.real.dtype
        place = target * counts
        return cls(place, counts.astype(dtype) if weights is None else counts * np.asarray(weights, dtype)[place])

    def of_rows(self, z: Array) -> Array:
        """z_c for the class c of each row of z (K, ..., C)."""
        rows, classes = z.reshape(len(z), self.place[0].size, -1), self.place.reshape(len(self.place), -1)
        each, copies = np.arange(classes.shape[1]), np.arange(len(rows))[:, None]
        found = rows[:, each, classes[0]] if len(classes) == 1 else rows[copies, each, classes]
        return np.asarray(found.reshape(-1, *self.place.shape[1:]))

    def weigh(self, terms: Array) -> Array:
        """Multiply by the weights, where 0 times infinity is 0."""
        return terms if (self.weight == 1).all() else np.where(self.weight == 0, 0.0, self.weight * terms)


def _mass(chosen: Array) -> Array:
    """The total weight of the targets of each point of a stack, and 1 where none counts, to divide by."""
    total = chosen.reshape(len(chosen), -1).sum(axis=1)
    return np.asarray(total + (total == 0))


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Cross-entropy of the softmax of scores, over the last axis.

    Formula:
        y_n = −Σ_c q_nc log p_nc, with p = softmax(x) and q_nc = w_c ((1 − ε) t_nc + ε / C)
        t is the target, one-hot for targets: classes; ε is label_smoothing, w the class_weights (1 by default)
        a target equal to ignore_index has q = 0
        reduction: mean, which is Σ_n y_n / M, sum, or none
        M = Σ_n w_c over the targets c = target_n that are not ignored (and the mean is 0 if all are); for targets:
            probabilities M is the number of rows

    Arrays:
        x (C,) or (..., C): scores
        target () or (...): integer class of each row; (C,) or (..., C) for targets: probabilities
        y (): loss, or with reduction none (...): the y_n

    VJP:
        dL/dx_nc = (p_nc Σ_k q_nk − q_nc) d_n
        d_n = dy / M for mean, dy for sum, dy_n for none

    Source:
        Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4
        label smoothing: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the Inception Architecture for Computer
            Vision (2016), section 7
    """

    name: ClassVar[str] = "softmax_cross_entropy"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (4, 3)}),
        Example({"targets": "probabilities", "label_smoothing": 0.1, "reduction": "sum"}, {"x": (2, 5)}),
        Example({"class_weights": (0.5, 2.0, 1.5), "label_smoothing": 0.2}, {"target": (2, 3)}),
        Example({"ignore_index": -100, "reduction": "none"}, {"x": (5, 4)}),
        Example({"ignore_index": 0, "class_weights": (0.5, 2.0, 1.5, 0.7)}, {"x": (5, 4)}),
    )

    targets: Literal["classes", "probabilities"] = "classes"
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    ignore_index: int | None = None
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        if self.targets not in ("classes", "probabilities"):
            raise OptionError("targets", self.targets, "must be 'classes' or 'probabilities'")
        if not 0 <= self.label_smoothing <= 1:
            raise OptionError("label_smoothing", self.label_smoothing, "must be in [0, 1]")
        if self.targets == "probabilities" and self.ignore_index is not None:
            raise OptionError("ignore_index", self.ignore_index, "must be left out with targets: probabilities")
        _check_weights(self.class_weights)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        if self.targets == "probabilities" and (whole := given.get("target")) is not None:
            x = given.get("x", whole)
            if whole != x:
                raise ArrayError("target", f"shape {whole}", f"must be the shape of x = {x}")
            given = {"x": x}
        x, rows = fit_classes(given, len(self.class_weights or (0,) * 3))
        _check_weights(self.class_weights, x[-1])
        if self.targets == "probabilities":
            return {"x": ArraySpec(x), "target": ArraySpec(x, draw=Simplex(), differentiable=False)}
        return {"x": ArraySpec(x), "target": ArraySpec(rows, "integer", Classes(x[-1], self.ignore_index))}

    def forward(self, x: Array, target: Array) -> Array:
        return np.asarray(self.forward_stacked(x[None], target[None])[0])

    def vjp(self, dy: Array, x: Array, target: Array) -> dict[str, Array]:
        q, mass = self._coefficients(x[None], target[None])
        share = spread(dy, x.shape[:-1], self.reduction, mass[0])[..., None]
        return {"x": share * (normalised_exp(x, -1) * q[0].sum(axis=-1, keepdims=True) - q[0])}

    def forward_stacked(self, x: Array, target: Array) -> Array:
        if self.targets == "classes" and not self.label_smoothing:
            chosen = Chosen.of(target, x, self.class_weights, self.ignore_index)
            shifted, log_sum = shifted_log_sum(x, -1)
            terms = chosen.weigh(log_sum[..., 0] - chosen.of_rows(shifted))
            return reduced(terms, self.reduction, _mass(chosen.weight))
        q, mass = self._coefficients(x, target)
        return reduced(-_dot(q, log_normalised_exp(x, -1)), self.reduction, mass)

    def _coefficients(self, x: Array, target: Array) -> tuple[Array, Array]:
        """Return q, and M of each point."""
        smooth, even = 1.0 - self.label_smoothing, self.label_smoothing / x.shape[-1]
        if self.targets == "probabilities":
            rows = np.ones(x.shape[:-1], x.real.dtype)
            return _weigh(smooth * target + even, self.class_weights, x), _mass(rows)
        t = one_hot(target, x.shape[-1], self.ignore_index)
        chosen = _weigh(t, self.class_weights, x)
        if not self.label_smoothing:
            return chosen, _mass(chosen)
        q = np.where(t.any(axis=-1, keepdims=True), smooth * t.astype(x.real.dtype) + even, 0.0)
        return _weigh(q, self.class_weights, x), _mass(chosen)


@dataclass(frozen=True)
class NLL:
    """Negative log-likelihood of the target classes, over the last axis.

    Formula:
        y_n = −w_c x_nc, with c = target_n and w the class_weights (1 by default); 0 where target_n is ignore_index
        reduction: mean, which is Σ_n y_n / M, sum, or none
        M = Σ_n w_c over the targets c = target_n that are not ignored (and the mean is 0 if all are)

    Arrays:
        x (C,) or (..., C): log-probabilities
        target () or (...): integer class of each row
        y (): loss, or with reduction none (...): the y_n

    VJP:
        dL/dx_nc = −w_c d_n for c = target_n, 0 for every other c and for an ignored target
        d_n = dy / M for mean, dy for sum, dy_n for none

    Source:
        Goodfellow, Bengio, Courville, Deep Learning (2016), section 5.5
    """

    name: ClassVar[str] = "nll"
    EXAMPLES: ClassVar[tuple[Example, ...]] = (
        Example({}, {"x": (4, 3)}),
        Example({"class_weights": (0.5, 2.0, 1.5), "reduction": "sum"}, {"target": (2, 3)}),
        Example({"ignore_index": -100}, {"x": (5, 4)}),
        Example({"ignore_index": 1, "reduction": "none"}, {"x": (5, 4)}),
    )

    class_weights: tuple[float, ...] | None = None
    ignore_index: int | None = None
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        _check_weights(self.class_weights)

    def arrays(self, **given: Shape) -> Mapping[str, ArraySpec]:
        x, target = fit_classes(given, len(self.class_weights or (0,) * 3))
        _check_weights(self.class_weights, x[-1])
        draw = Classes(x[-1], self.ignore_index)
        return {"x": ArraySpec(x, draw=Uniform(-3.0, -0.2)), "target": ArraySpec(target, "integer", draw)}

    def forward(self, x: Array, target: Array) -> Array:
        return np.asarray(self.forward_stacked(x[None], target[None])[0])

    def vjp(self, dy: Array, x: Array, target: Array) -> dict[str, Array]:
        q = self._coefficients(x, target)
        return {"x": spread(dy, x.shape[:-1], self.reduction, _mass(q[None])[0])[..., None] * -q}

    def forward_stacked(self, x: Array, target: Array) -> Array:
        chosen = Chosen.of(target, x, self.class_weights, self.ignore_index)
        return reduced(-chosen.weigh(chosen.of_rows(x)), self.reduction, _mass(chosen.weight))

    def _coefficients(self, x: Array, target: Array) -> Array:
        return _weigh(one_hot(target, x.shape[-1], self.ignore_index), self.class_weights, x)

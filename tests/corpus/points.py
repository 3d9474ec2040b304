"""Every correct layer at easy and hard points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck_cli.layer import Generic, Positive
from tests.corpus import algebra, dense, norms, peculiar, reductions, sequences, windows
from tests.corpus.case import Options, Point, easy, hard, points
from tests.corpus.elementwise import ELEMENTWISE

NONSYMMETRIC = np.array([[2.0, 0.3, -0.4], [1.1, 1.7, 0.2], [-0.6, 0.9, 2.3]])
TWICE = {"plain": easy(), "again": easy(seed=1)}
SINGLE = {"float32": hard(known={"dtype": "float32", "accuracy": 1e-6, "coarse": 2e-2})}
HALF = {"float16": hard(known={"dtype": "float16", "accuracy": 1e-2, "coarse": 2e-2})}
EDGE = {"edge": True}
CANCELS = {"cancels": True}
ROUNDED = {"accuracy": 1e-11}


def undecidable(reason: str, **known: Any) -> dict[str, Any]:
    """What is known about a point that no difference quotient can settle."""
    return {"undecidable": reason} | known


def _near(kink: float, *distances: float) -> np.ndarray[Any, Any]:
    return np.array([kink + d for d in distances])


POSITIVE = {"plain": easy(x=Positive()), "again": easy(seed=1, x=Positive())}
NEAR_ZERO = _near(0.0, 1e-7, -1e-7, 3e-6, -2e-9, 1.3)
AT_ZERO = np.array([0.0, 0.7, 0.0, -1.2, 0.0])
MIXED = np.array([1e-8, 1e8, -3e-8, 2e4, 1.0])
WIDE = np.array([-40.0, -8.0, 0.3, 9.0, 41.0])

ELEMENTWISE_POINTS: Mapping[str, Mapping[str, Options]] = {
    "exp": TWICE
    | SINGLE
    | HALF
    | {
        "wide": hard(
            x=np.array([-700.0, -40.0, 1e-9, 40.0, 700.0]), known=undecidable("a slope of 1e-304 beside 1e304")
        )
    },
    "log": POSITIVE | {"near_zero": hard(x=np.array([1e-3, 1e-8, 1e-20, 1e-300, 2.0]))},
    "sqrt": POSITIVE
    | {
        "near_zero": hard(x=np.array([1e-3, 1e-8, 1e-12, 1e-20, 2.0])),
        "zero": hard(x=np.array([0.0, 0.5]), known=undecidable("f is not finite left of 0", edge=True)),
    },
    "square": TWICE | {"mixed": hard(x=MIXED), "zero": hard(x=AT_ZERO), "huge": hard(x=np.array([1e150, -3e90, 2.0]))},
    "cube": TWICE | {"zero": hard(x=AT_ZERO), "zeros": hard(x=np.zeros(4)), "near_zero": hard(x=NEAR_ZERO)},
    "cbrt": POSITIVE
    | {
        "near_zero": hard(x=np.array([1e-3, -1e-6, 1e-9, 1e-12, 8.0])),
        "zero": hard(x=np.array([0.0, 0.7]), known=undecidable("the tangent at 0 is vertical", edge=True)),
    },
    "reciprocal": POSITIVE | {"near_zero": hard(x=np.array([1e-3, -1e-6, 1e-9, 1e3, 1e6]))},
    "tanh": TWICE | SINGLE | HALF | {"saturated": hard(x=np.array([-19.0, -8.0, 0.3, 9.0, 15.0]))},
    "arctan": TWICE | {"flat": hard(x=np.array([-1e5, 1e3, 1e-5, 40.0, 1e7]))},
    "sigmoid": TWICE | SINGLE | HALF | {"saturated": hard(x=WIDE)},
    "softplus": TWICE | {"saturated": hard(x=WIDE), "zero": hard(x=AT_ZERO)},
    "silu": TWICE | SINGLE | {"saturated": hard(x=WIDE)},
    "gelu": TWICE | {"zero": hard(x=AT_ZERO), "positive": hard(x=np.array([2.0, 3.0, 4.0, 5.0]))},
    "relu": TWICE
    | SINGLE
    | HALF
    | {
        "near_kink": hard(x=NEAR_ZERO),
        "kink": hard(x=AT_ZERO, known=EDGE),
        "all_kinks": hard(x=np.zeros(6), known=EDGE),
        "single_kink": hard(x=AT_ZERO, known=EDGE | {"dtype": "float32", "accuracy": 1e-6}),
    },
    "leaky_relu": TWICE | {"near_kink": hard(x=NEAR_ZERO), "kink": hard(x=AT_ZERO, known=EDGE)},
    "elu": TWICE | {"near_kink": hard(x=NEAR_ZERO), "zero": hard(x=AT_ZERO)},
    "abs": TWICE | {"near_kink": hard(x=NEAR_ZERO), "kink": hard(x=AT_ZERO, known=EDGE)},
    "hardtanh": TWICE
    | {
        "near_kink": hard(x=_near(1.0, 1e-7, -1e-7, 1e-4, -0.4)),
        "kink": hard(x=np.array([1.0, -1.0, 0.4]), known=EDGE),
    },
    "softsign": TWICE | {"zero": hard(x=AT_ZERO), "wide": hard(x=np.array([-1e4, 50.0, 1e-6, 3.0]))},
    "fast_sine": {
        "plain": hard(known=ROUNDED),
        "again": hard(seed=1, known=ROUNDED),
        "wide": hard(x=np.array([1e-3, 31.4, -7.7])),
    },
    "offset_sine": {"plain": hard(), "again": hard(seed=1)},
    "tiny_tanh": TWICE | {"again_small": hard(upstream=1e-12)},
    "huge_tanh": TWICE | SINGLE,
    "triple": TWICE | {"denormal": hard(x=np.array([1e-310, -3e-312, 2e-311])), "mixed": hard(x=MIXED)},
    "round": {
        "flat": hard(x=np.array([0.2, 1.4, -0.8])),
        "jump": hard(x=np.array([0.5, 1.5]), known=undecidable("x is on a jump", edge=True)),
    },
    "square_and_abs": TWICE | {"near_kink": hard(x=NEAR_ZERO), "kink": hard(x=AT_ZERO, known=EDGE)},
}

ROW_40 = np.array([[40.0, -40.0, 3.0, -2.0], [-40.0, -40.5, 38.0, 40.0]])
ROW_700 = np.array([[700.0, -700.0, 3.0, 690.0], [-700.0, 699.0, 0.0, 700.0]])
TIED = np.array([[1.0, 2.0, 2.0, -1.0], [0.5, 0.5, 0.5, 0.5]])
NEARLY_TIED = np.array([[1.0, 2.0, 2.0 + 1e-7, -1.0], [0.5, 0.5 - 2e-8, 0.3, 0.1]])
CORRELATED = np.array([[1.0, 1.0 + 1e-6, 1.0 - 2e-6, 1.0 + 3e-6], [1.0, 2.0, 3.0, 5.0], [0.1, -0.2, 0.3, 0.5]])

REDUCTION_POINTS = [
    *points("softmax", reductions.Softmax(), **TWICE, **SINGLE, **HALF, tied=hard(x=TIED)),
    *points(
        "softmax",
        reductions.Softmax(),
        saturated_40=hard(x=ROW_40, known=CANCELS),
        ones=hard(cotangent=1.0, known=CANCELS),
    ),
    *points("softmax", reductions.Softmax(), saturated_700=hard(x=ROW_700, known={"digits": 1300})),
    *points("softmax_beta", reductions.Softmax(2.0), **TWICE, tiny=hard(upstream=1e-9), huge=hard(upstream=1e6)),
    *points("log_softmax", reductions.LogSoftmax(), **TWICE, **SINGLE, saturated_40=hard(x=ROW_40)),
    *points("log_softmax", reductions.LogSoftmax(), saturated_700=hard(x=ROW_700, known={"digits": 1300})),
    *points("logsumexp", reductions.LogSumExp(), **TWICE, saturated_40=hard(x=ROW_40), tied=hard(x=TIED)),
    *points("cross_entropy", reductions.CrossEntropy(), **TWICE, wide=hard(x=Generic(20.0), known=CANCELS), **SINGLE),
    *points("squared_error", reductions.SquaredError(), **TWICE, tiny=hard(x=Generic(1e-5), y=Generic(1e-5))),
    *points("maximum", reductions.Maximum(), **TWICE, tied=hard(x=TIED, known=EDGE), near=hard(x=NEARLY_TIED)),
    *points("sort", reductions.Sort(), **TWICE, near=hard(x=NEARLY_TIED)),
    *points("norm", reductions.Norm(), **TWICE, short=hard(x=Generic(1e-7)), long=hard(x=Generic(1e7))),
    *points(
        "variance",
        reductions.Variance(),
        **TWICE,
        offset=hard(x=lambda rng, shape: 1e4 + rng.normal(size=shape), known=CANCELS | {"accuracy": 1e-10}),
    ),
    *points("cumulative_sum", reductions.CumulativeSum(), **TWICE),
    *points("proportions", reductions.Proportions(), **TWICE),
    *points(
        "cosine",
        reductions.Cosine(),
        **TWICE,
        parallel=hard(x=np.arange(1.0, 5.0), y=2 * np.arange(1.0, 5.0), known=CANCELS),
    ),
    *points("huber", reductions.HuberLoss(), **TWICE, joint=hard(x=np.array([1.0, -1.0, 1 + 1e-7, 0.0, 0.3, 5.0]))),
]

DENSE_POINTS = [
    *points("linear", dense.Linear(), **TWICE, **SINGLE, **HALF, zero=hard(x=np.zeros((3, 4)))),
    *points("linear", dense.Linear(), tiny=hard(upstream=1e-9), huge=hard(W=Generic(1e6))),
    *points("matmul", dense.Matmul(), **TWICE, mixed=hard(A=np.array([[1e-8, 1e8, 1.0], [2.0, 3e-8, 1e7], [1, 2, 3]]))),
    *points("bilinear", dense.Bilinear(), **TWICE),
    *points("quadratic", dense.Quadratic(), **TWICE),
    *points("residual", dense.Residual(), **TWICE, **SINGLE),
    *points("broadcast", dense.Broadcast(), **TWICE),
    *points("embedding", dense.Embedding(), plain=easy(index=np.array([1, 3, 1, 0, 1])), again=easy(seed=1)),
    *points("dropout", dense.Dropout(), **TWICE),
    *points("polar", dense.Polar(), **TWICE, uneven=hard(cotangent=(1e8, 1e-3))),
    *points("perceptron", dense.Perceptron(), **TWICE, **SINGLE),
]

NORM_POINTS = [
    *points("layer_norm", norms.LayerNorm(), **TWICE, **SINGLE, **HALF, flat=hard(x=CORRELATED)),
    *points("layer_norm", norms.LayerNorm(), offset=hard(x=lambda rng, shape: 1e3 + rng.normal(size=shape))),
    *points("batch_norm", norms.BatchNorm(), **TWICE, **SINGLE, small=hard(x=Generic(1e-4))),
    *points("rms_norm", norms.RmsNorm(), **TWICE, zero=hard(x=np.zeros((3, 4)))),
    *points("unit_length", norms.UnitLength(), **TWICE, short=hard(x=Generic(1e-9))),
    *points("biased_batch_norm", norms.BiasedBatchNorm(), plain=hard(known=CANCELS), again=hard(seed=1, known=CANCELS)),
]

# the largest of the first row is in two windows
SHARED = np.array([[0.3, -0.7, 1.9, 0.4, -1.2, 0.8, 0.2], [-0.4, 1.3, 0.6, -0.9, 0.7, 1.6, -0.3]])

WINDOW_POINTS = [
    *points("conv", windows.Conv1d(), **TWICE, **SINGLE),
    *points("strided_conv", windows.Conv1d(padding=2, stride=2), **TWICE),
    *points("conv2d", windows.Conv2d(), **TWICE),
    *points(
        "max_pool",
        windows.MaxPool(),
        plain=easy(x=SHARED),
        again=easy(seed=1),
        near=hard(x=Generic(1e-7)),
        single=hard(known={"dtype": "float32", "accuracy": 1e-6}),
    ),
    *points("max_pool", windows.MaxPool(), tied=hard(x=np.array([[1.0, 1, 0, 2, 2, 2, 0], [0] * 7]), known=EDGE)),
    *points("mean_pool", windows.MeanPool(), **TWICE),
]

SEQUENCE_POINTS = [
    *points(
        "attention", sequences.Attention(), **TWICE, **SINGLE, sharp=hard(Q=Generic(6.0), K=Generic(6.0), known=CANCELS)
    ),
    *points("recurrent", sequences.Recurrent(), **TWICE, zero_state=hard(h=np.zeros(2))),
    *points("lstm_cell", sequences.LstmCell(), **TWICE, **SINGLE, saturated=hard(z=Generic(10.0), known=CANCELS)),
    *points("gate", sequences.Gate(), **TWICE),
]

ILL = {"accuracy": 1e-4, "coarse": 1e-3}
ALGEBRA_POINTS = [
    *points(
        "solve",
        algebra.Solve(),
        **TWICE,
        nonsymmetric=easy(A=NONSYMMETRIC),
        ill_1e6=hard(A=algebra.conditioned(1e6), known=ILL),
    ),
    *points("solve", algebra.Solve(), ill_1e10=hard(A=algebra.conditioned(1e10), known=ILL)),
    *points(
        "inverse",
        algebra.Inverse(),
        **TWICE,
        nonsymmetric=easy(A=NONSYMMETRIC),
        ill_1e6=hard(A=algebra.conditioned(1e6), known=ILL),
    ),
    *points(
        "log_determinant",
        algebra.LogDeterminant(),
        **TWICE,
        nonsymmetric=easy(A=NONSYMMETRIC),
        ill=hard(A=algebra.conditioned(1e8), known=ILL),
    ),
    *points("whitened", algebra.Whitened(), **TWICE, nonsymmetric=easy(A=NONSYMMETRIC)),
]

ROUGH = {"accuracy": 1e-5, "coarse": 2e-2}
STEPS = undecidable("the outputs move in steps", coarse=2e-2)
NOISY = {"coarse": 2e-2}
PECULIAR_POINTS = [
    *points("single_inside", peculiar.SingleInside(), plain=hard(known=ROUGH), again=hard(seed=1, known=ROUGH)),
    *points("single_forward", peculiar.SingleForward(), plain=hard(known=NOISY), again=hard(seed=1, known=NOISY)),
    *points("noisy", peculiar.Noisy(), plain=hard(known=NOISY), again=hard(seed=1, known=NOISY)),
    *points("noisy_1e-10", peculiar.Noisy(1e-10), plain=hard(known={"coarse": 1e-3})),
    *points("noisy_0.1", peculiar.Noisy(0.1), plain=hard(known=undecidable("noise of a tenth of the output"))),
    *points("fixed_point", peculiar.FixedPoint(), plain=hard(known=NOISY), again=hard(seed=1, known=NOISY)),
    *points("newton_root", peculiar.NewtonRoot(), plain=hard(known=NOISY), again=hard(seed=1, known=NOISY)),
    *points("quantised", peculiar.Quantised(), plain=hard(known=STEPS), again=hard(seed=1, known=STEPS)),
    *points("coarsely_quantised", peculiar.Quantised(2), plain=hard(known=STEPS)),
    *points("absorbed", peculiar.Absorbed(), plain=hard(known=NOISY), again=hard(seed=1, known=NOISY)),
    *points("unrelated", peculiar.Unrelated(), plain=hard(), again=hard(seed=1)),
]

POINTS: tuple[Point, ...] = (
    *(point for name, where in ELEMENTWISE_POINTS.items() for point in points(name, ELEMENTWISE[name], **where)),
    *REDUCTION_POINTS,
    *DENSE_POINTS,
    *NORM_POINTS,
    *WINDOW_POINTS,
    *SEQUENCE_POINTS,
    *ALGEBRA_POINTS,
    *PECULIAR_POINTS,
)
BY_NAME: Mapping[str, Point] = {point.name: point for point in POINTS}

"""Wrong by a factor: a sign, a number, a number for each row, or the values of another array."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from gradcheck_cli.diagnosis.constants import recognised
from gradcheck_cli.diagnosis.suspect import Suspect, along, axes_of, number
from gradcheck_cli.layer import Array
from gradcheck_cli.results import Finding

ROUGHLY = 1e-3  # relative: layers add small numbers to what they divide by


def wrong_sign(suspect: Suspect) -> Finding | None:
    """Every element is minus the right one."""
    if not suspect.explained_by(-suspect.numeric):
        return None
    return suspect.finding(
        "sign", f"has the wrong sign everywhere ({suspect.at(suspect.worst)}): look for a lost or an extra minus"
    )


def constant_factor(suspect: Suspect) -> Finding | None:
    """Every element is one number times the right one."""
    ratio, off = best_ratio(suspect)
    if not np.isfinite(ratio):
        return None
    shown = f"is {ratio_text(ratio)} times the right one in every element ({suspect.at(suspect.worst)})"
    meanings = _meanings(suspect, ratio)
    if meanings:
        return suspect.finding("factor", f"{shown}: {', or '.join(meanings[:2])}")
    doubt = abs(ratio) * suspect.doubt + off * np.abs(suspect.numeric)
    if suspect.wrong.sum() < 3 or not suspect.explained_by(ratio * suspect.numeric, doubt, free=1):
        return None
    return suspect.finding("factor", f"{shown}: look for a constant factor that is missing or there twice")


def ratio_text(value: float) -> str:
    """A ratio; where it is a simple fraction also as that, and near 1 with the digits that make it another number."""
    text = number(value, 7 if abs(abs(value) - 1) < 1e-3 else 4)
    fraction = Fraction(value).limit_denominator(12)
    simple = abs(float(text) - value) > 1e-6 * abs(value) and abs(value - fraction) <= 1e-7 * abs(value)
    return f"{text} ({fraction})" if simple else text


def _meanings(suspect: Suspect, ratio: float) -> list[str]:
    """What the ratio may be."""
    found: list[str] = []
    for nothing_new, group in recognised(suspect.evidence):
        if found and nothing_new:
            continue
        for value, meaning in group:
            for signed, text in ((value, meaning), (-value, f"the wrong sign, and {meaning}")):
                near = abs(ratio - signed) <= 1e-3 * abs(signed)
                if near and suspect.explained_by(signed * suspect.numeric, abs(signed) * suspect.doubt):
                    found.append(text)
    return list(dict.fromkeys(found))


def best_ratio(suspect: Suspect, where: Array | None = None) -> tuple[float, float]:
    """Analytic over numeric at the element where it is known best, and how far it may be off."""
    precision = np.abs(suspect.numeric) / suspect.doubt
    precision = np.where(suspect.wrong if where is None else where, np.nan_to_num(precision, nan=0.0), 0.0)
    best = int(np.argmax(precision))
    if not precision.flat[best] > 0:
        return np.nan, np.nan
    ratio = suspect.analytic.flat[best] / suspect.numeric.flat[best]
    return float(ratio), float(abs(ratio) * suspect.doubt.flat[best] / abs(suspect.numeric.flat[best]))


def scaled_by_array(suspect: Suspect) -> Finding | None:
    """Every element is the right one times, or over, the value of another array at the same place."""
    for name, values in _factors(suspect):
        for power, meaning in ((1, f"a factor {name} too many"), (-1, f"the factor {name} is missing")):
            by = values**power
            if not suspect.explained_by(by * suspect.numeric, np.abs(by) * suspect.doubt):
                continue
            rule = "scaled-by" if name != "dy" else "dy-twice" if power == 1 else "dy-missing"
            times = f"times {name}" if power == 1 else f"divided by {name}"
            sentence = f"is the right one {times}, element by element ({suspect.at(suspect.worst)}): {meaning}"
            return suspect.finding(rule, sentence)
    return None


def _factors(suspect: Suspect) -> Iterator[tuple[str, Array]]:
    dy = suspect.evidence.dy
    for name, values in [*([("dy", dy)] if dy is not None else []), *suspect.others()]:
        spread = suspect.spread(values)
        if spread is not None:
            yield name, spread


def factor_along(suspect: Suspect) -> Finding | None:
    """Every row (or slice along some axes) is a number of its own times the right one."""
    a, n, doubt = (suspect.grid(table) for table in (suspect.analytic, suspect.numeric, suspect.doubt))
    for axes in axes_of(suspect.shape)[:-1]:
        precision = np.nan_to_num(np.abs(n) / doubt, nan=0.0)
        best = precision == precision.max(axis=axes, keepdims=True)
        ratio = np.max(np.where(best, a / n, -np.inf), axis=axes, keepdims=True)
        off = np.abs(ratio) / precision.max(axis=axes, keepdims=True)
        guess, allowed = ratio * n, np.abs(ratio) * doubt + off * np.abs(n)
        spoilt = suspect.grid(suspect.wrong).any(axis=axes, keepdims=True) & (ratio != 0)
        if spoilt.all() and suspect.explained_by(suspect.flat(guess), suspect.flat(allowed), free=ratio.size):
            shown = ", ".join(number(value) for value in ratio.ravel()[:3])
            more = ", ..." if ratio.size > 3 else ""
            what = (
                _statistic(suspect, ratio[..., 0], axes)
                or "look for a norm, a deviation or a sum that is missing or there twice"
            )
            return suspect.finding(
                "factor-along", f"is off by a factor that is the same along {along(axes)} ({shown}{more} times): {what}"
            )
    return None


def _statistic(suspect: Suspect, ratio: Array, axes: tuple[int, ...]) -> str | None:
    """What of the array the factors are, up to the small numbers that layers add to their divisors."""
    if ratio.size < 2 or not (ratio > 0).all():
        return None
    x = suspect.value.astype(np.float64)
    squares = (x * x).sum(axis=axes, keepdims=True)
    known = {
        "norm": np.sqrt(squares),
        "root mean square": np.sqrt((x * x).mean(axis=axes, keepdims=True)),
        "standard deviation": x.std(axis=axes, keepdims=True),
        "sum": x.sum(axis=axes, keepdims=True),
        "sum of exponentials": np.exp(x).sum(axis=axes, keepdims=True),
    }
    for name, values in known.items():
        for power, meaning in ((1, "a division by the {} is missing"), (-1, "divided by the {} once too often")):
            if np.allclose(ratio, values**power, rtol=ROUGHLY, atol=0):
                return f"it is that of the {name} of {suspect.name}: {meaning.format(name)}"
    return None


def dy_itself(suspect: Suspect) -> Finding | None:
    """Every element is dy: the derivative is left out."""
    upstream = _upstream(suspect)
    if upstream is None or not suspect.explained_by(upstream, np.zeros_like(upstream)):
        return None
    return suspect.finding(
        "dy-itself", f"is dy itself ({suspect.at(suspect.worst)}): the layer's own derivative is missing"
    )


def dy_times(suspect: Suspect) -> Finding | None:
    """Every element is dy times something simple that is not the derivative."""
    upstream = _upstream(suspect)
    if upstream is None:
        return None
    for text, value in _slopes(suspect):
        if suspect.explained_by(upstream * value, np.zeros_like(upstream)):
            sentence = f"is dy times {text} ({suspect.at(suspect.worst)}): {text} is not the layer's derivative"
            return suspect.finding("dy-times", sentence)
    return None


def _upstream(suspect: Suspect) -> Array | None:
    """Where the output is shaped like the array, dy as a table."""
    dy = suspect.evidence.dy
    return dy.reshape(-1, 1).astype(np.float64) if dy is not None and dy.shape == suspect.shape else None


def _slopes(suspect: Suspect) -> Iterator[tuple[str, Array]]:
    """What is taken for a derivative by mistake."""
    for name, values in suspect.others():
        if values.shape != suspect.shape or values.dtype.kind != "f":
            continue
        v = values.reshape(-1, 1).astype(np.float64)
        yield name, v
        yield f"1/{name}", 1 / v
        yield f"{name}²", v**2
        yield f"(1 - {name})", 1 - v
        yield f"(1 - {name}²)", 1 - v**2
        yield f"{name} (1 - {name})", v * (1 - v)
        yield f"exp({name})", np.exp(v)

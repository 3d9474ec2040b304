"""Plain words of YAML as values, by the core schema of YAML 1.2.

`1e-6` is a number there, `no`, `1_000` and `2020-01-01` are words. The loaders of ruamel.yaml also know underscores and
dates, which would turn a word that a user wrote into something else.

Source: YAML 1.2.2, section 10.3.2
"""

from __future__ import annotations

import math
import re

DIGITS = 1000  # Python turns no integer of more than 4300 decimal digits into text
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE, _FALSE = frozenset({"true", "True", "TRUE"}), frozenset({"false", "False", "FALSE"})
# Texts, not compiled: most files hold few kinds of numbers, and each pattern is compiled when it is first tried.
_INTEGER = r"[-+]?[0-9]+"
_BASED = r"0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_INFINITE = r"([-+]?)\.(inf|Inf|INF)"
_NAN = frozenset({".nan", ".NaN", ".NAN"})


def resolve(word: str) -> str | int | float | bool | None:
    """Return the value of an unquoted word.

    Raises ValueError for an integer of too many digits.
    """
    if word in _NULL:
        return None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    if not (word[0] in "-+." or word[0].isdigit()):
        return word
    if re.fullmatch(_INTEGER, word) or re.fullmatch(_BASED, word):
        if len(word) > DIGITS:
            raise ValueError(f"a number of {len(word)} digits; must have at most {DIGITS}")
        return int(word[2:], {"o": 8, "x": 16}[word[1]]) if word[1:2] in ("o", "x") else int(word)
    if re.fullmatch(_FLOAT, word):
        return float(word)
    if infinite := re.fullmatch(_INFINITE, word):
        return -math.inf if infinite[1] == "-" else math.inf
    return math.nan if word in _NAN else word

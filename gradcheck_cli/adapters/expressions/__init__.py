"""Expressions of formulas: read by Python's own parser, checked against a whitelist, compiled to closures.

Nothing is ever handed to `eval`: what is not listed does not exist, and every size is known before memory is taken.
"""

from gradcheck_cli.adapters.expressions.compiler import Expression, compile_expression
from gradcheck_cli.adapters.expressions.limits import FormulaError

__all__ = ["Expression", "FormulaError", "compile_expression"]

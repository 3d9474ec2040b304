"""Strict YAML to checks: every problem at once, each with file, line and column."""

from gradcheck_cli.config.loading import load, validate
from gradcheck_cli.config.problems import ConfigError, Problem

__all__ = ["ConfigError", "Problem", "load", "validate"]

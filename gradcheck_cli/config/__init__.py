"""Strict YAML to checks: every problem at once, each with file, line and column."""

"""Difference methods, one per file: each gives the steps and combines the values at them."""

"""Layers with hand-written derivatives, one family per file; the docstring of each is its page."""

"""Benchmarks of the checker beside its peers: `python tests/benchmarks/run.py`."""

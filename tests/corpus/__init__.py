"""The acceptance corpus: correct layers at easy and hard points, wrong gradients, and the truth about each.

`python -m tests.corpus` measures the checker and its peers on all of it.
"""

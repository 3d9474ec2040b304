"""Report formats, one per file and named like it: pure functions of a finished run.

A format is a class with a `name` and `render(run) -> str`. Modules that start with an underscore are no formats.
"""

"""Report formats, one per file: each is a function of a finished run."""

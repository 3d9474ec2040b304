"""Rules that turn evidence into findings, in order."""

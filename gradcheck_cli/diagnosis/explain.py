"""Findings for what is wrong, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradcheck_cli.diagnosis.suspect import Evidence, Suspect
from gradcheck_cli.results import Finding

# What plumbing said of an array already explains why its numbers are wrong.
SETTLED = frozenset({"shape", "dy-ignored", "accumulates", "hidden-state", "nan-gradient", "missing-gradient"})


def explain(evidence: Evidence, known: Sequence[Finding]) -> Iterator[Finding]:
    """One finding for each array that fails, unless the known ones explain it."""
    done = {finding.array for finding in known if finding.severity == "error" and finding.rule in SETTLED}
    for sheet in evidence.sheets:
        suspect = Suspect(evidence, sheet)
        if suspect.name not in done and suspect.wrong.any():
            # a run in which all is right needs no rules
            from gradcheck_cli.diagnosis.rules import explanation
            from gradcheck_cli.diagnosis.searched import wrong_ones

            yield explanation(suspect) if sheet.searched is None else wrong_ones(suspect)

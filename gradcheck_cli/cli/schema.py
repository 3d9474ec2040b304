"""`gradcheck schema`: JSON Schemas of what gradcheck reads and writes."""

from __future__ import annotations

import json

import click

from gradcheck_cli.cli.output import show
from gradcheck_cli.results import ExitCode


@click.command("schema", short_help="Print the JSON Schema of configs, or of results.")
@click.option("--result", is_flag=True, help="The schema of the JSON report.")
def schema(result: bool) -> ExitCode:
    """Print the JSON Schema of configs, for editors, or with --result that of the JSON report.

    That of configs knows the layers and adapters of this installation. `gradcheck validate` sees more than it.

    \b
    Examples:
      gradcheck schema > gradcheck.schema.json
      gradcheck schema --result
    """
    if result:
        from gradcheck_cli.from_json import result_schema

        plain = result_schema()
    else:
        from gradcheck_cli.config.schema import config_schema

        plain = config_schema()
    show(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    return ExitCode.MET

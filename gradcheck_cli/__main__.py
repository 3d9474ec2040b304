"""The way in: `gradcheck` and `python -m gradcheck_cli`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; Ctrl-C is kept from the first import on."""
    try:
        from gradcheck_cli.cli.process import run_process

        return run_process(sys.argv[1:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

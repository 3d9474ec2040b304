"""The way in: `gradcheck` and `python -m gradcheck_cli`."""

from __future__ import annotations

import sys

from gradcheck_cli import __version__


def main() -> int:
    """Run the command line; Ctrl-C is kept from the first import on."""
    if sys.argv[1:] == ["--version"]:  # scripts ask for it in loops: answered before anything is imported
        print(f"gradcheck {__version__}")
        return 0
    try:
        from gradcheck_cli.cli.process import run_process

        return run_process(sys.argv[1:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

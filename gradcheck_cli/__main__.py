"""The way in: `gradcheck` and `python -m gradcheck_cli`."""

from __future__ import annotations

import gc
import os
import sys

from gradcheck_cli import __version__


def main() -> int:
    """Run the command line; Ctrl-C is kept from the first import on."""
    if sys.argv[1:] == ["--version"]:  # scripts ask for it in loops: answered before anything is imported
        return _tell_version()
    gc.disable()  # what is imported stays: to search it for garbage would take a fifth of a short run
    try:
        from gradcheck_cli.cli.process import run_process

        return run_process(sys.argv[1:])
    except KeyboardInterrupt:
        return 130
    finally:
        gc.freeze()  # nor does the interpreter search it at its end
        gc.enable()


def _tell_version() -> int:
    try:
        os.write(1, f"gradcheck {__version__}\n".encode())  # unbuffered: a closed pipe is noticed here
    except OSError:
        return 141
    return 0


if __name__ == "__main__":
    # python -m puts the working directory first, where its files would shadow numpy; only a clone needs it there
    if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != os.path.dirname(
        os.path.dirname(os.path.realpath(__file__))
    ):
        del sys.path[0]
    sys.exit(main())

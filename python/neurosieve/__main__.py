"""The command line, `neurosieve` or `python -m neurosieve`: the same as the Rust program's."""

import signal
import sys

from . import _core


def main() -> int:
    """Runs the command line on ``sys.argv``; returns the exit code."""
    # The engine does not come back to the interpreter, which would handle Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _core.command(["neurosieve", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

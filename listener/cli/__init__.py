"""The command line: `disposition-listener`, also `python -m listener`."""

import gc
import sys

from listener.cli.app import build
from listener.runtime import logs

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments name, and exit.

    Exit status: 0 done, or stopped on request; 2 usage; 78 configuration; 1 anything else; 130 interrupted.
    """
    gc.disable()  # what imports create stays: until the command runs, the collector would find nothing
    logs.configure(level="error")  # until a command configures it
    try:
        build(rich=sys.stdout.isatty() and sys.stderr.isatty())(prog_name="disposition-listener")
    finally:
        gc.freeze()  # what is left goes with the process at once; a last collection of many accounts takes seconds

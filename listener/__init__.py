"""Durable listener for chat dispositions of Genesys Web Services."""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

if "rich" not in sys.modules:  # structlog would import it for a way to draw tracebacks that is not ours, for 50 ms
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's own mark for "cannot be imported"
    import_module("structlog")
    del sys.modules["rich"]

try:
    __version__ = version("disposition-listener")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

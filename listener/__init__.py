"""Durable listener for chat dispositions of Genesys Web Services."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("disposition-listener")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

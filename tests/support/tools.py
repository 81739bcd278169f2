"""Tools of the host that a test cannot do without."""

import os
import shutil

import pytest

from support.bayeux import REQUIRED


def need(*tools: str, package: str) -> str:
    """The path of a tool, once it is there; of the first that is, where several will do.

    Otherwise the test is skipped with the Debian package that brings it; it fails instead where
    LISTENER_TEST_REQUIRE_SERVERS=1 says that nothing may be left out.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    found = [program for tool in tools if (program := shutil.which(tool, path=path))]
    if not found:
        lacking(f"{tools[0]} is not installed (Debian: apt-get install {package})")
    return found[0]


def lacking(what: str) -> None:
    """Skip the test, or let it fail; see `need`."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)

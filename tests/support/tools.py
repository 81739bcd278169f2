"""Tools of the host that a test cannot do without."""

import os
import shutil

import pytest

from support.bayeux import REQUIRED


def need(tool: str, *, package: str) -> str:
    """The path of a tool, once it is there.

    Otherwise the test is skipped with the Debian package that brings it; it fails instead where
    LISTENER_TEST_REQUIRE_SERVERS=1 says that nothing may be left out.
    """
    found = shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        lacking(f"{tool} is not installed (Debian: apt-get install {package})")
    assert found is not None
    return found


def lacking(what: str) -> None:
    """Skip the test, or let it fail; see `need`."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)

"""Every test of the journal also holds its statements to their plans."""

from collections.abc import Iterator

import pytest

from support.plans import Plans, no_scans


@pytest.fixture(autouse=True)
def plans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plans]:
    """The statements that the journal asked in this test."""
    with no_scans(monkeypatch) as plans:
        yield plans

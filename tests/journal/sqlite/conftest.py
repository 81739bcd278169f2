"""Every test of the journal also holds its statements to their plans."""

from collections.abc import Iterator

import pytest

from listener.journal.sqlite import SqliteJournal
from support.plans import Plans, no_scans


@pytest.fixture(autouse=True)
def plans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plans]:
    """The statements that the journal asked in this test."""
    with no_scans(monkeypatch) as plans:
        yield plans


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path):
    """Open, in a file of its own."""
    journal = SqliteJournal(path=path)
    await journal.open()
    yield journal
    await journal.close()

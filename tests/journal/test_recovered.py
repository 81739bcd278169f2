"""What SQLite still reads of a damaged file, and that reading changes nothing."""

import shutil
from contextlib import closing

import pytest
from msgspec.structs import replace

from listener.journal import rows
from listener.journal.database import PAGE_BYTES
from listener.journal.recovered import read_recovered
from listener.journal.store import open_store
from listener.testing import sample_event


@pytest.fixture
def killed(tmp_path):
    """The files of a killed process, whose log alone holds everything."""
    path = tmp_path / "open" / "journal.db"
    path.parent.mkdir()
    with closing(open_store(path)) as store:
        events = [replace(sample_event(n), sequence=n) for n in range(4, 9)]
        rows.insert_events(store.write, rows.event_parameters(events))
        rows.advance(store.write, "crm", 6)
        shutil.copytree(path.parent, tmp_path / "killed")
    return tmp_path / "killed" / "journal.db"


def recovered(path, *, with_log=True):
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    found = read_recovered(path, path.with_name("copy"), with_log=with_log)
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    assert after == before
    return found


def test_a_log_counts_and_stays(killed):
    found = recovered(killed)
    assert found.ends == (4, 8)
    assert found.numbers("sink_cursor", "sequence") == [6]
    assert all(table.whole for table in found.tables.values())


@pytest.mark.parametrize("lost", [0, 1, 100, PAGE_BYTES])
def test_without_a_header_or_a_first_page_everything_is_still_found(killed, lost):
    killed.write_bytes(bytes(lost) + killed.read_bytes()[lost:] if lost else b"")
    assert recovered(killed).numbers("sink_cursor", "sequence") == [6]


def test_a_log_that_is_not_to_be_trusted_stays_out_of_the_copy(killed):
    killed.write_bytes(b"")
    assert recovered(killed, with_log=False).numbers("sink_cursor", "sequence") == []


def test_of_garbage_nothing_is_known(tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"garbage " * 5000)
    found = recovered(path)
    assert found.ends is None
    assert not any(table.rows or table.whole for table in found.tables.values())

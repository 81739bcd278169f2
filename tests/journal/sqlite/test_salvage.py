"""The stretches of a damage; what is salvaged is tested through an open in test_damage.py."""

import stat
from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.journal.sqlite import rows
from listener.journal.sqlite.database import connect_reader
from listener.journal.sqlite.salvage import MAX_STRETCHES, merged, rebuild
from listener.journal.sqlite.store import open_store
from listener.testing import sample_event

TIMES = st.integers(0, 10_000)


@given(stretches=st.lists(st.tuples(TIMES, TIMES), max_size=60))
def test_merged_stretches_are_few_apart_in_order_and_cover_all(stretches):
    found = merged(stretches)
    assert len(found) <= MAX_STRETCHES
    assert all(start <= end for start, end in found)
    assert all(left[1] < right[0] for left, right in pairwise(found))
    assert all(any(start <= min(one) and max(one) <= end for start, end in found) for one in stretches)
    assert {time for one in found for time in one} <= {time for one in stretches for time in one}


def test_those_with_the_least_between_them_are_merged():
    apart = [(n * 100, n * 100 + 1) for n in range(MAX_STRETCHES)]
    assert merged([*apart, (5, 6)]) == ((0, 6), *apart[1:])


@pytest.fixture
def path(tmp_path):
    """A journal of which retention took the first three of nine events."""
    path = tmp_path / "journal.db"
    with closing(open_store(path)) as store:
        events = [replace(sample_event(n, data_bytes=20_000), sequence=n) for n in range(1, 10)]
        rows.insert_events(store.write, rows.event_parameters(events))
        rows.delete_events(store.write, 2**62, (), 3)
    return path


def test_the_new_journal_is_its_owners_alone_and_the_old_one_is_as_it_was(path, tmp_path):
    before = path.read_bytes()
    found = rebuild(path, tmp_path / "new.db", at_ms=7, set_aside="aside")
    assert path.read_bytes() == before
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600
    assert (found.damage.kept, found.damage.set_aside, found.damage.stretches, found.unread) == (6, "aside", (), [])


def test_what_retention_deleted_does_not_come_back_from_a_free_page(path, tmp_path):
    rebuild(path, tmp_path / "new.db", at_ms=7, set_aside="aside")
    with closing(connect_reader(tmp_path / "new.db")) as connection:
        assert [event.sequence for event in rows.select_events(connection, 0, 100)] == list(range(4, 10))
        assert connection.execute("SELECT * FROM meta").fetchall() == [(9, 3, 9)]
        assert rows.select_holes(connection) == []

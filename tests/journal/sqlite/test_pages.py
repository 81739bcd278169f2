"""Events in raw pages, held against what SQLite reads."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.journal.sqlite import pages, rows
from listener.journal.sqlite.database import create_newest
from listener.journal.sqlite.wal import Frame
from listener.testing import sample_event

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
EVENTS = st.builds(
    lambda number, subject, account, received_ms, bytes_: replace(
        sample_event(number, chat=subject, account=account, data_bytes=bytes_), received_ms=received_ms
    ),
    st.integers(0, 9),
    TEXTS,
    TEXTS,
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 100, 1900, 2000, 4000, 8000, 8100, 8200, 16_000, 70_000]),
)


def stored(path, events, page_bytes=8192):
    """The rows as SQLite has them, after it wrote them to a file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        create_newest(connection)
        rows.insert_events(connection, rows.event_parameters(events))
        return rows.select_raw_events(connection, -1, 10_000)


@given(events=st.lists(EVENTS, max_size=40), step=st.sampled_from([1, 200, 2**40]), page=st.sampled_from([1024, 8192]))
def test_every_event_of_any_shape_is_found(tmp_path_factory, events, step, page):
    path = tmp_path_factory.mktemp("pages") / "journal.db"
    expected = stored(path, [replace(event, sequence=n * step) for n, event in enumerate(events, 1)], page)
    assert sorted(pages.events(path, [])) == expected


def test_rows_without_a_sum_are_found(tmp_path):
    path = tmp_path / "journal.db"
    stored(path, [replace(sample_event(n), sequence=n) for n in (1, 2, 3)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE event SET crc = NULL")
        connection.execute("UPDATE event SET data = 'text' WHERE sequence = 2")
        connection.execute("UPDATE event SET data = X'5B5D' WHERE sequence = 3")
    assert [row[0] for row in pages.events(path, [])] == [1]


@given(content=st.binary(max_size=9000), start=st.sampled_from([b"\x0d\0\0\0\x05", b""]))
def test_garbage_is_no_event_and_no_error(tmp_path_factory, content, start):
    path = tmp_path_factory.mktemp("pages") / "journal.db"
    path.write_bytes(bytes(8192) + start + content)
    assert list(pages.events(path, [])) == []


def test_a_page_in_the_log_is_newer_than_that_in_the_file(tmp_path):
    path = tmp_path / "journal.db"
    stored(path, [replace(sample_event(1), sequence=1)])
    old = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection, connection:
        rows.insert_events(connection, rows.event_parameters([replace(sample_event(2), sequence=2)]))
    new = path.read_bytes()
    path.write_bytes(old)
    found = [row[0] for row in pages.events(path, [Frame(2, new[8192:16384])])]
    assert found == [1, 2, 1]


def test_a_page_that_is_only_in_the_log_is_found(tmp_path):
    path = tmp_path / "journal.db"
    stored(path, [replace(sample_event(1), sequence=1)])
    content = path.read_bytes()
    path.write_bytes(content[:8192])
    assert [row[0] for row in pages.events(path, [Frame(2, content[8192:16384])])] == [1]


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"SQLite format 3\0\x10\x00", 4096),
        (b"SQLite format 3\0\x10\x01", 8192),
        (b"SQLite format 3\0\0\0", 8192),
        (b"garbage garbage \x10\x00", 8192),
        (b"", 8192),
    ],
)
def test_the_page_size_is_the_headers_where_it_names_one(header, size):
    assert pages.page_bytes_of(header) == size


@pytest.mark.parametrize("number", [0, 99, 2**32 - 1])
def test_an_event_whose_rest_lies_nowhere_is_none(tmp_path, number):
    path = tmp_path / "journal.db"
    stored(path, [replace(sample_event(n, data_bytes=9000 * n), sequence=n) for n in (1, 2)])
    content = path.read_bytes()
    leaf = content[8192:16384]
    at = next(at for at in range(4, 8188) if leaf[at - 4 : at] == b"xxxx" and leaf[at : at + 3] == bytes(3))
    path.write_bytes(content[: 8192 + at] + number.to_bytes(4, "big") + content[8192 + at + 4 :])
    assert len(list(pages.events(path, []))) == 1

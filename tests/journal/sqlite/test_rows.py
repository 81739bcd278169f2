"""Rows to values and back, where the contract suite does not look."""

import sqlite3
import zlib
from contextlib import closing

import pytest
from msgspec.structs import replace

from listener.errors import JournalDamaged
from listener.journal.sqlite import rows
from listener.journal.sqlite.database import newest_schema
from listener.model.event import Change, JournalBatch, Kind, LastValue, Origin
from listener.testing import sample_event


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(newest_schema())
        yield connection


def numbered(count, **changes):
    return [replace(sample_event(n), sequence=n, **changes) for n in range(1, count + 1)]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 200])
def test_any_number_of_rows_is_stored_once_and_in_order(connection, count):
    events = numbered(count)
    rows.insert_events(connection, rows.event_parameters(events))
    assert rows.select_events(connection, 0, 1000) == events


@pytest.mark.parametrize("change", [None, *Change])
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("origin", Origin)
def test_every_word_of_the_model_is_kept(connection, change, kind, origin):
    events = numbered(1, change=change, kind=kind, origin=origin)
    rows.insert_events(connection, rows.event_parameters(events))
    found = rows.select_events(connection, 0, 10)
    assert found == events
    assert type(found[0].kind) is Kind


def test_words_are_bound_as_plain_text():
    parameters = rows.event_parameters(numbered(1))
    assert {type(one) for one in parameters} <= {int, str, bytes, type(None)}


def test_events_of_one_chat_are_found_among_others(connection):
    events = [replace(event, subject=f"chat-{event.sequence % 3}") for event in numbered(9)]
    rows.insert_events(connection, rows.event_parameters(events))
    assert [event.sequence for event in rows.select_events(connection, 2, 2, "chat-2")] == [5, 8]


def test_of_several_values_for_one_key_in_a_commit_the_last_counts(connection):
    values = [
        LastValue(chat_id="c", key="k", value=text, account="a", server_time_ms=n, received_ms=n)
        for n, text in enumerate("ABC")
    ]
    rows.replace_values(connection, [JournalBatch(values=tuple(values[:2])), JournalBatch(values=(values[2],))])
    assert rows.select_values(connection, ["c"]) == [values[2]]


def test_retention_takes_no_more_than_a_step_at_once(connection):
    rows.insert_events(connection, rows.event_parameters(numbered(25, received_ms=1)))
    assert rows.delete_events(connection, 2, (), 10) == (10, 10)
    assert rows.delete_events(connection, 2, (), 10) == (10, 20)
    assert rows.delete_events(connection, 2, (), 10) == (5, 25)
    assert rows.delete_events(connection, 2, (), 10) == (0, 0)
    assert rows.select_last_sequence(connection) == 25


def stored(connection):
    return [list(row) for row in rows.select_raw_events(connection, 0, 1000)]


def test_a_row_is_intact_until_any_column_is_another(connection):
    rows.insert_events(connection, rows.event_parameters(numbered(3, change=None)))
    for row in stored(connection):
        assert rows.is_intact(row)
        for column, other in enumerate([99, 99, *"abcdefghi", b"other", 99]):
            assert not rows.is_intact([*row[:column], other, *row[column + 1 :]])


@pytest.mark.parametrize("other", [None, 5, "text", "\ud800"])
def test_a_row_of_other_types_is_not_intact(connection, other):
    rows.insert_events(connection, rows.event_parameters(numbered(1)))
    (row,) = stored(connection)
    assert not rows.is_intact([*row[:-2], other, row[-1]])
    assert not rows.is_intact([row[0], row[1], other, *row[3:]])


def test_a_row_older_than_checksums_is_taken_for_intact(connection):
    rows.insert_events(connection, rows.event_parameters(numbered(1)))
    connection.execute("UPDATE event SET crc = NULL")
    assert rows.select_events(connection, 0, 10) == numbered(1)


def test_the_sum_is_that_of_the_columns_with_a_nul_behind_each_but_the_data(connection):
    event = numbered(1)[0]
    texts = [1, event.received_ms, event.id, event.type, event.source, event.subject, event.time]
    texts += [event.kind.value, event.account, event.change.value, event.origin.value]
    whole = b"".join(b"%b\0" % str(text).encode() for text in texts) + event.data
    assert rows.event_parameters([event])[-1] == zlib.crc32(whole)


@pytest.mark.parametrize("column", ["value", "account", "server_time_ms", "received_ms"])
def test_a_last_value_that_nobody_stored_is_damage(connection, column):
    value = LastValue(chat_id="c", key="k", value="x", account="a", server_time_ms=None, received_ms=1)
    rows.replace_values(connection, [JournalBatch(values=(value,))])
    connection.execute(f"UPDATE last_value SET {column} = X'00'")  # noqa: S608 - our own name
    with pytest.raises(JournalDamaged):
        rows.select_values(connection, ["c"])

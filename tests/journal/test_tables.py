"""Tables as far as they can be read."""

import sqlite3
from contextlib import closing

import pytest

from listener.journal import tables
from listener.journal.database import create_newest, migrations


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_newest(connection)
        connection.text_factory = tables.text_or_bytes
        yield connection


def test_every_table_but_that_of_the_events_is_known_with_all_its_columns(connection):
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {table: list(columns) for table, columns in tables.TABLES.items()} == {
        name: sorted(tables.columns_of(connection, name), key=list(tables.TABLES[name]).index)
        for name in names - {"event"}
    }


def test_a_sound_table_is_whole(connection):
    connection.execute("INSERT INTO sink_cursor VALUES ('crm', 7), ('bi', 9)")
    rows = [{"sink": "bi", "sequence": 9}, {"sink": "crm", "sequence": 7}]
    assert tables.read(connection, "sink_cursor") == (rows, True)
    assert all(tables.read(connection, table).whole for table in tables.TABLES)


@pytest.mark.parametrize(
    ("table", "insert"),
    [
        ("sink_cursor", "INSERT INTO sink_cursor VALUES ('bi', 'text')"),
        ("sink_cursor", "INSERT INTO sink_cursor VALUES ('bi', -1)"),
        ("sink_cursor", "INSERT INTO sink_cursor VALUES ('bi', 1 << 53)"),
        ("sink_cursor", "INSERT INTO sink_cursor VALUES (CAST(X'FF' AS TEXT), 1)"),
        ("session", "INSERT INTO session VALUES ('a', 'b', 'c', 'd', 'e', 1, 1, 1, '[', 0)"),
        ("session", "INSERT INTO session VALUES ('a', 'b', 'c', 'd', 'e', 1, 1, 1, '{}', 0)"),
        ("damage", "INSERT INTO damage VALUES (1, 'a', 1, 'x', 1)"),
        ("meta", "INSERT INTO meta VALUES ('x', 0)"),
    ],
)
def test_a_row_that_cannot_be_is_left_out_alone(connection, table, insert):
    connection.execute("INSERT INTO sink_cursor VALUES ('crm', 7)")
    before = tables.read(connection, table).rows
    connection.execute(insert)
    assert tables.read(connection, table) == (before, False)


def test_a_server_may_name_any_time(connection):
    connection.execute("INSERT INTO last_value VALUES ('c', 'k', NULL, 'a', -5, 1)")
    assert tables.read(connection, "last_value").whole


def test_an_older_file_is_read_in_what_it_has():
    with closing(sqlite3.connect(":memory:")) as old:
        old.executescript(migrations()[0])
        old.execute(
            "INSERT INTO dead_letter (sink, sequence, event_id, reason, attempts, at_ms)"
            " VALUES ('a', 1, 'b', 'c', 1, 1)"
        )
        (letter,) = tables.read(old, "dead_letter").rows
        assert letter["sink"] == "a"
        assert "answer" not in letter
        assert tables.read(old, "lane_state") == ([], True)


def test_what_lies_behind_an_unreadable_page_is_read_from_the_other_end(tmp_path):
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as connection:
        create_newest(connection)
        values = [(f"{number:06d}", "k", "v" * 300, "a", None, number) for number in range(500)]
        with connection:
            connection.executemany("INSERT INTO last_value VALUES (?, ?, ?, ?, ?, ?)", values)
    content = path.read_bytes()
    at = content.index(b"000250") // 4096 * 4096
    path.write_bytes(content[:at] + bytes(4096) + content[at + 4096 :])
    with closing(sqlite3.connect(path)) as connection:
        found = tables.read(connection, "last_value")
    chats = {row["chat_id"] for row in found.rows}
    assert not found.whole
    assert {"000000", "000499"} <= chats
    assert 480 < len(chats) == len(found.rows) < 500


def test_what_is_no_database_has_no_rows(tmp_path):
    (tmp_path / "journal.db").write_bytes(b"garbage " * 1000)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        assert tables.read(connection, "sink_cursor") == ([], False)

"""Tables as far as they can be read."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import replace

from listener.journal.sqlite import rows
from listener.journal.sqlite.database import PAGE_BYTES, create_newest, migrations
from listener.journal.sqlite.recovered import TABLES, columns_of, read_recovered, read_table, text_or_bytes
from listener.journal.sqlite.store import open_store
from listener.testing import sample_event


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_newest(connection)
        connection.text_factory = text_or_bytes
        yield connection


def test_every_table_but_that_of_the_events_is_known_with_all_its_columns(connection):
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {table: list(columns) for table, columns in TABLES.items()} == {
        name: sorted(columns_of(connection, name), key=list(TABLES[name]).index) for name in names - {"event"}
    }


def test_a_sound_table_is_whole(connection):
    connection.execute("INSERT INTO sink_cursor VALUES ('crm', 7), ('bi', 9)")
    rows = [{"sink": "bi", "sequence": 9}, {"sink": "crm", "sequence": 7}]
    assert read_table(connection, "sink_cursor") == (rows, True)
    assert all(read_table(connection, table).whole for table in TABLES)


@pytest.mark.parametrize(
    ("table", "insert"),
    [
        ("sink_cursor", "INSERT INTO sink_cursor VALUES ('bi', 'text')"),
        ("sink_cursor", "INSERT INTO sink_cursor VALUES ('bi', -1)"),
        ("sink_cursor", "INSERT INTO sink_cursor VALUES ('bi', 1 << 53)"),
        ("sink_cursor", "INSERT INTO sink_cursor VALUES (CAST(X'FF' AS TEXT), 1)"),
        ("session", "INSERT INTO session VALUES ('a', 'b', 'c', 'd', 'e', 1, 1, 1, '[', 0, NULL, '', '[]', '[]')"),
        ("session", "INSERT INTO session VALUES ('a', 'b', 'c', 'd', 'e', 1, 1, 1, '{}', 0, NULL, '', '[]', '[]')"),
        ("damage", "INSERT INTO damage VALUES (1, 'a', 1, 'x', 1)"),
        ("meta", "INSERT INTO meta VALUES ('x', 0, 0)"),
    ],
)
def test_a_row_that_cannot_be_is_left_out_alone(connection, table, insert):
    connection.execute("INSERT INTO sink_cursor VALUES ('crm', 7)")
    before = read_table(connection, table).rows
    connection.execute(insert)
    assert read_table(connection, table) == (before, False)


def test_a_server_may_name_any_time(connection):
    connection.execute("INSERT INTO last_value VALUES ('c', 'k', NULL, 'a', -5, 1)")
    assert read_table(connection, "last_value").whole


def test_an_older_file_is_read_in_what_it_has():
    with closing(sqlite3.connect(":memory:")) as old:
        old.executescript(migrations()[0])
        old.execute(
            "INSERT INTO dead_letter (sink, sequence, event_id, reason, attempts, at_ms)"
            " VALUES ('a', 1, 'b', 'c', 1, 1)"
        )
        (letter,) = read_table(old, "dead_letter").rows
        assert letter["sink"] == "a"
        assert "answer" not in letter
        assert read_table(old, "lane_state") == ([], True)


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
        found = read_table(connection, "last_value")
    chats = {row["chat_id"] for row in found.rows}
    assert not found.whole
    assert {"000000", "000499"} <= chats
    assert 480 < len(chats) == len(found.rows) < 500


def test_what_is_no_database_has_no_rows(tmp_path):
    (tmp_path / "journal.db").write_bytes(b"garbage " * 1000)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        assert read_table(connection, "sink_cursor") == ([], False)


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

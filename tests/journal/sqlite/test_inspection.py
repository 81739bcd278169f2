"""What is damage, and what is for the opener to refuse."""

import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import replace

from listener.journal.sqlite import inspection, rows
from listener.journal.sqlite.database import migrations
from listener.journal.sqlite.inspection import fault_of
from listener.journal.sqlite.store import open_store
from listener.testing import sample_event


@pytest.fixture
def path(tmp_path):
    """A sound journal with a few hundred events."""
    path = tmp_path / "journal.db"
    with closing(open_store(path)) as store:
        events = [replace(sample_event(n, data_bytes=600), sequence=n) for n in range(1, 301)]
        rows.insert_events(store.write, rows.event_parameters(events))
    return path


def tamper(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_sound_journal_has_none_and_nothing_is_left_beside_it(path):
    before = sorted(file.name for file in path.parent.iterdir())
    assert fault_of(path, thorough=True) is None
    assert sorted(file.name for file in path.parent.iterdir()) == before


def test_an_empty_file_is_a_new_journal_unless_it_has_a_log(tmp_path):
    path = tmp_path / "journal.db"
    path.touch()
    assert fault_of(path, thorough=True) is None
    path.with_name("journal.db-wal").write_bytes(b"something")
    assert fault_of(path, thorough=True) == "it is empty, and its log is not"


@pytest.mark.parametrize("content", [b"not a database, " * 500, bytes(8192), b"S"])
def test_what_is_no_database_is_damaged(tmp_path, content):
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    assert fault_of(path, thorough=False) == "it is no SQLite file"


def test_another_programs_database_is_not_damaged(tmp_path):
    path = tmp_path / "other.db"
    tamper(path, "PRAGMA encoding = 'UTF-16'", "CREATE TABLE customers (name)", "PRAGMA application_id = 7")
    assert fault_of(path, thorough=True) is None


def test_a_newer_journal_is_not_damaged(path):
    tamper(path, "PRAGMA user_version = 99")
    assert fault_of(path, thorough=True) is None


def test_an_older_journal_is_not_damaged(tmp_path):
    path = tmp_path / "journal.db"
    tamper(path, "PRAGMA user_version = 1", f"PRAGMA application_id = {0x444C6A6E}")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(migrations()[0])
        values = "(1, 1, 'a', 'b', 'c', 'd', 'e', 'gap', 'f', NULL, 'notification', X'7B7D')"
        connection.execute(f"INSERT INTO event VALUES {values}")  # noqa: S608 - a constant
        connection.commit()
    assert fault_of(path, thorough=True) is None


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("PRAGMA application_id = 7", "its header names another program"),
        ("PRAGMA user_version = 0", "its schema has no version"),
        ("PRAGMA user_version = 1", "its schema is wrong for table event"),
        ("DROP TABLE session", "its schema is wrong for table session"),
        ("UPDATE event SET account = 'x' WHERE sequence = 7", "event 7 is not what was stored"),
        ("INSERT INTO sink_cursor VALUES ('crm', 'x')", "table sink_cursor cannot be read"),
    ],
)
def test_what_nobody_here_wrote_is_damage(path, statement, fault):
    tamper(path, statement)
    assert fault_of(path, thorough=False) == fault


@pytest.mark.parametrize("at", [18, 19, 21, 22, 23, 44, 59])
def test_a_header_that_was_never_written_is_damage(path, at):
    content = bytearray(path.read_bytes())
    content[at] += 7
    path.write_bytes(content)
    assert fault_of(path, thorough=False) == "its header is not what was written"


def test_a_large_journal_is_looked_at_whole_only_where_that_is_wanted(path, monkeypatch):
    monkeypatch.setattr(inspection, "WHOLE_BYTES", 1000)
    tamper(path, "UPDATE event SET account = 'x' WHERE sequence = 7")
    assert fault_of(path, thorough=False) is None
    assert fault_of(path, thorough=True) == "event 7 is not what was stored"


@pytest.mark.parametrize("index", ["dead_letter_by_sequence", "dead_letter_by_event_id", "dead_letter_by_time"])
def test_an_index_that_misses_a_dead_letter_is_damage(path, index):
    """SQLite's quick check is content with it, and who looks through the index does not see the letter."""
    tamper(
        path,
        "INSERT INTO dead_letter (sink, sequence, event_id, reason, attempts, at_ms)"
        " VALUES ('crm', 7, 'event-7', 'HTTP 422', 1, 5)",
    )
    with closing(sqlite3.connect(path)) as connection:
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (index,)).fetchone()[0]
    content = bytearray(path.read_bytes())
    content[root * page_bytes - 1] ^= 1  # the only entry stands at the end of the page, and its rowid, 1, takes no byte
    path.write_bytes(content)
    assert index in fault_of(path, thorough=True)


@pytest.mark.parametrize("sequence", [1, 300])
def test_the_ends_of_a_large_journal_are_looked_at(path, monkeypatch, sequence):
    monkeypatch.setattr(inspection, "WHOLE_BYTES", 1000)
    tamper(path, f"UPDATE event SET account = 'x' WHERE sequence = {sequence}")  # noqa: S608 - our own number
    assert fault_of(path, thorough=False) == f"event {sequence} is not what was stored"


def test_what_fails_for_now_is_no_damage(path, monkeypatch):
    def refuse(path, mode):
        return sqlite3.connect(f"file:{path}.nowhere?mode=ro", uri=True)

    monkeypatch.setattr(inspection, "connect", refuse)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        fault_of(path, thorough=False)


DAMAGED_ROWS = {
    "a last value of another type": "INSERT INTO last_value VALUES ('{key}', 'k', X'07', 'a', 1, 1)",
    "a last value that is no text": "INSERT INTO last_value VALUES ('{key}', 'k', CAST(X'FF' AS TEXT), 'a', 1, 1)",
    "a dead letter beyond the sequences": "INSERT INTO dead_letter (sink, sequence, event_id, reason, attempts, at_ms)"
    " VALUES ('{key}', -1, 'e', 'no', 1, 1)",
}


@pytest.mark.parametrize("statement", DAMAGED_ROWS.values(), ids=DAMAGED_ROWS)
def test_tables_that_grow_are_looked_at_as_the_events_are(path, monkeypatch, statement):
    """What lies between the ends of a large journal is found when it is read, so that its start takes no longer."""
    sound = [f"INSERT INTO last_value VALUES ('{key}', 'k', 'x', 'a', 1, 1)" for key in ("a", "z")]  # noqa: S608
    letters = [statement.format(key=key).replace("-1", "1") for key in ("a", "z") if "dead" in statement]
    tamper(path, *sound, *letters[:1], statement.format(key="m"), *letters[1:])
    table = "dead_letter" if "dead" in statement else "last_value"
    assert fault_of(path, thorough=False) == f"table {table} cannot be read"
    monkeypatch.setattr(inspection, "WHOLE_BYTES", 1000)
    assert fault_of(path, thorough=False) is None
    assert fault_of(path, thorough=True) == f"table {table} cannot be read"
    tamper(path, statement.format(key="zz"))
    assert fault_of(path, thorough=False) == f"table {table} cannot be read"

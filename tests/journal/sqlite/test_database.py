"""Creating, opening and migrating the file."""

import sqlite3
from contextlib import closing

import pytest

from listener.errors import JournalDamaged, JournalError, JournalFull
from listener.journal.sqlite import database, inspection
from listener.journal.sqlite.database import connect_reader, journal_error, migrations, newest_schema
from listener.journal.sqlite.store import open_store


def structure(connection):
    """Every table with its columns, options and indexes, free of how the SQL is written."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        table: {
            "columns": connection.execute(f"PRAGMA table_xinfo({table})").fetchall(),
            "indexes": sorted(
                (unique, origin, tuple(connection.execute(f"PRAGMA index_xinfo({name})").fetchall()))
                for _, name, unique, origin, _ in connection.execute(f"PRAGMA index_list({table})").fetchall()
            ),
            "without_rowid": connection.execute("SELECT wr FROM pragma_table_list(?)", (table,)).fetchall(),
            "rows": connection.execute(f"SELECT count(*) FROM {table}").fetchall(),  # noqa: S608 - our own names
        }
        for table in tables
    }


def triggers(connection):
    return connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name").fetchall()


def test_the_migrations_in_order_yield_the_newest_schema():
    with closing(sqlite3.connect(":memory:")) as newest, closing(sqlite3.connect(":memory:")) as migrated:
        newest.executescript(newest_schema())
        for script in migrations():
            migrated.executescript(script)
        assert structure(migrated) == structure(newest)
        assert triggers(migrated) == triggers(newest) != []
        assert {"event", "last_value", "session", "sink_cursor", "dead_letter", "meta"} <= set(structure(newest))


def test_a_new_file_is_a_journal_of_the_newest_version(path):
    store = open_store(path)
    assert store.read.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
    assert store.read.execute("PRAGMA application_id").fetchone() == (database.APPLICATION_ID,)
    assert store.last_sequence == 0
    store.close()


def test_an_empty_file_whose_version_damage_made_negative_becomes_a_journal(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = -5")
    store = open_store(path)
    assert store.read.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
    store.close()


def test_a_commit_is_on_the_disk_when_it_returns(path):
    store = open_store(path)
    assert store.write.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.write.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()


def test_an_older_journal_is_migrated_without_losing_rows(path, monkeypatch):
    open_store(path).close()
    scripts = migrations()
    monkeypatch.setattr(database, "migrations", lambda: [*scripts, "ALTER TABLE meta ADD COLUMN note TEXT"])
    store = open_store(path)
    assert store.write.execute("PRAGMA user_version").fetchone() == (len(scripts) + 1,)
    assert store.write.execute("SELECT last_sequence, note FROM meta").fetchall() == [(0, None)]
    store.close()


def test_a_migration_that_fails_leaves_the_version_before_it(path, monkeypatch):
    open_store(path).close()
    scripts = migrations()
    monkeypatch.setattr(database, "migrations", lambda: [*scripts, "CREATE TABLE extra (a); CREATE TABLE event (a)"])
    with pytest.raises(JournalError, match="already exists"):
        open_store(path)
    monkeypatch.undo()
    store = open_store(path)
    assert "extra" not in structure(store.read)
    store.close()


def test_a_newer_journal_is_refused(path):
    open_store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match=r"journal\.db: schema version 99 is newer"):
        open_store(path)


def test_another_programs_database_is_refused_and_left_alone(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (name)")
    with pytest.raises(JournalError, match="no journal"):
        open_store(path)
    with closing(sqlite3.connect(path)) as connection:
        assert list(structure(connection)) == ["customers"]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_reader_cannot_write(path):
    open_store(path).close()
    with closing(connect_reader(path)) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM event")


def test_a_page_limit_reached_means_full(path):
    store = open_store(path)
    (pages,) = store.write.execute("PRAGMA page_count").fetchone()
    store.write.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError) as refused:
        store.write.execute("CREATE TABLE more (a)")
    store.close()
    assert isinstance(journal_error(path, refused.value), JournalFull)
    assert str(path) in str(journal_error(path, refused.value))


def test_an_error_that_is_ours_already_stays_what_it_is(path):
    full = JournalFull("no room")
    assert journal_error(path, full) is full


def test_any_other_error_names_the_file_and_keeps_its_cause(path):
    cause = ValueError("nonsense")
    error = journal_error(path, cause)
    assert type(error) is JournalError
    assert error.__cause__ is cause
    assert str(path) in str(error)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CORRUPT_INDEX, sqlite3.SQLITE_NOTADB])
def test_what_sqlite_cannot_make_sense_of_is_damage(path, code):
    cause = sqlite3.DatabaseError("malformed")
    cause.sqlite_errorcode = code
    assert isinstance(journal_error(path, cause), JournalDamaged)


def test_a_text_that_is_none_is_damage_and_is_not_quoted(path):
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("SELECT CAST(X'736563726574FF' AS TEXT)").fetchone()
    error = journal_error(path, caught.value)
    assert isinstance(error, JournalDamaged)
    assert "secret" not in str(error)


def test_a_message_of_sqlite_that_is_no_text_is_damage(path):
    """SQLite quotes what it cannot parse of the schema."""
    open_store(path).close()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE event", b"CREATE \xce\xceBLE event"))
    with closing(database.connect(path, "ro")) as connection, pytest.raises(UnicodeDecodeError) as caught:
        connection.execute("SELECT * FROM event")
    assert isinstance(journal_error(path, caught.value), JournalDamaged)
    assert inspection.fault_of(path, thorough=False) == "its schema is no text"
    open_store(path).close()


def test_damage_that_a_row_tells_of_gets_the_files_name(path):
    assert str(path) in str(journal_error(path, JournalDamaged("event 3")))

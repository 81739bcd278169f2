"""The database of a configuration: where it is, and what is asked only when it is reached."""

from pathlib import Path

from listener.config.journal import JournalSettings
from listener.daemon.database import database_of, options_of
from listener.journal.postgres.database import PostgresDatabase


def test_all_that_the_table_says_reaches_the_database(tmp_path: Path):
    table = JournalSettings(
        url="postgresql://db.example.com:6000/dispositions",
        username="listener",
        password_file="journal.secret",
        schema="other",
        pooler=True,
    )
    options = options_of(table, tmp_path)
    assert (options.host, options.port, options.database) == ("db.example.com", 6000, "dispositions")
    assert (options.username, options.schema, options.pooler) == ("listener", "other", True)
    (tmp_path / "journal.secret").write_text("rotated\n", encoding="utf-8")
    assert options.password() == "rotated"
    context = options.tls()
    assert context is not None
    assert context.check_hostname


def test_without_tls_there_is_no_context(tmp_path: Path):
    table = JournalSettings(url="postgresql://db.example.com/dispositions", tls=False)
    assert options_of(table, tmp_path).tls() is None
    assert isinstance(database_of(table, tmp_path), PostgresDatabase)

"""The database that replicas share, by the configuration; its client library is optional, and asked for only here."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from listener.config.journal import JournalSettings, JournalTable
from listener.journal.shared.database import Database

if TYPE_CHECKING:
    from listener.journal.postgres.options import PostgresOptions


def database_of(table: JournalSettings, base: Path) -> Database:
    """The database of a `[journal]` table with a `url`, as `options_of` says; its client library is optional."""
    made: Database = import_module("listener.journal.postgres.database").PostgresDatabase(options_of(table, base))
    return made


def options_of(table: JournalSettings, base: Path) -> "PostgresOptions":
    """How to reach the database of a `[journal]` table with a `url`, whose files are beside `base`."""
    made: PostgresOptions = import_module("listener.journal.postgres.options").PostgresOptions(
        **table.address,
        username=table.username,
        password=partial(table.secret, base),
        tls=partial(table.ssl_context, JournalTable(base)) if table.encrypted else lambda: None,
        schema=table.schema,
        pooler=table.pooler,
    )
    return made

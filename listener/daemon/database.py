"""The database that replicas share, by the configuration; its client library is optional, and imported only here."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from listener.config.journal import JournalSettings, JournalTable
from listener.journal.shared.database import Database

if TYPE_CHECKING:
    from listener.journal.postgres.options import PostgresOptions


def database_of(table: JournalSettings, base: Path, *, makes_schema: bool = True) -> Database:
    """The database of a `[journal]` table with a `url`, as `options_of` says; not open yet."""
    from listener.journal.postgres.database import PostgresDatabase  # noqa: PLC0415 - as the module says

    return PostgresDatabase(options_of(table, base, makes_schema=makes_schema))


def options_of(table: JournalSettings, base: Path, *, makes_schema: bool = True) -> "PostgresOptions":
    """How to reach the database of a `[journal]` table with a `url`, whose files are beside `base`."""
    from listener.journal.postgres.options import PostgresOptions  # noqa: PLC0415 - as the module says

    return PostgresOptions(
        **table.address,
        username=table.username,
        password=partial(table.secret, base),
        tls=partial(table.ssl_context, JournalTable(base)) if table.encrypted else lambda: None,
        schema=table.schema,
        pooler=table.pooler,
        makes_schema=makes_schema,
    )

"""The schema in the database: made, migrated, and refused where it is for other software."""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from asyncpg import Connection, InsufficientPrivilegeError

from listener.errors import JournalError
from listener.journal.postgres.options import PostgresOptions
from listener.journal.postgres.rows import statements as statements_of


class Migration(NamedTuple):
    """A step from one version of the schema to the next.

    Attributes:
        number: the version that it leads to.
        least: the version of the oldest software that can live with that; below `number` where it only adds.
        statements: what it does.
    """

    number: int
    least: int
    statements: str


def migrations() -> list[Migration]:
    """Every migration, in order; each file begins with the line `-- least: N`."""
    found = []
    for file in sorted(files(__package__).joinpath("migrations").iterdir(), key=lambda file: file.name):
        if match := re.match(r"(\d+)_\w+\.sql$", file.name):
            text = file.read_text(encoding="utf-8")
            least = text.partition("\n")[0].removeprefix("-- least: ")
            found.append(Migration(int(match[1]), int(least), text))
    return found


MIGRATIONS = migrations()
VERSION = MIGRATIONS[-1].number
"""The newest version, which this software is for."""

# Not to_regclass: while it waits for the lock, what another start commits does not reach the cache that it asks.
_IS_THERE = """
SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = 'schema_version'
)
"""
_EXISTS = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
_FUNCTIONS = files(__package__).joinpath("functions.sql")


async def prepare(connection: Connection, options: PostgresOptions, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Make or migrate the schema, if it is not as it should be.

    A step that older software could not live with waits until no replica runs it any more: the next start after that
    takes it.

    Raises:
        JournalError: the schema is for newer software, or is lacking and not to be made.
        asyncpg.PostgresError: it could not be made.
    """
    if missing := await _lacking(connection, options, steps):
        if not options.makes_schema:
            what = "no journal is there" if missing[0].number == 1 else "its schema is of an older version"
            raise JournalError(f"{options.place}: {what}: the start of a replica of this version makes it")
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext('disposition-listener'), hashtext($1::text))", options.schema
            )
            if pending := await _lacking(connection, options, steps):
                await _migrate(connection, options, pending)


async def check(connection: Connection, options: PostgresOptions) -> None:
    """Whether there is anything to prepare, and that would be allowed. Raises as `prepare`."""
    if await _lacking(connection, options, MIGRATIONS):
        exists = await connection.fetchval(_EXISTS, options.schema)
        kind, name = ("schema", options.schema) if exists else ("database", options.database)
        if not await connection.fetchval(f"SELECT has_{kind}_privilege($1, 'CREATE')", name):
            raise InsufficientPrivilegeError(f"permission denied for {kind} {name}")


async def _lacking(connection: Connection, options: PostgresOptions, steps: Sequence[Migration]) -> list[Migration]:
    """The steps that are missing and may be taken."""
    statements, newest = statements_of(options.quoted_schema, "schema.sql"), steps[-1].number
    if not await connection.fetchval(_IS_THERE, options.schema):
        return list(steps)
    known: Any = await connection.fetchrow(statements["version"])
    if known["least"] > newest:
        text = f"is of version {known['version']}, which needs software for at least {known['least']}"
        raise JournalError(f"{options.place}: the schema {text}; this one is for {newest}: update it")
    oldest = await connection.fetchval(statements["oldest"])
    missing = [step for step in steps if step.number > known["version"]]
    blocked = next((n for n, step in enumerate(missing) if oldest is not None and step.least > oldest), len(missing))
    return missing[:blocked]


async def _migrate(connection: Connection, options: PostgresOptions, pending: Sequence[Migration]) -> None:
    schema, statements = options.quoted_schema, statements_of(options.quoted_schema, "schema.sql")
    if pending[0].number == 1:
        # Where it is there already, the right to make schemas is not needed.
        if not await connection.fetchval(_EXISTS, options.schema):
            await connection.execute(f"CREATE SCHEMA {schema}")
        await connection.execute(statements["table"])
        await connection.execute(statements["row"])
    await connection.execute(f"SET LOCAL search_path = {schema}, pg_temp")
    for step in pending:
        await connection.execute(step.statements)
    await connection.execute(_FUNCTIONS.read_text(encoding="utf-8"))
    await connection.execute(statements["reached"], pending[-1].number, max(step.least for step in pending))

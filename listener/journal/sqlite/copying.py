"""Both sides of a copy on SQLite: a journal that this process owns for the moment, and one that is being made."""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from listener.errors import JournalDamaged, JournalError
from listener.journal.copying import Page, Rest
from listener.journal.sqlite import dead_letters, deferred, rows
from listener.journal.sqlite.damage import install, remove_part
from listener.journal.sqlite.database import PAGE_BYTES, connect, create_newest, journal_error
from listener.journal.sqlite.lock import FileLock, Known
from listener.journal.sqlite.salvage import catch_up
from listener.journal.sqlite.store import Store, open_store
from listener.model.event import Damage, Event, JournalBatch, LastValue
from listener.model.filter import Undelivered
from listener.runtime.clock import SYSTEM_CLOCK
from listener.runtime.durable import sync_path

_ROWS = "SELECT (SELECT count(*) FROM event) + "
_ROWS += "(SELECT count(*) FROM last_value) + (SELECT count(*) FROM dead_letter) copied"

T = TypeVar("T")


class SqliteSide:
    """What a connection sees; see `copying.Side`. Each call blocks for as long as a page takes."""

    def __init__(self, *, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    async def size(self) -> int:
        """How many events, last values and dead letters there are."""
        return self._do(_count)

    async def events(self, after: int, limit: int) -> list[Event]:
        """See `copying.Side`; as the next ones."""
        return self._do(partial(rows.select_events, after=after, limit=limit))

    async def values(self, after: tuple[str, str] | None, limit: int) -> list[LastValue]:
        """See there."""
        return self._do(partial(rows.select_values_behind, place=after, limit=limit))

    async def letters(self, after: tuple[int, str] | None, limit: int) -> list[Undelivered]:
        """See there."""
        return self._do(partial(dead_letters.select_behind, place=after, limit=limit))

    async def rest(self) -> Rest:
        """See there."""
        return self._do(_rest)

    async def damages(self) -> list[Damage]:
        """All that there ever were: they belong to this file, and no copy has them."""
        return self._do(dead_letters.select_damages)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection)
        except (sqlite3.Error, KeyError, ValueError, OSError, JournalDamaged) as exc:
            raise journal_error(self._path, exc) from exc


class SqliteTarget(SqliteSide):
    """A journal beside its name, which it gets once it is complete and on the disk; see `copying.Target`."""

    def __init__(self, *, path: Path, part: Path, connection: sqlite3.Connection, restored: bool) -> None:
        super().__init__(path=path, connection=connection)
        self._part = part
        self._restored = restored

    async def add(self, page: Page) -> None:
        """See `copying.Target`; as the next ones."""
        self._do(lambda connection: _add(connection, page))

    async def complete(self, rest: Rest) -> None:
        """See there."""
        self._do(lambda connection: _complete(connection, rest))

    async def keep(self) -> None:
        """See there."""
        self._do(self._keep)

    def _keep(self, connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")
        if self._restored:
            _record_loss(connection, SYSTEM_CLOCK.now_ms())
        connection.close()
        sync_path(self._part)
        install(self._part, self._path, SYSTEM_CLOCK.now_ms())


@asynccontextmanager
async def opened_source(path: Path) -> AsyncIterator[SqliteSide]:
    """The journal at `path`, owned until the end; migrated, or repaired where it is damaged.

    Raises:
        JournalLocked: another process owns it.
        JournalError: it cannot be opened, or there is no such file; or its next owner has gaps to put on record.
    """
    with closing(_opened(path)) as store:
        deferred.fold_all(store.write)
        if dead_letters.select_damages(store.read, pending=True):
            what = "was damaged or lost, and the gaps of that are not on record yet"
            raise JournalError(f"journal {path}: it {what}; run the daemon on it once, which records them")
        yield SqliteSide(path=path, connection=store.read)


def _opened(path: Path) -> Store:
    if not path.exists():
        raise JournalError(f"journal {path}: no such file")  # opening would make one
    return open_store(path)


@asynccontextmanager
async def opened_target(path: Path, *, restored: bool = False) -> AsyncIterator[SqliteTarget]:
    """A journal that will be at `path`. The name is locked until the end; what is not kept is removed.

    Where it is `restored`, from a copy that is older than what was, the loss is a pending damage, and sequences go on
    above what any sink can have seen.

    Raises:
        JournalLocked: another process owns a journal of this name.
        JournalError: there is a file of this name, or none can be made.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with closing(_Lock(path)):
            taken = [file for suffix in ("", "-wal") if (file := path.with_name(f"{path.name}{suffix}")).exists()]
            if taken:
                raise JournalError(f"{taken[0]} is there already: a copy wants a new file")
            remove_part(part)
            try:
                with closing(_created(part)) as connection:
                    yield SqliteTarget(path=path, part=part, connection=connection, restored=restored)
            finally:
                remove_part(part)
    except (sqlite3.Error, OSError) as exc:
        raise journal_error(path, exc) from exc


class _Lock:
    """A journal's lock as what can be closed."""

    def __init__(self, path: Path) -> None:
        self.close = FileLock.acquire(path).release


def _created(part: Path) -> sqlite3.Connection:
    """In a transaction. What ends before its end leaves a file that nobody takes for a journal: nothing is synced."""
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = connect(part, "rw")
    for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = OFF", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    create_newest(connection)
    connection.execute("BEGIN")
    return connection


def _record_loss(connection: sqlite3.Connection, now_ms: int) -> None:
    """More than an event a millisecond there never were, so no sink has seen a sequence above the moment itself."""
    since_ms = min((session.seen_ms for session in rows.select_sessions(connection).values()), default=now_ms)
    above = max(now_ms, rows.select_last_sequence(connection) + 1)
    catch_up(connection, [Known(above, since_ms)], at_ms=now_ms)


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_ROWS).fetchone()[0])


def _rest(connection: sqlite3.Connection) -> Rest:
    return Rest(
        last_sequence=rows.select_last_sequence(connection),
        holes=tuple((before + 1, after - 1) for before, after in rows.select_holes(connection)),
        cursors=rows.select_cursors(connection),
        lanes=dead_letters.select_states(connection),
        sessions=rows.select_sessions(connection),
    )


def _add(connection: sqlite3.Connection, page: Page) -> None:
    rows.insert_events(connection, rows.event_parameters(row for row in page if isinstance(row, Event)))
    values = tuple(row for row in page if isinstance(row, LastValue))
    rows.replace_values(connection, [JournalBatch(values=values)])
    dead_letters.insert_copies(connection, [row for row in page if isinstance(row, Undelivered)])


def _complete(connection: sqlite3.Connection, rest: Rest) -> None:
    for sink, sequence in rest.cursors.items():
        rows.advance(connection, sink, sequence)
    for state in rest.lanes.values():
        dead_letters.replace_state(connection, state)
    rows.replace_sessions(connection, [JournalBatch(sessions=tuple(rest.sessions.values()))])
    connection.executemany("INSERT INTO hole VALUES (?, ?)", rest.holes)
    connection.execute(
        "UPDATE meta SET last_sequence = :last, folded_through = :last,"
        " deleted_through = (SELECT ifnull(min(sequence) - 1, :last) FROM event)",
        {"last": rest.last_sequence},
    )

"""What SQLite can still read of a damaged journal, where necessary with another first page."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from listener.journal import rows, tables
from listener.journal.database import PAGE_BYTES, connect, create_newest

_HEADER_BYTES = 100
_PAGE_COUNT = slice(28, 32)


class Recovered(NamedTuple):
    """The tables as far as they can be read, and the first and last sequence; 0 for no event, None for unreadable."""

    tables: dict[str, tables.Found]
    ends: tuple[int, int] | None

    def numbers(self, table: str, column: str) -> list[int]:
        """The column's values in the rows that have it."""
        return [row[column] for row in self.tables[table].rows if column in row]


_NOTHING = Recovered({table: tables.Found([], whole=False) for table in tables.TABLES}, None)


def read_recovered(source: Path, scratch: Path, *, with_log: bool) -> Recovered:
    """Read the tables of the journal at `source`, which is not changed; nothing that SQLite refuses is an error.

    The first page holds the header and says where the tables are. Where it is of no use a copy gets another header, and
    then another first page: every journal has its tables in the same places. `scratch` is a free name for the copy,
    which takes the log along if `with_log`.

    Raises OSError: no room for the copy.
    """
    found = _read(source) if source.stat().st_size else _NOTHING  # SQLite removes the log of an empty file
    for kept in (_HEADER_BYTES, PAGE_BYTES):
        if found.tables["meta"].rows:
            break
        with _with_first_page(source, scratch, kept, with_log=with_log) as copy:
            found = _read(copy)
    return found


def _read(path: Path) -> Recovered:
    log = path.with_name(f"{path.name}-wal")
    with closing(connect(path, "ro" if log.exists() else "ro&immutable=1")) as old:
        old.text_factory = tables.text_or_bytes
        with suppress(*tables.UNREADABLE):
            old.execute("PRAGMA writable_schema = ON")  # a file that lost its end is then read as far as it goes
        found = {table: tables.read(old, table) for table in tables.TABLES}
        return Recovered(found, _ends(old))


def _ends(old: sqlite3.Connection) -> tuple[int, int] | None:
    try:
        ends = rows.select_ends(old)
    except tables.UNREADABLE:
        return None
    if not all(map(rows.is_event, ends)):
        return None
    return (ends[0][0], ends[-1][0]) if ends else (0, 0)


@contextmanager
def _with_first_page(source: Path, scratch: Path, replaced: int, *, with_log: bool) -> Iterator[Path]:
    """A copy of which the first `replaced` bytes are those of an empty journal."""
    log, scratch_log = (file.with_name(f"{file.name}-wal") for file in (source, scratch))
    try:
        page = _first_page(scratch)
        shutil.copyfile(source, scratch)
        with scratch.open("r+b") as file:
            file.write(page[:replaced])
        if with_log and log.exists():
            shutil.copyfile(log, scratch_log)
        yield scratch
    finally:
        for suffix in ("", "-wal", "-shm"):
            scratch.with_name(f"{scratch.name}{suffix}").unlink(missing_ok=True)


def _first_page(scratch: Path) -> bytes:
    """That of an empty journal. It names no page count, so that SQLite goes by the file's size."""
    with closing(connect(scratch, "rwc")) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        create_newest(connection)
    page = bytearray(scratch.read_bytes()[:PAGE_BYTES])
    page[_PAGE_COUNT] = bytes(4)
    return bytes(page)

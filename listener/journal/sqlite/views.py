"""Reading a journal from the command line, also while the daemon runs: no lock, no write, short transactions."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec

from listener.errors import UNDECODABLE, JournalDamaged
from listener.journal.sqlite import dead_letters as dead_letter_rows
from listener.journal.sqlite import deferred, rows
from listener.journal.sqlite.database import connect_reader, journal_error
from listener.journal.sqlite.inspection import log_fault_of
from listener.journal.sqlite.journal import size_bytes
from listener.journal.sqlite.salvage import rebuild
from listener.model.event import (
    EVERY_DEAD_LETTER,
    Change,
    DeadLetter,
    DeadLetterFilter,
    Event,
    JournalStats,
    Kind,
    Origin,
    SessionState,
)
from listener.model.filter import DeadLetterGroup

_PAGE = 1000

T = TypeVar("T")


class _Reader:
    """A connection to a journal that an owner may open, write and close meanwhile.

    A journal at rest has no WAL and is read as a file that does not change: nothing is written beside it, so that
    its folder may be read-only. If it does change, since an owner came, what was read may be of two states: it is
    read again, then beside the WAL.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at_rest: tuple[int, ...] | None = None
        self._connection = self._connect()

    def _connect(self) -> sqlite3.Connection:
        written = _written(self._path)  # before the look at the WAL: the end of an owner is then seen as a change
        self._at_rest = None if any(_written(self._path.with_name(f"{self._path.name}-wal"))) else written
        return connect_reader(self._path, immutable=self._at_rest is not None)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work`, all of one state. Raises JournalError."""
        while True:
            try:
                result = work(self._connection)
            except (sqlite3.Error, KeyError, ValueError, JournalDamaged) as exc:
                if not self._has_changed():
                    raise journal_error(self._path, exc) from exc
            else:
                if not self._has_changed():
                    return result
            self.close()
            self._connection = self._connect()

    def _has_changed(self) -> bool:
        return self._at_rest is not None and self._at_rest != _written(self._path)

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()


def _written(path: Path) -> tuple[int, ...]:
    """What tells whether the file was written to; zeros without one."""
    try:
        found = path.stat()
    except OSError:  # whoever opens it tells why
        return (0, 0, 0)
    return found.st_ino, found.st_size, found.st_mtime_ns


def stats(path: Path) -> JournalStats:
    """The figures of the journal at `path`. Raises JournalError: no such file, or no journal."""
    with closing(_Reader(path)) as reader:
        return reader.read(lambda connection: dead_letter_rows.select_stats(connection, size_bytes(path)))


def sessions(path: Path) -> dict[str, SessionState]:
    """Per account, the last stored session. Raises JournalError as `stats`."""
    with closing(_Reader(path)) as reader:
        return reader.read(deferred.select_sessions)


def show(path: Path, *, after: int = 0, chat: str | None = None, limit: int) -> list[Event]:
    """At most `limit` events above `after`, oldest first, of one chat or of all. Raises JournalError as `stats`."""
    with closing(_Reader(path)) as reader:
        return reader.read(partial(rows.select_events, after=after, limit=limit, chat=chat))


def export(path: Path, *, on_damage: Callable[[str], None] | None = None) -> Iterator[bytes]:
    """Every event as a line of CloudEvents JSON with its line end, oldest first. Raises JournalError as `stats`.

    Pages through the journal: one long read would keep the daemon's WAL growing. Where damage stops the reading,
    `on_damage` is told why, and what else can be read follows; the journal itself is left as it is. Raises
    JournalDamaged without `on_damage`.
    """
    after = 0
    try:
        _require_log(path)
        for event in _paged(path, after):
            yield event.to_json() + b"\n"
            after = event.sequence
    except JournalDamaged as exc:
        if on_damage is None:
            raise
        on_damage(str(exc))
        with TemporaryDirectory() as folder:
            salvaged = Path(folder) / "salvaged.db"
            try:
                rebuild(path, salvaged, at_ms=0, set_aside=path.name)
            except (sqlite3.Error, OSError) as cause:
                raise journal_error(path, cause) from cause
            yield from (event.to_json() + b"\n" for event in _paged(salvaged, after))


def _paged(path: Path, after: int) -> Iterator[Event]:
    with closing(_Reader(path)) as reader:
        while events := reader.read(partial(rows.select_events, after=after, limit=_PAGE)):
            yield from events
            after = events[-1].sequence


def dead_letters(path: Path, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetter]:
    """The dead letters that are meant, oldest first. Raises JournalError as `stats`."""
    with closing(_Reader(path)) as reader:
        return reader.read(partial(dead_letter_rows.select, which=which))


def dead_letter_groups(path: Path, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetterGroup]:
    """The dead letters that are meant, by sink and reason, the largest groups first. Raises JournalError as `stats`."""
    with closing(_Reader(path)) as reader:
        return reader.read(partial(dead_letter_rows.select_groups, which=which))


def dead_letter_events(path: Path, which: DeadLetterFilter) -> list[Event]:
    """Their events, in journal order, as the letters keep them. Raises JournalError as `stats`."""
    with closing(_Reader(path)) as reader:
        return reader.read(partial(dead_letter_rows.select_events, which=which))


def verify(path: Path) -> list[str]:
    """Everything that is wrong with the journal, one sentence each; empty for a sound one.

    Checks that a log which an owner left behind holds what was committed to it, SQLite's own structure, that sequences
    rise without a hole but those of an earlier damage, that every event is what was stored and can be decoded, and that
    no cursor or dead letter points past the last event. Raises JournalError as `stats`.
    """
    fault = _log_fault(path)
    with closing(_Reader(path)) as reader:
        return [*([] if fault is None else [f"log: {fault}"]), *reader.read(_faults)]


def _require_log(path: Path) -> None:
    if (fault := _log_fault(path)) is not None:
        raise JournalDamaged(f"journal {path}: {fault}")


def _log_fault(path: Path) -> str | None:
    """What SQLite does not tell: it takes a log up to where it does not hold, and the rest for never written."""
    try:
        return log_fault_of(path)
    except OSError as exc:
        raise journal_error(path, exc) from exc


def _faults(connection: sqlite3.Connection) -> list[str]:
    try:
        return [*_structure(connection), *_events(connection), *_pointers(connection)]
    except sqlite3.DatabaseError as exc:
        return [f"reading stopped: {exc}"]


def _structure(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"integrity: {line}"


def _events(connection: sqlite3.Connection) -> Iterator[str]:
    last: int | None = None
    known = set(rows.select_holes(connection))
    while page := rows.select_raw_events(connection, last or 0, _PAGE):
        for row in page:
            sequence = row[0]
            if last is not None and sequence != last + 1 and (last, sequence) not in known:
                yield f"event {sequence} follows on {last}: {sequence - last - 1} missing"
            yield from _contents(row)
            last = sequence


def _contents(row: tuple[Any, ...]) -> Iterator[str]:
    sequence, *_, kind, _account, change, origin, data, _crc = row
    found = [*_words(sequence, kind, change, origin), *_data(sequence, data)]
    yield from found
    if not found and not rows.is_intact(row):
        yield f"event {sequence}: its checksum is wrong"


def _words(sequence: int, kind: str, change: str | None, origin: str) -> Iterator[str]:
    if kind not in {*Kind}:
        yield f"event {sequence}: unknown kind {kind!r}"
    if change is not None and change not in {*Change}:
        yield f"event {sequence}: unknown change {change!r}"
    if origin not in {*Origin}:
        yield f"event {sequence}: unknown origin {origin!r}"


def _data(sequence: int, data: Any) -> Iterator[str]:
    try:
        msgspec.json.decode(data, type=dict[str, Any])
    except (*UNDECODABLE, TypeError) as exc:
        yield f"event {sequence}: data is not a JSON object: {exc}"


def _pointers(connection: sqlite3.Connection) -> Iterator[str]:
    (last,) = connection.execute(
        "SELECT max((SELECT last_sequence FROM meta), (SELECT ifnull(max(sequence), 0) FROM event))"
    ).fetchone()
    for sink, sequence in rows.select_cursors(connection).items():
        if not 0 <= sequence <= last:
            yield f"cursor of sink {sink}: {sequence} is outside 0 to {last}"
    for letter in dead_letter_rows.select(connection, EVERY_DEAD_LETTER):
        if not 0 < letter.sequence <= last:
            yield f"dead letter of sink {letter.sink}: {letter.sequence} is outside 1 to {last}"

"""Where the journal is, and who has its duties: a file of one process, or a database that replicas share."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, NamedTuple

import structlog

from listener import __version__
from listener.config.settings import Settings
from listener.daemon.assembly import known_elsewhere
from listener.daemon.database import database_of
from listener.daemon.duties import EveryDuty
from listener.daemon.housekeeping import look_after
from listener.errors import JournalError
from listener.journal.shared.database import Database
from listener.journal.shared.journal import SharedJournal
from listener.journal.shared.membership import Membership
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.journal import wal_bytes
from listener.model.event import Committed
from listener.ports import Duties, Journal
from listener.runtime.backoff import Backoff
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics

_log = structlog.get_logger(__name__)

_BEATS = 0.3  # of a lease


class Storage(NamedTuple):
    """A journal that is not open yet, and the duties that go with it.

    Attributes:
        place: what a log calls it.
        workers: what has to run while it is open, by the name of its task.
        wal_bytes: the size of its write-ahead log; does not raise.
        database: where replicas meet; None on one machine.
        membership: of this process, likewise.
        known_sequence: what is known by now to have been durable.
    """

    journal: Journal
    duties: Duties
    place: str
    workers: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
    wal_bytes: Callable[[], int] = lambda: 0
    database: Database | None = None
    membership: Membership | None = None
    known_sequence: Callable[[], int] = lambda: 0


def storage_of(
    settings: Settings,
    *,
    host: Host,
    metrics: Metrics,
    new_database: Callable[[], Database] | None = None,
    known_sequence: int = 0,
) -> Storage:
    """What `[journal]` describes.

    Args:
        settings: the configuration.
        host: time, chance and workers.
        metrics: measures commits.
        new_database: makes the database that replicas share, in place of the one that `journal.url` leads to.
        known_sequence: what this process knows to have been durable there.
    """
    count = partial(_count_commit, metrics)
    if new_database is not None or settings.journal.url is not None:
        return _shared(settings, host, count, new_database, known_sequence)
    path = settings.path(settings.journal.path)
    journal = SqliteJournal(
        path=path,
        on_commit=count,
        max_bytes=settings.journal.max_bytes,
        host=host,
        known=partial(known_elsewhere, settings),
        on_rescue=partial(metrics.count, "journal_rescues_total"),
    )
    workers = {"journal": partial(look_after, journal)}
    return Storage(journal, EveryDuty(), str(path), workers, partial(wal_bytes, path))


def _shared(
    settings: Settings,
    host: Host,
    count: Callable[[Committed], None],
    new_database: Callable[[], Database] | None,
    known_sequence: int,
) -> Storage:
    database = new_database() if new_database is not None else database_of(settings.journal, settings.base)
    name = settings.journal.replica_name
    lease_s = settings.journal.lease_s
    membership = Membership(
        database=database, name=name, version=__version__, lease_s=lease_s, beat_s=lease_s * _BEATS, host=host
    )
    journal = SharedJournal(
        database=database,
        membership=membership,
        on_commit=count,
        host=host,
        known_sequence=known_sequence,
        known=partial(known_elsewhere, settings),
    )
    workers = {"membership": membership.run, "journal": journal.run}
    place = settings.journal.url or "a database of others"
    return Storage(
        journal,
        membership,
        place,
        workers,
        database=database,
        membership=membership,
        known_sequence=lambda: journal.known_sequence,
    )


async def open_patiently(
    journal: Journal, *, uniform: Callable[[float, float], float], on_failure: Callable[[str], None]
) -> None:
    """Open a shared journal, however long that takes: its database may come back, or be set right.

    It is tried at least every second: replicas that have joined beat as soon as the database is back, and take over
    what belongs to one that is not there yet.

    Args:
        journal: of a database.
        uniform: chance.
        on_failure: told why each attempt failed.
    """
    pauses, told = Backoff(first_s=0.5, limit_s=1.0, uniform=uniform), ""
    while True:
        try:
            return await journal.open()
        except JournalError as exc:
            why = str(exc)
        on_failure(why)
        if why != told:
            _log.error("journal_not_opened", error=why, effect="tried until it can be")
            told = why
        await asyncio.sleep(pauses.next())


def _count_commit(metrics: Metrics, done: Committed) -> None:
    metrics.observe("journal_fsync_seconds", done.fsync_s)
    if done.waited_s is not None:
        metrics.observe("journal_commit_seconds", done.waited_s)

"""Where the journal is, and who has its duties: a file of one process, or a database that replicas share."""

import socket
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from listener.config.settings import Settings
from listener.daemon.assembly import known_elsewhere
from listener.daemon.duties import EveryDuty
from listener.journal.shared.database import Database
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.journal import Committed, wal_bytes
from listener.ports import Duties, Journal
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics


class Storage(NamedTuple):
    """A journal that is not open yet, and the duties that go with it; `place` is what a log calls it."""

    journal: Journal
    duties: Duties
    place: str
    wal_bytes: Callable[[], int] = lambda: 0


def storage_of(
    settings: Settings, *, host: Host, metrics: Metrics, new_database: Callable[[], Database] | None = None
) -> Storage:
    """What `[journal]` describes.

    Args:
        settings: the configuration.
        host: time, chance and workers.
        metrics: measures commits.
        new_database: makes the database that replicas share, in place of the one that `journal.url` leads to.
    """
    if new_database is not None or settings.journal.url is not None:
        return _shared(settings, host, metrics, new_database)
    path = settings.path(settings.journal.path)
    journal = SqliteJournal(
        path=path,
        on_commit=partial(_count_commit, metrics),
        max_bytes=settings.journal.max_bytes,
        host=host,
        known=partial(known_elsewhere, settings),
        on_rescue=partial(metrics.count, "journal_rescues_total"),
    )
    return Storage(journal, EveryDuty(), str(path), partial(wal_bytes, path))


def _count_commit(metrics: Metrics, done: Committed) -> None:
    metrics.observe("journal_fsync_seconds", done.fsync_s)
    if done.waited_s is not None:
        metrics.observe("journal_commit_seconds", done.waited_s)


def replica_of(settings: Settings) -> str:
    """How this process is called among those that share the journal."""
    return settings.journal.replica or socket.gethostname()


def _shared(settings: Settings, host: Host, metrics: Metrics, new_database: Callable[[], Database] | None) -> Storage:
    raise NotImplementedError

"""What a PostgreSQL server says of itself and of the table: whether it takes writes, and what becomes of them."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

QUESTION = """
SELECT current_setting('server_version') AS version,
       current_setting('server_encoding') AS encoding,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('synchronous_standby_names') AS synchronous_standbys,
       pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only')::boolean AS read_only,
       (SELECT count(*) FROM pg_stat_replication) AS standbys,
       (SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass($1)) AS persistence
"""
"""What `profile_of` needs the answer to; its parameter is the table's quoted name."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A server, and a table of it.

    Attributes:
        read_only: whether transactions begin so, as they do on a standby.
        standbys: how many are connected.
        persistence: `p` of a table that is logged, `u` of one that is not, `t` of a temporary one, None of none.
    """

    version: str
    encoding: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    synchronous_standbys: str
    standby: bool
    read_only: bool
    standbys: int
    persistence: str | None

    @property
    def commits_late(self) -> bool:
        """Whether it acknowledges commits before they are on its disk, unless it is told otherwise."""
        return self.synchronous_commit == "off"

    def risks(self) -> Iterator[str]:
        """How an event that it has acknowledged may still be lost, a sentence each."""
        if self.fsync != "on":
            yield "fsync is off: a power cut loses what was committed last, or all of it"
        elif self.full_page_writes != "on":
            yield "full_page_writes is off: a power cut can damage pages for good"
        if self.persistence == "u":
            yield "the table is unlogged: a crash of PostgreSQL empties it"
        if self.standbys and not self.synchronous_standbys:
            yield "synchronous_standby_names is empty: a standby that takes over may lack what was committed last"
        elif self.synchronous_standbys and self.synchronous_commit == "local":
            yield "synchronous_commit is local: a standby that takes over may lack what was committed last"


def profile_of(record: Mapping[str, Any]) -> Profile:
    """The server that gave this answer to `QUESTION`."""
    return Profile(**record)

"""What a server is, and how what it has acknowledged can still be lost."""

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
       (SELECT count(*) FROM pg_stat_replication) AS standbys
"""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A server; `standbys` is how many are connected."""

    version: str
    encoding: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    synchronous_standbys: str
    standby: bool
    standbys: int

    def risks(self) -> Iterator[str]:
        """How an event that it has acknowledged may still be lost, a sentence each."""
        if self.fsync != "on":
            yield "fsync is off: a power cut loses the last commits, or everything"
        elif self.full_page_writes != "on":
            yield "full_page_writes is off: a power cut can damage pages for good"
        if self.standbys and not self.synchronous_standbys:
            yield "synchronous_standby_names is empty: a standby that takes over may lack what was committed last"
        elif self.synchronous_standbys and self.synchronous_commit == "local":
            yield "synchronous_commit is local: a standby that takes over may lack what was committed last"

    def report(self, log: Any, place: str) -> None:
        """One line of the log."""
        log = log.bind(place=place, version=self.version, fsync=self.fsync, synchronous_commit=self.synchronous_commit)
        log = log.bind(synchronous_standby_names=self.synchronous_standbys, standbys=self.standbys)
        if risks := list(self.risks()):
            log.warning("journal_durability_weak", risks=risks, effect="an event that was confirmed can still be lost")
        else:
            log.info("journal_durability")


def profile_of(record: Mapping[str, Any] | None) -> Profile:
    """The server that gave this answer to `QUESTION`."""
    return Profile(**dict(record or {}))

"""What a PostgreSQL server says of itself, and of what went wrong: for whoever has a connection to one."""

import re
from collections.abc import Iterator

import msgspec

PROFILE = """
SELECT current_setting('server_version') AS version,
current_setting('server_encoding') AS encoding,
current_setting('fsync') AS fsync,
current_setting('full_page_writes') AS full_page_writes,
current_setting('synchronous_commit') AS synchronous_commit,
current_setting('synchronous_standby_names') AS synchronous_standbys,
pg_is_in_recovery() AS standby,
(SELECT count(*) FROM pg_stat_replication) AS standbys
"""
"""Asks for the fields of `Profile`."""

_TEXT_CHARACTERS = 200

# Classes of codes whose texts name objects and users, never values; of ours those that begin with L.
_SPEAK_OF_THE_SERVER = {"08", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "0A", "LB", "LF", "LN"}


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

    @property
    def commits_late(self) -> bool:
        """Whether it acknowledges commits before they are on its disk, by default."""
        return self.synchronous_commit == "off"

    @property
    def commits(self) -> str:
        """The `synchronous_commit` of our own transactions: never off."""
        return "on" if self.commits_late else self.synchronous_commit

    def risks(self) -> Iterator[str]:
        """How what it has acknowledged may still be lost, a sentence each."""
        if self.fsync != "on":
            yield "fsync is off: a power cut loses the last commits, or everything"
        elif self.full_page_writes != "on":
            yield "full_page_writes is off: a power cut can damage pages for good"
        if self.standbys and not self.synchronous_standbys:
            yield "synchronous_standby_names is empty: a standby that takes over may lack what was committed last"
        elif self.synchronous_standbys and self.synchronous_commit == "local":
            yield "synchronous_commit is local: a standby that takes over may lack what was committed last"


def code_of(error: BaseException | None) -> str:
    """The SQLSTATE of an error; empty where it has none."""
    return str(getattr(error, "sqlstate", None) or "")


def described(error: Exception) -> str:
    """An error in one line, without a value of a row."""
    if code := code_of(error):
        said = f": {_one_line(str(error))}" if code[:2] in _SPEAK_OF_THE_SERVER else ""
        return f"{type(error).__name__} ({code}){said}"
    return _one_line(str(error)) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()[:_TEXT_CHARACTERS]

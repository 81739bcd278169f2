"""What a Redis server says of itself: whether it takes writes, and what becomes of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from listener.sinks.redis.session import Command
from listener.sinks.redis.settings import RedisSettings

QUESTIONS: tuple[Command, ...] = (
    ("INFO",),
    ("CONFIG", "GET", "appendfsync"),
    ("CONFIG", "GET", "proto-max-bulk-len"),
    ("WAITAOF", 0, 0, 0),
)
"""What `profile_of` needs the answers to; each may be an error."""

_UNKNOWN = "unknown"
_LARGEST = 512 * 1024 * 1024


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A server. What it does not tell is "unknown", as managed ones keep their configuration to themselves.

    Attributes:
        largest: bytes of the longest value that it takes.
        tells_fsync: whether it can be waited for until its disk has what was written (WAITAOF, Redis 7.2).
    """

    version: str
    role: str
    appendonly: str
    appendfsync: str
    replicas: int
    maxmemory: int
    maxmemory_policy: str
    largest: int
    tells_fsync: bool

    @property
    def is_replica(self) -> bool:
        """Whether it takes no writes."""
        return self.role == "slave"

    def waits_for_fsync(self, settings: RedisSettings) -> bool:
        """Whether a batch is acknowledged only once an fsync that is still to come has been.

        With "always" it has been when Redis answers; with "no" WAITAOF waits in vain.
        """
        wanted = settings.wait_fsync and self.tells_fsync
        return wanted and self.appendonly == "yes" and self.appendfsync == "everysec"

    def risks(self, settings: RedisSettings) -> Iterator[str]:
        """How an event that it has acknowledged may still be lost, a sentence each."""
        if self.appendonly != "yes":
            yield f"appendonly is {self.appendonly}: a crash of Redis loses what came after its last snapshot"
        elif not self.waits_for_fsync(settings) and self.appendfsync != "always":
            yield f"appendfsync is {self.appendfsync}: {_LOSSES.get(self.appendfsync, _UNTOLD)}"
        if self.maxmemory and self.maxmemory_policy.startswith("allkeys"):
            yield f"maxmemory-policy is {self.maxmemory_policy}: the whole stream goes when memory is short"
        if self.replicas and not settings.wait_replicas:
            yield "wait_replicas is 0: a replica that takes over may lack what was acknowledged last"


_LOSSES = {
    "everysec": "a power cut loses the last second or two",
    "no": "a power cut loses what the system has not written yet",
}
_UNTOLD = "unless it is always, a power cut loses the last second or two"


def profile_of(answers: Sequence[Any]) -> Profile:
    """The server that gave these answers to `QUESTIONS`."""
    info, appendfsync, largest, waited = answers
    told = dict(_lines(info))
    return Profile(
        version=told.get("redis_version", _UNKNOWN),
        role=told.get("role", _UNKNOWN),
        appendonly={"1": "yes", "0": "no"}.get(told.get("aof_enabled", ""), _UNKNOWN),
        appendfsync=_value(appendfsync, _UNKNOWN),
        replicas=int(told.get("connected_slaves", 0)),
        maxmemory=int(told.get("maxmemory", 0)),
        maxmemory_policy=told.get("maxmemory_policy", _UNKNOWN),
        largest=int(_value(largest, str(_LARGEST))),
        tells_fsync=isinstance(waited, list),
    )


def _lines(info: Any) -> Iterator[tuple[str, str]]:
    if isinstance(info, bytes):
        for line in info.decode(errors="replace").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                yield name, value


def _value(answer: Any, otherwise: str) -> str:
    """Of an answer to CONFIG GET, which is empty where a service hides the parameter."""
    return answer[1].decode() if isinstance(answer, list) and len(answer) > 1 else otherwise

"""One connection to a Redis server: what the server is, commands out in one write, and what its errors mean."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from listener.errors import Outcome, Park, Retry
from listener.sinks.redis.settings import RedisSettings
from listener.sinks.registry import SinkContext

Command = tuple[str | bytes | int, ...]
_NAME: Command = ("CLIENT", "SETNAME", "disposition-listener")  # where it may

QUESTIONS: tuple[Command, ...] = (
    ("INFO",),
    ("CONFIG", "GET", "appendfsync"),
    ("CONFIG", "GET", "proto-max-bulk-len"),
    ("WAITAOF", 0, 0, 0),
)
"""What `profile_of` needs the answers to; each may be an error."""

_UNKNOWN = "unknown"
_LARGEST = 512 * 1024 * 1024

_LOSSES = {
    "everysec": "a power cut loses the last second or two",
    "no": "a power cut loses what the system has not yet written",
}
_UNTOLD = "unless it is always, a power cut loses the last second or two"
_TEXT_CHARACTERS = 200

# Wherever it stands in the text: Redis 6 wraps the errors of what a script calls, and Redis 7 those of its permissions.
_NEED_A_PERSON = (
    "WRONGTYPE",
    "NOPERM",
    "ACL failure",
    "The user executing the script can't",
    "DB index",
    "SELECT is not allowed",
    "unknown command",
    "wrong number of arguments",
    "exhausted the last possible ID",
    "CROSSSLOT",
)


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
            yield f"appendonly is {self.appendonly}: a crash of Redis loses everything since its last snapshot"
        elif not self.waits_for_fsync(settings) and self.appendfsync != "always":
            yield f"appendfsync is {self.appendfsync}: {_LOSSES.get(self.appendfsync, _UNTOLD)}"
        if self.maxmemory and self.maxmemory_policy.startswith("allkeys"):
            yield f"maxmemory-policy is {self.maxmemory_policy}: the whole stream is evicted when memory is short"
        if self.replicas and not settings.wait_replicas:
            yield "wait_replicas is 0: a replica that takes over may lack the last acknowledged events"


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


class Session:
    """A connection that is used until something is wrong with it, and then given up. See `connect`.

    Attributes:
        profile: of the server, as it was at first.
    """

    def __init__(self, connection: AbstractConnection, profile: Profile) -> None:
        self.profile = profile
        self._connection = connection

    async def ask(self, *commands: Command) -> list[Any]:
        """The answer to each command; an error that is one is returned, not raised.

        Raises:
            redis.exceptions.RedisError: the connection cannot be used any more.
        """
        return await _ask(self._connection, commands)

    async def close(self) -> None:
        """Does not wait for the other side. Idempotent."""
        await self._connection.disconnect(nowait=True)

    abort = close


async def connect(context: SinkContext, settings: RedisSettings, address: dict[str, Any]) -> Session:
    """Connect once, log in with the credentials of this moment, select the database, ask the server what it is.

    Args:
        context: the sink's surroundings.
        settings: its keys.
        address: as `RedisSettings.address`: that of the configuration, or where a cluster has sent us.

    Raises:
        redis.exceptions.RedisError: it did not work.
        Retry, StartError: a file with the password or a certificate cannot be used.
    """
    options: dict[str, Any] = {
        **address,
        "username": settings.username,
        "password": await settings.password_now(context),
        "socket_timeout": None,  # the sink limits the whole exchange
        "socket_connect_timeout": settings.timeout_s,
        "protocol": 2,  # nothing is pushed in between the answers
    }
    connection: AbstractConnection
    if settings.tls:
        connection = SSLConnection(**options)
        # In place of the one that it would make, which trusts the system's authorities beside our own.
        connection.ssl_context.context = await asyncio.to_thread(settings.ssl_context, context)
    else:
        connection = UnixDomainSocketConnection(**options) if "path" in address else Connection(**options)
    try:
        await connection.connect()  # type: ignore[no-untyped-call] # a coroutine without arguments
        _, *answers = await _ask(connection, (_NAME, *QUESTIONS))
        return Session(connection, profile_of(answers))
    except BaseException:
        await connection.disconnect(nowait=True)
        raise


async def _ask(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    await connection.send_packed_command(connection.pack_commands(commands))
    return [await _answer(connection) for _ in commands]


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _lines(info: Any) -> Iterator[tuple[str, str]]:
    if isinstance(info, bytes):
        for line in info.decode(errors="replace").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                yield name, value


def _value(answer: Any, otherwise: str) -> str:
    """Of an answer to CONFIG GET, which is empty if a service hides the parameter."""
    return answer[1].decode() if isinstance(answer, list) and len(answer) > 1 else otherwise


def outcome_of(place: str, error: Exception) -> Outcome:
    """Retry for what passes by itself (OOM, READONLY, LOADING, CLUSTERDOWN, MISCONF, …), Park for the rest.

    Args:
        place: what the text begins with.
        error: a RedisError, as the client library raised it.
    """
    if isinstance(error, AuthenticationError):
        return Park(f"{place}: Redis refuses the login (wrong or missing username and password)")
    if isinstance(error, NoPermissionError):
        return Park(f"{place}: {_said(error)}")
    if isinstance(error, ResponseError):
        kind = Park if any(words in str(error) for words in _NEED_A_PERSON) else Retry
        return kind(f"{place}: {_said(error)}")
    if isinstance(error, exceptions.ConnectionError):
        return Retry(f"{place}: {_said(error)}")
    return Retry(f"{place}: no usable answer ({type(error).__name__})")  # its text would quote what came instead


def moved_to(answer: Any) -> dict[str, str | int] | None:
    """`host` and `port` of the node that a cluster's node names in place of an answer; None of any other answer.

    "MOVED 3999 127.0.0.1:6381", without the first word where the library has read it, and without the host where it
    stays the same (Redis cluster specification, "MOVED Redirection").
    """
    found = re.fullmatch(r"(?:MOVED )?[0-9]+ (.*):([0-9]+)", str(answer)) if isinstance(answer, ResponseError) else None
    if found is None:
        return None
    return {"port": int(found[2])} | ({"host": found[1]} if found[1] else {})


def _said(error: Exception) -> str:
    """One line. Redis quotes arguments, so perhaps an event or a password, only behind the words that it is cut at."""
    text = str(error).partition(", with args beginning")[0]
    return re.sub(r"[^ -~]+", " ", text)[:_TEXT_CHARACTERS] or type(error).__name__

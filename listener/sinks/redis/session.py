"""One connection to a Redis server: commands out in one write, their answers back, nothing tried again."""

import asyncio
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ResponseError

from listener.sinks.redis.settings import RedisSettings
from listener.sinks.registry import SinkContext

Command = tuple[str | bytes | int, ...]


class Session:
    """A connection that is used until something is wrong with it, and then given up. See `connect`."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    async def ask(self, *commands: Command) -> list[Any]:
        """The answer to each command; an error that is one is returned, not raised.

        Raises:
            redis.exceptions.RedisError: the connection cannot be used any more.
        """
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        return [await self._answer() for _ in commands]

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error

    async def close(self) -> None:
        """Does not wait for the other side. Idempotent."""
        await self._connection.disconnect(nowait=True)


async def connect(context: SinkContext, settings: RedisSettings, address: dict[str, Any]) -> Session:
    """Connect once, log in with the credentials of this moment, select the database.

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
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return Session(connection)

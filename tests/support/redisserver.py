"""A real Redis server, and what its streams hold."""

import contextlib
import json
import re
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from support.authority import Authority
from support.broker import Broker, free_port
from support.tools import need

STREAM = "dispositions"

# The last value of each entry: the client takes seconds for ten thousand whole ones.
_BODIES = """
local bodies = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
  bodies[i] = entry[2][#entry[2]]
end
return bodies
"""


def redis_version() -> tuple[int, ...]:
    """Of the server that is installed."""
    told = subprocess.run([need("redis-server", package="redis-server"), "--version"], check=True, capture_output=True)
    found = re.search(r"v=([0-9.]+)", told.stdout.decode())
    assert found is not None
    return tuple(map(int, found[1].split(".")))


class RedisServer(Broker):
    """On a free port of the loopback; `folder` keeps what it stores. It writes each command to its disk at once.

    Args:
        folder: an empty one.
        authority: issues its certificate, and those of its clients; it takes no connection without TLS then.
        options: more of its configuration, or other values of it.
    """

    def __init__(self, folder: Path, *, authority: Authority | None = None, **options: str | int | Path) -> None:
        port = free_port()
        self._scheme = "rediss" if authority else "redis"
        self._client: dict[str, Any] = _client_tls(authority) if authority else {}
        settings = {
            "bind": "127.0.0.1",
            "port": port,
            "dir": folder,
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "always",
            "proto-max-bulk-len": "1mb",
            "repl-diskless-sync-delay": 0,
            **(_server_tls(authority, port) if authority else {}),
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        config = folder / "redis.conf"
        lines = [f"{name} {value}\n" for name, value in settings.items()]
        config.write_text("".join(lines), encoding="utf-8")
        argv = [need("redis-server", package="redis-server"), config]
        super().__init__(argv, folder=folder, port=port, ready="Ready to accept connections")

    @property
    def address(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def client(self, **login: Any) -> AsyncIterator[Redis]:
        """The library's whole client."""
        client = Redis(port=self.port, **self._client, **login)
        try:
            yield client
        finally:
            await client.aclose()

    async def entries(self, stream: str = STREAM, **login: Any) -> list[tuple[str, dict[str, str]]]:
        """The ids and fields of the stream, in its order."""
        async with self.client(decode_responses=True, **login) as client:
            return await client.xrange(stream)

    async def events(self) -> Sequence[Any]:
        async with self.client() as client:
            return [json.loads(body) for body in await client.eval(_BODIES, 1, STREAM)]

    async def empty(self) -> None:
        async with self.client() as client:
            await client.flushall()


def _server_tls(authority: Authority, port: int) -> dict[str, str | int | Path]:
    own = authority.issue("redis")
    files = {"tls-cert-file": own, "tls-key-file": own, "tls-ca-cert-file": authority.ca_file}
    return {"port": 0, "tls-port": port, "tls-auth-clients": "yes", **files}


def _client_tls(authority: Authority) -> dict[str, Any]:
    own = str(authority.issue("reader"))
    return {"ssl": True, "ssl_ca_certs": str(authority.ca_file), "ssl_certfile": own, "ssl_keyfile": own}

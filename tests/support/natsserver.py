"""A real NATS server with JetStream, and what its streams hold."""

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from support.broker import Broker, free_port
from support.tools import need

STREAM, SUBJECT = "DISPOSITIONS", "dispositions"


class NatsServer(Broker):
    """On a free port of the loopback; `folder` keeps what it stores.

    Args:
        folder: an empty one.
        configuration: more lines of its configuration.
        jetstream: whether there are streams.
    """

    def __init__(self, folder: Path, *, configuration: str = "", jetstream: bool = True) -> None:
        port = free_port()
        config = folder / "nats.conf"
        streams = f'jetstream {{ store_dir: "{folder}", max_file: 256M, max_mem: 64M }}\n' if jetstream else ""
        config.write_text(f"listen: 127.0.0.1:{port}\n{streams}{configuration}\n", encoding="utf-8")
        argv = [need("nats-server", package="nats-server"), "-c", config]
        super().__init__(argv, folder=folder, port=port, ready="Server is ready")

    @property
    def address(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def streams(self, login: dict[str, Any] | None = None) -> AsyncIterator[JetStreamContext]:
        """The API of streams."""
        client = await nats.connect(self.address, **(login or {}))
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def make_stream(self, login: dict[str, Any] | None = None, **changes: Any) -> None:
        """A new, empty stream in place of the one that there may be."""
        async with self.streams(login) as streams:
            with contextlib.suppress(NotFoundError):
                await streams.delete_stream(STREAM)
            await streams.add_stream(StreamConfig(**{"name": STREAM, "subjects": [SUBJECT], **changes}))

    async def messages(self, login: dict[str, Any] | None = None) -> Sequence[Any]:
        """Every message of the stream, in its order."""
        async with self.streams(login) as streams:
            count = (await streams.stream_info(STREAM)).state.messages
            reading = await streams.subscribe(SUBJECT, stream=STREAM, ordered_consumer=True) if count else None
            return [await reading.next_msg(timeout=10) for _ in range(count)] if reading else []

    async def events(self) -> Sequence[Any]:
        return [json.loads(message.data) for message in await self.messages()]

"""The plain script that people write: aiocometd's successor on PyPI, a filter, a line appended. Nothing is durable."""

import asyncio
import json
import sys

from aiocometd_ng import Client, ConnectionType


async def main(url: str, path: str) -> None:
    """Append one line a disposition, until killed."""
    with open(path, "a", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - as such scripts do
        async with Client(url, ConnectionType.LONG_POLLING) as client:
            await client.subscribe("/v2/me/chats")
            async for message in client:
                data = message["data"]
                if data["notificationType"] == "PropertiesUpdated":
                    chat = data["chat"]
                    line = {"chatId": chat["id"], "disposition": chat["userData"]["DispositionCode"]}
                    file.write(json.dumps(line) + "\n")
                    file.flush()


asyncio.run(main(*sys.argv[1:]))

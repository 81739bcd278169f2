"""The plain script that people write: aiocometd's successor on PyPI, a filter, a line appended as a CloudEvent.

`python script.py URL PATH [ack] [fsync]`. It flushes once for all that has arrived, which is the cheapest that a script
can do; with `fsync` that is durable as well. `ack` adds the extension of the protocol, which acknowledges what has
arrived, written or not.
"""

import asyncio
import json
import os
import sys
import uuid
from datetime import UTC, datetime

from aiocometd_ng import Client, ConnectionType, Extension


class Ack(Extension):
    """CometD's acknowledge extension, as its documentation has it."""

    batch = 0

    async def outgoing(self, payload, headers):
        for message in payload:
            if message["channel"] == "/meta/handshake":
                message.setdefault("ext", {})["ack"] = True
            elif message["channel"] == "/meta/connect":
                message.setdefault("ext", {})["ack"] = self.batch

    async def incoming(self, payload, headers=None):
        for message in payload:
            if message["channel"] == "/meta/connect":
                self.batch = message.get("ext", {}).get("ack", self.batch)


def event(data, last, number):
    """The fields that the listener's line has, except those of its chain."""
    chat, sent_ms = data["chat"], data["metrics"]["eventProcessing"]["serverGenerationTimestamp"]
    code, before = chat["userData"]["DispositionCode"], last.get(chat["id"])
    last[chat["id"]] = code
    return {
        "specversion": "1.0",
        "type": "script.chat.disposition",
        "source": "http://127.0.0.1/v2/me/chats",
        "id": str(uuid.uuid4()),
        "subject": chat["id"],
        "time": datetime.fromtimestamp(sent_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "sequence": str(number),
        "data": {
            "change": "set" if before is None else "unchanged" if before == code else "changed",
            "key": "DispositionCode",
            "disposition": code,
            "previous": before,
            "chatId": chat["id"],
            "chatState": chat["state"],
            "chatUri": chat["uri"],
            "referenceId": data["referenceId"],
            "account": "listener",
            "participants": [party for party in chat["participants"] if party["type"] == "Agent"],
            "userData": {},
            "receivedAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "origin": "notification",
        },
    }


async def main(url: str, path: str, *options: str) -> None:
    """Append one line a disposition, until killed."""
    last, number = {}, 0
    extensions = [Ack()] if "ack" in options else None
    with open(path, "a", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - as such scripts do
        async with Client(url, ConnectionType.LONG_POLLING, extensions=extensions) as client:
            await client.subscribe("/v2/me/chats")
            async for message in client:
                data = message["data"]
                if data["notificationType"] == "PropertiesUpdated":
                    number += 1
                    file.write(json.dumps(event(data, last, number), separators=(",", ":")) + "\n")
                if not client.has_pending_messages:
                    file.flush()
                    if "fsync" in options:
                        os.fsync(file.fileno())


asyncio.run(main(*sys.argv[1:]))

"""A Bayeux server that only publishes: once told to go, it answers every connect at once with the next ready batch.

It runs in a process of its own and does next to nothing per message, so that what is measured beside it is the client.
`python publisher.py COUNT BATCH` prints its port, prints `polled` when its client waits for events, publishes COUNT
notifications in batches of BATCH after a line on standard input, then holds every connect.
"""

import asyncio
import json
import sys

NOTIFICATION_BYTES = 900
HOLD_S = 20.0


def notification(number: int) -> str:
    """One `data`, about 900 bytes of JSON like those of a real site, distinct by its number."""
    data = {
        "referenceId": number,
        "chat": {
            "participants": [
                {"nickname": "TestName", "type": "Agent", "participantId": "009052C73228006D"},
                {"nickname": "FirstL", "type": "Customer", "participantId": "009052C73223006B"},
            ],
            "state": "Chatting",
            "id": f"0000Na9B26EF{number % 50:04d}",
            "capabilities": ["Transfer", "Complete", "Leave", "InFocus", "SendMessage", "SendStartTypingNotification"],
            "userData": {"DispositionCode": f"Code{number}", "GCTI_Chat_Session": "x" * 40, "Queue": "Support"},
            "uri": "http://localhost:8080/api/v2/chats/0000Na9B26EF003M",
        },
        "metrics": {"eventProcessing": {"serverGenerationTimestamp": 1_795_000_000_000 + number}},
        "notificationType": "PropertiesUpdated",
        "messageType": "ChatStateChangeMessage",
    }
    bare = json.dumps(data)
    data["chat"]["userData"]["Filler"] = "f" * max(0, NOTIFICATION_BYTES - len(bare) - 14)
    return json.dumps(data)


class Publisher:
    """State of the one session."""

    def __init__(self, count: int, batch: int) -> None:
        self.go = asyncio.Event()
        texts = [f'{{"channel":"/v2/me/chats","data":{notification(n)}}}' for n in range(count)]
        self.batches = [",".join(texts[i : i + batch]) for i in range(0, count, batch)]
        self.next = 0
        self.number = 0

    async def answer(self, message: dict) -> str:
        """The reply to one message, the events of a connect before it."""
        reply = {"channel": message["channel"], "id": message.get("id"), "successful": True, "clientId": "bench"}
        match message["channel"]:
            case "/meta/handshake":
                reply |= {"version": "1.0", "supportedConnectionTypes": ["long-polling"]}
                reply |= {"advice": {"reconnect": "retry", "interval": 0, "timeout": int(HOLD_S * 1000)}}
                if message.get("ext", {}).get("ack"):
                    reply["ext"] = {"ack": True}
            case "/meta/connect":
                return await self.connect(message, reply)
            case "/meta/subscribe":
                reply["subscription"] = message["subscription"]
        return json.dumps(reply)

    async def connect(self, message: dict, reply: dict) -> str:
        """The next batch, or silence when there is none. The first connect only says hello."""
        self.number += 1
        if "ack" in message.get("ext", {}):
            reply["ext"] = {"ack": self.number}
        if self.number == 1 or message.get("advice", {}).get("timeout") == 0:
            return json.dumps(reply)
        if not self.go.is_set():
            print("polled", flush=True)
            await self.go.wait()
        if self.next >= len(self.batches):
            await asyncio.sleep(HOLD_S)
            return json.dumps(reply)
        self.next += 1
        return f"{self.batches[self.next - 1]},{json.dumps(reply)}"

    async def body(self, reader: asyncio.StreamReader, head: bytes) -> bytes:
        """The request's body, by its length or in chunks."""
        lengths = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
        if lengths:
            return await reader.readexactly(int(lengths[0].split(b":")[1]))
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:size]
        await reader.readline()
        return body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests with a Content-Length, answers with one."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = await self.body(reader, head.lower())
                messages = json.loads(body)
                messages = messages if isinstance(messages, list) else [messages]
                answer = "[" + ",".join([await self.answer(message) for message in messages]) + "]"
                data = answer.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def main() -> None:
    """Serve until killed."""
    publisher = Publisher(int(sys.argv[1]), int(sys.argv[2]))
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: (sys.stdin.readline(), publisher.go.set()))
    server = await asyncio.start_server(publisher.serve, "127.0.0.1", 0, limit=2**22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

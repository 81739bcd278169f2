"""A Bayeux server that only publishes: it answers each connect at once while it has events, and holds it otherwise.

It runs in a process of its own and does little per message, so that what is measured beside it is the client. It prints
its port, then obeys lines on standard input and answers each with a line:

- `load COUNT BATCH`: make so many notifications, in answers of BATCH; answers when every session polls.
- `go`: publish them, going round the sessions; answers when all were taken and every session polls again.
- `spread SECONDS COUNT`: so many notifications to each session, evenly spread over these seconds; answers at the end.
  A disposition begins with its moment (monotonic nanoseconds).
- `held`: how many connects are held.

`python publisher.py [--no-ack]`: without the acknowledge extension, events are gone once they are written.
"""

import asyncio
import json
import sys
import time
from itertools import count

from aiohttp import WSMsgType, web

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
        "metrics": {"eventProcessing": {"serverGenerationTimestamp": 1_794_000_000_000 + number}},
        "notificationType": "PropertiesUpdated",
        "messageType": "ChatStateChangeMessage",
    }
    bare = json.dumps(data)
    data["chat"]["userData"]["Filler"] = "f" * max(0, NOTIFICATION_BYTES - len(bare) - 14)
    return json.dumps(data)


class Session:
    """What one client has not been sent, and its poll."""

    def __init__(self) -> None:
        self.batches: list[str] = []
        self.ready = asyncio.Event()
        self.polls = 0
        self.held = False

    def publish(self, batches: list[str]) -> None:
        """Oldest first."""
        self.batches[:0] = reversed(batches)
        self.ready.set()


class Publisher:
    """All sessions."""

    def __init__(self, *, ack: bool) -> None:
        self.ack = ack
        self.sessions: dict[str, Session] = {}
        self.numbers = count(int(time.time()) % 10**6 * 1000)  # none is a repetition for a client that lived before
        self.loaded: list[str] = []

    def texts(self, total: int) -> list[str]:
        """So many new messages."""
        return [f'{{"channel":"/v2/me/chats","data":{notification(next(self.numbers))}}}' for _ in range(total)]

    async def answer(self, message: dict) -> str:
        """The reply to one message, the events of a connect before it."""
        client = message.get("clientId") or f"bench{len(self.sessions)}"
        reply = {"channel": message["channel"], "id": message.get("id"), "successful": True, "clientId": client}
        match message["channel"]:
            case "/meta/handshake":
                self.sessions[client] = Session()
                reply |= {"version": "1.0", "supportedConnectionTypes": ["long-polling", "websocket"]}
                reply |= {"advice": {"reconnect": "retry", "interval": 0, "timeout": int(HOLD_S * 1000)}}
                if self.ack and message.get("ext", {}).get("ack"):
                    reply["ext"] = {"ack": True}
            case "/meta/connect" if client not in self.sessions:
                reply |= {"successful": False, "error": "402::Unknown client", "advice": {"reconnect": "handshake"}}
            case "/meta/connect":
                return await self.connect(self.sessions[client], message, reply)
            case "/meta/subscribe":
                reply["subscription"] = message["subscription"]
        return json.dumps(reply)

    async def connect(self, session: Session, message: dict, reply: dict) -> str:
        """The next batch, or silence when there is none. The first connect only says hello."""
        session.polls = poll = session.polls + 1
        if self.ack and "ack" in message.get("ext", {}):
            reply["ext"] = {"ack": session.polls}
        if session.polls == 1 or message.get("advice", {}).get("timeout") == 0:
            return json.dumps(reply)
        if not session.batches:
            session.ready.clear()
            session.held = True
            try:
                await asyncio.wait_for(session.ready.wait(), HOLD_S)
            except TimeoutError:
                return json.dumps(reply)
            finally:
                session.held = session.polls != poll
        if session.polls != poll:  # another one took its place: nobody reads the answer to this one any more
            return json.dumps(reply)
        return f"{session.batches.pop()},{json.dumps(reply)}"

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Long-polling and websocket at the same address."""
        if request.method == "GET":
            return await self.serve_websocket(request)
        messages = json.loads(await request.read())
        messages = messages if isinstance(messages, list) else [messages]
        answers = [await self.answer(message) for message in messages]
        return web.Response(body=f"[{','.join(answers)}]".encode(), content_type="application/json")

    async def serve_websocket(self, request: web.BaseRequest) -> web.WebSocketResponse:
        """One socket; a poll that is held keeps nothing else waiting."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)

        async def answer(message: dict) -> None:
            await socket.send_str(f"[{await self.answer(message)}]")

        async with asyncio.TaskGroup() as group:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    for message in json.loads(frame.data):
                        group.create_task(answer(message))
        return socket

    async def polled(self) -> None:
        """Until every session waits for events."""
        while not self.sessions or not all(s.held and not s.batches for s in self.sessions.values()):  # noqa: ASYNC110 - of many
            await asyncio.sleep(0.002)

    async def obey(self, line: str) -> str:
        """One command."""
        match line.split():
            case ["load", total, batch]:
                texts, size = self.texts(int(total)), int(batch)
                self.loaded = [",".join(texts[i : i + size]) for i in range(0, len(texts), size)]
                await self.polled()
                return str(len(texts))
            case ["go"]:
                sessions = list(self.sessions.values())
                for number, session in enumerate(sessions):
                    session.publish(self.loaded[number :: len(sessions)])
                await self.polled()
            case ["spread", seconds, rounds]:
                await self.spread(float(seconds), int(rounds))
                await self.polled()
            case ["held"]:
                return str(sum(session.held for session in self.sessions.values()))
        return "done"

    async def spread(self, seconds: float, rounds: int) -> None:
        """Each session's notifications, spread over the time."""
        loop, sessions = asyncio.get_running_loop(), list(self.sessions.values())
        texts = self.texts(len(sessions) * rounds)
        began_s = loop.time()
        for number, text in enumerate(texts):
            await asyncio.sleep(max(0.0, began_s + number * seconds / len(texts) - loop.time()))
            stamped = text.replace('"DispositionCode": "', f'"DispositionCode": "at {time.monotonic_ns()} ')
            sessions[number % len(sessions)].publish([stamped])
        await asyncio.sleep(began_s + seconds - loop.time())


async def commands(publisher: Publisher) -> None:
    """Obey standard input until its end."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(await publisher.obey(line), flush=True)


async def main() -> None:
    """Serve until standard input ends."""
    publisher = Publisher(ack="--no-ack" not in sys.argv)
    server = await asyncio.get_running_loop().create_server(web.Server(publisher.serve), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await commands(publisher)


if __name__ == "__main__":
    asyncio.run(main())

"""A Bayeux server for very many idle sessions: it grants everything and holds every connect.

`python idle_server.py [MAX_INTERVAL_S [PEM]]` prints its port, and for each line on standard input a number: `held?`
how many connects are held, `handshakes?` how many sessions began, `swept?` how many were forgotten, since no connect
came within so many seconds. Without it, none is. With a certificate and its key it speaks TLS and grants no
acknowledgements.
"""

import asyncio
import json
import resource
import ssl
import sys
from contextlib import suppress
from itertools import count

HOLD_S = 600.0
ADVICE = {"reconnect": "retry", "interval": 0, "timeout": int(HOLD_S * 1000)}


class IdleServer:
    """Counts the sessions that have reached the state in which they stay."""

    def __init__(self, max_interval_s: float | None, *, ack: bool) -> None:
        self.held = self.handshakes = self.swept = 0
        self.ack = ack
        self.holds: dict[str, asyncio.Timeout] = {}
        self.ids = count(1)
        self.max_interval_s = max_interval_s
        self.known: dict[str, asyncio.TimerHandle | None] = {}

    async def answer(self, message: dict, reader: asyncio.StreamReader) -> dict:
        """The reply to one message; that to a connect which may be held comes after HOLD_S."""
        reply = {"channel": message["channel"], "id": message["id"], "successful": True}
        client_id = message.get("clientId")
        if client_id is not None and client_id not in self.known:
            unknown = {"successful": False, "error": "402::Unknown client"}
            return reply | unknown | {"advice": {"reconnect": "handshake", "interval": 0}}
        match message["channel"]:
            case "/meta/handshake":
                self.handshakes += 1
                client_id = f"idle{next(self.ids)}"
                reply |= {"clientId": client_id, "version": "1.0", "ext": {"ack": self.ack}}
                reply |= {"supportedConnectionTypes": ["long-polling"], "advice": ADVICE}
                self.expect_connect(client_id)
            case "/meta/subscribe":
                reply["subscription"] = message["subscription"]
            case "/meta/connect":
                if client_id in self.holds:  # a second one ends the first
                    self.holds.pop(client_id).reschedule(0.0)
                if "advice" in message:
                    reply["advice"] = ADVICE
                else:
                    await self.hold(client_id, reader)
                self.expect_connect(client_id)
        return reply

    async def hold(self, client_id: str, reader: asyncio.StreamReader) -> None:
        """Until HOLD_S, the end of the connection, or another connect."""
        self.spare(client_id)
        self.held += 1
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(HOLD_S) as hold:
                self.holds[client_id] = hold
                await reader.read(1)
        if self.holds.get(client_id) is hold:
            del self.holds[client_id]
        self.held -= 1

    def spare(self, client_id: str) -> None:
        """Call off the sweep."""
        if (timer := self.known.get(client_id)) is not None:
            timer.cancel()

    def expect_connect(self, client_id: str) -> None:
        """Begin to wait for the next connect."""
        self.spare(client_id)
        loop, wait_s = asyncio.get_running_loop(), self.max_interval_s
        self.known[client_id] = None if wait_s is None else loop.call_later(wait_s, self.sweep, client_id)

    def sweep(self, client_id: str) -> None:
        """Forget a session."""
        del self.known[client_id]
        self.swept += 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests with a Content-Length, answers with one and, once, a cookie."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r", 1)[0])
                messages = json.loads(await reader.readexactly(length))
                body = json.dumps([await self.answer(message, reader) for message in messages]).encode()
                fields = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
                if messages[0]["channel"] == "/meta/handshake":
                    fields.append(b"Set-Cookie: BAYEUX_BROWSER=session%d; Path=/; HttpOnly" % next(self.ids))
                writer.write(b"\r\n".join(fields) + b"\r\n\r\n" + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def tell(self) -> None:
        """Answer a question on standard input."""
        print(getattr(self, sys.stdin.readline().strip(" \n?")), flush=True)


async def main() -> None:
    """Serve until killed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    given = sys.argv[1:]
    tls = None
    if given[1:]:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(given[1])
    idle = IdleServer(float(given[0]) if given else None, ack=tls is None)
    asyncio.get_running_loop().add_reader(sys.stdin, idle.tell)
    server = await asyncio.start_server(idle.serve, "127.0.0.1", 0, backlog=4096, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

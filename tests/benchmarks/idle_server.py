"""A Bayeux server for very many idle sessions: it grants everything and holds every connect.

`python idle_server.py` prints its port, and a line with the number of held connects for each line on standard input.
"""

import asyncio
import json
import resource
import sys
from itertools import count

HOLD_S = 600.0


class IdleServer:
    """Counts the sessions that have reached the state in which they stay."""

    def __init__(self) -> None:
        self.held = 0
        self.ids = count(1)

    async def answer(self, message: dict) -> dict:
        """The reply to one message; that to a connect which may be held comes after HOLD_S."""
        reply = {"channel": message["channel"], "id": message["id"], "successful": True}
        match message["channel"]:
            case "/meta/handshake":
                reply |= {"clientId": f"idle{next(self.ids)}", "version": "1.0", "ext": {"ack": True}}
                reply |= {"supportedConnectionTypes": ["long-polling"]}
                reply |= {"advice": {"reconnect": "retry", "interval": 0, "timeout": int(HOLD_S * 1000)}}
            case "/meta/subscribe":
                reply["subscription"] = message["subscription"]
            case "/meta/connect" if "advice" not in message:
                self.held += 1
                await asyncio.sleep(HOLD_S)
        return reply

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests with a Content-Length, answers with one and, once, a cookie."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r", 1)[0])
                messages = json.loads(await reader.readexactly(length))
                body = json.dumps([await self.answer(message) for message in messages]).encode()
                fields = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
                if messages[0]["channel"] == "/meta/handshake":
                    fields.append(b"Set-Cookie: BAYEUX_BROWSER=session%d; Path=/; HttpOnly" % next(self.ids))
                writer.write(b"\r\n".join(fields) + b"\r\n\r\n" + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def main() -> None:
    """Serve until killed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    idle = IdleServer()
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: (sys.stdin.readline(), print(idle.held, flush=True)))
    server = await asyncio.start_server(idle.serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

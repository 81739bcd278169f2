"""Hostile servers and receivers: what each says to one account, or to one sink, of a daemon that has others too."""

import asyncio
import contextlib
import hashlib
import json
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

from support.notifications import encoded, with_data
from support.wire import ByteServer

Json = dict[str, Any]

USER, PASSWORD = "mallory", "secret"
TOPIC = "/v2/me/chats"
END = b"\r\n\r\n"
BLOCK = 2**16
ADVICE = {"reconnect": "retry", "interval": 0, "timeout": 1000, "maxInterval": 30_000}
ROLES = ["ROLE_AGENT", "ROLE_SUPERVISOR"]
LOGIN = encoded({"statusCode": 0, "user": {"id": "m", "userName": USER, "roles": ROLES, "chats": []}})
COOKIE = f"Set-Cookie: JSESSIONID={USER}; Path=/"
POLICY = "Content-Security-Policy: " + "x" * 9000


class Stage(StrEnum):
    """Which exchange is spoilt."""

    LOGIN = "login"
    CHATS = "reading of the chats"
    USERS = "list of users"
    HANDSHAKE = "handshake"
    CONNECT = "poll"
    SOCKET = "websocket"
    WEBHOOK = "webhook"
    PERMISSION = "webhook's permission"
    TOKEN = "webhook's token"
    TUNNEL = "webhook's proxy"
    CHECKPOINT = "checkpoint's witness"

    @property
    def of_a_sink(self) -> bool:
        """Whether it is a receiver's, and not the server's."""
        return self in (Stage.WEBHOOK, Stage.PERMISSION, Stage.TOKEN, Stage.TUNNEL, Stage.CHECKPOINT)


@dataclass(frozen=True, kw_only=True)
class Play:
    """What a hostile peer answers at one stage; everything else it answers well.

    Attributes:
        name: of the attack.
        stage: which exchange it is about.
        say: the bytes of an answer, piece by piece and maybe without end, to a Bayeux message (or to none) with the
            address of somebody else.
        pause_s: between the pieces.
        harmless: whether the account or the sink is to go on as if nothing were.
        of_a_supervisor: whether the account is one.
    """

    name: str
    stage: Stage
    say: Callable[[Json, str], Iterable[bytes]]
    pause_s: float = 0.0
    harmless: bool = False
    of_a_supervisor: bool = False

    def __str__(self) -> str:
        return f"{self.name}, at the {self.stage}"


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer as it should be."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers)
    return "\r\n".join(lines).encode() + END + body


def reply(message: Json, **fields: Any) -> Json:
    """A reply of CometD's to this message."""
    return {"channel": message.get("channel"), "id": message.get("id"), "successful": True, "advice": ADVICE, **fields}


def _head(*headers: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", "Content-Type: application/json", *headers)).encode()


def _endless_header(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    return chain([_head("X-Long: ")], repeat(b"x" * BLOCK))


def _interim(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    return repeat(b"HTTP/1.1 102 \r\n\r\n" * 4096)


def _drops(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    return chain([_head("X-Long: ")], repeat(b"x"))


def _redirect(_message: Json, elsewhere: str) -> Iterator[bytes]:
    yield whole(b"", f"Location: {elsewhere}", status="302 Found")


def _endless_body(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    return chain([_head() + END], repeat(b" " * BLOCK))


@lru_cache(maxsize=1)
def _zeros() -> bytes:
    """600 MiB behind gzip."""
    squeeze = zlib.compressobj(1, wbits=31)
    return b"".join([*(squeeze.compress(bytes(2**20)) for _ in range(600)), squeeze.flush()])


def _bomb(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    yield whole(_zeros(), "Content-Encoding: gzip")


def _of_any_peer() -> Iterator[Play]:
    """What the server can do at a login, a reading and a poll, and a receiver too."""
    server = (Stage.LOGIN, Stage.CHATS, Stage.CONNECT)
    for stage in (*server, Stage.WEBHOOK, Stage.PERMISSION, Stage.TOKEN, Stage.TUNNEL, Stage.CHECKPOINT):
        yield Play(name="a header without end", stage=stage, say=_endless_header)
        yield Play(name="interim answers without end", stage=stage, say=_interim)
        yield Play(name="a head in drops", stage=stage, say=_drops, pause_s=0.05)
        yield Play(name="a redirect", stage=stage, say=_redirect)
        yield Play(name="a body without end", stage=stage, say=_endless_body)
        yield Play(name="600 MiB behind gzip", stage=stage, say=_bomb)


def _login_with(*headers: str) -> Callable[[Json, str], Iterable[bytes]]:
    return lambda _message, _elsewhere: [whole(LOGIN, COOKIE, *headers)]


def _poll_with(*headers: str) -> Callable[[Json, str], Iterable[bytes]]:
    return lambda message, _elsewhere: [whole(encoded([reply(message)]), *headers)]


def _taken_with(*headers: str) -> Callable[[Json, str], Iterable[bytes]]:
    return lambda _message, _elsewhere: [whole(b"", *headers)]


def _in_pieces(items: bytes, end: bytes, *, promised: int = 0) -> Iterator[bytes]:
    """An answer that is an array, with so many bytes promised that do not come."""
    size = len(items) + len(end) + 1 + promised
    yield _head(f"Content-Length: {size}") + END + b"["
    yield from (items[start : start + 2**20] for start in range(0, len(items), 2**20))
    yield end


@lru_cache(maxsize=1)
def _many(item: bytes, count: int) -> bytes:
    return item * count


def _cut_objects(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    return _in_pieces(_many(b'{"a":1},', 6_750_000), b"", promised=1)


def _small_messages(message: Json, _elsewhere: str) -> Iterator[bytes]:
    return _in_pieces(_many(b'{"channel":"/x"},', 3_650_000), encoded(reply(message)) + b"]")


def _notifications(message: Json, _elsewhere: str) -> Iterator[bytes]:
    event = encoded({"channel": TOPIC, "data": with_data(DispositionCode="the same")})
    return _in_pieces(_many(event + b",", 150_000), encoded(reply(message)) + b"]")


def _no_end(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    return chain([_head() + END, b'[{"channel":"/x","data":"'], repeat(b"x" * BLOCK))


def _deep(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    return chain([_head() + END, b'[{"channel":"/x","data":'], repeat(b'[{"a":' * (BLOCK // 6)))


def _for_ever(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    event = encoded({"channel": TOPIC, "data": with_data(DispositionCode="the same")})
    return chain([_head() + END, b"["], repeat((event + b",") * (BLOCK // len(event))))


def _large_messages(message: Json, _elsewhere: str) -> Iterator[bytes]:
    event = encoded({"channel": TOPIC, "data": with_data(DispositionCode="large", Other="[{" * (2 * 10**6 - 1000))})
    return chain([_head() + END, b"["], repeat(event + b",", 12), [encoded(reply(message)) + b"]"])


def _giant_id(message: Json, _elsewhere: str) -> Iterator[bytes]:
    before, _, after = encoded([{**handshake(message), "clientId": "@"}]).partition(b"@")
    return _in_pieces(before[1:] + _many(b"x", 60_000_000), after)


def _useless(message: Json, _elsewhere: str) -> Iterator[bytes]:
    other = {"channel": "/v2/others", "data": with_data(DispositionCode="not ours")}
    yield whole(encoded([other, reply(message)]))


def handshake(message: Json) -> Json:
    """A handshake that is granted, without acknowledgements."""
    return reply(message, clientId=USER, version="1.0", supportedConnectionTypes=["long-polling", "websocket"])


def frame(payload: bytes, *, first: int = 0x81, size: int | None = None) -> bytes:
    """A frame of a server's (RFC 6455, 5.2): a whole text, or what its first byte says, of as many bytes as it says."""
    size = len(payload) if size is None else size
    if size < 126:
        head = bytes([first, size])
    elif size < 2**16:
        head = bytes([first, 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 127]) + size.to_bytes(8, "big")
    return head + payload


def _framed(payload: bytes, *, first: int = 0x81, at_least: int = BLOCK) -> Callable[[Json, str], Iterable[bytes]]:
    """The same frame for ever, several at once."""
    one = frame(payload, first=first)
    return lambda _message, _elsewhere: repeat(one * (at_least // len(one) + 1))


def _endless_frame(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    return chain([frame(b"", size=2**62)], repeat(b" " * BLOCK))


def _endless_fragments(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    return chain([frame(b"[", first=0x01)], repeat(frame(b" " * BLOCK, first=0x00)))


def _squeezed_frame(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    """600 MiB in a frame that says of itself that it is compressed (RFC 7692), which nobody asked for."""
    squeeze = zlib.compressobj(1, wbits=-15)
    body = b"".join(squeeze.compress(bytes(2**20)) for _ in range(600)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    yield frame(body.removesuffix(b"\0\0\xff\xff"), first=0xC1)


def _notifications_in_one_frame(message: Json, _elsewhere: str) -> Iterator[bytes]:
    yield frame(b"".join(_notifications(message, ""))[len(_head()) :].partition(END)[2])


def _notifications_in_frames(message: Json, _elsewhere: str) -> Iterator[bytes]:
    """As many, in frames that are just small enough."""
    event = encoded({"channel": TOPIC, "data": with_data(DispositionCode="the same")})
    at_once = 4 * 10**6 // (len(event) + 1)
    return chain(
        repeat(frame(b"[" + b",".join([event] * at_once) + b"]"), 150_000 // at_once),
        [frame(encoded([reply(message)]))],
    )


def _chats(count: int) -> Callable[[Json, str], Iterable[bytes]]:
    """So many chats under way, each with a disposition."""

    def say(_message: Json, _elsewhere: str) -> Iterator[bytes]:
        chats = [{"id": f"{n:016d}", "state": "Chat", "userData": {"DispositionCode": f"c{n}"}} for n in range(count)]
        yield whole(encoded({"statusCode": 0, "chats": chats, "user": {"id": "m", "userName": USER, "chats": chats}}))

    return say


def _ever_more_users() -> Callable[[Json, str], Iterable[bytes]]:
    """Each page has 500 others, with long names."""
    pages = iter(range(10**9))

    def say(_message: Json, _elsewhere: str) -> Iterator[bytes]:
        page = next(pages)
        users = [{"id": f"{page}-{n}", "userName": f"{page}-{n}" + "x" * 200} for n in range(500)]
        yield whole(encoded({"statusCode": 0, "users": users}))

    return say


def _many_users(_message: Json, _elsewhere: str) -> Iterator[bytes]:
    users = [{"id": str(n), "userName": f"user{n}", "roles": ["ROLE_AGENT"]} for n in range(150_000)]
    yield whole(encoded({"statusCode": 0, "users": users}))


PLAYS = (
    Play(name="a header of 9 kB", stage=Stage.LOGIN, say=_login_with(POLICY), harmless=True),
    Play(name="a header of 9 kB", stage=Stage.CONNECT, say=_poll_with(POLICY), harmless=True),
    Play(name="a header of 9 kB", stage=Stage.WEBHOOK, say=_taken_with(POLICY), harmless=True),
    *_of_any_peer(),
    Play(
        name="a CSRF header of its own",
        stage=Stage.LOGIN,
        say=_login_with("X-CSRF-HEADER: Content-Length", "X-CSRF-TOKEN: 5"),
    ),
    Play(name="a client id of 60 MB", stage=Stage.HANDSHAKE, say=_giant_id),
    Play(name="54 MB of small objects, cut", stage=Stage.CONNECT, say=_cut_objects),
    Play(name="62 MB of small messages", stage=Stage.CONNECT, say=_small_messages),
    Play(name="150,000 notifications in a batch", stage=Stage.CONNECT, say=_notifications),
    Play(name="a message without end", stage=Stage.CONNECT, say=_no_end),
    Play(name="a message of brackets without end", stage=Stage.CONNECT, say=_deep),
    Play(name="notifications without end", stage=Stage.CONNECT, say=_for_ever),
    Play(name="messages of 4 MB", stage=Stage.CONNECT, say=_large_messages),
    Play(name="one useless event after the other", stage=Stage.CONNECT, say=_useless, harmless=True),
    Play(name="2,000 chats", stage=Stage.CHATS, say=_chats(2000), harmless=True),
    Play(name="60,000 chats", stage=Stage.CHATS, say=_chats(60_000)),
    Play(name="10,000 chats of a team", stage=Stage.CHATS, say=_chats(10_000), harmless=True, of_a_supervisor=True),
    Play(name="150,000 users at once", stage=Stage.USERS, say=_many_users, of_a_supervisor=True),
    Play(name="pages of users without end", stage=Stage.USERS, say=_ever_more_users(), of_a_supervisor=True),
    Play(name="a body without end", stage=Stage.USERS, say=_endless_body, of_a_supervisor=True),
    Play(name="a frame without end", stage=Stage.SOCKET, say=_endless_frame),
    Play(name="fragments without end", stage=Stage.SOCKET, say=_endless_fragments),
    Play(name="frames without end", stage=Stage.SOCKET, say=_framed(b'[{"channel":"/x"}]')),
    Play(name="empty frames without end", stage=Stage.SOCKET, say=_framed(b"")),
    Play(name="pings without end", stage=Stage.SOCKET, say=_framed(b"", first=0x89)),
    Play(name="pings of 125 bytes without end", stage=Stage.SOCKET, say=_framed(b"x" * 125, first=0x89)),
    Play(name="pongs without end", stage=Stage.SOCKET, say=_framed(b"", first=0x8A)),
    Play(name="600 MiB in a frame", stage=Stage.SOCKET, say=_squeezed_frame),
    Play(name="150,000 notifications in a frame", stage=Stage.SOCKET, say=_notifications_in_one_frame),
    Play(name="150,000 notifications in frames of 4 MB", stage=Stage.SOCKET, say=_notifications_in_frames),
)


class Peer(ByteServer):
    """A server on a free port; `async with`. What a connection is about is decided request by request.

    Attributes:
        played: how many hostile answers were begun.
    """

    def __init__(self, play: Play, *, elsewhere: str) -> None:
        super().__init__(self._talk)
        self.played = 0
        self._play = play
        self._elsewhere = elsewhere

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ValueError):
            while await self._answer(*await _request(reader), reader, writer):
                await writer.drain()

    async def _answer(self, head: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; tells whether the connection goes on."""
        await self._spoil({}, writer)
        return self._play.harmless

    async def _spoil(self, message: Json, writer: asyncio.StreamWriter) -> None:
        self.played += 1
        for piece in self._play.say(message, self._elsewhere):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(self._play.pause_s)


class Front(Peer):
    """A Web Services node that hands on what it is asked, but for one user's requests, which it answers itself.

    Args:
        play: what it answers.
        port: of the server for all others.
        elsewhere: the address of somebody else.
    """

    def __init__(self, play: Play, *, port: int, elsewhere: str) -> None:
        super().__init__(play, elsewhere=elsewhere)
        self._port = port

    async def _answer(self, head: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        ours = b64encode(f"{USER}:{PASSWORD}".encode()).decode() in head or f"JSESSIONID={USER}" in head
        if not ours:
            await self._hand_on(head, body, reader, writer)
            return False
        if "Upgrade: websocket" in head:
            await self._talk_in_frames(head, reader, writer)
            return False
        if head.startswith("GET") or b'"operationName"' in body:
            if self._asked_for(head) is self._play.stage:
                await self._spoil({}, writer)
                return self._play.harmless
            writer.write(whole(LOGIN, COOKIE))
            return True
        (message,) = json.loads(body)
        return await self._talk_bayeux(message, writer)

    def _asked_for(self, head: str) -> Stage | None:
        """Which of the stages a request to the REST API is."""
        line = head.partition("\r\n")[0]
        if "subresources" in line:
            return Stage.CHATS
        if "/users?" in line:
            return Stage.USERS
        return Stage.LOGIN if "Authorization" in head else None

    async def _talk_in_frames(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (key,) = (line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key: "))
        accepted = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
        lines = ("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        answer = (*lines, f"Sec-WebSocket-Accept: {b64encode(accepted).decode()}")
        writer.write(b"HTTP/1.1 " + "\r\n".join(answer).encode() + END)
        while True:
            (message, *_) = json.loads(await _text(reader))
            if message["channel"] == "/meta/connect":
                await self._spoil(message, writer)
                continue
            writer.write(frame(encoded([{**reply(message), "subscription": message.get("subscription")}])))

    async def _talk_bayeux(self, message: Json, writer: asyncio.StreamWriter) -> bool:
        stages = {"/meta/handshake": Stage.HANDSHAKE, "/meta/connect": Stage.CONNECT}
        if stages.get(message["channel"]) is self._play.stage:
            await self._spoil(message, writer)
            return self._play.harmless
        if message["channel"] == "/meta/connect" and message.get("advice", {}).get("timeout") != 0:
            await asyncio.sleep(ADVICE["timeout"] / 1000)
        answer = handshake(message) if message["channel"] == "/meta/handshake" else reply(message)
        writer.write(whole(encoded([{**answer, "subscription": message.get("subscription")}])))
        return True

    async def _hand_on(
        self, head: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        back, there = await asyncio.open_connection("127.0.0.1", self._port)
        is_upgrade = "Upgrade: websocket" in head
        last = head if is_upgrade else head.replace("\r\n", "\r\nConnection: close\r\n", 1)
        there.write(last.encode("latin-1") + body)
        try:
            await asyncio.gather(_pipe(back, writer), *([_pipe(reader, there)] if is_upgrade else []))
        finally:
            there.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(BLOCK):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def _text(reader: asyncio.StreamReader) -> bytes:
    """The next text of a client's, whose frames are masked (RFC 6455, 5.3)."""
    while True:
        first, size = await reader.readexactly(2)
        size &= 0x7F
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
        mask = await reader.readexactly(4)
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(await reader.readexactly(size)))
        if first & 0x0F == 1:
            return payload


async def _request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(END)).decode("latin-1")
    sizes = [line.partition(":")[2] for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    return head, await reader.readexactly(int(sizes[0]) if sizes else 0)

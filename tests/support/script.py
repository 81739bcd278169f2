"""The server's end of a CometD session without a socket: it answers as scripted, and well where nothing is."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from listener.cometd.messages import CONNECT, HANDSHAKE
from listener.cometd.payloads import Payload, Payloads
from listener.cometd.protocol import Request, Step
from listener.cometd.slices import SLICE_BYTES
from listener.errors import ExchangeFailed

TOPIC = "/v2/me/chats"
Json = dict[str, Any]
Whole = Callable[[Request], Sequence[Json] | Payload] | bytes | Payload | ExchangeFailed
Answer = Whole | tuple[Whole, ...]
FRESH = {"reconnect": "retry", "interval": 0, "timeout": 30_000}
UNKNOWN = {"successful": False, "error": "402::Unknown client", "advice": {"reconnect": "handshake", "interval": 0}}


def event(number: int) -> Json:
    """A message on the topic."""
    return {"channel": TOPIC, "data": {"n": number}}


def replies(request: Request, **fields: Any) -> list[Json]:
    """A reply to each message of the request: successful, unless `fields` say otherwise."""
    return [{"channel": m["channel"], "id": m["id"], "successful": True, **fields} for m in request.payload]


def large(number: int) -> Json:
    """An event of the size of a slice."""
    return {"channel": TOPIC, "data": {"n": number, "filler": "x" * SLICE_BYTES}}


def piece(*events: Json) -> Payload:
    """A slice of an answer that goes on."""
    return Payload(json.dumps(events).encode(), more=True)


def more(answer: Callable[[Request], Sequence[Json]]) -> Callable[[Request], Payload]:
    """This, and the answer goes on."""
    return lambda request: Payload(json.dumps(answer(request)).encode(), more=True)


def reply(*events: Json, **fields: Any) -> Callable[[Request], list[Json]]:
    """An answer with these events before its replies."""
    return lambda request: [*events, *replies(request, **fields)]


def _payload(answer: Whole, request: Request) -> Payload:
    one = answer(request) if callable(answer) else answer
    if isinstance(one, ExchangeFailed):
        raise one
    if isinstance(one, Payload):
        return one
    return Payload(one if isinstance(one, bytes) else json.dumps(one).encode())


async def _in_parts(answers: tuple[Whole, ...], request: Request) -> Payloads:
    for answer in answers:
        one = _payload(answer, request)
        yield one
        if not one.whole:
            raise ExchangeFailed("cut")


class Script:
    """An `Exchange` for an engine.

    Left alone it grants handshakes (each a new client id, `c1`, `c2`, …) and subscriptions, and answers a connect that
    asks for it at once; another is held until `publish` or `end_hold`. With `ack` it numbers its connect replies and
    sends again what is not acknowledged, as CometD does.

    Attributes:
        requests: everything that was asked, in order.
        held: connects that wait for an answer now.
        most_held: the most that ever were.
    """

    def __init__(self, *, ack: bool = False, connection_type: str = "long-polling") -> None:
        self.requests: list[Request] = []
        self.held = 0
        self.most_held = 0
        self.sessions = 0
        self._ack = ack
        self._type = connection_type
        self._script: dict[Step | None, deque[Answer]] = {}
        self._always: dict[Step, Answer] = {}
        self._number = 0
        self._queue: list[tuple[int, Json]] = []
        self._wake = asyncio.Event()
        self._arrived = asyncio.Event()

    def then(self, *answers: Answer, step: Step | None = None) -> None:
        """Answer the next requests (of that step) so, one each; a tuple is one answer in several payloads."""
        self._script.setdefault(step, deque()).extend(answers)

    def always(self, step: Step, answer: Answer | None) -> None:
        """Answer every request of that step so; None: well again."""
        self._always.pop(step, None)
        if answer is not None:
            self._always[step] = answer

    def publish(self, *numbers: int) -> None:
        """Queue events, and answer the held connect with them."""
        self._queue += [(self._number + 1, event(number)) for number in numbers]
        self._wake.set()

    def end_hold(self) -> None:
        """Answer the held connect without events."""
        self._wake.set()

    @property
    def steps(self) -> list[Step]:
        """What was asked, in order."""
        return [request.step for request in self.requests]

    @property
    def connects(self) -> list[Json]:
        """The connect messages, in order."""
        return [message for request in self.requests for message in request.payload if message["channel"] == CONNECT]

    async def asked(self, count: int) -> Request:
        """The request of that number (from 1), once it is there."""
        while len(self.requests) < count:
            self._arrived.clear()
            await self._arrived.wait()
        return self.requests[count - 1]

    async def exchange(self, request: Request) -> Payload | Payloads:
        """Send one request."""
        self.requests.append(request)
        self._arrived.set()
        answer = self._next(request)
        if answer is None:
            return Payload(json.dumps(await self._well(request)).encode())
        if isinstance(answer, tuple):
            return _in_parts(answer, request)
        one = _payload(answer, request)
        return one if one.whole and not one.more else _in_parts((one,), request)

    def _next(self, request: Request) -> Answer | None:
        for step in (request.step, None):
            if self._script.get(step):
                return self._script[step].popleft()
        return self._always.get(request.step)

    async def _well(self, request: Request) -> list[Json]:
        channel = request.payload[0]["channel"]
        if channel == HANDSHAKE:
            self.sessions += 1
            self._queue = []  # it died with the session
            granted = {"ext": {"ack": True}} if self._ack else {}
            fields = {"clientId": f"c{self.sessions}", "supportedConnectionTypes": [self._type], "advice": FRESH}
            return replies(request, **fields, **granted)
        if channel != CONNECT:
            return replies(request)
        (message,) = request.payload
        acked = message.get("ext", {}).get("ack", self._number)
        self._queue = [(number, one) for number, one in self._queue if number > acked] if self._ack else self._queue
        await self._hold(request)
        events = [one for _, one in self._queue]
        if not self._ack:
            self._queue = []
            return [*events, *replies(request)]
        self._number += 1
        return [*events, *replies(request, ext={"ack": self._number})]

    async def _hold(self, request: Request) -> None:
        self._wake.clear()
        if self._queue or not request.hold_ms:
            return
        self.held += 1
        self.most_held = max(self.held, self.most_held)
        try:
            await self._wake.wait()
        finally:
            self.held -= 1

"""What goes wrong on purpose: armed faults, each used up by the answers that it spoils."""

import asyncio
from collections import deque
from dataclasses import replace
from typing import Any, Literal

import msgspec

from listener.simulator.wire import Call, Reply

Target = Literal["any", "notifications", "rest"]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every fault says: how many answers it hits, and on which paths."""

    count: int = 1
    target: Target = "any"

    def hits(self, call: Call) -> bool:
        """Whether the request is on a path that is meant."""
        return self.target == "any" or call.notifications == (self.target == "notifications")


class Fail(Fault, frozen=True, kw_only=True):
    """Answer before the server sees the request."""

    status: int = 503
    body: str = ""
    content_type: str = "text/html;charset=UTF-8"
    headers: dict[str, str] = {}


class Drop(Fault, frozen=True, kw_only=True):
    """The server acts, the socket is reset in place of the answer; `messages` waits for one that carries events."""

    only: Literal["any", "messages"] = "any"


class Cut(Fault, frozen=True, kw_only=True):
    """The body ends after so many bytes, under the full Content-Length."""

    after_bytes: int
    only: Literal["any", "messages"] = "any"


class Garbage(Fault, frozen=True, kw_only=True):
    """The server acts, and another body takes the place of its answer, with status 200.

    truncated: the first half of the answer, as a whole answer. object: the last message without its array. html, empty,
    binary (no UTF-8), null, scalar, array (of things that are no messages): as they say.
    """

    kind: Literal["truncated", "object", "html", "empty", "binary", "null", "scalar", "array"] = "truncated"
    target: Target = "notifications"


class Advice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The advice of the next connect replies of one agent or of all."""

    kind: Literal["none", "handshake", "interval", "multiple-clients"]
    interval_ms: int = 2000
    successful: bool = True
    agent: str | None = None
    count: int = 1

    def fields(self) -> dict[str, Any]:
        """As it goes over the wire."""
        match self.kind:
            case "none":
                return {"reconnect": "none"}
            case "handshake":
                return {"reconnect": "handshake", "interval": 0}
            case "interval":
                return {"reconnect": "retry", "interval": self.interval_ms}
            case "multiple-clients":
                return {"multiple-clients": True, "reconnect": "retry", "interval": self.interval_ms}


class Faults:
    """The armed faults. Faults of one kind are used up in the order of their arming."""

    def __init__(self) -> None:
        self._armed: dict[type[Fault], deque[Fault]] = {kind: deque() for kind in (Fail, Drop, Cut, Garbage)}
        self._advice: deque[Advice] = deque()
        self._denials = 0
        self._duplicates = 0
        self.delay_ms = 0
        self.delay_target: Target = "any"
        self.used = 0

    def arm(self, fault: Fault) -> None:
        """Spoil the next `count` answers that the fault hits."""
        if fault.count > 0:
            self._armed[type(fault)].append(fault)

    def advise(self, advice: Advice) -> None:
        """Give the next `count` connect replies this advice."""
        if advice.count > 0:
            self._advice.append(advice)

    def deny(self, count: int) -> None:
        """Refuse the next handshakes; 0 allows them again."""
        self._denials = count

    def duplicate(self, count: int) -> None:
        """Queue the events of the next batches again after they were written."""
        self._duplicates = count

    def clear(self) -> None:
        """Disarm everything; `used` keeps counting."""
        for waiting in self._armed.values():
            waiting.clear()
        self._advice.clear()
        self._denials = self._duplicates = self.delay_ms = 0

    def pending(self) -> dict[str, int]:
        """How many uses are left of each kind."""
        armed = {kind.__name__.lower(): sum(f.count for f in faults) for kind, faults in self._armed.items()}
        advice = sum(item.count for item in self._advice)
        return armed | {"advice": advice, "deny-handshake": self._denials, "duplicate": self._duplicates}

    def before(self, call: Call) -> Reply | None:
        """The answer that takes the place of the server's, if one is armed."""
        fault = self._take(Fail, call)
        if not isinstance(fault, Fail):
            return None
        return Reply(
            status=fault.status,
            body=fault.body.encode(),
            content_type=fault.content_type,
            headers=tuple(fault.headers.items()),
        )

    async def after(self, call: Call, reply: Reply) -> Reply:
        """The server's answer, spoilt and late as armed."""
        reply = self._spoil(call, reply)
        if self.delay_ms and Fault(target=self.delay_target).hits(call):
            await asyncio.sleep(self.delay_ms / 1000)
        return reply

    def advises(self, user: str) -> bool:
        """Whether the user's next connect reply is to carry armed advice: such a poll is not held."""
        return any(advice.agent in {None, user} for advice in self._advice)

    def take_advice(self, user: str) -> Advice | None:
        """Use up armed advice for this user."""
        for index, advice in enumerate(self._advice):
            if advice.agent in {None, user}:
                del self._advice[index]
                if advice.count > 1:
                    self._advice.insert(index, msgspec.structs.replace(advice, count=advice.count - 1))
                self.used += 1
                return advice
        return None

    def take_denial(self) -> bool:
        """Use up a refused handshake."""
        denied = self._denials > 0
        self._denials -= denied
        self.used += denied
        return denied

    def take_duplicate(self) -> bool:
        """Use up a repeated batch."""
        repeated = self._duplicates > 0
        self._duplicates -= repeated
        self.used += repeated
        return repeated

    def _spoil(self, call: Call, reply: Reply) -> Reply:
        if self._take(Drop, call, reply) is not None:
            return replace(reply, destroy=True)
        cut = self._take(Cut, call, reply)
        if isinstance(cut, Cut):
            return replace(reply, cut_after=cut.after_bytes)
        garbage = self._take(Garbage, call, reply)
        return _spoil_body(reply, garbage) if isinstance(garbage, Garbage) else reply

    def _take(self, kind: type[Fault], call: Call, reply: Reply | None = None) -> Fault | None:
        waiting = self._armed[kind]
        fault = next((fault for fault in waiting if fault.hits(call) and _wanted(fault, reply)), None)
        if fault is None:
            return None
        index = waiting.index(fault)
        del waiting[index]
        if fault.count > 1:
            waiting.insert(index, msgspec.structs.replace(fault, count=fault.count - 1))
        self.used += 1
        return fault


def _wanted(fault: Fault, reply: Reply | None) -> bool:
    """Whether the fault takes this answer: one that waits for events lets the others pass."""
    waits = isinstance(fault, Drop | Cut) and fault.only == "messages"
    return not waits or (reply is not None and reply.events > 0)


_BODIES: dict[str, bytes] = {
    "html": b"<html><body><h1>Service is starting</h1></body></html>",
    "empty": b"",
    "binary": b"\xff\xfe\x00\x9f\x92\x96",
    "null": b"null",
    "scalar": b"42",
    "array": b'[1, "two", null, []]',
}


def _spoil_body(reply: Reply, garbage: Garbage) -> Reply:
    match garbage.kind:
        case "truncated":
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        case "object":
            return replace(reply, body=_last_element(reply.body))
        case kind:
            return replace(reply, body=_BODIES[kind])


def _last_element(body: bytes) -> bytes:
    elements = msgspec.json.decode(body, type=list[msgspec.Raw] | msgspec.Raw)
    return bytes(elements[-1]) if isinstance(elements, list) and elements else body

"""Bayeux messages on the wire: typed decode of a whole response, and what can be saved of a damaged one."""

import re
from typing import Any

import msgspec

from listener.errors import UNDECODABLE, NoBayeux

META_PREFIX = "/meta/"
HANDSHAKE = "/meta/handshake"
CONNECT = "/meta/connect"
SUBSCRIBE = "/meta/subscribe"
UNSUBSCRIBE = "/meta/unsubscribe"
DISCONNECT = "/meta/disconnect"
WEBSOCKET = "websocket"


class Message(msgspec.Struct, gc=False, rename="camel"):
    """One incoming Bayeux message.

    Only `channel` is typed strictly: an event with an odd `id` is still an event. `data` stays as it came; who knows
    the application's types decodes it.
    """

    channel: str
    data: msgspec.Raw = msgspec.Raw()
    id: Any = None
    client_id: Any = None
    subscription: Any = None
    successful: Any = None
    error: Any = None
    advice: Any = None
    ext: Any = None
    supported_connection_types: Any = None

    @property
    def is_event(self) -> bool:
        """Whether an application published this; replies to publishes carry no data."""
        return bool(self.data) and not self.channel.startswith(META_PREFIX)  # called for each: no frame to spare


class Envelope(msgspec.Struct, frozen=True):
    """The messages of one response, in order, and how many elements of it were no messages, by reason."""

    messages: list[Message]
    refused: dict[str, int] = {}


_DECODER = msgspec.json.Decoder(list[Message])
_ONE = msgspec.json.Decoder(Message)
# A string (ended or not) is consumed whole, so that brackets inside it do not count.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_CLOSES = {b"}": ord("{"), b"]": ord("[")}
BETWEEN = b" \t\r\n,[]\xef\xbb\xbf"
"""What may stand between elements; and a byte order mark."""
BEGINS = re.compile(rb'\{(?<=[\[\]{},\s"]\{)(?=\s*")')
"""Where an element of an array may begin, wherever the reading lost its way; a member's value comes after a colon.

It begins with a letter, for which the search is fast."""
# Escaped pairs of surrogates, halves of them (the group), and every other escape.
_ESCAPES = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
_SEARCH_FACTOR = 4
SEARCH_BYTES = 4 * 2**20
"""How much of a body a search for the next message reads again, at most."""


def decode(body: bytes, *, sole: bool = True) -> Envelope:
    """Decode one response body, or a slice of one.

    The fast way takes the array in one call. If anything in it is wrong, its elements are taken one by one, so that
    a bad one costs itself only. A bare object counts as an array of one.

    Raises:
        NoBayeux: nothing in the body is a Bayeux message, and it is the `sole` one.
    """
    return decode_sound(body) or salvage(body, cut=False, sole=sole)


def decode_sound(body: bytes) -> Envelope | None:
    """Decode it the fast way; None if anything in it is wrong."""
    try:
        return Envelope(_DECODER.decode(body))
    except UNDECODABLE:
        return None


def salvage(body: bytes, *, cut: bool, sole: bool = True) -> Envelope:
    """The whole messages of a damaged body, or of one that is `cut`: its last element is not counted as damaged then.

    Blocks for half a second per megabyte at worst.

    Raises:
        NoBayeux: there is not one, and the body is the `sole` one.
    """
    salvaged = _Salvage(body)
    salvaged.read(cut=cut)
    if sole and not salvaged.messages:
        raise NoBayeux(f"the body ({len(body)} bytes) holds no Bayeux message", answered=True)
    return Envelope(salvaged.messages, salvaged.refused)


class _Salvage:
    """Reads a body from object to object. Where one does not end, the next that is a message is searched for."""

    def __init__(self, body: bytes) -> None:
        self.messages: list[Message] = []
        self.refused: dict[str, int] = {}
        self._body = body
        self._may_search = min(_SEARCH_FACTOR * len(body), SEARCH_BYTES)

    def read(self, *, cut: bool) -> None:
        position = 0
        while (start := self._body.find(b"{", position)) >= 0:
            if self._body[position:start].strip(BETWEEN):
                self._refuse("not_a_message")
            end, ended = end_of_object(self._body, start)
            if cut and not ended and end == len(self._body):
                return
            reason = self._take(start, end) if ended else "malformed_json"
            if reason:
                self._refuse(reason)
            position = self._next_message(start) if reason == "malformed_json" else end
        if not cut and self._body[position:].strip(BETWEEN):
            self._refuse("malformed_json")

    def _refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _take(self, start: int, end: int) -> str:
        """Keep the message between the two; else why it is none."""
        message, reason = _read_one(self._body[start:end])
        if message is not None:
            self.messages.append(message)
        return reason

    def _next_message(self, broken: int) -> int:
        """Where to continue after the object at `broken`: behind the next message, or at the end."""
        for begin in BEGINS.finditer(self._body, broken + 1):
            start = begin.start()
            end, ended = end_of_object(self._body, start)
            if ended and not self._take(start, end):
                return end
            self._may_search -= end - start
            if self._may_search < 0:
                break
        return len(self._body)


def fault_of(element: bytes) -> str:
    """Why this object is no Bayeux message: `malformed_json`, `too_deep`, `not_a_message`; empty if it is one."""
    return _read_one(element)[1]


def _read_one(element: bytes) -> tuple[Message | None, str]:
    try:
        return _decode_one(element), ""
    except RecursionError:
        return None, "too_deep"
    except msgspec.ValidationError:
        return None, "not_a_message" if _is_json(element) else "malformed_json"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, "malformed_json"


def _decode_one(element: bytes) -> Message:
    """One message, if need be without lone surrogates, which the decoder refuses even in data that it steps over.

    Half of a pair is valid by the grammar of RFC 8259, section 8.2, but no character: servers write it where they cut
    a name in the middle of an emoji. It becomes a byte that is no UTF-8: whoever decodes the data sees which text it
    spoils.
    """
    try:
        return _ONE.decode(element)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return _ONE.decode(_ESCAPES.sub(lambda escape: b"\xff" if escape[1] else escape[0], element))


def end_of_object(body: bytes, start: int) -> tuple[int, bool]:
    """The end of the object that begins at `start`; or where its brackets stop to match, and False."""
    opened = bytearray()
    for token in _TOKENS.finditer(body, start):
        mark = token[0]
        if mark in (b"{", b"["):
            opened += mark
        elif mark in _CLOSES:
            if opened.pop() != _CLOSES[mark]:
                return token.end(), False
            if not opened:
                return token.end(), True
    return len(body), False


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except UNDECODABLE:
        return False
    return True

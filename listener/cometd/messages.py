"""Bayeux messages on the wire: typed decode of a whole response, and what can be saved of a damaged one."""

import re
from typing import Any

import msgspec

from listener.errors import ExchangeFailed

META_PREFIX = "/meta/"
HANDSHAKE = "/meta/handshake"
CONNECT = "/meta/connect"
SUBSCRIBE = "/meta/subscribe"
UNSUBSCRIBE = "/meta/unsubscribe"
DISCONNECT = "/meta/disconnect"


class Message(msgspec.Struct, rename="camel"):
    """One incoming Bayeux message.

    Only `channel` is typed strictly: an event with an odd `id` is still an event. `data` stays as it came; who knows
    the application's types decodes it.
    """

    channel: str
    data: msgspec.Raw = msgspec.Raw()
    id: Any = None
    client_id: Any = None
    successful: Any = None
    error: Any = None
    advice: Any = None
    ext: Any = None
    supported_connection_types: Any = None

    @property
    def is_meta(self) -> bool:
        """Whether this is protocol, not an event."""
        return self.channel.startswith(META_PREFIX)

    @property
    def is_event(self) -> bool:
        """Whether an application published this; replies to publishes carry no data."""
        return bool(self.data) and not self.is_meta


class Envelope(msgspec.Struct, frozen=True):
    """The messages of one response, in order, and how many elements of it were no messages, by reason."""

    messages: list[Message]
    refused: dict[str, int] = {}


_DECODER = msgspec.json.Decoder(list[Message])
_ONE = msgspec.json.Decoder(Message)
# A string (ended or not) is consumed whole, so that brackets inside it do not count.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_BETWEEN = b" \t\r\n,[]"


def decode(body: bytes) -> Envelope:
    """Decode one response body.

    The fast way takes the array in one call. If anything in it is wrong, its elements are taken one by one, so that
    a bad one costs itself only. A bare object counts as an array of one.

    Raises:
        ExchangeFailed: nothing in the body is a Bayeux message.
    """
    try:
        return Envelope(_DECODER.decode(body))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return salvage(body)


def salvage(body: bytes) -> Envelope:
    """The whole messages of a damaged or cut body; a last element that is not complete is not counted.

    Raises:
        ExchangeFailed: there is not one.
    """
    messages: list[Message] = []
    refused: dict[str, int] = {}
    for element in _elements(body):
        try:
            messages.append(_ONE.decode(element))
        except msgspec.ValidationError:
            refused["not_a_message"] = refused.get("not_a_message", 0) + 1
        except (msgspec.DecodeError, UnicodeDecodeError):
            refused["malformed_json"] = refused.get("malformed_json", 0) + 1
        except RecursionError:
            refused["too_deep"] = refused.get("too_deep", 0) + 1
    if not messages:
        raise ExchangeFailed(f"the body ({len(body)} bytes) holds no Bayeux message")
    return Envelope(messages, refused)


def _elements(body: bytes) -> list[bytes]:
    """The outermost objects of an array (or a bare object), and what stands between them, as slices."""
    found: list[bytes] = []
    depth = start = end = 0
    base = 1 if body.lstrip()[:1] == b"[" else 0
    for token in _TOKENS.finditer(body):
        mark = token[0]
        if mark in (b"{", b"["):
            if depth == base and mark == b"{":
                start = token.start()
                if stray := body[end:start].strip(_BETWEEN):
                    found.append(stray)
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
            if depth == base and mark == b"}":
                end = token.end()
                found.append(body[start:end])
    return found

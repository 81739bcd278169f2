"""The words of a Bayeux reply, as servers write them: what each says, whatever JSON it is."""

from typing import Any, TypeGuard

from listener.cometd.messages import Message

UNAUTHORIZED = ("401", "403")
_UNKNOWN_CLIENT = "402"  # CometD
_UNKNOWN_IN_WORDS = "nknown client"  # faye, some CometD versions: "401:id:Unknown client", "403::Unknown client"
_LONGEST_CLIENT_ID = 1024  # bytes; it goes into every request and into the journal
_ADVICE = ("reconnect", "interval", "timeout", "maxInterval")
_RECONNECT = ("retry", "handshake", "none")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def truth(value: object) -> bool | None:
    """A boolean as servers write it: `true`, `"true"`, 1; None where it is none."""
    if value is True or value is False:
        return value
    return _TRUTH.get(str(value).lower()) if isinstance(value, bool | int | str) else None


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number, and not a bool, which is one in Python."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def understood(advice: object) -> dict[str, Any]:
    """The members of an advice that say something to us; whatever else a server puts there is not kept."""
    known = {name: advice.get(name) for name in _ADVICE} if isinstance(advice, dict) else {}
    return {name: value for name, value in known.items() if value in _RECONNECT or is_number(value)}


def wrong_with(client_id: object) -> str:
    """Why this is no client id; "" if it is one."""
    if not isinstance(client_id, str) or not client_id:
        return "the server granted a handshake without a client id"
    if len(client_id.encode()) > _LONGEST_CLIENT_ID:
        return f"the server's client id is longer than {_LONGEST_CLIENT_ID} bytes"
    return ""


def batch_number(value: object) -> int | None:
    """What numbers a batch, else None: CometD's numbers are Java longs, and as such they are stored."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    return None


def error_code(reply: Message) -> str:
    """The code of the `error` field (8.1), "" without one."""
    return reply.error.split(":", 1)[0].strip() if isinstance(reply.error, str) else ""


def names_unknown_client(reply: Message) -> bool:
    """Whether the server does not know the session. A 402 on a subscribe comes without advice."""
    code = error_code(reply)
    return code == _UNKNOWN_CLIENT or (code in UNAUTHORIZED and _UNKNOWN_IN_WORDS in str(reply.error))

"""What an error of Redis means for the lane."""

import re
from typing import Any

from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, RedisError, ResponseError  # noqa: A004 - the library's own name

from listener.errors import Outcome, Park, Retry

_TEXT_CHARACTERS = 200

# Wherever it stands in the text: Redis 6 wraps the errors of what a script calls, and Redis 7 those of its permissions.
_NEED_A_PERSON = (
    "WRONGTYPE",
    "NOPERM",
    "ACL failure",
    "The user executing the script can't",
    "DB index",
    "SELECT is not allowed",
    "unknown command",
    "wrong number of arguments",
    "exhausted the last possible ID",
    "CROSSSLOT",
)


def outcome_of(place: str, error: RedisError) -> Outcome:
    """Retry for what passes by itself (OOM, READONLY, LOADING, CLUSTERDOWN, MISCONF, …), Park for the rest.

    Args:
        place: what the text begins with.
        error: as the client library raised it.
    """
    if isinstance(error, AuthenticationError):
        return Park(f"{place}: Redis refuses the login (username and password, or that none is given)")
    if isinstance(error, NoPermissionError):
        return Park(f"{place}: {_said(error)}")
    if isinstance(error, ResponseError):
        kind = Park if any(words in str(error) for words in _NEED_A_PERSON) else Retry
        return kind(f"{place}: {_said(error)}")
    if isinstance(error, ConnectionError):
        return Retry(f"{place}: {_said(error)}")
    return Retry(f"{place}: no usable answer ({type(error).__name__})")  # its text would quote what came instead


def moved_to(answer: Any) -> dict[str, str | int] | None:
    """`host` and `port` of the node that a cluster's node names in place of an answer; None of any other answer.

    "MOVED 3999 127.0.0.1:6381", without the first word where the library has read it, and without the host where it
    stays the same (Redis cluster specification, "MOVED Redirection").
    """
    found = re.fullmatch(r"(?:MOVED )?[0-9]+ (.*):([0-9]+)", str(answer)) if isinstance(answer, ResponseError) else None
    if found is None:
        return None
    return {"port": int(found[2])} | ({"host": found[1]} if found[1] else {})


def _said(error: RedisError) -> str:
    """One line. Redis quotes arguments, so perhaps an event or a password, only behind the words that it is cut at."""
    text = str(error).partition(", with args beginning")[0]
    return re.sub(r"[^ -~]+", " ", text)[:_TEXT_CHARACTERS] or type(error).__name__

"""What a log line must not hold, and how often it may come: two steps that every line goes through.

No line of ours is meant to hold a secret or what a customer wrote. These are the second lock on that door, for the text
of an exception or of a library that quotes what it was given.
"""

import re
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from listener.runtime.clock import SYSTEM_CLOCK

Fields = MutableMapping[str, Any]

MASK = "***"
_WORDS = ("password", "passwd", "secret", "token", "authorization", "cookie", "credential", "private_key", "api_key")
_CUSTOMERS = {"userdata", "user_data", "notification", "body", "payload"}
_HARMLESS = {"credentials_file", "key_file", "password_file", "token_file"}
_TEXTS = (
    re.compile(r"\b((?:[Bb]earer|[Bb]asic|BEARER|BASIC)\s+)(?=\S*[0-9A-Z=])[A-Za-z0-9._~+/=-]{4,}"),
    re.compile(r"(?i)(\b\w*(?:password|passwd|secret|token|api_key)[\"']?\s*=\s*[\"']?)[^\s\"',;&}]+"),
    re.compile(r"(?i)([\"']\w*(?:password|passwd|secret|token|api_key)[\"']\s*:\s*[\"'])[^\"']+"),
    re.compile(r"(\w://)[^\s/@:]+:[^\s/@]+(?=@)"),
    re.compile(r"(?i)([\"']userData[\"']\s*:\s*)\{[^{}]*\}"),
    re.compile(r"(whs(?:ec|k)_)[A-Za-z0-9+/=]+"),
)
_DEPTH = 6
_MINUTE_S = 60


def redact(_logger: Any, _name: str, fields: Fields) -> Fields:
    """Mask what a field's name or its text gives away as a secret or as customers' data (a structlog processor)."""
    return {key: _masked(key, value, _DEPTH) for key, value in fields.items()}


def _masked(key: str, value: Any, depth: int) -> Any:
    name = key.lower()
    if name in _CUSTOMERS or (name not in _HARMLESS and any(word in name for word in _WORDS)):
        return value if value is None or isinstance(value, bool) else MASK
    if isinstance(value, str):
        return _without_secrets(value)
    if depth and isinstance(value, dict):
        return {inner: _masked(str(inner), one, depth - 1) for inner, one in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_masked("", one, depth - 1) for one in value]
    return value


def _without_secrets(text: str) -> str:
    for pattern in _TEXTS:
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text


class Repeats:
    """Lets a line that comes again and again through a few times a minute (a structlog processor).

    Lines are alike that have the same logger, event, account, sink and reason. The first of the next minute tells how
    many were left out. Errors and what is worse always come.

    Args:
        per_minute: how many alike lines a minute may bring.
        clock: seconds that only run forward.
    """

    def __init__(self, *, per_minute: int = 60, clock: Callable[[], float] = SYSTEM_CLOCK.monotonic_s) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._minute = clock()
        self._seen: dict[tuple[str, ...], int] = {}
        self._left_out: dict[tuple[str, ...], int] = {}

    def __call__(self, _logger: Any, name: str, fields: Fields) -> Fields:
        """Pass a line on, or raise `structlog.DropEvent`."""
        now = self._clock()
        if now - self._minute >= _MINUTE_S:
            self._minute = now
            self._left_out = {
                key: seen - self._per_minute for key, seen in self._seen.items() if seen > self._per_minute
            }
            self._seen = {}
        if name in ("error", "critical", "exception"):
            return fields
        key = tuple(str(fields.get(part, "")) for part in ("logger", "event", "account", "sink", "reason"))
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        if seen > self._per_minute:
            raise structlog.DropEvent
        if (left_out := self._left_out.pop(key, 0)) > 0:
            fields["repeats_left_out"] = left_out
        return fields

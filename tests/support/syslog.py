"""Syslog as the RFCs have it, read strictly: octet-counted frames (5425, 4.3) and messages (5424, 6)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

# The ABNF of RFC 5424, 6, part by part; every part ends where the next begins.
_HEADER = re.compile(
    rb"<(0|[1-9][0-9]{0,2})>(1) "  # PRI, VERSION
    rb"(-|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})) "
    rb"([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "  # HOSTNAME, APP-NAME, PROCID, MSGID
)
_SD_ID = re.compile(rb"\[([!#-<>-\\^-~]{1,32})(?=[ \]])")
_SD_PARAM = re.compile(rb' ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\\]])')
_BOM = b"\xef\xbb\xbf"


class Malformed(ValueError):
    """What was sent is no syslog."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A message in its parts. `data` is by SD-ID and PARAM-NAME; `bom` tells whether the text claims to be UTF-8."""

    facility: int
    severity: int
    time: datetime | None
    hostname: str
    app_name: str
    procid: str
    msgid: str
    data: dict[str, dict[str, str]]
    bom: bool
    text: bytes


def frames(stream: bytes) -> Iterator[bytes]:
    """The whole messages in a stream; what a broken connection left of the last one is not one."""
    position = 0
    while position < len(stream):
        length = re.compile(rb"[1-9][0-9]*(?![0-9])").match(stream, position)
        if length is None:
            raise Malformed(f"no MSG-LEN at {position}: {stream[position : position + 20]!r}")
        start = length.end() + 1
        if start > len(stream) or start + int(length[0]) > len(stream):
            return
        if stream[start - 1 : start] != b" ":
            raise Malformed(f"no SP behind MSG-LEN at {position}")
        position = start + int(length[0])
        yield stream[start:position]


def parse(message: bytes) -> Message:
    """The parts of a message. Raises Malformed for whatever the RFC does not allow."""
    header = _HEADER.match(message)
    if header is None or int(header[1]) > 191:
        raise Malformed(f"no header: {message[:200]!r}")
    data, end = _structured_data(message, header.end())
    text = message[end + 1 :]
    if message[end : end + 1] not in (b"", b" "):
        raise Malformed(f"no SP before MSG: {message[end : end + 20]!r}")
    bom = text.startswith(_BOM)
    if bom:
        _utf8(text)
    return Message(
        facility=int(header[1]) // 8,
        severity=int(header[1]) % 8,
        time=_time(header[3]),
        hostname=header[4].decode(),
        app_name=header[5].decode(),
        procid=header[6].decode(),
        msgid=header[7].decode(),
        data=data,
        bom=bom,
        text=text.removeprefix(_BOM),
    )


def _structured_data(message: bytes, position: int) -> tuple[dict[str, dict[str, str]], int]:
    if message[position : position + 1] == b"-":
        return {}, position + 1
    elements: dict[str, dict[str, str]] = {}
    while (opening := _SD_ID.match(message, position)) is not None:
        name, position = opening[1].decode(), opening.end()
        if name in elements:
            raise Malformed(f"{name} occurs twice")
        elements[name] = {}
        while (parameter := _SD_PARAM.match(message, position)) is not None:
            elements[name][parameter[1].decode()] = _ESCAPED.sub(r"\1", _utf8(parameter[2]))
            position = parameter.end()
        if message[position : position + 1] != b"]":
            raise Malformed(f"{name} does not end: {message[position : position + 20]!r}")
        position += 1
    if not elements:
        raise Malformed(f"no structured data: {message[position : position + 20]!r}")
    return elements, position


def _utf8(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise Malformed("no UTF-8") from exc


def _time(value: bytes) -> datetime | None:
    if value == b"-":
        return None
    try:
        return datetime.fromisoformat(value.decode())
    except ValueError as exc:
        raise Malformed(f"no TIMESTAMP: {value!r}") from exc

"""The chain: each record names its place and the hash of the record before.

A record is a line of JSON, a CloudEvent with two extension attributes before its `data` (CloudEvents 1.0, "Extension
Context Attributes": lower-case letters and digits): `chainindex`, its place, counted from 0 over all files, and
`chainprevious`, the SHA-256 of the line before, without its line end, in hexadecimal. Record 0 names `GENESIS`, or,
where lines of no chain stand before it in its file, the SHA-256 of all of them, line ends included.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

GENESIS = bytes(32)
"""What the first record names where it begins its file."""

OPENING = b',"chainindex":"'
"""How a link begins in a record."""

DATA = b',"data":'
"""How the value of an event begins."""

LINK = f'{OPENING.decode()}%d","chainprevious":"%s"{DATA.decode()}'
"""The link of a record, up to the value of `data`: its place, and the hash of the one before, in hexadecimal."""

_DATA = b'"' + DATA
_LINK = re.compile(OPENING + rb'(0|[1-9][0-9]{0,17})","chainprevious":"([0-9a-f]{64})","data":')


class Head(NamedTuple):
    """The end of a chain: how many records it has, and the hash of the last one."""

    size: int = 0
    hash: bytes = GENESIS


class Link(NamedTuple):
    """What a record says of itself: its place, and the hash of the record before."""

    number: int
    previous: bytes


def hash_of(line: bytes) -> bytes:
    """The hash of a record, given without its line end: 32 bytes."""
    return hashlib.sha256(line).digest()


def chained(event: bytes, data_bytes: int, head: Head) -> tuple[bytes, Head]:
    """An event as the record behind `head`, without a line end, and the head that it makes.

    Args:
        event: CloudEvents JSON whose last member is `data`.
        data_bytes: how long the value of `data` is.
        head: the end of the chain so far.

    Raises:
        ValueError: the event has another form.
    """
    cut = len(event) - len(DATA) - data_bytes - 1
    if not event.startswith(DATA, cut):
        raise ValueError("an event whose last member is not `data` cannot be chained")
    (line,), head = chain([(event[:cut], event[cut + len(DATA) : -1])], head)
    return line, head


def chain(events: Iterable[tuple[bytes, bytes]], head: Head) -> tuple[list[bytes], Head]:
    """Events as the records behind `head`, without line ends, and the head that they make.

    Args:
        events: each as CloudEvents JSON up to `data`, and the value of that.
        head: the end of the chain so far.
    """
    lines, previous = [], head.hash.hex().encode()
    for number, (attributes, data) in enumerate(events, head.size):
        line = b"".join((attributes, OPENING, b'%d","chainprevious":"' % number, previous, _DATA, data, b"}"))
        previous = hashlib.sha256(line).hexdigest().encode()
        lines.append(line)
    return lines, Head(head.size + len(lines), bytes.fromhex(previous.decode()))


def written(head: Head) -> bytes:
    """The link of the record behind a head, up to the value of `data`."""
    return (LINK % (head.size, head.hash.hex())).encode()


def link_of(line: bytes) -> Link | None:
    """What a line says of its place in a chain; None if it is no record of one.

    Only the first such pair counts: what stands in `data` comes behind it.
    """
    found = _LINK.search(line)
    return Link(int(found[1]), bytes.fromhex(found[2].decode())) if found is not None else None


def first_link(lines: Iterable[bytes]) -> Link | None:
    """The link of the first record among lines; None if none is a record."""
    return next((link for line in lines if (link := link_of(line)) is not None), None)


def head_of(line: bytes) -> Head | None:
    """The head that a chain has whose last record this line is; None if it is no record."""
    link = link_of(line)
    return Head(link.number + 1, hash_of(line)) if link is not None else None


def end_of(lines: Iterable[bytes]) -> Head | None:
    """The head of the chain in lines that come last one first, each with its end; None if none is a record."""
    return next((head for line in lines if (head := head_of(line.removesuffix(b"\n"))) is not None), None)

"""The books of a long run in little memory: what stands in the audit file, and what the webhook's receiver took.

Neither keeps a body. An event is remembered by its id, its place and a hash of its bytes, which are the same ones in
the file and at the webhook.
"""

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
from aiohttp import web

from support.oracle import Json
from support.receiver import Receiver

BLOCK = 2**20


class Data(msgspec.Struct):
    """What is needed of a disposition's or a gap's data."""

    account: str
    disposition: str | None = ""
    key: str = ""
    chat_id: str = msgspec.field(name="chatId", default="")
    reference_id: int | None = msgspec.field(name="referenceId", default=None)
    origin: str = ""
    change: str = ""
    previous: str | None = None
    from_: str = msgspec.field(name="from", default="")
    to: str = ""


class Line(msgspec.Struct):
    """What is needed of an event."""

    id: str
    type: str
    subject: str
    sequence: str
    data: Data

    def compact(self, text: bytes) -> Json:
        """As the oracle reads it; `text` is the whole line, of which a hash stays."""
        data = self.data
        gap = self.type.endswith(".gap")
        small: Json = {"account": sys.intern(data.account)}
        small |= {"from": data.from_, "to": data.to} if gap else self._disposition()
        words = {"type": sys.intern(self.type), "subject": sys.intern(self.subject)}
        return {"id": self.id, **words, "sequence": self.sequence, "hash": hash(text), "data": small}

    def _disposition(self) -> Json:
        data = self.data
        return {
            "disposition": data.disposition,
            "key": sys.intern(data.key),
            "chatId": sys.intern(data.chat_id),
            "referenceId": data.reference_id,
            "origin": sys.intern(data.origin),
            "change": sys.intern(data.change),
            "previous": data.previous,
        }


_DECODER = msgspec.json.Decoder(Line)


class Book:
    """What stands in a journal or an audit file, event by event.

    Attributes:
        records: each event's compact form by account, in the order of the file, repeated lines included.
        hashes: by id of the event, that of its first line.
        problems: lines that are no event, and sequences that do not rise from one new event to the next.
        sequence: of the newest event.
    """

    def __init__(self) -> None:
        self.records: dict[str, list[Json]] = defaultdict(list)
        self.hashes: dict[str, int] = {}
        self.problems: list[str] = []
        self.lines = 0
        self.sequence = 0

    def gaps(self, account: str) -> Iterator[Json]:
        """The data of this account's gaps, as often as they stand there."""
        return (record["data"] for record in self.records[account] if "from" in record["data"])

    def enter(self, text: bytes) -> Json | None:
        """The compact form of an event; None if that is a repeated line, or none at all."""
        self.lines += 1
        try:
            line = _DECODER.decode(text)
        except msgspec.MsgspecError as exc:
            self.problems.append(f"line {self.lines} is no event: {exc}")
            return None
        record = line.compact(text)
        self.records[line.data.account].append(record)
        if line.id in self.hashes:
            return None
        self.hashes[line.id] = record["hash"]
        if int(line.sequence) <= self.sequence:
            self.problems.append(f"line {self.lines}: sequence {line.sequence} stands behind {self.sequence}")
        self.sequence = int(line.sequence)
        return record


class AuditBook(Book):
    """Follows an audit file; every whole line is read once."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._offset = 0

    def read_on(self) -> list[Json]:
        """The compact form of the lines that have come since, a repeated line not among them."""
        return [fresh for text in self._texts() if (fresh := self.enter(text)) is not None]

    def _texts(self) -> Iterator[bytes]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            while True:
                file.seek(self._offset)
                whole, end, _ = file.read(BLOCK).rpartition(b"\n")
                if not end:
                    return
                self._offset += len(whole) + 1
                yield from whole.split(b"\n")


class Till(Receiver):
    """A webhook's receiver that keeps no bodies. It answers as `answers` says; `posts` stays empty.

    Attributes:
        hashes: by id of each event that was answered 2xx, that of the body.
        repeats: how many bodies came again as they were.
        answered: how many requests were answered so, by status.
        problems: one id with two bodies; in one chat, a new event behind a later one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hashes: dict[str, int] = {}
        self.repeats = 0
        self.answered: Counter[int] = Counter()
        self.problems: list[str] = []
        self._newest: dict[tuple[str, str], int] = {}

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body, answer = await request.read(), self.answers
        self.answered[answer.status] += 1
        if answer.status // 100 == 2:
            self._enter(body)
        await asyncio.sleep(answer.delay_s)
        return web.Response(status=answer.status, headers=answer.headers)

    def _enter(self, body: bytes) -> None:
        line = _DECODER.decode(body)
        if line.id in self.hashes:
            self.repeats += 1
            if self.hashes[line.id] != hash(body):
                self.problems.append(f"webhook: two bodies with the id of #{line.sequence}")
            return
        self.hashes[line.id] = hash(body)
        chat, sequence = (line.type, line.subject), int(line.sequence)
        if sequence < self._newest.get(chat, 0):
            self.problems.append(f"webhook: #{sequence} came behind #{self._newest[chat]} of the same chat")
        self._newest[chat] = sequence


def differences(audit: Book, till: Till) -> list[str]:
    """What the file and the webhook do not have alike."""
    if audit.hashes == till.hashes:
        return []
    file_only = len(audit.hashes.keys() - till.hashes.keys())
    webhook_only = len(till.hashes.keys() - audit.hashes.keys())
    unlike = sum(till.hashes.get(name, value) != value for name, value in audit.hashes.items())
    return [f"{file_only} events only in the file, {webhook_only} only at the webhook, {unlike} unlike in both"]

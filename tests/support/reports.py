"""Lines of an audit file that tell of given moments, and reports on them."""

import json
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

from listener.audit.chain import Head, chained
from listener.audit.groups import Groups
from listener.audit.periods import Calendar
from listener.audit.picking import Wanted
from listener.audit.reading import AuditFile
from listener.audit.report import Reading, Report
from listener.audit.rows import GapRow, Row, Rows
from listener.audit.verdict import Verdict

_COUNT = iter(range(10**9))


def said(
    time: str = "2026-11-22T09:39:00.123Z",
    *,
    id: str | None = None,  # noqa: A002 - as CloudEvents name it
    change: str = "set",
    agents: Sequence[str] = ("Ann",),
    **data: object,
) -> bytes:
    """A disposition, with its line end; `data` replaces members."""
    members = {
        "change": change,
        "key": "DispositionCode",
        "disposition": "IssueResolved",
        "previous": None,
        "chatId": "chat-1",
        "referenceId": None,
        "account": "agent1",
        "participants": [{"nickname": name, "type": "Agent", "participantId": "1"} for name in agents]
        + [{"nickname": "Customer", "type": "Customer", "participantId": "2"}],
        "userData": {},
        "receivedAt": time,
        "origin": "notification",
        **data,
    }
    return _line("disposition", time, id, members)


def missed(start: str, end: str, *, account: str = "agent1", id: str | None = None) -> bytes:  # noqa: A002 - as above
    """A gap, with its line end."""
    return _line(
        "gap", end, id, {"account": account, "from": start, "to": end, "reason": "network", "closedBy": "poll"}
    )


def event(kind: str, time: str = "2026-11-22T09:39:00.123Z") -> bytes:
    """An event of another kind."""
    return _line(kind, time, None, {"message": "This is a test."})


def _line(kind: str, time: str, id_: str | None, data: object) -> bytes:
    number = next(_COUNT)
    line = {
        "specversion": "1.0",
        "type": f"com.example.chat.{kind}",
        "source": "https://gws.example.com/api/v2/me/chats",
        "id": f"id-{number}" if id_ is None else id_,
        "subject": "chat-1",
        "time": time,
        "datacontenttype": "application/json",
        "sequence": str(number),
        "data": data,
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def linked(lines: Sequence[bytes]) -> tuple[list[bytes], Head]:
    """The lines as records of one chain, and its head."""
    head, records = Head(), []
    for line in lines:
        event = line.removesuffix(b"\n")
        record, head = chained(event, len(event.partition(b',"data":')[2]) - 1, head)
        records.append(record + b"\n")
    return records, head


def report_on(
    *paths: Path,
    told: list[str] | None = None,
    zone=UTC,
    verdict: Verdict | None = None,
    groups: Groups | None = None,
    **wanted,
) -> tuple[list, Report]:
    """The rows that are asked for, and the report that they are of."""
    files = [AuditFile(path) for path in paths]
    tell = (lambda text: None) if told is None else told.append
    asked = Wanted(**wanted)
    reading = Reading.of(files, asked, groups=groups)
    report = Report(files, wanted=asked, calendar=Calendar(zone), report=tell, verdict=verdict, reading=reading)
    rows = [row for some in report.rows() for row in some]
    for file in files:
        file.__exit__()
    return rows, report


def in_columns(row: Row | GapRow) -> Rows | list[GapRow]:
    """A row as a report hands it on."""
    if isinstance(row, GapRow):
        return [row]
    return Rows(*([getattr(row, name)] for name in row.__struct_fields__))

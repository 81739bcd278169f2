"""Events as rows of the table, and the statement that stores them."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from listener.model.event import Event
from listener.model.forms import Form

_PORTION_BYTES = 16 * 1024 * 1024
_REPLACEMENT = "\ufffd"
# \u0000 behind an even number of backslashes: behind an odd one it is a backslash and a text.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


class Row(NamedTuple):
    """What is stored of an event. PostgreSQL takes no NUL in texts; `event` is JSON or one line and has none."""

    source: str
    id: str
    type: str
    subject: str
    time: str
    sequence: int
    data: str
    event: str


def row_of(event: Event, form: Form) -> Row:
    """The row of an event, written in a form."""
    return Row(
        source=_text(event.source),
        id=_text(event.id),
        type=_text(event.type),
        subject=_text(event.subject),
        time=_text(event.time),
        sequence=event.sequence,
        data=_NUL.sub(rb"\1\\ufffd", event.data).decode(),
        event=_text(form.body(event).decode()),
    )


def _text(value: str) -> str:
    return value.replace("\0", _REPLACEMENT)


def insertion(table: str) -> str:
    """The statement that stores rows, which are its parameters by column; what is there already is left alone.

    Everything is brought as text and read by the server, so that a value which is none is an error of its own.

    Args:
        table: its name, quoted.
    """
    columns = ", ".join(Row._fields)
    arrays = ", ".join(f"${n}::{'bigint' if name == 'sequence' else 'text'}[]" for n, name in enumerate(Row._fields, 1))
    casts = {"time": "time::timestamptz", "data": "data::jsonb"}
    values = ", ".join(casts.get(name, name) for name in Row._fields)
    return (
        f"INSERT INTO {table} ({columns}) "  # noqa: S608 - the table is quoted, the rest is ours
        f"SELECT {values} FROM unnest({arrays}) WITH ORDINALITY AS brought ({columns}, number) ORDER BY number "
        "ON CONFLICT (source, id) DO NOTHING"
    )


def portions(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows in their order, in as many portions as keep a message far below PostgreSQL's limit of 1 GiB."""
    portion: list[Row] = []
    size = 0
    for row in rows:
        length = len(row.data) + len(row.event)
        if portion and size + length > _PORTION_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += length
    yield portion


def by_column(rows: Sequence[Row]) -> list[list[str | int]]:
    """The parameters of `insertion`."""
    return [[row[column] for row in rows] for column in range(len(Row._fields))]

"""From values to the parameters of statements, and from rows back to values."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import msgspec

from listener.model.event import (
    Change,
    DeadLetter,
    Event,
    JournalBatch,
    Kind,
    LaneState,
    LastValue,
    Origin,
    SessionState,
)
from listener.model.filter import DeadLetterGroup, Undelivered

# PostgreSQL takes no NUL in texts: it goes as the first of these and a 0, the first itself as one and a 1.
_ESCAPE = "\x01"
_NUL, _ITSELF = f"{_ESCAPE}0", f"{_ESCAPE}1"

_KINDS = {kind.value: kind for kind in Kind}
_CHANGES: dict[str | None, Change | None] = {None: None} | {change.value: change for change in Change}
_ORIGINS = {origin.value: origin for origin in Origin}
_LETTER = ("sink", "sequence", "event_id", "reason", "attempts", "at_ms", "answer", "replaying")
LETTER_WIDTH = len(_LETTER)

_encode = msgspec.json.Encoder().encode
_SESSION = msgspec.json.Decoder(SessionState)
_LANE_STATE = msgspec.json.Decoder(LaneState)


def statements(quoted_schema: str, file: str = "queries.sql") -> dict[str, str]:
    """The statements of a file, by name."""
    text = files(__package__).joinpath(file).read_text(encoding="utf-8")
    named = text.replace("disposition_listener", quoted_schema).split("-- name: ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in named}


def escaped(text: str) -> str:
    """A text as it is stored."""
    if "\0" in text or _ESCAPE in text:
        return text.replace(_ESCAPE, _ITSELF).replace("\0", _NUL)
    return text


def unescaped(text: str) -> str:
    """A text as it was."""
    return text.replace(_NUL, "\0").replace(_ITSELF, _ESCAPE) if _ESCAPE in text else text


def texts(column: Iterable[str]) -> list[str]:
    """A column as it is stored."""
    return [escaped(text) for text in column]


def _text_or_none(text: str | None) -> str | None:
    return None if text is None else escaped(text)


def batch_parameters(
    batch: JournalBatch, revisions: Mapping[str, int], seen_ages_ms: Mapping[str, int]
) -> list[list[Any]]:
    """The parameters of `append` behind its number, by column. Of several values or sessions the last counts."""
    events = batch.events
    values = list({(value.chat_id, value.key): value for value in batch.values}.values())
    sessions = list({session.account: session for session in batch.sessions}.values())
    return [
        [event.received_ms for event in events],
        texts([event.id for event in events]),
        texts([event.type for event in events]),
        texts([event.source for event in events]),
        texts([event.subject for event in events]),
        texts([event.time for event in events]),
        [event.kind._value_ for event in events],
        texts([event.account for event in events]),
        [None if event.change is None else event.change._value_ for event in events],
        [event.origin._value_ for event in events],
        [event.data for event in events],
        texts([value.chat_id for value in values]),
        texts([value.key for value in values]),
        [_text_or_none(value.value) for value in values],
        texts([value.account for value in values]),
        [value.server_time_ms for value in values],
        [value.received_ms for value in values],
        texts([session.account for session in sessions]),
        [session_text(session) for session in sessions],
        [seen_ages_ms[session.account] for session in sessions],
        texts(revisions),
        list(revisions.values()),
    ]


def event_of(row: Sequence[Any]) -> Event:
    """The event of a row of the columns from `sequence` to `data`."""
    sequence, received_ms, id_, type_, source, subject, time, kind, account, change, origin, data = row
    return Event(
        sequence=sequence,
        received_ms=received_ms,
        id=unescaped(id_),
        type=unescaped(type_),
        source=unescaped(source),
        subject=unescaped(subject),
        time=unescaped(time),
        kind=_KINDS[kind],
        account=unescaped(account),
        change=_CHANGES[change],
        origin=_ORIGINS[origin],
        data=data,
    )


def value_of(row: Mapping[str, Any]) -> LastValue:
    """The last value of a row."""
    value = row["value"]
    return LastValue(
        chat_id=unescaped(row["chat_id"]),
        key=unescaped(row["key"]),
        value=None if value is None else unescaped(value),
        account=unescaped(row["account"]),
        server_time_ms=row["server_time_ms"],
        received_ms=row["received_ms"],
    )


def session_text(session: SessionState) -> str:
    """As it is stored."""
    return _encode(session).decode()


def session_of(row: Mapping[str, Any]) -> tuple[SessionState, int]:
    """The session of a row, and how long ago it was seen."""
    return _SESSION.decode(row["state"]), row["age_ms"]


def lane_state_text(state: LaneState) -> str:
    """As it is stored."""
    return _encode(state).decode()


def lane_state_of(row: Mapping[str, Any]) -> LaneState:
    """The lane state of a row."""
    return _LANE_STATE.decode(row["state"])


def letter_parameters(letters: Collection[DeadLetter]) -> list[list[Any]]:
    """Dead letters by column."""
    return [
        texts([letter.sink for letter in letters]),
        [letter.sequence for letter in letters],
        texts([letter.event_id for letter in letters]),
        texts([letter.reason for letter in letters]),
        [letter.attempts for letter in letters],
        [letter.at_ms for letter in letters],
        texts([letter.answer for letter in letters]),
        [letter.replaying for letter in letters],
    ]


def letter_of(row: Sequence[Any]) -> DeadLetter:
    """The letter of a row that begins with its columns."""
    values: list[Any] = [unescaped(value) if isinstance(value, str) else value for value in row[:LETTER_WIDTH]]
    return DeadLetter(**dict(zip(_LETTER, values, strict=True)))


def letter_group_of(row: Mapping[str, Any]) -> DeadLetterGroup:
    """Letters of one sink and reason."""
    return DeadLetterGroup(**{**row, "sink": unescaped(row["sink"]), "reason": unescaped(row["reason"])})


def undelivered_of(row: Sequence[Any]) -> Undelivered:
    """The letter of a row, and its event from the columns behind."""
    event = row[LETTER_WIDTH:]
    return Undelivered(letter=letter_of(row), event=None if event[-1] is None else event_of(event))

"""What a lane does whatever its sink."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec
from msgspec.structs import replace

from listener.model.event import Change, Event, Kind
from listener.model.media import media_type_of
from listener.runtime.backoff import LONGEST_PAUSE_S


class _Value(msgspec.Struct):
    """What of an event's `data` is filtered by."""

    key: str = ""
    disposition: str | None = None
    previous: str | None = None


class _Medium(msgspec.Struct, rename="camel"):
    """What of a gap's `data` is filtered by."""

    media_type: str | None = None


_MEDIUM = msgspec.json.Decoder(_Medium)
_VALUE = msgspec.json.Decoder(_Value)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class LanePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Which events go to a sink, what of them, how many at once, and for how long those are tried that fail.

    Attributes:
        batch: most events at once.
        changes_only: leave out what repeats the known value.
        gaps: whether gaps go there.
        accounts: of these accounts only; empty for all. Gaps too.
        media: of these media only; empty for all. Of the gaps those of another medium alone are left out.
        keys: dispositions under these userData keys only; empty for all.
        changes: dispositions with these changes only; empty for all.
        dispositions: glob patterns, case-sensitive; empty for all. A disposition goes there if the value that it brings
            or the one that it replaces fits one of them, so that who asks for a code learns that it is gone too. No
            value counts as an empty one.
        fields: the names in `data` of dispositions that leave the process; None for all. Gaps are always whole.
        retry_horizon_s: seconds of attempts, without the time in which the lane is parked or the daemon does not run;
            None for ever.
        retry_event_after_s: seconds of attempts, counted alike, after which a single event is set aside if it fails
            while others are taken; None never.
        park_after_refusals: how many different events may be refused in a row before it is the sink that is parked; 0
            for any number.
        retry_start_errors: whether a host that refuses what the sink needs is waited for; at the start of the daemon it
            is better told at once.
    """

    batch: int = 500
    changes_only: bool = False
    gaps: bool = True
    accounts: frozenset[str] = frozenset()
    media: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    dispositions: tuple[str, ...] = ()
    fields: frozenset[str] | None = None
    retry_horizon_s: float | None = None
    retry_event_after_s: float | None = None
    park_after_refusals: int = 20
    retry_start_errors: bool = False

    def wanted(self, events: Sequence[Event]) -> list[Event]:
        """Those of the events that the sink gets."""
        filters = self.accounts or self.media or self.keys or self.changes or self.dispositions or self.changes_only
        if self.gaps and not filters:
            return list(events)
        return [event for event in events if self.wants(event)]

    def wants(self, event: Event) -> bool:
        """Whether the sink gets this event."""
        if self.accounts and event.account not in self.accounts:
            return False
        if self.media and _medium_of(event) not in (None, *self.media):
            return False
        if event.kind is Kind.GAP:
            return self.gaps
        if self.changes_only and event.change is Change.UNCHANGED:
            return False
        if self.changes and event.change not in self.changes:
            return False
        return not (self.keys or self.dispositions) or self._wants_value(_VALUE.decode(event.data))

    def _wants_value(self, value: _Value) -> bool:
        if self.keys and value.key not in self.keys:
            return False
        sides = (value.disposition or "", value.previous or "")
        return not self.dispositions or any(
            fnmatchcase(side, pattern) for pattern in self.dispositions for side in sides
        )

    def shape(self, events: Sequence[Event]) -> Sequence[Event]:
        """The events as they may leave the process; the very batch where all of each may."""
        fields = self.fields
        if fields is None:
            return events
        return [_with_fields(event, fields) if event.kind is Kind.DISPOSITION else event for event in events]

    @property
    def longest_pause_s(self) -> float:
        """How much is kept of a pause that a destination asks for."""
        return min(self.retry_horizon_s or LONGEST_PAUSE_S, LONGEST_PAUSE_S)

    @property
    def given_up(self) -> str:
        """The reason in the letter of an event that was tried for that long."""
        return f"not taken within {(self.retry_horizon_s or 0.0) / 3600:g} h"

    @property
    def set_aside(self) -> str:
        """The reason in the letter of a single event that failed while others were taken."""
        return f"not taken within {(self.retry_event_after_s or 0.0) / 3600:g} h, while others were"


def _medium_of(event: Event) -> str | None:
    """None of a gap of all media."""
    return media_type_of(event.subject) if event.kind is Kind.DISPOSITION else _MEDIUM.decode(event.data).media_type


def _with_fields(event: Event, fields: frozenset[str]) -> Event:
    data = _FIELDS.decode(event.data)
    return replace(event, data=msgspec.json.encode({name: value for name, value in data.items() if name in fields}))


def first_of_others(head: Event, events: Sequence[Event]) -> list[Event]:
    """The first event of each chat but that of the head, in the order of the journal."""
    first = {_chat_of(event): event for event in reversed(events) if _chat_of(event) != _chat_of(head)}
    return sorted(first.values(), key=lambda event: event.sequence)


def _chat_of(event: Event) -> tuple[str, str]:
    """Events that are alike in this keep their order; gaps have accounts for their subject."""
    return event.kind, event.subject

"""Filters for events and dead letters of the journal, pages of results, and dead letters in groups."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec.structs import asdict

from listener.model.alike import alike
from listener.model.event import Change, DeadLetter, DeadLetterFilter, Event, Kind, Participant

MOST_COUNTED = 50_000
"""Dead letters that are counted into groups, the newest ones."""
MOST_GROUPS = 1000
"""Groups of dead letters that a journal tells of at once, the largest ones."""

Milliseconds = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]  # what a journal can compare

_AGENT = "Agent"


class ControlFilter(DeadLetterFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A DeadLetterFilter from outside: a misspelt condition must be an error, not a missing condition."""

    since_ms: Milliseconds | None = None
    until_ms: Milliseconds | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0

    @classmethod
    def of(cls, which: DeadLetterFilter) -> "ControlFilter":
        """The same letters."""
        return cls(**asdict(which))


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects events that fulfil every given condition.

    `chat`, `key` and `change` are met exactly. `agent` and `disposition` are glob patterns without regard to case.
    `agent` fits the nickname of an agent in the chat, or the account that heard the event; `disposition` the value that
    the event brings or the one that it replaces, where no value counts as an empty one. A gap has an account and
    nothing else of this.
    """

    chat: str | None = None
    agent: str | None = None
    disposition: str | None = None
    key: str | None = None
    change: Change | None = None

    @property
    def of_dispositions(self) -> bool:
        """Whether this excludes gaps."""
        return any(one is not None for one in (self.chat, self.disposition, self.key, self.change))

    def within(self) -> Callable[[str, bytes], bool] | None:
        """What has to hold of an event's account and `data`, ready to be asked of many; None if nothing has to.

        Raises msgspec.DecodeError if `data` is none of an event.
        """
        if self.agent is None and self.disposition is None and self.key is None:
            return None
        return _condition_within(self.key, _pattern(self.disposition), _pattern(self.agent))

    def condition(self) -> Callable[[Event], bool]:
        """What holds for the events that are meant, ready to be asked of many."""
        within = self.within()

        def is_meant(event: Event) -> bool:
            return (
                not (self.of_dispositions and event.kind is not Kind.DISPOSITION)
                and self.chat in (None, event.subject)
                and self.change in (None, event.change)
                and (within is None or within(event.account, event.data))
            )

        return is_meant


EVERY_EVENT = EventFilter()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one search, newest first.

    `before` is where to continue, None if the journal has nothing older. `through_ms` (epoch milliseconds) is when
    the oldest event that was looked at was received, None if there was none.
    """

    events: tuple[Event, ...]
    before: int | None
    through_ms: int | None


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter with its event; None if the event was gone when the letter was written."""

    letter: DeadLetter
    event: Event | None


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters in the order of the journal; `more` tells whether there are some behind the last one."""

    letters: tuple[Undelivered, ...]
    more: bool


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of one sink for one reason: how many, of which sequences, since when and until when.

    Times are epoch milliseconds. `replaying` counts those that are to be delivered again.
    """

    sink: str
    reason: str
    count: int
    first_sequence: int
    last_sequence: int
    first_ms: int
    last_ms: int
    replaying: int = 0

    def plus(self, other: "DeadLetterGroup", reason: str) -> "DeadLetterGroup":
        """Both together, for a reason that fits both."""
        return DeadLetterGroup(
            sink=self.sink,
            reason=reason,
            count=self.count + other.count,
            first_sequence=min(self.first_sequence, other.first_sequence),
            last_sequence=max(self.last_sequence, other.last_sequence),
            first_ms=min(self.first_ms, other.first_ms),
            last_ms=max(self.last_ms, other.last_ms),
            replaying=self.replaying + other.replaying,
        )


def grouped(groups: Iterable[DeadLetterGroup]) -> list[DeadLetterGroup]:
    """Those for one reason in different words together, the largest first."""
    found: dict[tuple[str, str], DeadLetterGroup] = {}
    for one in groups:
        key = one.sink, alike(one.reason)
        found[key] = one if key not in found else found[key].plus(one, key[1])
    return sorted(found.values(), key=lambda one: (-one.count, one.sink, one.reason))


class _Searched(msgspec.Struct):
    """What of an event's `data` is looked at."""

    key: str | None = None
    disposition: str | None = None
    previous: str | None = None
    participants: tuple[Participant, ...] = ()


_SEARCHED = msgspec.json.Decoder(_Searched)


def _condition_within(
    key: str | None, disposition: re.Pattern[str] | None, agent: re.Pattern[str] | None
) -> Callable[[str, bytes], bool]:
    """`data` is decoded once for all conditions."""

    def holds(account: str, data: bytes) -> bool:
        found = _SEARCHED.decode(data)
        return (
            key in (None, found.key)
            and (
                disposition is None or any(disposition.match(one or "") for one in (found.disposition, found.previous))
            )
            and (agent is None or any(agent.match(name) for name in _agents(account, found)))
        )

    return holds


def _agents(account: str, found: _Searched) -> Iterator[str]:
    yield account
    for one in found.participants:
        if one.type == _AGENT and one.nickname is not None:
            yield one.nickname


def _pattern(glob: str | None) -> re.Pattern[str] | None:
    return None if glob is None else re.compile(fnmatch.translate(glob), re.IGNORECASE)

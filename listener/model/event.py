"""Frozen values that travel between the rooms: the event, what the journal stores, where a session stands."""

from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from listener.model.holes import Holes
from listener.model.media import CHAT, MediaType
from listener.model.team import TeamState, TeamStatus

Name = Annotated[str, msgspec.Meta(max_length=1024)]


class Change(StrEnum):
    """What a notification did to the last known value of (chat, key)."""

    SET = "set"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    CLEARED = "cleared"


class Origin(StrEnum):
    """How a disposition became known."""

    NOTIFICATION = "notification"
    RECONCILED = "reconciled"


class Kind(StrEnum):
    """The kinds of event; the CloudEvents `type` ends in `.chat.<kind>`. A test is sent on demand, never journaled."""

    DISPOSITION = "disposition"
    GAP = "gap"
    TEST = "test"


# What there is one of for each event is not tracked by the garbage collector, since it holds no cycles, and may be made
# from positional arguments: by name, a dozen fields take seven times as long.


class Participant(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A party of the chat, as GWS names it. Decoding refuses a text that is too long to be a name."""

    nickname: Name | None = None
    type: Name | None = None
    participant_id: Name | None = None


class CallParticipant(Participant, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A party of a call: the one at the other end has a number, and no nickname."""

    phone_number: Name | None = None


class Disposition(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """`data` of a disposition event. `previous` and `disposition` are None if there is no value.

    `chat_id`, `chat_state` and `chat_uri` are those of the interaction, whatever its medium.
    `agent` is whose chat it is, as far as a supervisor can know (None where it cannot); unset where the account itself
    is that agent.
    """

    change: Change
    key: str
    disposition: str | None
    previous: str | None
    chat_id: str
    chat_state: str | None
    chat_uri: str | None
    reference_id: int | None
    account: str
    participants: tuple[Participant, ...]
    user_data: dict[str, Any]
    received_at: str
    origin: Origin
    media_type: MediaType = CHAT
    agent: str | UnsetType | None = UNSET


class Gap(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={
        "from_": "from",
        "closed_by": "closedBy",
        "clock_step_seconds": "clockStepSeconds",
        "media_type": "mediaType",
    },
):
    """`data` of a gap event: a stretch in which a disposition could have been missed. Times are RFC 3339, UTC.

    `reason` is one of `restart`, `session_expired`, `network`, `login`, `no_ack_cut`, `subscription_lost`,
    `topic_refused`, `journal_damaged`, `journal_lost`; `closed_by` tells what made the subscription certain again:
    `handshake` (a new session), `poll` (the same session answered again), `subscribe` (the same session subscribed
    again), or `salvage` (the journal begins again, with what could be read of it).

    A supervisor has three more, of the chats of `agent`, or of its whole team where that is None: `not_monitored`,
    `not_told` and `revoked`, closed by `monitor`, `reread`, `limit` or `removal` (see `intake.monitoring`).

    `seconds` is the length by the monotonic clock, None where only the wall clock tells. `clock_step_seconds` is by how
    much the wall clock was set meanwhile, None if it was not: `from` and `to` then hold the stretch both as the clock
    before shows it and as the one after does. `media_type` is there where only one medium was not heard, of which the
    server had refused the topic (`topic_refused`).
    """

    account: str
    from_: str
    to: str
    reason: str
    closed_by: str
    seconds: float | None = None
    clock_step_seconds: float | None = None
    media_type: MediaType | None = None
    agent: str | None = None

    @property
    def ended_ms(self) -> int:
        """When it ended, as the clock shows it since (epoch milliseconds)."""
        if (self.clock_step_seconds or 0) < 0:
            return epoch_ms(self.from_) + round((self.seconds or 0) * 1000)
        return epoch_ms(self.to)


class SinkTestData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`data` of a test event: it says of itself that it is none of a chat."""

    message: str
    sink: str
    sent_at: str


class Event(msgspec.Struct, frozen=True, gc=False):
    """One CloudEvents 1.0 event, its `data` encoded once.

    `sequence` is 0 until the journal has assigned it. `change` is None for what is no disposition. `account`,
    `change`, `origin` and `kind` repeat what `data` says, so that lanes can filter without decoding; `received_ms`
    (epoch milliseconds) is what retention and latency go by.
    """

    id: str
    type: str
    source: str
    subject: str
    time: str
    kind: Kind
    account: str
    change: Change | None
    data: bytes
    origin: Origin = Origin.NOTIFICATION
    received_ms: int = 0
    sequence: int = 0

    def to_json(self) -> bytes:
        """The event as one line of CloudEvents structured JSON, without a line end."""
        return b'%b,"data":%b}' % (self.attributes(), self.data)

    def attributes(self) -> bytes:
        """How that line begins: all up to `data`."""
        return b'%b%b,"subject":%b,"time":%b,"datacontenttype":"application/json","sequence":"%d"' % (
            _opening(self.type, self.source),
            _json(self.id),
            _json(self.subject),
            _json(self.time),
            self.sequence,
        )


_json = msgspec.json.Encoder().encode


@lru_cache(maxsize=64)
def _opening(type_: str, source: str) -> bytes:
    """What the events of a server have in common."""
    return b'{"specversion":"1.0","type":%b,"source":%b,"id":' % (_json(type_), _json(source))


class Observation(msgspec.Struct, frozen=True, gc=False):
    """One disposition key heard in one notification (or found by re-reading a chat), not yet classified.

    `chat_id` identifies the interaction among those of all media (`media.identity_of`), and is so of every `chat_id`
    that is neither in an event's data nor asked of the server.

    `value` is None if the key was present and null or empty: cleared. `server_time_ms` is the server's epoch
    time in milliseconds where the notification has one. `digest` identifies the notification within its account. With
    `prime` it only tells what a chat came with: it becomes the last value where none is known, and never an event.
    `agent` is as in a Disposition.
    """

    account: str
    chat_id: str
    key: str
    value: str | None
    server_time_ms: int | None
    received_ms: int
    chat_state: str | None = None
    chat_uri: str | None = None
    reference_id: int | None = None
    participants: tuple[Participant, ...] = ()
    user_data: dict[str, Any] = {}
    origin: Origin = Origin.NOTIFICATION
    digest: bytes = b""
    prime: bool = False
    media_type: MediaType = CHAT
    agent: str | UnsetType | None = UNSET


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a re-read chat says other than what is known. `known` tells whether another value was known before.

    With `overtaken` something was heard of the key since the chats were asked for, and may be newer than they are.
    """

    observation: Observation
    known: bool
    overtaken: bool = False


class LastValue(msgspec.Struct, frozen=True, gc=False):
    """The last value known of (chat, key), and who heard it when (epoch milliseconds)."""

    chat_id: str
    key: str
    value: str | None
    account: str
    server_time_ms: int | None
    received_ms: int


REFUSED_SINCE = " since "
"""In a stored session, between a topic that was refused and since when (epoch milliseconds)."""


class SessionState(msgspec.Struct, frozen=True, kw_only=True):
    """What the next start needs to continue an account's CometD session.

    `ack` is the number of the last durable batch, None without the ack extension. `seen_ms` is the last moment
    (epoch milliseconds) at which the session was certainly subscribed; `seen_monotonic_ms` is the same by the monotonic
    clock, which runs since the start of the machine that `boot` names (see `Host.boot_id`). `cookies` is the jar's
    content: name, value, domain, path. `clean` tells that polling ended in order: nothing was under way when it did.
    `taken` says what is durable of a batch above `ack`: of each part how many events, of how many bytes, and their
    digest. `team` is a supervisor's.
    """

    account: str
    url: str
    topic: str
    client_id: str
    connection_type: str
    ack: int | None
    seen_ms: int
    max_interval_ms: int | None = None
    cookies: tuple[tuple[str, str, str, str], ...] = ()
    clean: bool = False
    seen_monotonic_ms: int | None = None
    boot: str = ""
    taken: tuple[tuple[int, int, str], ...] = ()
    team: TeamState | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one account wants to have on record, as one atomic whole.

    `origin_id` tells apart notifications that look alike: the session's client id and the batch's number. With `prime`
    observations of keys that nothing is known of only become last values: nothing was missed, they merely were never
    heard of. Observations that are `reconciled` and bring nothing new leave no event. `as_of_s` is when the
    observations were heard, or the chats asked for that say so (monotonic seconds): of what is read the younger counts.
    """

    account: str
    observations: tuple[Observation, ...] = ()
    gap: Gap | None = None
    session: SessionState | None = None
    origin_id: str = ""
    prime: bool = False
    as_of_s: float = 0.0


class JournalBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction of the journal holds; every part may be empty.

    `new_chats` are those that the events were classified as the first of: the journal must not have a last value of
    them. So nobody has to ask before each first event of a chat.
    """

    events: tuple[Event, ...] = ()
    values: tuple[LastValue, ...] = ()
    sessions: tuple[SessionState, ...] = ()
    new_chats: tuple[str, ...] = ()


class Committed(NamedTuple):
    """What a commit has cost.

    Attributes:
        waited_s: seconds from the arrival of its oldest batch to its durability; None for a commit without batches.
        fsync_s: seconds that COMMIT took.
        events: how many it stored.
    """

    waited_s: float | None
    fsync_s: float
    events: int


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a sink did not take and that is no longer retried. `at_ms` is epoch milliseconds.

    `reason` is why in our words, `answer` what the destination said last, which may quote the event: for whoever
    asks for the letter, not for a log. `replaying` says that it is to be delivered again.
    """

    sink: str
    sequence: int
    event_id: str
    reason: str
    attempts: int
    at_ms: int
    answer: str = ""
    replaying: bool = False


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects dead letters that fulfil every given condition. Times are epoch milliseconds.

    `event_ids` are ids of events, `since_ms` and `until_ms` bound `DeadLetter.at_ms`, both included. `after` is a
    sequence: letters of events above it.
    """

    event_ids: tuple[str, ...] = ()
    sink: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    after: int = 0


EVERY_DEAD_LETTER = DeadLetterFilter()


class LaneState(msgspec.Struct, frozen=True, kw_only=True):
    """The stored state of a lane, for the next start and for `sinks list`.

    `parked` is the reason why the sink is parked since `parked_ms` (epoch milliseconds), None while it runs; with
    `disabled` a restart does not end that. `sequence` is the first event of the batch that fails now, 0 while none
    does; it was tried `attempts` times, over `failing_ms` of a running daemon (by the monotonic clock), with
    `last_error` at the end. The destination asked for a pause from `quiet_from_ms` to `quiet_until_ms` (epoch
    milliseconds, 0 for none). What is above `resend_after`, up to `resend_through`, is to be delivered again.
    """

    sink: str
    parked: str | None = None
    parked_ms: int = 0
    sequence: int = 0
    attempts: int = 0
    failing_ms: int = 0
    last_error: str | None = None
    disabled: bool = False
    quiet_from_ms: int = 0
    quiet_until_ms: int = 0
    resend_after: int = 0
    resend_through: int = 0

    @property
    def resend_left(self) -> int:
        """How many sequences are to be delivered again."""
        return max(0, self.resend_through - self.resend_after)

    def is_halted(self, now_ms: int) -> bool:
        """Whether it waits for a person, or for a time that the destination named."""
        return self.parked is not None or self.quiet_until_ms > now_ms

    def resumed(self) -> "LaneState":
        """The same, halted no more."""
        return replace(self, parked=None, parked_ms=0, disabled=False, quiet_from_ms=0, quiet_until_ms=0)


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """A journal that was damaged and set aside, or lost, and what it cost. Times are epoch milliseconds.

    `set_aside` names the file, `kept` counts the events that could be read. Each of `stretches` (from, to) may have
    held events that could not: they were received in it. A damage is pending until its gaps are on record. Without
    `set_aside`, the journal was lost, or ended before what was known of it.
    """

    at_ms: int
    set_aside: str
    kept: int
    stretches: tuple[tuple[int, int], ...]


class JournalStats(msgspec.Struct, frozen=True, kw_only=True):
    """The journal at one moment; `bytes` counts database and WAL. `damages` are all there ever were, oldest first.

    `first_sequence` is 0 and `oldest_ms` None while no event is stored; `last_sequence` is the last one ever used.
    For `holes` see `model.holes`.
    """

    first_sequence: int
    last_sequence: int
    events: int
    bytes: int
    cursors: dict[str, int]
    dead_letters: dict[str, int]
    oldest_ms: int | None
    lanes: dict[str, LaneState] = {}
    damages: tuple[Damage, ...] = ()
    holes: Holes = ()


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery lane at one moment. `parked` is the reason why the sink is parked, None while it is not.

    `lag` counts the events that its sink has not got, `lag_s` is the age of the oldest. `quiet_s` is how much longer
    its destination asked for a pause; 0.0 if it did not. `stalled_s` is how long, by the monotonic clock, it has made
    no progress although there is something to deliver; 0.0 while it is parked. `failing_s` is how long, while the
    daemon ran, its deliveries have failed in a row; None if they do not. `next_attempt_s` is how much longer it pauses
    after a failure, None if it does not. `resend_left` is how many events are still to be delivered again, since a
    person wants it.
    """

    sink: str
    kind: str
    cursor: int
    lag: int
    delivered: int
    failures: int
    parked: str | None
    last_error: str | None
    stalled_s: float = 0.0
    quiet_s: float = 0.0
    lag_s: float = 0.0
    resend_left: int = 0
    failing_s: float | None = None
    next_attempt_s: float | None = None


class GapTally(msgspec.Struct, frozen=True, kw_only=True):
    """The gaps of a session in this process: how many, how long together, and the newest."""

    count: int = 0
    seconds: float = 0.0
    last: Gap | None = None

    def plus(self, gap: Gap, seconds: float) -> "GapTally":
        """One more."""
        return GapTally(count=self.count + 1, seconds=self.seconds + seconds, last=gap)


class AccountStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How an account's session stands. `epoch` counts the sessions that began or were resumed in this process.

    `unheard` says which media are not heard although it is subscribed, and why; None if all are.
    `certain_ms` is the last moment (epoch milliseconds) at which its subscription certainly existed, while it has none:
    a gap may be open since. None while it has one, and before the very first.
    `team` is a supervisor's, None of an agent.
    """

    account: str
    subscribed: bool = False
    epoch: int = 0
    ack: bool = False
    gaps: GapTally = GapTally()
    since_ms: int | None = None
    last_error: str | None = None
    unheard: str | None = None
    certain_ms: int | None = None
    team: TeamStatus | None = None


def rfc3339(epoch_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, with milliseconds and `Z`; a time beyond the calendar is 1970."""
    return _second(epoch_ms // 1000) + _MILLISECONDS[epoch_ms % 1000]


def epoch_ms(time: str) -> int:
    """Epoch milliseconds of an RFC 3339 time. Raises ValueError."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)


_MILLISECONDS = tuple(f".{ms:03d}Z" for ms in range(1000))


@lru_cache(maxsize=256)
def _second(epoch_s: int) -> str:
    try:
        return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00"

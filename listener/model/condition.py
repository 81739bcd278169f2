"""Frozen values in which the daemon tells of its own condition."""

from typing import Literal

import msgspec

from listener.model.event import LaneStatus

Verdict = Literal["delivered", "retry", "park", "reject"]


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """Since when (epoch milliseconds) the configuration is in force, and why a later one is not."""

    loaded_ms: int
    refused_ms: int | None = None
    problems: tuple[str, ...] = ()


class ReadinessProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps the daemon from its whole work.

    `full` is for who may see everything; `brief` says which part it is without a word of an agent, a customer or a
    server: an account goes by its place in the configuration. `kind` is `start`, `accounts`, `sink` or `journal`,
    `about` the sink, `help` a command that helps.
    """

    brief: str
    full: str
    kind: str = ""
    about: str = ""
    help: str | None = None


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a destination and what was answered, in lines, without a secret."""

    request: str
    answer: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One call of a sink with a batch, begun at `at` (RFC 3339, UTC), and what came of it within `seconds`.

    `taken` of its `events` are at the destination. `outcome` is `delivered` where these are all; otherwise `said` tells
    why not, without a word of an event. An attempt to open the sink has no events.
    """

    at: str
    events: int
    taken: int
    first_sequence: int | None
    last_sequence: int | None
    outcome: Verdict
    seconds: float
    said: str


class SinkReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A sink, as `/status.json` and `sinks list --json` show it. `parked` is why it waits for a person, else null.

    `lag_events` counts the events that the sink has not got yet, `lag_seconds` is the age of the oldest of them.
    `stalled_seconds` is how long it has taken nothing although there is something to deliver, `quiet_seconds` how much
    longer its destination asked to be left alone. `dead_letters` is null while the journal cannot be asked. `replica`
    delivers to it: null for none, and where no replicas share the journal. `resend_left` events are still to be
    delivered again, since a person wants it. `failing_seconds` is how long its deliveries have failed in a row, null if
    they do not; `next_attempt_seconds` how much longer the pause after a failure is, null without one.
    """

    sink: str
    kind: str
    cursor: int
    lag_events: int
    lag_seconds: float
    delivered: int
    failures: int
    parked: str | None
    stalled_seconds: float
    quiet_seconds: float
    last_error: str | None
    dead_letters: int | None
    replica: str | None = None
    resend_left: int = 0
    failing_seconds: float | None = None
    next_attempt_seconds: float | None = None

    @classmethod
    def of(cls, lane: LaneStatus, dead_letters: int | None, replica: str | None = None) -> "SinkReport":
        """The sink behind a lane, which a replica has."""
        return cls(
            sink=lane.sink,
            kind=lane.kind,
            cursor=lane.cursor,
            lag_events=lane.lag,
            lag_seconds=lane.lag_s,
            delivered=lane.delivered,
            failures=lane.failures,
            parked=lane.parked,
            stalled_seconds=lane.stalled_s,
            quiet_seconds=lane.quiet_s,
            last_error=lane.last_error,
            dead_letters=dead_letters,
            replica=replica,
            resend_left=lane.resend_left,
            failing_seconds=lane.failing_s,
            next_attempt_seconds=lane.next_attempt_s,
        )

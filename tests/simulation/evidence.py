"""What is known of a world after its end: what was published, what became of it, what went wrong."""

from dataclasses import dataclass, field
from typing import Any

from listener.model.event import DeadLetter, Event

KEY = "DispositionCode"


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """A disposition that the server told one agent. Times are virtual seconds, but for the server's own stamp."""

    number: int
    at: float
    stamp_ms: int
    agent: str
    chat: str
    value: str | None
    heard: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """An event at the moment at which it was durable."""

    at: float
    process: int
    event: Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Posted:
    """An event that the receiver has answered with success."""

    at: float
    id: str
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """The end of a CometD session on the server, or its beginning.

    `what`: `began`, `swept` (no connect for maxInterval), `abandoned` (its agent began another while it lived).
    `idle_since` is when the server answered its last connect, whatever became of the answer, for what was swept.
    """

    at: float
    agent: str
    client_id: str
    what: str
    idle_since: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionProblem:
    """A stretch in which something went wrong for these agents: `cuts` if it kept them from the server."""

    since: float
    until: float
    agents: frozenset[str]
    fault: str
    cuts: bool = False


@dataclass(kw_only=True, slots=True)
class Evidence:
    """Everything that an oracle may look at.

    Attributes:
        published: in the order of publication.
        recorded: in the order in which the events were durable.
        journal: all events of the journal at the end.
        letters: its dead letters at the end.
        lines: what the audit file holds at the end, in its order.
        posted: what the receiver took, in its order.
        counts: for each look at a process, its number and its counters.
        sessions: beginnings and ends on the server.
        troubles: what went wrong.
        clock: the settings of the listener's wall clock.
        lives: from when to when each process of the listener ran, and how it ended.
        values: at the end, what the server says of each agent's chats.
        unsettled: what was not as it should be when everything should have been.
        crashes: processes that ended by themselves, and errors that nobody waited for.
        healed_at: since when nothing goes wrong any more.
        ended_at: the end of the world.
    """

    published: list[Publication] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    journal: list[Event] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)
    counts: list[tuple[float, int, dict[str, float]]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    troubles: list[SessionProblem] = field(default_factory=list)
    clock: list[tuple[float, int]] = field(default_factory=list)
    lives: list[tuple[float, float, str]] = field(default_factory=list)
    values: dict[tuple[str, str], str | None] = field(default_factory=dict)
    unsettled: list[str] = field(default_factory=list)
    crashes: list[tuple[float, str]] = field(default_factory=list)
    healed_at: float = 0.0
    ended_at: float = 0.0

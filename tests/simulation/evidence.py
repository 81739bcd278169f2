"""What is known of a world after its end: what was published, what became of it, what went wrong."""

from dataclasses import dataclass, field
from enum import Enum, auto
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


class Verdict(Enum):
    """What an answer was worth to whoever got it.

    `SPOILT`: something other than the server's word came. `LOST`: nothing came, or not from whoever was asked.
    `UNKNOWN_CLIENT`: of a session that is no more, or that it ends, `UNKNOWN_LOGIN`: of a login that is.
    """

    GRANTED = auto()
    REFUSED = auto()
    UNKNOWN_CLIENT = auto()
    UNKNOWN_LOGIN = auto()
    SPOILT = auto()
    LOST = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer of the server to one agent: when it was asked, when the answer left, to what, and its worth.

    `what` is the channel of a Bayeux message, `login` of whoever names a password, `rest` of all else. `interval_ms` is
    the pause between polls that it advises, None if it says nothing of that.
    """

    asked_at: float
    left_at: float
    agent: str
    peer: str
    client_id: str
    what: str
    verdict: Verdict
    interval_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Owned:
    """From when to when a replica had a duty, in the database; `incarnation` tells its lives apart."""

    duty: str
    host: str
    incarnation: int
    since: float
    until: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmed:
    """A notification that the server forgets since a replica has acknowledged it: who did, and what it says."""

    at: float
    host: str
    agent: str
    chat: str
    value: str | None
    stamp_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """An event at the moment at which the database stored it, and for whom."""

    at: float
    host: str
    event: Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Unwell:
    """A stretch in which a host, the database's or a replica's, was not what it should be; `why` is the fault."""

    host: str
    since: float
    until: float
    why: str


@dataclass(kw_only=True, slots=True)
class Shared:
    """What is known of replicas, beside everything else.

    Attributes:
        owned: who had which duty, and when.
        stored: what the database stored, and for whom.
        sessions: the client ids of those that were ever stored.
        confirmed: what the server forgot since it was acknowledged.
        polls: when a replica's connect reached the server: virtual seconds, agent, host.
        late: writes of replicas that were evicted or had left, that the database did not refuse.
        evicted: whom another replica's beat has evicted: virtual seconds, host, and when it had joined.
        torn: answers of the database with a hole in them.
        unwell: what the hosts lacked.
        clocks: the settings of each replica's wall clock.
        at_the_end: who has each duty, None for nobody.
    """

    owned: list[Owned] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    confirmed: list[Confirmed] = field(default_factory=list)
    polls: list[tuple[float, str, str]] = field(default_factory=list)
    late: list[tuple[float, str]] = field(default_factory=list)
    evicted: list[tuple[float, str, float]] = field(default_factory=list)
    torn: list[tuple[float, str]] = field(default_factory=list)
    unwell: list[Unwell] = field(default_factory=list)
    clocks: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    at_the_end: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A resend that was accepted at a moment: of which events, and whether another replica was ordered to."""

    at: float
    ids: tuple[str, ...]
    is_ordered: bool


@dataclass(kw_only=True, slots=True)
class TeamEvidence:
    """What is known of a supervisor's team.

    Attributes:
        monitored_since: by agent, when the server let the supervisor monitor him for the first time.
        members: who was ever told anything of each chat.
        began: when each chat did.
        came_in: when the supervisor was told of each chat first.
        open: at the end, the stretches that are to be gaps and are stored: agent or None for all, and since when.
        heard: the chats that the supervisor is in at the end.
    """

    monitored_since: dict[str, float] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    came_in: dict[str, float] = field(default_factory=dict)
    open: list[tuple[str | None, float]] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)


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
        wanted_again: what an operator has had delivered again.
        counts: for each look at a process, its number and its counters.
        sessions: beginnings and ends on the server.
        answers: what the server, and what stands before it, answered, in the order in which it left.
        troubles: what went wrong.
        clock: the settings of the listener's wall clock.
        lives: from when to when each process of the listener ran, and how it ended.
        known_sessions: when a process began, and the client ids that the journal on its disk held then.
        values: at the end, what the server says of each agent's chats.
        unsettled: what was not as it should be when everything should have been.
        crashes: processes that ended by themselves, and errors that nobody waited for.
        healed_at: since when nothing goes wrong any more.
        ended_at: the end of the world.
        team: what is known of a supervisor's team; empty without one.
        shared: what there is to know of replicas, None where there is one process on a machine of its own.
    """

    published: list[Publication] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    journal: list[Event] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)
    wanted_again: list[Wanted] = field(default_factory=list)
    counts: list[tuple[float, int, dict[str, float]]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    troubles: list[SessionProblem] = field(default_factory=list)
    clock: list[tuple[float, int]] = field(default_factory=list)
    lives: list[tuple[float, float, str]] = field(default_factory=list)
    known_sessions: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    values: dict[tuple[str, str], str | None] = field(default_factory=dict)
    unsettled: list[str] = field(default_factory=list)
    crashes: list[tuple[float, str]] = field(default_factory=list)
    healed_at: float = 0.0
    ended_at: float = 0.0
    team: TeamEvidence = field(default_factory=TeamEvidence)
    shared: Shared | None = None

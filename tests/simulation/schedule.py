"""What goes wrong in a world, as data: drawn from a seed, printed, read again, made smaller."""

from typing import Literal

import msgspec

Host = Literal["listener", "gws", "crm"]
RECONCILE_S = 15.0
"""From one look at the chats to the next."""
LOOK_S = 6.5
"""What a look takes, where what it finds waits to be explained."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """Something goes wrong at `at` (virtual seconds)."""

    at: float


class Lasting(Fault, frozen=True, kw_only=True):
    """Something goes wrong for so many seconds."""

    for_s: float


# --- the network ------------------------------------------------------------------------------------------------------


class Partition(Lasting, frozen=True):
    """Nothing passes between the listener and this host; what was sent arrives later, if anybody waits for it."""

    host: Host


class Refuse(Lasting, frozen=True):
    """The host refuses connections and has reset those that there were; it runs on."""

    host: Host


class Reset(Fault, frozen=True):
    """All connections between the listener and this host are reset."""

    host: Host


# --- a server that goes wrong, or what stands before it ---------------------------------------------------------------


class Drop(Fault, frozen=True):
    """The server acts, the connection is reset in place of its next answer."""

    only: Literal["any", "messages"]


class Cut(Fault, frozen=True):
    """The next answer of the CometD server ends early."""

    after_bytes: int
    only: Literal["any", "messages"]


class Garbled(Fault, frozen=True):
    """Another body takes the place of that of the next answer of the CometD server."""

    kind: Literal["truncated", "html", "empty", "null", "array"]


class StandIn(Fault, frozen=True):
    """A gateway gives the next `count` answers of the CometD server another status, and a body of its own or theirs."""

    status: int
    count: int
    keeps_body: bool
    only: Literal["any", "messages"]


class ReadTimeout(Lasting, frozen=True):
    """A proxy says 504 wherever the server takes longer than so many seconds for an answer."""

    limit_s: float


class Fail(Fault, frozen=True):
    """A gateway answers the next `count` requests by itself."""

    status: int
    count: int
    target: Literal["any", "notifications", "rest"]


class Slow(Lasting, frozen=True):
    """Every answer of the server is late."""

    by_ms: int


class ServerRestart(Lasting, frozen=True):
    """The server is down, and knows no session and no login afterwards."""


class Expire(Fault, frozen=True):
    """The server forgets the CometD sessions of one agent."""

    agent: str


class Forget(Fault, frozen=True):
    """The server forgets what the sessions of one agent are subscribed to, and goes on answering their polls."""

    agent: str


class RefuseTopic(Lasting, frozen=True):
    """The server forgets all sessions, and refuses the next ones a topic."""

    topic: str


class LoseLogins(Lasting, frozen=True):
    """The server forgets all logins, and grants none for a while."""


class RefuseInBayeux(Fault, frozen=True):
    """The server forgets one agent's login, and says so in a Bayeux message under HTTP 200, until there is another."""

    agent: str
    error: Literal["401::Authentication invalid", "403::Handshake denied"]


class Deny(Fault, frozen=True):
    """The server forgets the sessions of one agent and refuses handshakes."""

    agent: str
    count: int


class DenySubscription(Fault, frozen=True):
    """The server forgets the sessions of one agent and refuses the subscriptions of the next ones."""

    agent: str
    count: int


class Advise(Fault, frozen=True):
    """The server advises one agent."""

    agent: str
    kind: Literal["none", "handshake", "interval", "multiple-clients"]
    interval_ms: float = 0
    successful: bool = True


class Duplicate(Fault, frozen=True):
    """The server sends its next batches twice."""

    count: int


class RotateCsrf(Fault, frozen=True):
    """Every CSRF token becomes invalid."""


# --- the hosts --------------------------------------------------------------------------------------------------------


class ClockJump(Fault, frozen=True):
    """The wall clock of a host is set."""

    host: Host
    by_s: float


class Kill(Lasting, frozen=True):
    """The listener is killed, and started again; `power`: by a power cut, in which what was not synced is gone."""

    power: bool


class Restart(Lasting, frozen=True):
    """The listener is stopped in order, and started again."""


class Second(Fault, frozen=True):
    """Somebody starts a second listener with the same configuration."""


class DiskFull(Lasting, frozen=True):
    """The disk of the listener takes nothing more."""


class DiskStall(Lasting, frozen=True):
    """The disk of the listener takes longer for everything."""

    by_s: float


class FilesTaken(Fault, frozen=True):
    """Somebody removes files of the journal beneath the listener."""

    suffixes: tuple[Literal["", "-wal", "-shm", ".lock"], ...]


# --- replicas, numbered from 1, and the database that they share ------------------------------------------------------


class CutOff(Lasting, frozen=True):
    """Nothing passes between a replica and this host.

    Of the database: the requests that are sent, or their answers, or both; what is `late` arrives in the end, whoever
    waits for it, and is lost otherwise.
    """

    replica: int
    host: Literal["gws", "database"]
    way: Literal["requests", "answers", "both"] = "both"
    late: bool = True


class KillReplica(Lasting, frozen=True):
    """A replica is killed, and started again."""

    replica: int


class RestartReplica(Lasting, frozen=True):
    """A replica is stopped in order, and started again."""

    replica: int


class RollingRestart(Lasting, frozen=True):
    """Each replica is stopped in order and started again, the next one so long afterwards."""


class Freeze(Lasting, frozen=True):
    """A replica stands still, and goes on."""

    replica: int


class ReplicaClock(Fault, frozen=True):
    """The wall clock of a replica's host is set."""

    replica: int
    by_s: float


class Drain(Lasting, frozen=True):
    """An operator drains a replica, and ends that."""

    replica: int


class Namesake(Lasting, frozen=True):
    """Somebody starts another process under the name of a replica, which has no file of its own, and stops it."""

    replica: int


class DatabaseRestart(Lasting, frozen=True):
    """The database is down; what it had said to be done stays."""


class DatabaseSlow(Lasting, frozen=True):
    """The database takes longer for everything."""

    by_ms: int


# --- where events go --------------------------------------------------------------------------------------------------


class ReceiverAnswers(Lasting, frozen=True):
    """The receiver answers this instead of taking anything."""

    status: int
    retry_after: str | None = None


class ReceiverHangs(Lasting, frozen=True):
    """The receiver takes events and does not answer."""


class ReceiverChokes(Lasting, frozen=True):
    """The receiver answers 500 to whatever holds one event, the first that comes; it takes all others."""


class ReceiverForgets(Fault, frozen=True):
    """The receiver forgets which ids it has seen."""


class OperatorResends(Fault, frozen=True):
    """An operator has delivered again what was recorded from so many seconds ago to so many, as the clock shows it."""

    since_s: float
    until_s: float


AnyFault = (
    Partition
    | Refuse
    | Reset
    | Drop
    | Cut
    | Garbled
    | StandIn
    | ReadTimeout
    | Fail
    | Slow
    | ServerRestart
    | Expire
    | Forget
    | LoseLogins
    | RefuseInBayeux
    | Deny
    | DenySubscription
    | RefuseTopic
    | Advise
    | Duplicate
    | RotateCsrf
    | ClockJump
    | Kill
    | Restart
    | Second
    | DiskFull
    | DiskStall
    | FilesTaken
    | CutOff
    | KillReplica
    | RestartReplica
    | RollingRestart
    | Freeze
    | ReplicaClock
    | Drain
    | Namesake
    | DatabaseRestart
    | DatabaseSlow
    | ReceiverAnswers
    | ReceiverHangs
    | ReceiverChokes
    | ReceiverForgets
    | OperatorResends
)


class Supervisor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A supervisor, and what its site is like (see `SimulatorOptions`).

    `own` agents have accounts of their own; `overlap` of these are monitored too, and all others.
    """

    own: int
    overlap: int
    hears_properties: bool
    dropped_on_leave: bool
    survives_login: bool
    monitor_again: bool
    intrude: bool
    needs_session: bool


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A world and all that goes wrong in it. The same schedule plays in the same way each time.

    Attributes:
        seed: of everything that is not said here: when agents do what, how long everything takes.
        ack: whether the server grants the acknowledgement extension.
        accounts: how many agents are listened to.
        hold_ms: how long the server holds a poll.
        max_interval_ms: how long it keeps a session without one.
        csrf: whether the server wants a CSRF token.
        batched: whether the webhook sends events together.
        sliced: whether an answer of more than one or two notifications is large enough to be taken in slices.
        lasts_s: until when things go wrong.
        faults: in the order of their time.
        replicas: how many processes share a journal; 0 for one on a machine of its own.
        media: what comes to the agents, and is listened to.
        team: the supervisor who hears some of the agents; None for none.
    """

    seed: int
    ack: bool
    accounts: int
    hold_ms: int
    max_interval_ms: int = 10_000
    csrf: bool
    batched: bool
    sliced: bool = False
    lasts_s: float
    faults: tuple[AnyFault, ...]
    replicas: int = 0
    media: tuple[str, ...] = ("chat",)
    team: Supervisor | None = None

    def to_json(self) -> str:
        """As it is printed."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Schedule":
        """As it was printed. Raises msgspec.ValidationError."""
        return msgspec.json.decode(text, type=cls)


def ends_at(fault: AnyFault) -> float:
    """When it is over, as far as it says so itself."""
    return fault.at + (fault.for_s if isinstance(fault, Lasting) else 0.0)

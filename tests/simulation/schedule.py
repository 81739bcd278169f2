"""What goes wrong in a world, as data: drawn from a seed, printed, read again, made smaller."""

import random
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

Host = Literal["listener", "gws", "crm"]


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
    | ReceiverAnswers
    | ReceiverHangs
    | ReceiverChokes
    | ReceiverForgets
)


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


# --- drawing them -----------------------------------------------------------------------------------------------------

Draw = Callable[[random.Random, float, str], AnyFault]
_MANY_SHARE = 0.01  # of the seeds; such a world takes as long as twenty others
_JUMP_IN_IT = 0.1
_CHOKE_SHARE = 0.05
_WITH_A_KILL = (DiskFull, DiskStall, ReceiverAnswers, ReceiverHangs)  # whatever waits then must not be gone
_KILL_IN_IT = 0.5
_POWER_CUT = 0.3
_SLICED_SHARE = 0.25
_PROXY_SHARE = 0.08
_FILES_SHARE = 0.05  # of the seeds
_NOTICED_S = 5.0  # by then the files are in place again: what comes later may be a kill
_ON_THE_DISK = (Kill, Restart, Second, DiskFull, DiskStall)
_SUFFIXES: tuple[tuple[Literal["", "-wal", "-shm", ".lock"], ...], ...] = (
    ("-wal", "-shm"),
    ("",),
    ("", "-wal", "-shm", ".lock"),
)
RECONCILE_S = 15.0  # from one look at the chats to the next
_OUTAGES_S = (0.5, 1.5, 4.0, 7.0, 9.0, 12.0, 20.0)
_JUMPS_S = (-3600.0, -30.0, 30.0, 3600.0, 90_000.0)
_BYTES = (0, 1, 40, 300, 700)
_STATUS = (202, 203, 206, 302, 401, 403, 404, 408, 500, 502, 503, 504)
_RETRY_AFTER = (None, None, "1", "7", "0", "-3", "soon", "Sun, 22 Nov 2026 09:39:00 GMT", "1000000000000")


def _outage(dice: random.Random) -> float:
    return dice.choice(_OUTAGES_S) + round(dice.uniform(0, 0.5), 3)


def _weighted() -> list[tuple[int, Draw]]:
    """How often each kind of fault is drawn, and how."""
    return [
        (6, lambda d, at, _: Partition(at=at, for_s=_outage(d), host=d.choice(("gws", "gws", "crm")))),
        (6, lambda d, at, _: Refuse(at=at, for_s=_outage(d), host=d.choice(("gws", "gws", "gws", "crm")))),
        (4, lambda d, at, _: Reset(at=at, host=d.choice(("gws", "gws", "crm")))),
        (4, lambda d, at, _: Drop(at=at, only=d.choice(("any", "messages")))),
        (
            4,
            lambda d, at, _: Cut(at=at, after_bytes=d.choice((0, 1, 40, 300, 700)), only=d.choice(("any", "messages"))),
        ),
        (2, lambda d, at, _: Garbled(at=at, kind=d.choice(("truncated", "html", "empty", "null", "array")))),
        (6, _stand_in),
        (5, _fail),
        (3, lambda d, at, _: Slow(at=at, for_s=_outage(d), by_ms=d.choice((50, 900, 4000)))),
        (4, lambda d, at, _: ServerRestart(at=at, for_s=_outage(d))),
        (3, lambda _, at, agent: Expire(at=at, agent=agent)),
        (3, lambda _, at, agent: Forget(at=at, agent=agent)),
        (3, lambda d, at, _: LoseLogins(at=at, for_s=d.choice((0.0, 0.0, 3.0, 15.0)))),
        (3, _refuse_in_bayeux),
        (2, lambda d, at, agent: Deny(at=at, agent=agent, count=d.choice((1, 2, 4)))),
        (2, lambda d, at, agent: DenySubscription(at=at, agent=agent, count=d.choice((1, 2, 4)))),
        (4, _advise),
        (2, lambda d, at, _: Duplicate(at=at, count=d.choice((1, 3)))),
        (1, lambda _, at, __: RotateCsrf(at=at)),
        (4, lambda d, at, _: ClockJump(at=at, host=d.choice(("listener", "listener", "gws")), by_s=d.choice(_JUMPS_S))),
        (7, lambda d, at, _: Kill(at=at, for_s=d.choice((0.2, 1.0, 4.0, 15.0)), power=d.random() < _POWER_CUT)),
        (4, lambda d, at, _: Restart(at=at, for_s=d.choice((0.2, 1.0, 4.0, 15.0)))),
        (1, lambda _, at, __: Second(at=at)),
        (4, lambda d, at, _: DiskFull(at=at, for_s=_outage(d))),
        (2, lambda d, at, _: DiskStall(at=at, for_s=_outage(d), by_s=d.choice((0.05, 0.5, 3.0)))),
        (4, _receiver_answers),
        (2, lambda d, at, _: ReceiverHangs(at=at, for_s=_outage(d))),
        (1, lambda _, at, __: ReceiverForgets(at=at)),
    ]


def _stand_in(dice: random.Random, at: float, _: str) -> AnyFault:
    status = dice.choice(_STATUS)
    keeps_body = status < 300 and dice.random() < 0.8
    return StandIn(
        at=at, status=status, count=dice.choice((1, 1, 3)), keeps_body=keeps_body, only=dice.choice(("any", "messages"))
    )


def _fail(dice: random.Random, at: float, _: str) -> AnyFault:
    target = dice.choice(("any", "notifications", "rest"))
    return Fail(
        at=at, status=dice.choice((401, 403, 429, 500, 502, 503)), count=dice.choice((1, 2, 3, 5)), target=target
    )


def _refuse_in_bayeux(dice: random.Random, at: float, agent: str) -> AnyFault:
    return RefuseInBayeux(
        at=at, agent=agent, error=dice.choice(("401::Authentication invalid", "403::Handshake denied"))
    )


def _advise(dice: random.Random, at: float, agent: str) -> AnyFault:
    kind = dice.choice(("none", "handshake", "interval", "multiple-clients"))
    interval_ms = dice.choice((0, 500, 2000, 1e18)) if kind == "interval" else 0
    return Advise(at=at, agent=agent, kind=kind, interval_ms=interval_ms, successful=dice.random() < 0.8)


def _receiver_answers(dice: random.Random, at: float, _: str) -> AnyFault:
    return ReceiverAnswers(
        at=at, for_s=_outage(dice), status=dice.choice((429, 429, 500, 503, 422)), retry_after=dice.choice(_RETRY_AFTER)
    )


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    dice = random.Random(f"{seed}:schedule")
    if dice.random() < _MANY_SHARE:
        return _many(seed, dice)
    accounts = dice.choice((2, 2, 3))
    lasts_s = float(dice.choice((40, 60, 90)))
    kinds = _weighted()
    weights = [weight for weight, _ in kinds]
    faults: list[AnyFault] = []
    for _ in range(dice.randint(1, 6)):
        at = round(dice.uniform(4.0, lasts_s - 2.0), 3)
        fault = dice.choices(kinds, weights)[0][1](dice, at, f"agent{dice.randint(1, accounts)}")
        faults.append(fault)
        if isinstance(fault, _WITH_A_KILL) and dice.random() < _KILL_IN_IT:
            moment = round(dice.uniform(at, ends_at(fault)), 3)
            faults.append(Kill(at=moment, for_s=1.0, power=dice.random() < _POWER_CUT))
        if isinstance(fault, Lasting) and dice.random() < _JUMP_IN_IT:
            moment = round(dice.uniform(at, ends_at(fault)), 3)
            faults.append(ClockJump(at=moment, host="listener", by_s=dice.choice(_JUMPS_S)))
    apart = random.Random(f"{seed}:choke")
    if apart.random() < _CHOKE_SHARE:
        faults.append(ReceiverChokes(at=round(apart.uniform(4.0, lasts_s - 2.0), 3), for_s=_outage(apart)))
    faults += _proxy(random.Random(f"{seed}:proxy"), lasts_s)
    faults += _files_taken(seed, lasts_s, faults)
    return Schedule(
        seed=seed,
        ack=dice.random() < 0.5,
        accounts=accounts,
        hold_ms=dice.choice((3000, 5000, 8000)),
        csrf=dice.random() < 0.3,
        batched=dice.random() < 0.5,
        sliced=random.Random(f"{seed}:sliced").random() < _SLICED_SHARE,
        lasts_s=lasts_s,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )


def _proxy(dice: random.Random, lasts_s: float) -> list[AnyFault]:
    """Seldom; by dice of its own, so that all other seeds stay as they are."""
    if dice.random() >= _PROXY_SHARE:
        return []
    at = round(dice.uniform(4.0, lasts_s - 2.0), 3)
    return [ReadTimeout(at=at, for_s=dice.choice((20.0, 90.0)), limit_s=dice.choice((1.2, 2.5)))]


def _files_taken(seed: int, lasts_s: float, faults: Sequence[AnyFault]) -> list[AnyFault]:
    """Where nothing else is the matter with the listener's disk; a kill comes after it is noticed."""
    dice = random.Random(f"{seed}:files")
    at = round(dice.uniform(4.0, lasts_s - 2.0), 3)
    near = [
        one for one in faults if isinstance(one, _ON_THE_DISK) and one.at < at + _NOTICED_S and ends_at(one) > at - 1
    ]
    if dice.random() >= _FILES_SHARE or near:
        return []
    taken = FilesTaken(at=at, suffixes=dice.choice(_SUFFIXES))
    if any(isinstance(one, _ON_THE_DISK) and one.at >= at for one in faults) or dice.random() < _KILL_IN_IT:
        return [taken]
    return [taken, Kill(at=at + _NOTICED_S, for_s=1.0, power=dice.random() < _POWER_CUT)]


def _many(seed: int, dice: random.Random) -> Schedule:
    """So many accounts, of a server so impatient, that a start takes longer than it keeps their sessions."""
    fault = Restart(at=8.0, for_s=0.2) if dice.random() < 0.5 else Kill(at=8.0, for_s=0.2, power=False)
    return Schedule(
        seed=seed,
        ack=dice.random() < 0.5,
        accounts=150,
        hold_ms=8000,
        max_interval_ms=1000,
        csrf=False,
        batched=True,
        lasts_s=12.0,
        faults=(fault,),
    )

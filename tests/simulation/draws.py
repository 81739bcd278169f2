"""The schedule of a seed: what goes wrong in its world, and when."""

import random
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from listener.simulator import MEDIA
from simulation.schedule import (
    Advise,
    AnyFault,
    ClockJump,
    Cut,
    CutOff,
    DatabaseRestart,
    DatabaseSlow,
    Deny,
    DenySubscription,
    DiskFull,
    DiskStall,
    Drain,
    Drop,
    Duplicate,
    Expire,
    Fail,
    FilesTaken,
    Forget,
    Freeze,
    Garbled,
    Kill,
    KillReplica,
    Lasting,
    LoseLogins,
    Namesake,
    OperatorResends,
    Partition,
    ReadTimeout,
    ReceiverAnswers,
    ReceiverChokes,
    ReceiverForgets,
    ReceiverHangs,
    Refuse,
    RefuseInBayeux,
    RefuseTopic,
    ReplicaClock,
    Reset,
    Restart,
    RestartReplica,
    RollingRestart,
    RotateCsrf,
    Schedule,
    Second,
    ServerRestart,
    Slow,
    StandIn,
    ends_at,
)

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
_RESEND_SHARE = 0.1
_NOTICED_S = 5.0  # by then the files are in place again: what comes later may be a kill
_ON_THE_DISK = (Kill, Restart, Second, DiskFull, DiskStall)
_SUFFIXES: tuple[tuple[Literal["", "-wal", "-shm", ".lock"], ...], ...] = (
    ("-wal", "-shm"),
    ("",),
    ("", "-wal", "-shm", ".lock"),
)
_OUTAGES_S = (0.5, 1.5, 4.0, 7.0, 9.0, 12.0, 20.0)
_JUMPS_S = (-3600.0, -30.0, 30.0, 3600.0, 90_000.0)
_SHORT_S = (0.3, 0.8, 1.2, 2.0, 4.0, 12.0, 25.0)
_DOWN_S = (0.2, 1.0, 4.0, 15.0)
_OF_REPLICAS = 0.6  # of the faults where there are several
_TOGETHER = 0.4
_ALONE_SHARE = 0.3
_BYTES = (0, 1, 40, 300, 700)
_STATUS = (202, 203, 206, 302, 401, 403, 404, 408, 500, 502, 503, 504)
_TOPICS = tuple(medium.topic for medium in MEDIA.values())
_REFUSED_S = (1.0, 12.0, 25.0, 40.0)
_RETRY_AFTER = (None, None, "1", "7", "0", "-3", "soon", "Sun, 22 Nov 2026 09:39:00 GMT", "1000000000000")


def _outage(dice: random.Random) -> float:
    return dice.choice(_OUTAGES_S) + round(dice.uniform(0, 0.5), 3)


def _weighted() -> list[tuple[int, Draw]]:
    """How often each kind of fault is drawn, and how."""
    return [*_of_the_server(), *_of_the_host(), *_of_the_receiver()]


def _of_the_server() -> list[tuple[int, Draw]]:
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
    ]


def _of_the_host() -> list[tuple[int, Draw]]:
    return [
        (4, lambda d, at, _: ClockJump(at=at, host=d.choice(("listener", "listener", "gws")), by_s=d.choice(_JUMPS_S))),
        (7, lambda d, at, _: Kill(at=at, for_s=d.choice((0.2, 1.0, 4.0, 15.0)), power=d.random() < _POWER_CUT)),
        (4, lambda d, at, _: Restart(at=at, for_s=d.choice((0.2, 1.0, 4.0, 15.0)))),
        (1, lambda _, at, __: Second(at=at)),
        (4, lambda d, at, _: DiskFull(at=at, for_s=_outage(d))),
        (2, lambda d, at, _: DiskStall(at=at, for_s=_outage(d), by_s=d.choice((0.05, 0.5, 3.0)))),
    ]


def _of_the_receiver() -> list[tuple[int, Draw]]:
    return [
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


def _of_replicas(replicas: int) -> list[tuple[int, Callable[[random.Random, float], AnyFault]]]:
    def one(dice: random.Random) -> int:
        return dice.randint(1, replicas)

    return [
        (6, lambda d, at: KillReplica(at=at, for_s=d.choice(_DOWN_S), replica=one(d))),
        (6, lambda d, at: Freeze(at=at, for_s=d.choice(_SHORT_S), replica=one(d))),
        (4, lambda d, at: RestartReplica(at=at, for_s=d.choice(_DOWN_S), replica=one(d))),
        (2, lambda d, at: RollingRestart(at=at, for_s=d.choice((0.2, 1.5, 4.0)))),
        (8, _cut_off_from_database(one)),
        (3, lambda d, at: CutOff(at=at, for_s=_outage(d), replica=one(d), host="gws")),
        (3, lambda d, at: ReplicaClock(at=at, replica=one(d), by_s=d.choice(_JUMPS_S))),
        (3, lambda d, at: Drain(at=at, for_s=_outage(d), replica=one(d))),
        (1, lambda d, at: Namesake(at=at, for_s=d.choice((1.0, 4.0)), replica=d.randint(2, replicas))),
        (4, lambda d, at: DatabaseRestart(at=at, for_s=d.choice(_SHORT_S))),
        (2, lambda d, at: DatabaseSlow(at=at, for_s=_outage(d), by_ms=d.choice((30, 200, 600, 1500)))),
    ]


def _cut_off_from_database(one: Callable[[random.Random], int]) -> Callable[[random.Random, float], AnyFault]:
    def cut(dice: random.Random, at: float) -> AnyFault:
        way = dice.choice(("requests", "answers", "both"))
        late = dice.random() < 0.5
        return CutOff(at=at, for_s=dice.choice(_SHORT_S), replica=one(dice), host="database", way=way, late=late)

    return cut


def _alone(dice: random.Random, fault: AnyFault) -> list[AnyFault]:
    """Often a replica that does not reach the database reaches nobody."""
    if not isinstance(fault, CutOff) or fault.host != "database" or dice.random() >= _ALONE_SHARE:
        return [fault]
    return [fault, CutOff(at=fault.at, for_s=fault.for_s, replica=fault.replica, host="gws")]


def _several(seed: int, replicas: int) -> Schedule:
    """Half of what goes wrong is a matter of replicas; often one thing comes while another lasts."""
    dice = random.Random(f"{seed}:{replicas} replicas")
    accounts = dice.choice((3, 4, 6))
    lasts_s = float(dice.choice((30, 45)))
    own, others = _of_replicas(replicas), [*_of_the_server(), *_of_the_receiver()]
    faults: list[AnyFault] = []
    for _ in range(dice.randint(1, 6)):
        at = round(dice.uniform(4.0, lasts_s - 2.0), 3)
        if faults and dice.random() < _TOGETHER:
            before = dice.choice(faults)
            at = round(dice.uniform(before.at, min(ends_at(before) + 1.0, lasts_s - 1.0)), 3)
        if dice.random() < _OF_REPLICAS:
            faults += _alone(dice, dice.choices(own, [weight for weight, _ in own])[0][1](dice, at))
        else:
            draw_one = dice.choices(others, [weight for weight, _ in others])[0][1]
            faults.append(draw_one(dice, at, f"agent{dice.randint(1, accounts)}"))
    faults += _resends(seed, lasts_s)
    return Schedule(
        seed=seed,
        ack=dice.random() < 0.6,
        accounts=accounts,
        hold_ms=dice.choice((3000, 5000, 8000)),
        csrf=dice.random() < 0.2,
        batched=dice.random() < 0.5,
        sliced=dice.random() < _SLICED_SHARE,
        lasts_s=lasts_s,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        replicas=replicas,
    )


def _with_media(plan: Schedule) -> Schedule:
    """The same with emails and calls, and often with a topic that is refused for a while."""
    dice = random.Random(f"{plan.seed}:media")
    refused = [
        RefuseTopic(at=round(dice.uniform(4.0, plan.lasts_s - 2.0), 3), for_s=dice.choice(_REFUSED_S), topic=topic)
        for topic in dice.choice(((), _TOPICS[:1], _TOPICS[1:2], _TOPICS[2:], _TOPICS[:2], _TOPICS[1:]))
    ]
    faults = tuple(sorted((*plan.faults, *refused), key=lambda fault: fault.at))
    return msgspec.structs.replace(plan, media=tuple(MEDIA), faults=faults)


def draw(seed: int, replicas: int = 0, *, media: bool = False) -> Schedule:
    """The schedule of a seed, for one process on a machine of its own, or for so many that share a journal.

    With `media` emails and calls come beside chats.
    """
    if media:
        return _with_media(draw(seed, replicas))
    if replicas:
        return _several(seed, replicas)
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
    faults += _resends(seed, lasts_s)
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


def _resends(seed: int, lasts_s: float) -> list[AnyFault]:
    """Seldom; by dice of its own too. Sometimes again while one is under way."""
    dice = random.Random(f"{seed}:resends")
    if dice.random() >= _RESEND_SHARE:
        return []
    moments = [round(dice.uniform(6.0, lasts_s - 1.0), 3) for _ in range(dice.choice((1, 1, 2)))]
    return [
        OperatorResends(at=at, since_s=dice.choice((5.0, 30.0, 100.0, 4000.0)), until_s=dice.choice((0.0, 0.0, 3.0)))
        for at in moments
    ]


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

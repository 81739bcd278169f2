"""A database in memory that replicas share."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from listener.errors import JournalError, JournalFenced
from listener.model.event import (
    DeadLetter,
    DeadLetterFilter,
    JournalBatch,
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.replica import (
    ACCOUNT,
    HOUSEKEEPING,
    LANE,
    Appended,
    Beaten,
    DutyReport,
    Grant,
    Joined,
    Offer,
    Order,
    ReplicaReport,
)
from listener.testing.store import MemoryStore

_GRANTS_A_BEAT = 1_000
_WANTED_A_KIND = 10
_REPLAY = "replay"


class _Replica:
    """One incarnation that is not evicted."""

    def __init__(self, incarnation: int, name: str, *, version: str, lease_s: float, now_s: float) -> None:
        self.incarnation = incarnation
        self.name = name
        self.version = version
        self.lease_s = lease_s
        self.joined_s = self.beat_s = self.steady_since_s = now_s
        self.pause_s, self.paused_s = 0.0, float("-inf")
        self.draining = False
        self.offers: dict[str, str | None] = {}
        self.number = 0  # of its last append that was stored or found stale, whose answer this is
        self.answer = Appended(last_sequence=0, revision=0)
        self.report = b""

    def is_late(self, now_s: float, *, excused_s: float = 0.0) -> bool:
        return now_s - self.beat_s > self.lease_s + excused_s

    def beat(self, now_s: float) -> None:
        pause_s = now_s - self.beat_s
        if pause_s > self.lease_s:
            self.steady_since_s = now_s
        if now_s - self.paused_s > self.lease_s:
            self.pause_s = 0.0
        if pause_s > max(self.pause_s, self.lease_s / 2):
            self.pause_s, self.paused_s = pause_s, now_s
        self.beat_s = now_s

    def is_steady(self, now_s: float) -> bool:
        return now_s - self.steady_since_s >= self.lease_s

    def may_do(self, duty: str) -> bool:
        return duty in self.offers and self.offers[duty] in (None, self.name)


class _Duty:
    """Who has a duty (an incarnation, 0 for nobody), by which grant, and what was last reported of it."""

    def __init__(self) -> None:
        self.owner = 0
        self.epoch = 0
        self.report = b""


def _can(replicas: Collection[_Replica], duty: str) -> bool:
    return any(one.may_do(duty) for one in replicas)


class MemoryDatabase:
    """The state of `journal.shared.Database`, and all that it decides; every call is done at once and whole.

    Args:
        now_s: its clock, in epoch seconds: the only one that it goes by.
        max_bytes: how much the events' data may take: then appends with events raise JournalFull.
    """

    def __init__(self, now_s: Callable[[], float], *, max_bytes: int | None = None) -> None:
        self._now_s = now_s
        self._store = MemoryStore(max_bytes=max_bytes)
        self._revisions: dict[str, int] = {}
        self._revision = 0
        self._losses: dict[int, tuple[int, int]] = {}
        self._seen_s: dict[str, float] = {}
        self._incarnations = 0
        self._epochs = 0
        self._order_numbers = 0
        self._replicas: dict[int, _Replica] = {}
        self._duties: dict[str, _Duty] = {}
        self._orders: dict[int, Order] = {}
        self._listening: dict[asyncio.Future[None], int] = {}

    @property
    def store(self) -> MemoryStore:
        """What needs no replica to be read or written."""
        return self._store

    # --- replicas ---------------------------------------------------------------------------------------------------

    def join(self, name: str, *, version: str, lease_s: float) -> Joined:
        """A new incarnation; see `Database`."""
        for other in [one for one in self._replicas.values() if one.name == name]:
            self._remove(other)
        self._incarnations += 1
        me = self._incarnations
        self._replicas[me] = _Replica(me, name, version=version, lease_s=lease_s, now_s=self._now_s())
        return Joined(incarnation=me, last_sequence=self._store.last_sequence)

    def offer(self, me: int, offers: Collection[Offer]) -> None:
        """Replace what the replica could do."""
        replica = self._alive(me)
        replica.offers = {offer.duty: offer.only for offer in offers}
        self._forget_duties()

    def beat(
        self,
        me: int,
        *,
        seen: int,
        taken: Collection[int] = (),
        report: bytes | None = None,
        reports: Mapping[str, bytes] | None = None,
    ) -> Beaten:
        """Evict, claim, ask back, tell; see `Database`."""
        replica, now_s = self._alive(me), self._now_s()
        replica.beat(now_s)
        replica.report = replica.report if report is None else report
        for number in taken:
            self._orders.pop(number, None)
        for duty, text in (reports or {}).items():
            if duty in self._duties and self._duties[duty].owner == me:
                self._duties[duty].report = text
        if replica.is_steady(now_s):
            late = [one for one in self._replicas.values() if one.is_late(now_s, excused_s=replica.pause_s)]
            for other in late:
                self._remove(other)
        able = [one for one in self._replicas.values() if not (one.draining or one.is_late(now_s))]
        wanted_back: list[str] = []
        for duties in self._by_kind():
            wanted_back += self._balance(replica, duties, share=-(-len(duties) // max(1, len(able))))
        granted = sorted((duty.epoch, name) for name, duty in self._duties.items() if duty.owner == me)
        granted = [one for one in granted if one[0] > seen]
        return Beaten(
            granted=tuple(Grant(name, epoch) for epoch, name in granted[:_GRANTS_A_BEAT]),
            more=len(granted) > _GRANTS_A_BEAT,
            wanted_back=tuple(wanted_back),
            orders=tuple(one for one in self._orders.values() if self._owner_of(one.duty) == me),
            last_sequence=self._store.last_sequence,
            draining=replica.draining,
            others=sum(one is not replica for one in able),
        )

    def _balance(self, replica: _Replica, duties: Mapping[str, _Duty], share: int) -> list[str]:
        """Claim what is free up to a share of one kind, and what nobody else can take; returns what is wanted back."""
        if replica.draining:
            return sorted(name for name, duty in duties.items() if duty.owner == replica.incarnation)
        had = Counter(duty.owner for duty in duties.values())
        others = [one for one in self._replicas.values() if one is not replica and not one.draining]
        with_room = [one for one in others if had[one.incarnation] < share]
        free = sorted(name for name, duty in duties.items() if not duty.owner and replica.may_do(name))
        claimed = [name for name in free if not _can(others, name)]
        rest = [name for name in free if _can(others, name)]
        room = max(0, share - had[replica.incarnation] - len(claimed))
        claimed += rest[:room] + [name for name in rest[room:] if not _can(with_room, name)]
        for name in claimed:
            self._epochs += 1
            duties[name].owner, duties[name].epoch = replica.incarnation, self._epochs
        mine = sorted(name for name, duty in duties.items() if duty.owner == replica.incarnation)
        movable = [name for name in mine if _can(with_room, name)]
        return movable[: max(0, min(len(mine) - share, _WANTED_A_KIND))]

    def release(self, me: int, duties: Collection[Grant]) -> None:
        """Give duties back."""
        self._alive(me)
        for grant in duties:
            duty = self._duties.get(grant.duty)
            if duty is not None and (duty.owner, duty.epoch) == (me, grant.epoch):
                duty.owner = 0
        self._forget_duties()

    def leave(self, me: int) -> None:
        """The replica is gone in order."""
        self._remove(self._alive(me))

    def replicas(self) -> list[ReplicaReport]:
        """Those that are not evicted and have not left, by name."""
        return [self._report_of(one) for one in sorted(self._replicas.values(), key=lambda one: one.name)]

    def _report_of(self, replica: _Replica) -> ReplicaReport:
        now_s = self._now_s()
        had = [name for name, duty in self._duties.items() if duty.owner == replica.incarnation]
        return ReplicaReport(
            name=replica.name,
            incarnation=replica.incarnation,
            state="late" if replica.is_late(now_s) else "draining" if replica.draining else "alive",
            beat_age_s=max(0.0, now_s - replica.beat_s),
            joined_ms=int(replica.joined_s * 1000),
            version=replica.version,
            accounts=sum(name.startswith(ACCOUNT) for name in had),
            lanes=sum(name.startswith(LANE) for name in had),
            housekeeping=HOUSEKEEPING in had,
            report=replica.report,
        )

    def duties(self) -> list[DutyReport]:
        """Every duty, by name."""
        return [
            DutyReport(duty=name, replica=self._name_of(duty.owner), epoch=duty.epoch, report=duty.report)
            for name, duty in sorted(self._duties.items())
        ]

    def drain(self, name: str, *, draining: bool) -> bool:
        """Let the replica of a name have nothing more, or as much as others again."""
        found = [one for one in self._replicas.values() if one.name == name]
        for one in found:
            one.draining = draining
        return bool(found)

    def order(self, duty: str, what: str) -> str | None:
        """Leave an order for whoever has a duty."""
        self._order_numbers += 1
        self._orders[self._order_numbers] = Order(number=self._order_numbers, duty=duty, what=what)
        return self._name_of(self._owner_of(duty))

    def _alive(self, me: int) -> _Replica:
        replica = self._replicas.get(me)
        if replica is None:
            raise JournalFenced(f"database: replica {me} was evicted or has left")
        return replica

    def _remove(self, replica: _Replica) -> None:
        """Evicted or gone: its number is never taken again, and what it had is free."""
        del self._replicas[replica.incarnation]
        for duty in self._duties.values():
            if duty.owner == replica.incarnation:
                duty.owner = 0
        self._forget_duties()

    def _forget_duties(self) -> None:
        """A duty is there while it is offered, and until its owner has released it."""
        offered = dict.fromkeys(name for one in self._replicas.values() for name in one.offers)
        self._duties = {name: duty for name, duty in self._duties.items() if duty.owner or name in offered}
        for name in offered:
            self._duties.setdefault(name, _Duty())

    def _by_kind(self) -> Collection[dict[str, _Duty]]:
        kinds: dict[str, dict[str, _Duty]] = {}
        for name, duty in self._duties.items():
            kinds.setdefault(name.partition("/")[0], {})[name] = duty
        return kinds.values()

    def _owner_of(self, duty: str) -> int:
        return self._duties[duty].owner if duty in self._duties else 0

    def _name_of(self, incarnation: int) -> str | None:
        return self._replicas[incarnation].name if incarnation else None

    # --- the journal ------------------------------------------------------------------------------------------------

    def append(
        self,
        me: int,
        number: int,
        batch: JournalBatch,
        revisions: Mapping[str, int],
        seen_ages_ms: Mapping[str, int],
    ) -> Appended:
        """Store a batch whole or not at all; see `Database`."""
        replica = self._alive(me)
        if number < replica.number:
            raise JournalError(f"database: append {number} comes after {replica.number}")
        if number == replica.number:
            return replica.answer
        stale = [chat_id for chat_id, known in revisions.items() if self._revisions.get(chat_id, 0) != known]
        if stale:
            replica.number, replica.answer = number, Appended(last_sequence=0, revision=0, stale=tuple(stale))
            return replica.answer
        self._store.require_room(batch)
        self._revision += 1
        last = self._store.add(batch)
        self._revisions.update({value.chat_id: self._revision for value in batch.values})
        now_s = self._now_s()
        self._seen_s.update({account: now_s - age_ms / 1000 for account, age_ms in seen_ages_ms.items()})
        replica.number, replica.answer = number, Appended(last_sequence=last, revision=self._revision)
        for waiter, sequence in self._listening.items():
            if last > sequence and not waiter.done():
                waiter.set_result(None)
        return replica.answer

    def begin_above(self, me: int, known: int, top: int, stretch: tuple[int, int]) -> int:
        """Let sequences go on above `top` where no event came up to `known`; see `Database`."""
        self._alive(me)
        if self._store.last_sequence < known:
            self._losses[top], self._store.last_sequence = stretch, top
        return self._store.last_sequence

    def losses(self) -> dict[int, tuple[int, int]]:
        """The stretch of each loss that is pending, by the last sequence of its hole."""
        return dict(self._losses)

    def settle_losses(self, me: int, tops: Collection[int]) -> None:
        """The gaps of these losses are on record."""
        self._alive(me)
        for top in tops:
            self._losses.pop(top, None)

    def last_values(self, chat_ids: Collection[str]) -> tuple[list[LastValue], dict[str, int]]:
        """Every last value of these chats, and the revision of each chat that has any."""
        found = self._store.last_values(chat_ids)
        return found, {value.chat_id: self._revisions[value.chat_id] for value in found}

    def sessions(self, accounts: Collection[str] | None = None) -> list[tuple[SessionState, int]]:
        """The last stored sessions, each with the age of its moment in ms."""
        now_s = self._now_s()
        found = self._store.sessions_of(accounts)
        return [(one, max(0, round((now_s - self._seen_s[name]) * 1000))) for name, one in found.items()]

    def last_sequence(self) -> int:
        """Of the newest event."""
        return self._store.last_sequence

    def cursors(self) -> dict[str, int]:
        """Per sink, its cursor."""
        return dict(self._store.cursors)

    def lane_states(self) -> dict[str, LaneState]:
        """Per sink, its lane's state."""
        return dict(self._store.lanes)

    def advance(self, me: int, sink: str, sequence: int, dead: Sequence[DeadLetter]) -> None:
        """Move a cursor forward and store dead letters."""
        self._alive(me)
        self._store.advance(sink, sequence, dead)

    def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """Mark letters, and leave an order for each lane that has some now."""
        marked = self._store.replay_dead_letters(which)
        for sink in sorted({letter.sink for letter in marked}):
            self.order(f"{LANE}{sink}", _REPLAY)
        return len(marked)

    def settle_replays(self, me: int, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter]) -> None:
        """Delete the delivered letters, keep the others with their news."""
        self._alive(me)
        self._store.settle_replays(sink, delivered, dead)

    def store_lane_state(self, me: int | None, state: LaneState) -> None:
        """Replace a lane's state."""
        if me is not None:
            self._alive(me)
        self._store.lanes[state.sink] = state

    def retain(self, me: int, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None) -> int:
        """Delete old events and values, with the revisions of chats that have none left."""
        self._alive(me)
        deleted = self._store.retain(before_ms=before_ms, keep_for=keep_for, max_bytes=max_bytes)
        self._revisions = {name: one for name, one in self._revisions.items() if self._store.has_values(name)}
        return deleted

    async def beyond(self, sequence: int) -> None:
        """Return once there is an event above `sequence`: the hint that `MemoryConnection.heard` waits for."""
        if self._store.last_sequence > sequence:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listening[waiter] = sequence
        try:
            await waiter
        finally:
            del self._listening[waiter]

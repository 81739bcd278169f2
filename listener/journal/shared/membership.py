"""What this replica has to do, as the database tells it beat by beat."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from itertools import islice

import structlog

from listener.errors import JournalError, JournalFenced, JournalLocked, JournalUncertain
from listener.journal.shared.database import Database
from listener.model.replica import Beaten, Changes, Grant, Offer, Order, ReplicaReport
from listener.runtime.backoff import Backoff
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.latch import Latch

BEAT_S = 0.3
LEASE_S = 1.0

_REPORTS_A_BEAT = 500
_JOINS_AT_MOST = 5
_PATIENCE = 10  # leases
_NEVER_S = float("-inf")

_log = structlog.get_logger(__name__)


class Membership:
    """`ports.Duties` of one incarnation: it joins once, and when it is fenced or has left, another takes its place.

    `run` has to be at work soon after `join`, within the lease, or `beating` until it is: that is what beats. `offer`
    and `release` wait for `run`.

    Args:
        database: where replicas meet; it is open before `join`.
        name: of the replica, and of no other that is alive.
        version: of this program, for whoever asks.
        lease_s: seconds without a beat after which others take over.
        beat_s: seconds from the start of a beat to that of the next.
        host: time and chance.

    Attributes:
        fenced: open once others have the duties.
        beaten: the last answer to a beat.
        trouble: why the last beat has failed, None if it has not.
    """

    def __init__(
        self,
        *,
        database: Database,
        name: str,
        version: str,
        lease_s: float = LEASE_S,
        beat_s: float = BEAT_S,
        host: Host = THIS_HOST,
    ) -> None:
        self._database = database
        self._name = name
        self._version = version
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._host = host
        self._monotonic_s = host.clock.monotonic_s
        self._incarnation = 0
        self._has_left = False
        self._certain_until_s = _NEVER_S
        self.fenced = Latch()
        self.beaten = Beaten()
        self.trouble: str | None = None
        self._on_beat: list[Callable[[], None]] = []
        self._due = Latch()  # the next beat, at once
        self._unsettled = Latch()  # something to give back or to offer
        self._moved = Latch()  # opened for a moment by whatever may end a wait
        self._seen = 0
        self._held: dict[str, int] = {}
        self._offers: tuple[Offer, ...] | None = None
        self._releasing: dict[Grant, None] = {}
        self._given: dict[str, None] = {}
        self._wanted: dict[str, None] = {}
        self._asked: set[str] = set()
        self._orders: dict[int, Order] = {}
        self._told: dict[int, str] = {}
        self._taken: set[int] = set()
        self._reports: dict[str, bytes] = {}
        self._unsaid: dict[str, bytes] = {}
        self._process = b""
        self._process_said = b""

    # --- for the journal --------------------------------------------------------------------------------------------

    @property
    def incarnation(self) -> int:
        """The number that every write names. Raises JournalFenced once it is worth nothing."""
        if self.fenced.is_set() or self._has_left:
            raise JournalFenced(f"replica {self._name}: incarnation {self._incarnation} is over")
        return self._incarnation

    def on_beat(self, call: Callable[[], None]) -> None:
        """Call this after each beat that succeeded, and once it is over; it must not raise."""
        self._on_beat.append(call)

    def fence(self) -> None:
        """The database has refused a write: others have the duties. Everything that waits raises JournalFenced."""
        if not self.fenced.is_set():
            _log.error("replica_fenced", replica=self._name, incarnation=self._incarnation)
            self.fenced.set()
            self._over()

    def _over(self) -> None:
        self._certain_until_s = _NEVER_S
        self._due.set()
        self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved.clear()
        for call in self._on_beat:
            call()

    # --- beats ------------------------------------------------------------------------------------------------------

    async def join(self) -> int:
        """Become a new incarnation; returns the sequence of the newest event.

        Raises JournalLocked: another process of the name lives. Raises JournalError.
        """
        await self._outlive_namesake()
        backoff = Backoff(first_s=self._beat_s, limit_s=self._lease_s, uniform=self._host.random.uniform)
        while True:
            began_s = self._monotonic_s()
            try:
                joined = await self._database.join(self._name, version=self._version, lease_s=self._lease_s)
            except JournalUncertain:  # it may have joined: the next one of the name takes that one's place
                if backoff.attempts == _JOINS_AT_MOST:
                    raise
                await asyncio.sleep(backoff.next())
            else:
                self._incarnation = joined.incarnation
                self._certain_until_s = began_s + self._lease_s
                _log.info("replica_joined", replica=self._name, incarnation=joined.incarnation)
                return joined.last_sequence

    async def _outlive_namesake(self) -> None:
        """Return once one of the name, which the join would evict, cannot be certain of its duties any more.

        A process that was killed does not beat; one that does is another, and the two would evict each other for ever.
        """
        known: ReplicaReport | None = None
        began_s = self._monotonic_s()
        while True:
            asked_s = self._monotonic_s()
            alive = [one for one in await self._database.replicas() if one.name == self._name and one.state != "late"]
            if not alive:
                return
            if known is None:
                known, began_s = alive[0], asked_s
            elif (
                alive[0].beat_age_s < known.beat_age_s + (asked_s - began_s) / 2
            ):  # or it would be older by all of that
                raise JournalLocked(f"another process is replica {self._name} of this journal; names must differ")
            await asyncio.sleep(self._beat_s)

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat while the block runs: one between `join` and `run`, which may take longer than a lease."""
        beats = asyncio.create_task(self._beats_later(), name=f"beats of {self._name}")
        try:
            yield
        finally:
            beats.cancel()
            await asyncio.wait((beats,))

    async def _beats_later(self) -> None:
        await self._due.within(self._beat_s)  # the join was a beat
        await self._beats()

    async def run(self) -> None:
        """Beat until cancelled, or gone in order.

        Raises JournalFenced: others have the duties.
        """
        async with asyncio.TaskGroup() as tasks:
            settling = tasks.create_task(self._settle(), name=f"duties of {self._name}")
            await self._beats()
            settling.cancel()
        if self.fenced.is_set():
            raise JournalFenced(f"replica {self._name}: others have its duties")

    async def _beats(self) -> None:
        """Return once it has left or is fenced.

        A beat that fails is given longer the next time: a slow host has to connect anew within it.
        """
        failures = 0
        while not (self._has_left or self.fenced.is_set()):
            began_s = self._monotonic_s()
            self._due.clear()
            try:
                async with asyncio.timeout(self._lease_s * min(1 + failures, _PATIENCE)):
                    await self._beat()
            except JournalFenced:
                if not self._has_left:
                    self.fence()
                return
            except (JournalError, TimeoutError) as exc:
                failures += 1
                self._note_trouble(str(exc) or "the database does not answer")
            else:
                failures = 0
            if failures or not self.beaten.more:
                await self._due.within(max(0.0, began_s + self._beat_s - self._monotonic_s()))

    def _note_trouble(self, text: str) -> None:
        if self.trouble is None:
            _log.warning("replica_cannot_beat", replica=self._name, error=text)
        self.trouble = text

    async def _settle(self) -> None:
        """Give back and offer whatever waits for it, beside the beats, until cancelled or over."""
        while True:
            self._unsettled.clear()
            try:
                async with asyncio.timeout(self._lease_s * _PATIENCE):
                    await self._give_back()
                    await self._tell_offers()
            except JournalFenced:
                if not self._has_left:
                    self.fence()
                return
            except (JournalError, TimeoutError):  # the beats tell what is wrong with the database
                await asyncio.sleep(self._beat_s)
                continue
            await self._unsettled.wait()

    async def _give_back(self) -> None:
        if self._releasing:
            grants = tuple(self._releasing)
            await self._database.release(self.incarnation, grants)
            for grant in grants:
                self._releasing.pop(grant, None)
            self._settled()

    async def _tell_offers(self) -> None:
        offers = self._offers
        if offers is not None:
            await self._database.offer(self.incarnation, offers)
            if self._offers is offers:
                self._offers = None
            self._settled()

    def _settled(self) -> None:
        self._due.set()  # to be given what is free now
        self._tell()

    async def _beat(self) -> None:
        began_s = self._monotonic_s()
        taken, process = tuple(self._taken), self._process
        reports = dict(islice(self._unsaid.items(), _REPORTS_A_BEAT))
        beaten = await self._database.beat(
            self.incarnation,
            seen=self._seen,
            taken=taken,
            report=None if process == self._process_said else process,
            reports=reports or None,
        )
        _ = self.incarnation  # or it is over meanwhile
        if self.trouble is not None:
            _log.info("replica_beats_again", replica=self._name)
            self.trouble = None
        self._certain_until_s = began_s + self._lease_s
        self._taken.difference_update(taken)
        self._process_said = process
        for duty, report in reports.items():
            if self._unsaid.get(duty) is report:
                del self._unsaid[duty]
        self._learn(beaten)

    def _learn(self, beaten: Beaten) -> None:
        self.beaten = beaten
        for grant in beaten.granted:
            self._seen = max(self._seen, grant.epoch)
            self._held[grant.duty] = grant.epoch
            self._given[grant.duty] = None
            self._wanted.pop(grant.duty, None)
            self._asked.discard(grant.duty)
        for duty in beaten.wanted_back:
            if duty in self._held and duty not in self._asked:
                self._asked.add(duty)
                self._wanted[duty] = None
        for order in beaten.orders:
            if order.duty in self._held and order.number not in self._told:
                self._told[order.number] = order.duty
                self._orders[order.number] = order
        known = {order.number for order in beaten.orders}
        self._told = {number: duty for number, duty in self._told.items() if number in known}
        self._tell()

    # --- ports.Duties -----------------------------------------------------------------------------------------------

    @property
    def is_shared(self) -> bool:
        """There may be other replicas."""
        return True

    @property
    def held(self) -> Collection[str]:
        """What was given to this replica and is not released."""
        return self._held.keys()

    async def offer(self, offers: Collection[Offer]) -> None:
        """Offer this in place of what was offered before; returns once the database knows."""
        self._offers = ours = tuple(offers)
        await self._until(lambda: self._offers is not ours)

    async def release(self, duties: Collection[str]) -> None:
        """Give these back; returns once others may have them. They are not held any more even if it is cancelled."""
        grants = [Grant(duty, self._held.pop(duty)) for duty in dict.fromkeys(duties) if duty in self._held]
        for grant in grants:
            self._releasing[grant] = None
            self._asked.discard(grant.duty)
            for known in (self._given, self._wanted, self._reports, self._unsaid):
                known.pop(grant.duty, None)
        self._orders = {number: order for number, order in self._orders.items() if order.duty in self._held}
        self._told = {number: duty for number, duty in self._told.items() if duty in self._held}
        await self._until(lambda: self._releasing.keys().isdisjoint(grants))

    async def _until(self, is_done: Callable[[], bool]) -> None:
        self._unsettled.set()
        while not is_done():
            await self._wait()

    async def _wait(self) -> None:
        """Return after anything has moved. Raises JournalFenced."""
        if not (self.fenced.is_set() or self._has_left):
            await self._moved.wait()
        _ = self.incarnation

    async def changes(self) -> Changes:
        """Wait for what is new; an order is told once, or again where its duty was released meanwhile."""
        while not (self._given or self._wanted or self._orders):
            await self._wait()
        _ = self.incarnation
        changes = Changes(
            given=tuple(self._given), wanted_back=tuple(self._wanted), orders=tuple(self._orders.values())
        )
        for news in (self._given, self._wanted, self._orders):
            news.clear()
        return changes

    def carried_out(self, order: Order) -> None:
        """The next beat says so."""
        self._taken.add(order.number)

    def beat_age_s(self) -> float:
        """How long ago the last beat that succeeded was begun; infinite before it has joined, and once it is over."""
        return self._monotonic_s() - (self._certain_until_s - self._lease_s)

    def is_certain(self) -> bool:
        """Whether the lease that the last beat has renewed cannot be over yet, wherever it was answered from."""
        return self._monotonic_s() < self._certain_until_s

    async def certainty(self) -> None:
        """Return once `is_certain`."""
        while not self.is_certain():
            await self._wait()

    def report(self, duty: str, report: bytes) -> None:
        """JSON on a duty; sent with one of the next beats if it is another than the last."""
        if duty in self._held and self._reports.get(duty) != report:
            self._reports[duty] = self._unsaid[duty] = report

    def report_process(self, report: bytes) -> None:
        """JSON on this process."""
        self._process = report

    async def order(self, duty: str, what: str) -> str | None:
        """Leave an order with the database."""
        return await self._database.order(duty, what)

    async def leave(self) -> None:
        """Be gone in order: no more beats, and what is held is free; after a lease without an answer it is anyway."""
        if self._has_left or self.fenced.is_set() or not self._incarnation:
            return
        self._has_left = True
        self._over()
        try:
            async with asyncio.timeout(self._lease_s):
                await self._leave()
        except (JournalError, TimeoutError) as exc:
            _log.warning("replica_left_without_a_word", replica=self._name, error=str(exc) or "no answer")
        except JournalFenced:  # the answer to an earlier try was lost
            pass

    async def _leave(self) -> None:
        while True:
            try:
                await self._database.leave(self._incarnation)
            except JournalUncertain:
                await asyncio.sleep(self._beat_s)
            else:
                _log.info("replica_left", replica=self._name, incarnation=self._incarnation)
                return

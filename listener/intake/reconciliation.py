"""Rereads an account's chats: after each gap, and periodically to check that the subscription is alive."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
import structlog

from listener.errors import JournalDamaged, ListenerError
from listener.model.event import Difference, Entry, Observation
from listener.runtime.host import THIS_HOST
from listener.runtime.latch import Latch
from listener.runtime.metrics import Metrics
from listener.webservices.notifications import NotificationDecoder

log = structlog.get_logger(__name__)

_QUIET_S = 0.01
_SETTLE_S = 0.5  # notifications sent before the chats were read have arrived by then, and count as newer
_CONFIRM_S = 5.0  # a difference that a slow notification explains is gone by then
_AGAIN_S = 10.0


class Rest(Protocol):
    """What is needed of the REST API."""

    async def chats(self) -> Sequence[msgspec.Raw]:
        """The account's chats now. Raises ListenerError."""

    async def keepalive(self) -> None:
        """Keep the login from idling out. Raises ListenerError."""


class Subscription(Protocol):
    """What is needed of the receiver whose chats these are."""

    turn: asyncio.Lock

    def pending(self) -> bool:
        """Whether received facts wait to be processed."""

    def is_connected(self) -> bool:
        """Whether polls are granted: what is notified now is heard now."""

    def is_healthy(self) -> bool:
        """Whether the session is connected and nothing is known to be missing."""

    def has_seen(self, chat_id: str) -> bool:
        """Whether this session received anything about that chat."""

    def mark_alive(self, at_ms: int) -> None:
        """Everything in the chats at this time had been received: the subscription was alive."""

    def rehandshake(self) -> None:
        """The subscription is dead although polls succeed: subscribe again."""


class Reconciler:
    """Compares the chats with the journal, and records what was missed.

    Args:
        account: whose chats.
        rest: where they are read.
        decoder: takes the dispositions out of them.
        record: stores an entry; returns once it is durable.
        differences: which observations would be new now.
        metrics: counts.
        now_ms: epoch milliseconds.
        interval_s: between two checks of a session that seems alive; 0 for none.
        uniform: source of randomness, `random.uniform` by signature.

    Attributes:
        subscription: what is known of the session; its receiver puts itself here.
    """

    subscription: Subscription

    def __init__(
        self,
        *,
        account: str,
        rest: Rest,
        decoder: NotificationDecoder,
        record: Callable[[Entry], Awaitable[None]],
        differences: Callable[[Sequence[Observation], int], Awaitable[Sequence[Difference]]],
        metrics: Metrics,
        now_ms: Callable[[], int],
        interval_s: float,
        uniform: Callable[[float, float], float] = THIS_HOST.random.uniform,
    ) -> None:
        self._account = account
        self._rest = rest
        self._decoder = decoder
        self._record = record
        self._differences = differences
        self._metrics = metrics
        self._now_ms = now_ms
        self._interval_s = interval_s
        self._uniform = uniform
        self._asked = Latch()
        self._reading = False
        self._missed = False
        self._owed = False
        self._log = log.bind(account=account)

    @property
    def is_due(self) -> bool:
        """Whether something may have been missed and the chats have not been reread yet."""
        return self._owed or (self._missed and (self._reading or self._asked.is_set()))

    def ask(self) -> None:
        """Something may have been missed: reread now."""
        self._missed = True
        self._asked.set()

    def check(self) -> None:
        """The very first subscription exists: reread now, since a change between `learn` and it was not notified.

        Found by a later check, it would look like the effect of a dead subscription.
        """
        self._asked.set()

    def owe(self) -> None:
        """Reread once the session has delivered what it still holds, which is older than the chats."""
        self._owed = True

    def polled(self) -> None:
        """The session holds nothing more."""
        if self._owed:
            self._owed = False
            self.ask()

    async def learn(self, *, prime: bool) -> None:
        """Before the very first subscription: store the chats' values, which the first notifications will change.

        Read later, a change notified at that moment would look like a known one.
        """
        asked_ms = self._now_ms()
        try:
            await self._compare(await self._rest.chats(), asked_ms, prime=prime)
        except ListenerError as exc:
            _raise_damage(exc)
            self._log.warning("chats_not_read", error=str(exc), effect="`previous` may be unknown at first")

    async def run(self) -> None:
        """Reread whenever asked to, and otherwise in intervals; until cancelled."""
        pause_s = self._interval_s * self._uniform(0.5, 1.0)  # spreads the accounts
        while True:
            if self._interval_s <= 0:
                await self._asked.wait()
            elif not await self._asked.within(pause_s):
                await self._check()
                pause_s = self._interval_s
                continue
            await self._after_gap()

    async def _after_gap(self) -> None:
        self._asked.clear()
        self._reading = True
        asked_ms = self._now_ms()
        try:
            chats = await self._rest.chats()
        except ListenerError as exc:
            self._count("failed")
            self._log.warning("reconciliation_failed", error=str(exc))
            await asyncio.sleep(_AGAIN_S)
            self._asked.set()
        else:
            await asyncio.sleep(_SETTLE_S)
            # What the server could not tell while polls failed is older than what the chats said, and comes first.
            while not self.subscription.is_connected():  # noqa: ASYNC110 - as coarse as the settling, and seldom
                await asyncio.sleep(_SETTLE_S)
            await self._compare(chats, asked_ms, prime=False)
            self._count("done")
            self._reading = False
            self._missed = self._asked.is_set()

    async def _check(self) -> None:
        """Compare while all seems well. Any difference was never notified: the subscription is dead."""
        if not self.subscription.is_healthy():
            return  # the gap in which this ends will reread
        asked_ms = self._now_ms()
        try:
            chats = await self._rest.chats()
            await asyncio.sleep(_SETTLE_S)
            news = await self._news(chats, asked_ms)
            if news:
                await asyncio.sleep(_CONFIRM_S)
                news = await self._news(chats, asked_ms)
        except ListenerError as exc:
            _raise_damage(exc)
            self._count("failed")
            self._log.warning("reconciliation_check_failed", error=str(exc))
            return
        if self._asked.is_set() or not self.subscription.is_healthy():
            return
        if not news:
            self._count("done")
            self.subscription.mark_alive(asked_ms)
            return
        await self._compare(chats, asked_ms, prime=False)
        self._count("different")
        self._report_dead([one for one in news if not self._arrived_with_it(one)])

    def _arrived_with_it(self, found: Difference) -> bool:
        """Whether the value may have come with the chat, by a transfer that the session did notify."""
        return not found.known and self.subscription.has_seen(found.observation.chat_id)

    def _report_dead(self, unreported: list[Difference]) -> None:
        if not unreported:
            return
        self._metrics.count("unreported_changes_total", len(unreported))
        self._log.error(
            "subscription_dead",
            unreported=len(unreported),
            effect="a new handshake; the time since the subscription was last seen alive is recorded as a gap",
        )
        self.subscription.rehandshake()

    async def _news(self, chats: Sequence[msgspec.Raw], asked_ms: int) -> Sequence[Difference]:
        """What the chats contain and nobody has notified so far."""
        await self._until_quiet()
        return await self._differences(self._observations(chats, asked_ms), self._now_ms())

    async def _compare(self, chats: Sequence[msgspec.Raw], asked_ms: int, *, prime: bool) -> None:
        """Record the chats after everything that is still on its way to the journal.

        It carries the time at which it was asked for: what has been heard since then is the newer of the two.
        """
        await self._until_quiet()
        async with self.subscription.turn:
            entry = Entry(
                account=self._account,
                observations=tuple(self._observations(chats, asked_ms)),
                origin_id=f"reread:{asked_ms}",
                compared_ms=self._now_ms(),
                prime=prime,
            )
            if entry.observations:
                await self._record(entry)

    def _observations(self, chats: Sequence[msgspec.Raw], asked_ms: int) -> list[Observation]:
        return self._decoder.decode_chats(chats, account=self._account, received_ms=asked_ms).observations

    async def _until_quiet(self) -> None:
        while self.subscription.pending() or self.subscription.turn.locked():  # noqa: ASYNC110 - nothing signals that nothing is pending
            await asyncio.sleep(_QUIET_S)

    def _count(self, result: str) -> None:
        self._metrics.count("reconciliations_total", 1, result)


def _raise_damage(exc: ListenerError) -> None:
    """A damaged journal is for the supervisor's next start; everything else passes."""
    if isinstance(exc, JournalDamaged):
        raise exc

"""Re-reading an account's chats: after each gap, and now and then to see whether the subscription is alive."""

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
_SETTLE_S = 0.5  # what was notified before the chats were read has arrived by then, and counts as the newer of the two
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
        """Whether something that was heard waits to be taken."""

    def is_connected(self) -> bool:
        """Whether polls are granted: what is notified now is heard now."""

    def is_healthy(self) -> bool:
        """Whether the session stands and nothing is known to be missing."""

    def has_seen(self, chat_id: str) -> bool:
        """Whether this session brought anything about that chat."""

    def mark_alive(self, at_ms: int) -> None:
        """What the chats said then was all that had been heard."""

    def rehandshake(self) -> None:
        """It is dead although polls succeed: begin anew."""


class Reconciler:
    """Compares what the chats say with what the journal knows, and puts on record what was missed.

    Args:
        account: whose chats.
        rest: where they are read.
        decoder: takes the dispositions out of them.
        record: stores an entry; returns once it is durable.
        differences: which of some observations would be news now.
        metrics: counts.
        now_ms: epoch milliseconds.
        interval_s: between two looks at a session that is believed to be alive; 0 for none.
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
        """Whether something may have been missed that the chats have not been asked for yet."""
        return self._owed or (self._missed and (self._reading or self._asked.is_set()))

    def ask(self) -> None:
        """Something may have been missed: re-read now."""
        self._missed = True
        self._asked.set()

    def check(self) -> None:
        """The very first subscription stands: re-read now, since a change between `learn` and it was not notified.

        Found later, by a look, it would seem to be the work of a dead subscription.
        """
        self._asked.set()

    def owe(self) -> None:
        """Re-read once the session has brought what it still holds, which is older than what the chats say."""
        self._owed = True

    def polled(self) -> None:
        """The session holds nothing more."""
        if self._owed:
            self._owed = False
            self.ask()

    async def learn(self, *, prime: bool) -> None:
        """Before the very first subscription: what the chats say now is what the first notifications follow on.

        Learned later, a change that is notified at that moment would look like one that was known.
        """
        asked_ms = self._now_ms()
        try:
            await self._compare(await self._rest.chats(), asked_ms, prime=prime)
        except ListenerError as exc:
            _raise_damage(exc)
            self._log.warning("chats_not_read", error=str(exc), effect="`previous` may be unknown at first")

    async def run(self) -> None:
        """Re-read whenever it is asked for, and while it is not, in intervals; until cancelled."""
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
        """Compare while all seems well. What is found then was never reported: the subscription is dead."""
        if not self.subscription.is_healthy():
            return  # the gap that this ends in will ask
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
        """Whether the value may have come with the chat, by a transfer, and the session did bring the chat."""
        return not found.known and self.subscription.has_seen(found.observation.chat_id)

    def _report_dead(self, unreported: list[Difference]) -> None:
        if not unreported:
            return
        self._metrics.count("unreported_changes_total", len(unreported))
        self._log.error(
            "subscription_dead",
            unreported=len(unreported),
            effect="a new handshake; the stretch since the subscription was last seen alive goes on record",
        )
        self.subscription.rehandshake()

    async def _news(self, chats: Sequence[msgspec.Raw], asked_ms: int) -> Sequence[Difference]:
        """What the chats said that nobody has heard of by now."""
        await self._until_quiet()
        return await self._differences(self._observations(chats, asked_ms), self._now_ms())

    async def _compare(self, chats: Sequence[msgspec.Raw], asked_ms: int, *, prime: bool) -> None:
        """What the chats said goes behind what is still on its way to the journal.

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
        while self.subscription.pending() or self.subscription.turn.locked():  # noqa: ASYNC110 - nothing signals that all is quiet
            await asyncio.sleep(_QUIET_S)

    def _count(self, result: str) -> None:
        self._metrics.count("reconciliations_total", 1, result)


def _raise_damage(exc: ListenerError) -> None:
    """A damaged journal is for the supervisor's next start; everything else passes."""
    if isinstance(exc, JournalDamaged):
        raise exc

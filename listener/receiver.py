"""One account: what its session reports becomes entries of the journal, and only then is the server told so."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
import structlog

from listener.cometd.facts import Batch, Cause, Certain, Fact, Polled, Regained, Rested, Trouble
from listener.errors import ListenerError
from listener.latch import Latch
from listener.metrics import Metrics
from listener.model import AccountStatus, Entry, Gap, SessionState, rfc3339
from listener.webservices.notifications import Harvest, NotificationDecoder

log = structlog.get_logger(__name__)

_STORE_EVERY_MS = 10_000  # how far the recorded certainty of an idle session may lag behind; bounds a gap after a crash
_QUIET_S = 0.01
_SETTLE_S = 0.5  # what was notified before the chats were read has arrived by then, and counts as the newer of the two


class Client(Protocol):
    """What the receiver needs of a CometD client."""

    async def run(self, *, disconnect: bool = False) -> None:
        """Keep the session alive until cancelled."""

    def facts(self) -> AsyncIterator[Fact]:
        """What happens, in order."""

    def pending(self) -> bool:
        """Whether facts wait to be taken."""

    async def rest(self) -> None:
        """End polling in order."""


class Rest(Protocol):
    """What the receiver needs of the REST API."""

    async def chats(self) -> Sequence[msgspec.Raw]:
        """The account's chats now. Raises ListenerError."""

    async def keepalive(self) -> None:
        """Keep the login from idling out. Raises ListenerError."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whose session this is; a saved one is continued only where all of it is the same."""

    account: str
    url: str
    topic: str


class Receiver:
    """One account's session, from facts to durable entries.

    Args:
        identity: the account, the CometD URL and the topic.
        client: the CometD client, not yet running.
        decoder: takes the dispositions out of notifications.
        record: stores an entry; returns once it is durable.
        rest: the REST API, None where the server has none.
        cookies: the jar's content, for the next process.
        saved: the session that the journal held at start.
        metrics: counts what came.
        now_ms: epoch milliseconds, for stamps.
        keepalive_s: pause between cheap requests that keep the login alive.
        disconnect_on_stop: end the session on the server instead of leaving it to the next process.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        client: Client,
        decoder: NotificationDecoder,
        record: Callable[[Entry], Awaitable[None]],
        rest: Rest | None,
        cookies: Callable[[], tuple[tuple[str, str, str, str], ...]],
        saved: SessionState | None,
        metrics: Metrics,
        now_ms: Callable[[], int],
        keepalive_s: float,
        disconnect_on_stop: bool,
    ) -> None:
        self._identity = identity
        self._client = client
        self._decoder = decoder
        self._record = record
        self._rest = rest
        self._cookies = cookies
        self._saved = saved
        self._metrics = metrics
        self._now_ms = now_ms
        self._keepalive_s = keepalive_s
        self._disconnect = disconnect_on_stop
        self._stored_ms = 0
        self._turn = asyncio.Lock()
        self._reread = Latch()
        self._rereading = False
        self._owed = False
        self._clean = False
        self._rested = Latch()
        self._ack = False
        self._subscribed = False
        self._since_ms: int | None = None
        self._epoch = 0
        self._gaps = 0
        self._last_error: str | None = None
        self._log = log.bind(account=identity.account)

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop` is set, then end in order; whatever dies here is raised."""
        await self._spend_clean()
        async with asyncio.TaskGroup() as tasks:
            name = self._identity.account
            polling = tasks.create_task(self._client.run(disconnect=self._disconnect), name=f"session {name}")
            listening = tasks.create_task(self._listen(), name=f"receiver {name}")
            helpers = [tasks.create_task(self._reread_chats(), name=f"reread {name}")]
            if self._rest is not None:
                helpers.append(tasks.create_task(self._stay_logged_in(self._rest), name=f"keepalive {name}"))
            await stop.wait()
            await self._client.rest()
            await self._rested.wait()
            polling.cancel()
            await asyncio.wait((polling,))  # the answer to a disconnect may bring events too: they are listened to
            for task in (listening, *helpers):
                task.cancel()

    async def _spend_clean(self) -> None:
        """A saved session is clean once: from now on an answer may be under way when the process dies."""
        if self._saved is not None and self._saved.clean:
            spent = msgspec.structs.replace(self._saved, clean=False)
            await self._record(Entry(account=self._identity.account, session=spent))

    async def learn_chats(self) -> None:
        """Before the very first subscription: what the chats say now is what the first notifications follow on.

        Learned later, a change that is notified at that moment would look like one that was known.
        """
        if self._rest is not None:
            asked_ms = self._now_ms()
            try:
                await self._compare(await self._rest.chats(), asked_ms, prime=True)
            except ListenerError as exc:
                self._log.warning("chats_not_learned", error=str(exc), effect="`previous` may be unknown at first")

    def status(self) -> AccountStatus:
        """The account at this moment."""
        return AccountStatus(
            account=self._identity.account,
            subscribed=self._subscribed,
            epoch=self._epoch,
            ack=self._ack,
            gaps=self._gaps,
            since_ms=self._since_ms,
            last_error=self._last_error,
        )

    async def _listen(self) -> None:
        async for fact in self._client.facts():
            async with self._turn:
                match fact:
                    case Batch():
                        await self._on_batch(fact)
                    case Certain():
                        await self._on_certain(fact)
                    case Polled():
                        await self._on_polled(fact)
                    case Trouble():
                        self._on_trouble(fact)
                    case Rested():
                        await self._on_rested(fact)

    async def _on_batch(self, batch: Batch) -> None:
        harvest = self._decoder.decode(batch.payloads, account=self._identity.account, received_ms=batch.at_ms)
        self._count(batch, harvest)
        if batch.resume is not None:
            self._set_subscribed(at_ms=batch.at_ms)
        if harvest.observations or (batch.resume is not None and self._store_is_due(batch.at_ms)):
            await self._record(
                Entry(
                    account=self._identity.account,
                    observations=tuple(harvest.observations),
                    session=self._session(batch),
                    origin_id=f"{batch.client_id}:{batch.number}",
                )
            )
        batch.confirm()

    def _count(self, batch: Batch, harvest: Harvest) -> None:
        """One step for all of a batch, so that received = forwarded + filtered + refused at every moment."""
        count = self._metrics.count
        refused = Counter(batch.refused) + harvest.refused if batch.refused else harvest.refused
        count("batches_total")
        count("notifications_received_total", len(batch.payloads) + sum(batch.refused.values()))
        count("notifications_forwarded_total", harvest.forwarded)
        for name, reasons in (("filtered", harvest.filtered), ("refused", refused)):
            for reason, amount in reasons.items():
                count(f"notifications_{name}_total", amount, reason)
        for field, amount in harvest.malformed.items():
            count("fields_malformed_total", amount, field)
        if refused:
            self._log.warning("notifications_refused", reasons=dict(refused), batch=batch.number)
        if batch.repeated:
            count("batches_repeated_total")

    async def _on_certain(self, fact: Certain) -> None:
        """The subscription stands: put the stretch before on record if something could have been missed in it."""
        since_ms = fact.since_ms or (self._saved.seen_ms if self._saved else None)
        gap = None
        if since_ms is not None and self._missed(fact):
            gap = self._gap(fact, since_ms)
        await self._record(Entry(account=self._identity.account, gap=gap, session=self._session(fact)))
        left_undone = fact.regained is Regained.RESUME and not (self._saved and self._saved.clean)
        if gap is not None:
            self._reread.set()
        elif left_undone:
            self._owed = True  # what the session still holds comes first: it is older than what the chats say
        self._went_up(fact, gap)

    def _missed(self, fact: Certain) -> bool:
        """Whether events may have gone by: a session that was never lost kept them in its queue."""
        if fact.regained is Regained.HANDSHAKE:
            return True
        if fact.cause is Cause.NO_ACK_CUT:
            return True
        return fact.regained is Regained.RESUME and not fact.ack and not (self._saved and self._saved.clean)

    def _gap(self, fact: Certain, since_ms: int) -> Gap:
        closed_by = "handshake" if fact.regained is Regained.HANDSHAKE else "poll"
        self._metrics.count("gaps_total", 1, fact.cause)
        self._metrics.count("gap_seconds_total", max(0, fact.at_ms - since_ms) / 1000)
        self._gaps += 1
        return Gap(
            account=self._identity.account,
            from_=rfc3339(min(since_ms, fact.at_ms)),
            to=rfc3339(fact.at_ms),
            reason=fact.cause,
            closed_by=closed_by,
        )

    def _went_up(self, fact: Certain, gap: Gap | None) -> None:
        if fact.regained is not Regained.POLL:
            self._epoch += 1
            name = "handshakes_total" if fact.regained is Regained.HANDSHAKE else "resumes_total"
            self._metrics.count(name)
        self._set_subscribed(at_ms=fact.at_ms)
        self._ack = fact.ack
        self._log.info(
            "subscribed",
            by=fact.regained,
            ack=fact.ack,
            gap=None if gap is None else f"{gap.from_} to {gap.to}",
        )

    async def _on_polled(self, fact: Polled) -> None:
        if fact.repeated:
            self._metrics.count("batches_repeated_total")
        self._set_subscribed(at_ms=fact.at_ms)
        if self._owed:
            self._owed = False
            self._reread.set()
        if self._store_is_due(fact.at_ms):
            await self._record(Entry(account=self._identity.account, session=self._session(fact)))

    def _store_is_due(self, at_ms: int) -> bool:
        return abs(at_ms - self._stored_ms) >= _STORE_EVERY_MS  # the clock may have been set back

    def _on_trouble(self, fact: Trouble) -> None:
        self._metrics.count("exchanges_failed_total", 1, fact.reason)
        self._last_error = f"{fact.reason}: {fact.text}"
        self._log.warning("session_trouble", reason=fact.reason, error=fact.text, retry_in_s=round(fact.retry_in_s, 2))
        if fact.retry_in_s and self._subscribed:
            self._subscribed = False
            self._metrics.add("sessions_subscribed", -1)

    async def _on_rested(self, fact: Rested) -> None:
        """Leave what the next process needs; `clean` tells it that nothing was under way and nothing is left to do."""
        self._clean = not (self._rereading or self._reread.is_set() or self._owed)
        session = self._session(fact)
        if session is not None and not self._disconnect:
            await self._record(Entry(account=self._identity.account, session=session))
        self._rested.set()

    def _set_subscribed(self, *, at_ms: int) -> None:
        if not self._subscribed:
            self._subscribed, self._since_ms, self._last_error = True, at_ms, None
            self._metrics.add("sessions_subscribed", 1)

    def _session(self, fact: Batch | Certain | Polled | Rested) -> SessionState | None:
        """Where the session stands, to be stored; None where there is nothing to continue."""
        resume = fact.resume
        if resume is None:
            return None
        self._stored_ms = fact.at_ms
        return SessionState(
            account=self._identity.account,
            url=self._identity.url,
            topic=self._identity.topic,
            client_id=resume.client_id,
            connection_type=resume.connection_type,
            ack=resume.ack,
            seen_ms=fact.at_ms if fact.certain_ms is None else fact.certain_ms,
            max_interval_ms=resume.max_interval_ms,
            cookies=self._cookies(),
            clean=self._clean,
        )

    async def _reread_chats(self) -> None:
        """After a gap, compare the chats with what the journal knows of them."""
        while True:
            await self._reread.wait()
            self._reread.clear()
            if self._rest is None:
                continue
            self._rereading = True
            asked_ms = self._now_ms()
            try:
                chats = await self._rest.chats()
            except ListenerError as exc:
                self._log.warning("reread_failed", error=str(exc))
                await asyncio.sleep(_STORE_EVERY_MS / 1000)
                self._reread.set()
            else:
                await asyncio.sleep(_SETTLE_S)
                await self._compare(chats, asked_ms, prime=False)
                self._rereading = False

    async def _compare(self, chats: Sequence[msgspec.Raw], asked_ms: int, *, prime: bool) -> None:
        """What the chats said goes behind what is still on its way to the journal.

        It carries the time at which it was asked for: what has been heard since then is the newer of the two.
        """
        while self._client.pending() or self._turn.locked():  # noqa: ASYNC110 - nothing signals that all is quiet
            await asyncio.sleep(_QUIET_S)
        async with self._turn:
            harvest = self._decoder.decode_chats(chats, account=self._identity.account, received_ms=asked_ms)
            entry = Entry(
                account=self._identity.account,
                observations=tuple(harvest.observations),
                origin_id=f"reread:{asked_ms}",
                compared_ms=self._now_ms(),
                prime=prime,
            )
            if entry.observations:
                await self._record(entry)

    async def _stay_logged_in(self, rest: Rest) -> None:
        """Whether a long poll refreshes the HTTP session is not documented: a cheap request now and then is certain."""
        while True:
            await asyncio.sleep(self._keepalive_s)
            try:
                await rest.keepalive()
            except ListenerError as exc:
                self._log.warning("keepalive_failed", error=str(exc))

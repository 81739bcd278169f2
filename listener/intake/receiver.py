"""One account: stores what its session reports in the journal, and only then acknowledges it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec
import structlog

from listener.cometd.client import BatchClient
from listener.cometd.facts import (
    Batch,
    Cause,
    Polled,
    PollingEnded,
    RestoredBy,
    SessionProblem,
    Subscribed,
    TopicsAnswered,
)
from listener.errors import ListenerError
from listener.intake.counting import count_batch
from listener.intake.gaps import Liveness, gap_between
from listener.intake.reconciliation import Reconciler, Rest
from listener.intake.topics import Identity, Topics
from listener.model.event import AccountStatus, Entry, Gap, SessionState
from listener.model.media import media_type_of
from listener.runtime.chore import Chore
from listener.runtime.clock import Moment
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.latch import Latch
from listener.runtime.metrics import Metrics
from listener.runtime.turn import Turn
from listener.webservices.notifications import DecodedBatch, NotificationDecoder
from listener.webservices.repeats import Repeats, SeenChats

log = structlog.get_logger(__name__)

_SILENT_S = 60.0  # any session may be
_STORE_EVERY_S = 10.0  # how far the stored time of an idle session may lag behind; limits a gap after a crash


class ReceiverOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a receiver.

    Attributes:
        resubscribe_s: at most so long after a subscription the session is subscribed again; 0 if it is not.
        keepalive_s: pause between cheap requests that keep the login alive.
        disconnect_on_stop: end the session on the server instead of leaving it to the next process.
        known_digests: of the notifications that an earlier process took last (see `Repeats`).
    """

    resubscribe_s: float = 0.0
    keepalive_s: float = 600.0
    disconnect_on_stop: bool = False
    known_digests: tuple[bytes, ...] = ()


class Receiver:
    """One account's session, from facts to durable entries.

    Where the server acknowledges, a session at rest keeps its poll open, since the server counts from the end of a poll
    for how long it keeps the session. What the poll brings is not taken, and comes again to the next process.

    Args:
        identity: the account, the CometD URL and the topics.
        client: the CometD client, not yet running.
        decoder: takes the dispositions out of notifications.
        record: stores an entry; returns once it is durable.
        submit: stores an entry; calls back once it is durable.
        rest: the REST API, None if the server has none.
        reconciler: rereads the chats over it.
        cookies: the jar's content, for the next process.
        saved: the session that the journal held at start.
        metrics: counts what came.
        options: see there.
        host: time, and since when its monotonic clock runs.

    Attributes:
        status: how the account stands; `on_status` is told each change of it. `repeats` is what it took last.
        rested: open once its state is stored and nothing of the session is processed any more.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        client: BatchClient,
        decoder: NotificationDecoder,
        record: Callable[[Entry], Awaitable[None]],
        submit: Callable[[Entry, Callable[[], None]], None],
        rest: Rest | None,
        reconciler: Reconciler | None,
        cookies: Callable[[], tuple[tuple[str, str, str, str], ...]],
        saved: SessionState | None,
        metrics: Metrics,
        options: ReceiverOptions,
        host: Host = THIS_HOST,
    ) -> None:
        self._identity = identity
        self._client = client
        self._decoder = decoder
        self._record = record
        self._submit = submit
        self._rest = rest
        self._cookies = cookies
        self._saved = saved
        self._metrics = metrics
        self._options = options
        self._host = host
        self._topics = Topics(identity.topics, saved, self._stored_moment(), doubt_s=options.resubscribe_s)
        self._stored_at: Moment | None = None
        self.turn = Turn()
        self.repeats = Repeats(options.known_digests)
        self.seen_chats = SeenChats()
        self._liveness = Liveness()
        self._dead_since: Moment | None = None
        self._was_dead = False
        self._reconciler = reconciler
        if reconciler is not None:
            reconciler.subscription = self
        self._tasks: asyncio.TaskGroup | None = None
        self._clean = self._stop_wanted = self._leaves_open = False
        self.rested = Latch()
        certain = self._stored_moment()
        self.status = AccountStatus(account=identity.account, certain_ms=certain.wall_ms if certain else None)
        self.on_status: Callable[[AccountStatus], None] | None = None
        self._last_fact_s = host.clock.monotonic_s()

    @property
    def _log(self) -> Any:
        return log.bind(account=self._identity.account)  # when there is something to tell: kept, it takes 500 bytes

    async def run(self) -> None:
        """Listen until `stop`, then come to rest; raises whatever fails.

        Returns at rest, or where a poll is left open, goes on doing nothing until it is cancelled.
        """
        await self._mark_unclean()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            name = self._identity.account
            polling = tasks.create_task(
                self._client.run(disconnect=self._options.disconnect_on_stop), name=f"session {name}"
            )
            chores = self._begin_chores(tasks)
            try:
                if self._stop_wanted:
                    self._end_polling(tasks)
                await self._listen()
            finally:
                for chore in chores:
                    chore.end()
            if not self._leaves_open:
                taking = tasks.create_task(self._listen(), name=f"receiver {name}")
                polling.cancel()
                await asyncio.wait((polling,))  # the answer to a disconnect may contain events too
                taking.cancel()
            self.rested.set()

    def stop(self) -> None:
        """Come to rest; `rested` tells when."""
        if self._tasks is not None and not self._stop_wanted:
            self._end_polling(self._tasks)
        self._stop_wanted = True

    def _end_polling(self, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(self._client.end_polling(), name=f"stop {self._identity.account}")

    def _begin_chores(self, tasks: asyncio.TaskGroup) -> list[Chore]:
        name, options, chores = self._identity.account, self._options, []
        if self._reconciler is not None:
            chores.append(self._reconciler.begin(tasks))
        elif options.resubscribe_s:
            # A server may drop a subscription in silence; without the REST API nothing would ever tell.
            chores.append(Chore(tasks, f"subscribe {name}", self.subscribe_again, every_s=options.resubscribe_s))
        if self._rest is not None:
            stay = partial(self._stay_logged_in, self._rest)
            chores.append(Chore(tasks, f"keepalive {name}", stay, every_s=options.keepalive_s))
        return chores

    async def _mark_unclean(self) -> None:
        """A saved session is clean only once: from now on an answer may be in flight when the process dies."""
        if self._saved is not None and self._saved.clean:
            spent = msgspec.structs.replace(self._saved, clean=False)
            await self._record(Entry(account=self._identity.account, session=spent))

    async def learn_chats(self) -> None:
        """Before the very first subscription: see `Reconciler.learn`. After a loss in the journal all is new."""
        if self._reconciler is not None:
            await self._reconciler.learn(prime=self._saved is None)

    def _stands(self, **changes: Any) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)
        if self.on_status is not None:
            self.on_status(self.status)

    def silence(self) -> tuple[float, float]:
        """For how long nothing has happened, and how long that may be; both 0 while a fact is dealt with."""
        if self.turn.locked():
            return 0.0, 0.0
        silent_s = self._host.clock.monotonic_s() - self._last_fact_s
        return silent_s, _SILENT_S if silent_s < _SILENT_S else self._client.max_silence_s()

    # --- for the reconciler: `reconciliation.Subscription` ---------------------------------------------------------

    def pending(self) -> bool:
        """Whether received facts wait to be processed."""
        return self._client.pending()

    def pause_s(self) -> float:
        """How long what the server has may wait for the next poll."""
        return self._client.pause_s()

    def is_connected(self) -> bool:
        """Whether polls succeed: no failure since the last one."""
        return self.status.subscribed

    def is_healthy(self) -> bool:
        """Whether the session is connected and nothing is known to be missing."""
        return self.is_connected() and self._dead_since is None and not (self._reconciler and self._reconciler.is_due)

    def is_heard(self, chat_id: str) -> bool:
        """Whether the topic of the interaction's medium is granted."""
        return media_type_of(chat_id) not in self._topics.unheard

    async def subscribe_again(self) -> bool:
        """Subscribe again in the living session; whether that was granted."""
        asked_at = await self._client.subscribe_again()
        if asked_at is not None:
            self._liveness.subscribed_again(asked_at)
        return asked_at is not None

    def polled_at(self) -> Moment | None:
        """When the last poll was sent that was answered."""
        return self._liveness.polled_at

    def suspect(self, polled_at: Moment | None) -> None:
        """Something in the chats was not told yet: a gap that comes before that is explained begins earlier."""
        self._liveness.suspect(polled_at)

    def trust(self) -> None:
        """Everything in the chats had been told."""
        self._liveness.trust()

    def found_dead(self, until: Moment | None) -> Gap | None:
        """Dead although polls succeeded, for an unknown time: the gap begins when it was last certain to be alive.

        Returns None if a new handshake has to follow: it could not be subscribed to again, or that did not help.
        """
        since = self._liveness.since
        if until is None or since is None or self._was_dead:
            self._dead_since = since
            self._client.rehandshake()
            return None
        self._was_dead = True
        self._liveness.trust()
        return self._gap(since, until, Cause.SUBSCRIPTION_LOST, "subscribe")

    # --- facts ----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Take facts until polling has ended."""
        async with aclosing(self._client.facts(self._take)) as facts:
            async for fact in facts:
                self._last_fact_s = self._host.clock.monotonic_s()
                await self.turn.acquire()
                match fact:
                    case Batch():
                        self._on_batch(fact)
                    case Polled():
                        self._on_polled(fact)
                    case Subscribed():
                        await self._on_subscribed(fact)
                    case TopicsAnswered():
                        await self._on_topics(fact)
                    case SessionProblem():
                        self._on_problem(fact)
                    case PollingEnded():
                        await self._on_polling_ended(fact)
                        return  # where the poll is left open, what follows belongs to the next process

    def _take(self, fact: Batch | Polled) -> bool:
        """Take the answer of a poll in the step in which it came; False if it is not our turn."""
        if not self.turn.take():
            return False
        self._last_fact_s = self._host.clock.monotonic_s()
        if isinstance(fact, Batch):
            self._on_batch(fact)
        else:
            self._on_polled(fact)
        return True

    # Each of these ends the turn, which began before: at once, or when what it stores is durable.

    def _on_batch(self, batch: Batch) -> None:
        decoded = self._decoder.decode(batch.payloads, account=self._identity.account, received_ms=batch.at.wall_ms)
        self.repeats.drop_repeats(decoded, more=batch.more)
        self._note(decoded, batch)
        if refused := count_batch(self._metrics, batch, decoded):
            self._log.warning("notifications_refused", reasons=dict(refused), batch=batch.number)
        if batch.resume is not None:
            self._set_subscribed(batch.at)
            if self._reconciler is not None and not batch.more:
                self._reconciler.polled()
        heard = decoded.forwarded > 0
        store = heard or (batch.resume is not None and self._store_is_due(batch.at))
        durable = partial(self._confirm, batch, useful=bool(decoded.observations))
        if not decoded.observations and not store:
            durable()
            return
        entry = Entry(
            account=self._identity.account,
            observations=tuple(decoded.observations),
            session=self._session(batch) if store else None,
            origin_id=f"{batch.client_id}:{batch.number}",
            as_of_s=batch.at.monotonic_s or 0.0,
        )
        self._submit(entry, durable)

    def _confirm(self, batch: Batch, *, useful: bool) -> None:
        """The batch is durable, or nothing of it has to be."""
        self.turn.release()
        batch.confirm(useful=useful)

    def _note(self, decoded: DecodedBatch, batch: Batch) -> None:
        """Note what the batch says about the subscription and about chats, apart from dispositions."""
        if self._reconciler is not None:
            self.seen_chats.add(decoded, batch.at.monotonic_s or 0.0)
            if decoded.chats and self._reconciler.is_due:
                # What a chat came with may have been set in the gap: that is for the re-reading to find.
                decoded.observations = [one for one in decoded.observations if not one.prime]
        heard = bool(decoded.chats or decoded.observations)
        self._liveness.polled(batch.subscribed, heard=heard)
        if heard:
            self._was_dead = False

    async def _on_subscribed(self, fact: Subscribed) -> None:
        """The subscription exists (again): record a gap if something could have been missed before."""
        since = self._gap_start(fact)
        gap = None
        if since is not None and self._missed(fact):
            closed_by = "handshake" if fact.restored_by is RestoredBy.HANDSHAKE else "poll"
            gap = self._gap(self._liveness.gap_start(since), fact.until or fact.at, fact.cause, closed_by)
            self._liveness.trust()
        await self._record(Entry(account=self._identity.account, gap=gap, session=self._session(fact)))
        if fact.restored_by is not RestoredBy.POLL:
            self.seen_chats.clear()
            self._dead_since = None
            self._liveness.begin(fact.subscribed or fact.at)
        if fact.restored_by is RestoredBy.RESUME and gap is None and since is not None:
            self._liveness.doubt(since.earlier(self._options.resubscribe_s))
        if self._reconciler is not None:
            if gap is not None:
                self._reconciler.ask()
            elif fact.restored_by is RestoredBy.HANDSHAKE:
                self._reconciler.check()
            elif fact.restored_by is RestoredBy.RESUME and not (self._saved and self._saved.clean):
                self._reconciler.owe()
        self._log_subscribed(fact, gap)
        self.turn.release()

    async def _on_topics(self, fact: TopicsAnswered) -> None:
        """Of what is heard again, the time since it was refused is a gap.

        The session that is stored next tells what is refused, and no more of what is heard again: until then the next
        process finds a gap that is no shorter.
        """
        trouble = self._topics.trouble
        again = self._topics.answered(fact)
        for medium, since in again:
            gap = self._gap(since, fact.at, Cause.TOPIC_REFUSED, "subscribe", media_type=medium)
            self._log.info("topic_granted", medium=medium, gap=f"{gap.from_} to {gap.to}")
            await self._record(Entry(account=self._identity.account, gap=gap))
        if again and self._reconciler is not None:
            self._reconciler.ask()
        if self._topics.trouble != trouble:
            self._stands(last_error=self._topics.trouble, unheard=self._topics.trouble)
            if self._topics.trouble:
                self._log.error("topic_refused", error=self._topics.trouble)
        self.turn.release()

    def _gap_start(self, fact: Subscribed) -> Moment | None:
        """When the subscription last certainly existed, or was last alive; None if there never was one."""
        if fact.since is None:
            return self._stored_moment()
        if fact.restored_by is RestoredBy.HANDSHAKE and self._dead_since is not None:
            return self._dead_since
        return fact.since

    def _stored_moment(self) -> Moment | None:
        """When an earlier process was last certain, by the monotonic clock too if the machine was not started since."""
        if self._saved is None:
            return None
        seen, is_same_boot = self._saved.seen_monotonic_ms, self._saved.boot == self._host.boot_id != ""
        return Moment(self._saved.seen_ms, seen / 1000 if seen is not None and is_same_boot else None)

    def _missed(self, fact: Subscribed) -> bool:
        """Whether events may have gone by: a session that was never lost kept them in its queue."""
        if fact.restored_by is RestoredBy.HANDSHAKE:
            return True
        if fact.cause is Cause.NO_ACK_CUT:
            return True
        return fact.restored_by is RestoredBy.RESUME and not fact.ack and not (self._saved and self._saved.clean)

    def _gap(self, since: Moment, until: Moment, cause: str, closed_by: str, **of: Any) -> Gap:
        gap = gap_between(since, until, account=self._identity.account, reason=cause, closed_by=closed_by, **of)
        length_s = max(0.0, since.seconds_to(until))
        self._metrics.count("gaps_total", 1, cause)
        self._metrics.count("gap_seconds_total", length_s)
        self._stands(gaps=self.status.gaps.plus(gap, length_s))
        return gap

    def _log_subscribed(self, fact: Subscribed, gap: Gap | None) -> None:
        begins = fact.restored_by is not RestoredBy.POLL
        if begins:
            self._metrics.count("handshakes_total" if fact.restored_by is RestoredBy.HANDSHAKE else "resumes_total")
        self._set_subscribed(fact.at, epoch=self.status.epoch + begins, ack=fact.ack)
        self._log.info(
            "subscribed",
            by=fact.restored_by,
            ack=fact.ack,
            gap=None if gap is None else f"{gap.from_} to {gap.to}",
        )

    def _on_polled(self, fact: Polled) -> None:
        if fact.repeated:
            self._metrics.count("batches_repeated_total")
        self._liveness.polled(fact.subscribed, heard=False)
        self._set_subscribed(fact.at)
        if self._reconciler is not None:
            self._reconciler.polled()
        if self._store_is_due(fact.at):
            self._submit(Entry(account=self._identity.account, session=self._session(fact)), self.turn.release)
        else:
            self.turn.release()

    def _store_is_due(self, at: Moment) -> bool:
        return self._stored_at is None or self._stored_at.seconds_to(at) >= _STORE_EVERY_S

    def _on_problem(self, fact: SessionProblem) -> None:
        self._metrics.count("exchanges_failed_total", 1, fact.reason)
        lost = bool(fact.retry_in_s) and self.status.subscribed
        certain = self._dead_since or self._liveness.polled_at
        changes = {"subscribed": False, "certain_ms": certain.wall_ms if certain else None} if lost else {}
        self._stands(last_error=f"{fact.reason}: {fact.text}", **changes)
        self._log.warning("session_problem", reason=fact.reason, error=fact.text, retry_in_s=round(fact.retry_in_s, 2))
        if lost:
            self._metrics.add("sessions_subscribed", -1)
        self.turn.release()

    async def _on_polling_ended(self, fact: PollingEnded) -> None:
        """Store what the next process needs; `clean` says that nothing was in flight and nothing is left to do."""
        self._clean = self._reconciler is None or not self._reconciler.is_due
        session = self._saved if fact.subscribed is None else self._session(fact)
        if session is not None and fact.resume is not None and not self._options.disconnect_on_stop:
            await self._record(Entry(account=self._identity.account, session=session))
            self._leaves_open = session.ack is not None
        self.turn.release()

    def _set_subscribed(self, at: Moment, **changes: Any) -> None:
        if not self.status.subscribed:
            self._metrics.add("sessions_subscribed", 1)
            changes |= {"subscribed": True, "since_ms": at.wall_ms, "certain_ms": None}
            changes["last_error"] = self._topics.trouble
        if changes:
            self._stands(**changes)

    def _session(self, fact: Batch | Subscribed | Polled | PollingEnded) -> SessionState | None:
        """Where the session stands, to be stored; None if there is nothing to continue."""
        if (resume := fact.resume) is None:
            return None
        self._stored_at = fact.at
        seen = fact.subscribed or fact.at
        return SessionState(
            account=self._identity.account,
            url=self._identity.url,
            topic=self._topics.text,
            client_id=resume.client_id,
            connection_type=resume.connection_type,
            ack=resume.ack,
            seen_ms=seen.wall_ms,
            seen_monotonic_ms=None if seen.monotonic_s is None else int(seen.monotonic_s * 1000),
            boot=self._host.boot_id,
            max_interval_ms=resume.max_interval_ms,
            cookies=self._cookies(),
            clean=self._clean,
            taken=resume.taken,
        )

    async def _stay_logged_in(self, rest: Rest) -> None:
        """It is undocumented whether a long poll refreshes the HTTP session: send a cheap request now and then."""
        try:
            await rest.keepalive()
        except ListenerError as exc:
            self._log.warning("keepalive_failed", error=str(exc))

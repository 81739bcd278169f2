"""The cycle of one session: handshake, subscribe, connect, for ever; failures are reported and retried."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, nullcontext, suppress
from typing import Any

from listener.cometd import messages as wire
from listener.cometd.certainty import Certainty
from listener.cometd.facts import Batch, Cause, Fact, Polled, PollingEnded, SessionProblem, Subscribed, TopicsAnswered
from listener.cometd.holding import HoldLimit
from listener.cometd.in_flight import MAX_BYTES_IN_FLIGHT, InFlight, Take
from listener.cometd.keep_alive import AUTH_STATUS, NOT_HONOURED, Exchange, KeepAlive
from listener.cometd.lease import Lease
from listener.cometd.pacing import NOT_HELD_PAUSE_S, Pacing
from listener.cometd.payloads import Payload, added, decode
from listener.cometd.protocol import Phase, Received, Request, Resume, Session, Step, Verdict
from listener.cometd.subscription import Restored, SubscriptionState
from listener.cometd.taken import PART_EVENTS
from listener.errors import ExchangeFailed, ListenerError, LoginRefused
from listener.runtime.backoff import Backoff
from listener.runtime.clock import Moment
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.latch import Latch
from listener.runtime.turn import Turn

_ENDED_BY_THE_SECOND = (500, 408)  # what CometD, old versions last, answers the older of two connects of a session with
_MOST_REPLIES = 100
_END_S, _FIRST_S = 5.0, 4.0


class Engine:
    """Keeps one session alive and reports what happens, as facts.

    It ends only by being cancelled or by a bug: every failure of server or network is reported as `SessionProblem` and
    answered with a pause. It outlives the transports that aiocometd makes for one client; each puts itself into
    `exchange`.

    Args:
        session: the protocol core.
        host: time and chance.
        login: logs in, raises ListenerError; None if the server has no login.
        spread_s: over how long the requests of all sessions are spread.
        certainty: see `Link`.
        handshake_backoff: pauses between handshakes of sessions that did not last.
    """

    def __init__(
        self,
        *,
        session: Session,
        host: Host = THIS_HOST,
        login: Callable[[], Awaitable[None]] | None = None,
        spread_s: float = 1.0,
        certainty: Certainty | None = None,
        handshake_backoff: Backoff | None = None,
    ) -> None:
        self.session = session
        self.exchange: Exchange
        self.connected = Latch()
        self._clock = clock = host.clock
        self._login = login
        self.login_first = False  # whether a session of an earlier process waits for a login all the same
        self._certainty = certainty
        self._logged_in = login is None
        self._handshake_backoff = handshake_backoff or Backoff(first_s=spread_s, uniform=host.random.uniform)
        self.lease = Lease(session=session, now_s=clock.monotonic_s, uniform=host.random.uniform, spread_s=spread_s)
        self._keep_alive = KeepAlive(session=session, lease=self.lease, login=login)
        self._in_flight = InFlight()
        self.subscription = SubscriptionState()
        self._numbered = clock.now_ms()  # above all numbers of an earlier process, which may have had this session
        self._multiple_clients = False
        self.pacing = Pacing()
        self._hold = HoldLimit()
        self._rehandshake_wanted = False
        self._ending = False
        self._turn = Turn()  # of the cycle's request under way, or one that has to come between polls

    # --- the user's side ------------------------------------------------------------------------------------------

    async def next_fact(self) -> Fact:
        """The next fact; cancelling loses none."""
        return await self._in_flight.next()

    def offer(self, take: Take) -> None:
        """Offer the answer of each poll to this first, in the step in which it came."""
        self._in_flight.take = take

    def pending(self) -> bool:
        """Whether facts wait to be taken."""
        return self._in_flight.pending()

    def rehandshake(self) -> None:
        """The subscription is dead although polls succeed: do a new handshake after the current poll."""
        self._rehandshake_wanted = True

    async def subscribe_again(self) -> Moment | None:
        """Subscribe again: a server may have dropped the subscription and gone on answering polls; None if refused.

        In CometD that is idempotent, and the answer tells nothing of what was before. Without acknowledgements it may
        carry events, and comes between polls: of two answers the younger may come first. Returns when it was asked for.
        """
        async with nullcontext() if self.session.ack_granted else self._turn:
            if self.session.phase is not Phase.CONNECTED or self._ending:
                return None
            asked_at = Moment.of(self._clock)
            try:
                received = await self._beside(self.session.subscribe_again())
            except ExchangeFailed as failure:
                self._report("subscribe_failed", str(failure), 0.0)
                return None
        await self._in_flight.drop_to(0)
        if received.verdict is Verdict.GRANTED:
            self._report_topics(asked_at)
            return asked_at
        self._report("subscribe_refused", received.error or "refused", 0.0)
        return None

    async def end_polling(self) -> None:
        """Stop polling so that nothing is lost, and report it.

        Without acknowledgements the server would write the next events into the answer of a connect that nobody reads.
        A second connect ends the first (CometD answers that with HTTP 500); it asks for an answer at once, and what
        either brings is reported in order. With acknowledgements, unread events are sent again. A websocket without
        them cannot stop cleanly: the server writes whenever it has something.
        """
        self._ending = True
        at_rest = self.subscription.is_untouched
        if self.session.phase is Phase.CONNECTED:
            with suppress(TimeoutError, ExchangeFailed):
                async with asyncio.timeout(_END_S):
                    at_rest = await self._end_poll()
        resume = self.session.snapshot(None) if at_rest and self.session.phase is not Phase.UNCONNECTED else None
        self._in_flight.put(PollingEnded(at=Moment.of(self._clock), resume=resume, subscribed=self.subscription.last))

    async def _end_poll(self) -> bool:
        if self.session.ack_granted:
            await self._in_flight.drop_to(0)
            return True
        if self.session.connection_type == wire.WEBSOCKET:
            return False
        asked_at, until_s = Moment.of(self._clock), asyncio.get_running_loop().time() + _FIRST_S
        await self._converse(self.session.keep_alive(), first_until_s=until_s)
        async with self._turn:
            return self.subscription.rested(asked_at)

    # --- the cycle ------------------------------------------------------------------------------------------------

    async def handshake(self) -> None:
        """Until there is a session; at once for one of an earlier process, which does not wait: see `login_first`."""
        if self.session.client_id is not None and not self.login_first:
            await self._log_in_once()
        elif not self._logged_in:
            await self.log_in()
        while self.session.phase is Phase.UNCONNECTED:
            await self.step()

    async def step(self) -> None:
        """One request of the cycle and all that follows from its answer."""
        await self._in_flight.wait_for_room()
        if self._certainty is not None and not self._ending:
            await self._certainty.before_request(self.session)
        await self._turn.acquire()
        if self._ending:
            self._turn.release()
            await asyncio.get_running_loop().create_future()  # whoever stops the polling ends the cycle
        if self._rehandshake_wanted:
            self._rehandshake_wanted = False
            self.session.expire()
            self.subscription.lost(Cause.SUBSCRIPTION_LOST)
        request = self.session.next_request()
        self.subscription.asked(Moment.of(self._clock))
        try:
            received = await self._alone(request)
            if not self._ending:
                await self._act_on(request, received)
        except ExchangeFailed as failure:
            if not self._ending:
                await self._failed(request, failure)
            elif failure.http_status not in _ENDED_BY_THE_SECOND:
                self.subscription.failed(cut=True)

    async def _alone(self, request: Request) -> Received:
        try:
            received = await self._converse(request)
        except ExchangeFailed as failure:
            if request.hold_ms and failure.maybe_lost and not self._ending:
                self._learn_hold(request.hold_ms, self._asked_for_s(), failure)
            raise
        else:
            self._hold.answered(held_s=self._asked_for_s())
            return received
        finally:
            self._turn.release()

    def _asked_for_s(self) -> float:
        """How long ago the request under way, or the last one, was sent."""
        return self._clock.monotonic_s() - (self.subscription.asked_at.monotonic_s or 0.0)

    def _learn_hold(self, advised_ms: int, held_s: float, failure: ExchangeFailed) -> None:
        """Ask for shorter polls where something in between cuts those of this length."""
        told = self._hold.failed(held_s=held_s, advised_ms=advised_ms, http_status=failure.http_status)
        if told:
            self.session.hold_limit_ms = self._hold.limit_ms
            self._report("hold_shortened", f"{told}: {failure}", 0.0)

    async def single(self, request: Request) -> dict[str, Any]:
        """One request beside the cycle; its reply as aiocometd reads it, what came durable. Raises ExchangeFailed."""
        received = await self._beside(request)
        await self._in_flight.drop_to(0)
        answer = {"channel": request.payload[0]["channel"], "successful": received.verdict is Verdict.GRANTED}
        return answer if answer["successful"] else {**answer, "error": received.error}

    async def _beside(self, request: Request) -> Received:
        last = self.subscription.last
        try:
            return await self._converse(request)
        except ExchangeFailed as failure:
            if self.session.may_have_lost(request, failure):
                self.subscription.doubted(since=last, until=Moment.of(self._clock) if failure.answered else None)
            raise

    async def log_in(self) -> None:
        """Until the server grants a login."""
        while not await self._log_in_once():
            pass

    async def _log_in_once(self) -> bool:
        """One login; a failure is reported and paused after, as long as the session allows."""
        if self._login is None:
            return True
        try:
            await self._login()
        except ListenerError as refused:
            self.subscription.lost(Cause.LOGIN if isinstance(refused, LoginRefused) else Cause.NETWORK)
            asked_s = getattr(refused, "retry_after_s", None) or 0.0
            if not isinstance(refused, LoginRefused):
                await self._pause("login_failed", str(refused), asked_s=asked_s)
                return False
            wait_s = self.lease.tried_login()
            # A session that may live must not wait for as long.
            await self._pause("login_refused", str(refused), at_least_s=0.0 if self.lease.may_live() else wait_s)
            return False
        self._logged_in = True
        return True

    async def _converse(self, request: Request, *, first_until_s: float | None = None) -> Received:
        """Send a request, report what comes, and return what its reply means."""
        replies: list[wire.Message] = []
        answer = await self.exchange(request)
        if first_until_s is not None:  # what answers the first of two is older, and may come later
            await self._turn.rest(first_until_s)
        if isinstance(answer, Payload):
            received = await self._take(request, answer, replies)
            if received.verdict is not Verdict.UNANSWERED:
                return received
        else:
            async with aclosing(answer) as payloads:
                async for payload in payloads:
                    if not payload.whole:
                        await self._take_fragment(payload)
                        continue
                    received = await self._take(request, payload, replies)
                    if received.verdict is not Verdict.UNANSWERED or self._may_stop(payload):
                        return received
        raise ExchangeFailed("the answer holds no reply to the request", answered=True)

    def _may_stop(self, payload: Payload) -> bool:
        """Whether an answer may be left in the middle: polling ends, and what is not taken yet comes again."""
        return self._ending and payload.more and self.session.ack_granted

    async def _take(self, request: Request, payload: Payload, replies: list[wire.Message]) -> Received:
        """Decode one payload and take it part by part; `replies` keeps what is no event until the answer is whole."""
        envelope = await decode(payload)
        messages, refused, size = envelope.messages, envelope.refused, len(payload.body)
        if payload.more or len(messages) > PART_EVENTS:
            replies += [message for message in messages if not message.is_event][: _MOST_REPLIES - len(replies)]
            messages = [message for message in messages if message.is_event]
        while (payload.more and (messages or refused)) or len(messages) > PART_EVENTS:
            received = await self._take_part(request, messages[:PART_EVENTS], refused, size)
            messages, refused, size = messages[PART_EVENTS:], {}, 0
            if self._may_stop(payload):
                return received
            await asyncio.sleep(0)
        if payload.more:
            return Received(verdict=Verdict.UNANSWERED, events=[])
        return await self._take_part(request, [*replies, *messages] if replies else messages, refused, size)

    async def _take_part(
        self, request: Request, messages: list[wire.Message], refused: dict[str, int], size: int
    ) -> Received:
        """Report the events of a part, and wait until they are durable."""
        client_id, at = self.session.client_id, Moment.of(self._clock)
        received = self.session.receive(request, messages)
        polled = request.step is Step.CONNECT and received.verdict is Verdict.GRANTED
        if polled and not (self._ending and self.subscription.cut):  # that is left to who goes on with the session
            self._on_connected(at)
        refused = added(refused, received.refused)
        if received.events or refused:
            resume = self._resume(request, received, polled=polled)
            await self._hand_out(received, refused, client_id or "", at, resume, size)
        elif polled:
            self.session.confirm(received.ack)
            last = self.subscription.last
            self._in_flight.put(Polled(at=at, resume=self._snapshot(), repeated=received.repeated, subscribed=last))
        return received

    def _resume(self, request: Request, received: Received, *, polled: bool) -> Resume | None:
        """What to store with a part: of an answer that has not come whole, how much is taken.

        Not before a new session is reported: the gap before it has to be on record first.
        """
        if polled:
            return self.session.snapshot(received.ack)
        of_a_poll = request.step is Step.CONNECT and received.verdict is Verdict.UNANSWERED
        if of_a_poll and self.session.ack_granted and not self.subscription.is_new:
            return self.session.snapshot(None)
        return None

    async def _take_fragment(self, payload: Payload) -> None:
        """A cut response: without acknowledgements, its content would not be sent again."""
        if self.session.ack_granted:
            return
        envelope = await decode(payload)
        events, not_ours = self.session.heard(envelope.messages)
        refused, size = added(envelope.refused, not_ours), len(payload.body)
        while events or refused:
            received = Received(verdict=Verdict.UNANSWERED, events=events[:PART_EVENTS])
            client_id, at = self.session.client_id or "", Moment.of(self._clock)
            await self._hand_out(received, refused, client_id, at, None, size)
            events, refused, size = events[PART_EVENTS:], {}, 0

    async def _hand_out(
        self, received: Received, refused: dict[str, int], client_id: str, at: Moment, resume: Resume | None, size: int
    ) -> None:
        """Report events as one batch; return when durable, or earlier if waiting would lose more."""
        self._numbered += 1
        durable, count = self._in_flight.add_bytes(size)

        def confirm(*, useful: bool = True) -> None:
            if self.session.client_id == client_id:
                self.session.confirm(received.ack)  # at once: a session that stops now continues with this number
            self.pacing.heard(useful=useful)
            count()

        self._in_flight.put(
            Batch(
                payloads=[message.data for message in received.events],
                refused=refused,
                repeated=received.repeated,
                at=at,
                number=received.ack if received.ack is not None else self._numbered,
                client_id=client_id,
                resume=resume,
                confirm=confirm,
                more=received.verdict is Verdict.UNANSWERED,
                subscribed=self.subscription.last,
            )
        )
        if not self.session.ack_granted:
            await self._in_flight.drop_to(MAX_BYTES_IN_FLIGHT)
            return
        await self._keep_alive.until(durable, client_id, self.exchange)

    def _on_connected(self, at: Moment) -> None:
        """A connect was granted: report it if the subscription was lost before."""
        self.lease.renewed()
        restored = self.subscription.restored()
        if restored is None:
            self._handshake_backoff.reset()  # this session lasted for more than its first connect
        else:
            self._report_restored(restored, at)
        self.connected.set()

    def _report_restored(self, restored: Restored, at: Moment) -> None:
        self._in_flight.put(
            Subscribed(
                at=at,
                since=restored.since,
                until=restored.until,
                restored_by=restored.restored_by,
                cause=restored.cause,
                ack=self.session.ack_granted,
                resume=self._snapshot(),
                subscribed=self.subscription.last,
            )
        )

    def _report_topics(self, asked_at: Moment) -> None:
        """Of several topics some may be refused; of one, that would be the subscription."""
        if len(self.session.topics) > 1:
            at, refused, is_new = Moment.of(self._clock), dict(self.session.refused_topics), self.subscription.is_new
            self._in_flight.put(TopicsAnswered(at=at, asked_at=asked_at, refused=refused, is_new=is_new))

    def _report_beginning(self, request: Request) -> None:
        """A connect was not granted: a session that has just begun is reported all the same, so that it is stored."""
        if request.step is Step.CONNECT and (begun := self.subscription.begun()) is not None:
            self._report_restored(begun, Moment.of(self._clock))

    def _snapshot(self) -> Resume:
        snapshot = self.session.snapshot(None)
        assert snapshot is not None  # noqa: S101 - a connect was granted, so there is a client id
        return snapshot

    # --- what follows from an answer ------------------------------------------------------------------------------

    async def _act_on(self, request: Request, received: Received) -> None:
        """Act on the verdict: take an advised pause, or a growing one."""
        if received.multiple_clients and not self._multiple_clients:
            self._multiple_clients = True
            self._report("multiple_clients", "another session shares this cookie jar: the server asks for pauses", 0.0)
        match received.verdict:
            case Verdict.GRANTED if request.step is Step.CONNECT:
                await self._before_next_poll(idle=not received.events)
            case Verdict.GRANTED if request.step is Step.HANDSHAKE:
                await self._on_handshake()
            case Verdict.GRANTED if request.step is Step.SUBSCRIBE:
                self.subscription.granted()
                self._report_topics(self.subscription.asked_at)
            case Verdict.EXPIRED | Verdict.ENDED:
                self.subscription.lost(Cause.SESSION_EXPIRED)
                text = received.error or "the server asks for a new handshake"
                await self._pause(received.verdict.value, text, refused=True)
            case Verdict.UNAUTHORIZED:
                self._report_beginning(request)
                await self._unauthorized(f"{request.step.value}_refused", received.error or "refused")
            case Verdict.REFUSED:
                self._report_beginning(request)
                self._give_up_if_over()
                await self._pause(f"{request.step.value}_refused", received.error or "refused", refused=True)

    async def _before_next_poll(self, *, idle: bool) -> None:
        took_ms = round(self._asked_for_s() * 1000)
        delay_s = self.pacing.pause_s(idle=idle, took_ms=took_ms, interval_ms=self.session.interval_ms)
        if self.pacing.has_slowed_down():
            text = f"the server answers polls at once, with nothing of use: from now on one every {NOT_HELD_PAUSE_S} s"
            self._report("not_held", text, 0.0)
        if (told := self.lease.interval_cut_short()) is not None:
            self._report("interval_too_long", told, 0.0)
        if delay_s:
            await self._clock.sleep(delay_s)

    async def _on_handshake(self) -> None:
        """A handshake was granted; it is in vain if the server lacks the configured transport."""
        if lack := self.session.lack:
            self.session.expire()
            await self._pause("handshake_refused", lack, refused=True)
            return
        self.lease.began()
        self.subscription.session_began()
        self._multiple_clients = False

    async def _failed(self, request: Request, failure: ExchangeFailed) -> None:
        """The one place that decides what a failed exchange means."""
        self._report_beginning(request)
        if failure.maybe_lost and failure.http_status is None and request.hold_ms:
            self.lease.unanswered(max(0.0, request.hold_ms / 1000 - self._asked_for_s()))
        self.session.fail(request)
        doubted = self.session.may_have_lost(request, failure)
        asked_s = failure.retry_after_s or 0.0
        self.subscription.failed(cut=doubted, refused=failure.http_status in AUTH_STATUS)
        if failure.http_status in AUTH_STATUS:
            await self._unauthorized("unauthorized", str(failure), asked_s=asked_s)
        elif self._login is not None and self.lease.suspects_login(failure):
            self.lease.tried_login()
            await self._log_in_once()
        else:
            await self._pause(failure.reason, str(failure), asked_s=asked_s)

    async def _unauthorized(self, reason: str, text: str, *, asked_s: float = 0.0) -> None:
        """401 or 403: log in and try the same session; a new handshake would discard its queue."""
        self.lease.failed()
        if self._login is None or self.lease.login_in_vain:  # what a login may save is not over before
            self._give_up_if_over()
        if self._login is None or not self.lease.may_log_in():
            text = f"{text}, {NOT_HONOURED}" if self.lease.login_in_vain else text
            await self._pause(reason, text, asked_s=asked_s, refused=True)
        elif await self._log_in_once():
            self.lease.logged_in()

    def _give_up_if_over(self) -> None:
        """The session is refused, and cannot be alive any more: the next request is a handshake."""
        if self.session.phase is not Phase.UNCONNECTED and self.lease.is_over():
            self.session.expire()
            self.subscription.lost(Cause.SESSION_EXPIRED)

    async def _pause(
        self, reason: str, text: str, *, asked_s: float = 0.0, at_least_s: float = 0.0, refused: bool = False
    ) -> None:
        """Report the problem and wait: handshakes that are refused have a backoff of their own, to avoid a storm."""
        self.connected.clear()
        self.lease.failed()
        handshake_next = self.session.phase is Phase.UNCONNECTED
        pause_s = self._handshake_backoff.next() if refused and handshake_next else self.lease.pause_s()
        delay_s = max(pause_s, at_least_s, self.lease.obeyed_s(asked_s, refused=refused))
        self._report(reason, text, delay_s)
        await self._clock.sleep(delay_s)

    def _report(self, reason: str, text: str, retry_in_s: float) -> None:
        self._in_flight.put(SessionProblem(reason=reason, text=text, retry_in_s=retry_in_s))

"""The cycle over a scripted server and a clock that moves by hand: what is asked when, and which facts come of it."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

import pytest

from listener.cometd.engine import Engine
from listener.cometd.facts import Batch, Cause, Fact, Polled, PollingEnded, RestoredBy, SessionProblem, Subscribed
from listener.cometd.in_flight import MAX_BYTES_IN_FLIGHT
from listener.cometd.payloads import Payload, Payloads
from listener.cometd.protocol import Phase, Request, Resume, Session, Step
from listener.cometd.taken import PART_EVENTS
from listener.errors import ExchangeFailed, ListenerError, LoginRefused, NoBayeux, Unreachable
from listener.runtime.clock import Moment
from listener.runtime.host import Host
from listener.testing import ManualClock
from support.script import TOPIC, UNKNOWN, Script, event, large, more, piece, reply

pytestmark = pytest.mark.virtual

F = TypeVar("F", bound=Fact)
DENIED = reply(successful=False, error="403::Handshake denied", advice={"reconnect": "none", "interval": 0})
REFUSED = reply(successful=False, error="500::busy")
AUTHENTICATION = reply(successful=False, error="401::Authentication invalid")
BROKEN = ExchangeFailed("connection reset")
UNREACHED = ExchangeFailed("connection refused", maybe_lost=False)


class Dice(random.Random):
    """Chance as a test wants it."""

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        super().__init__(7)
        self._uniform = uniform

    def uniform(self, a: float, b: float) -> float:
        return self._uniform(a, b)


class World:
    """One engine at work on one script."""

    def __init__(
        self,
        stack: AsyncExitStack,
        *,
        ack: bool = False,
        connection_type: str = "long-polling",
        login: Callable[[], Awaitable[None]] | None = None,
        resume: Resume | None = None,
        uniform: Callable[[float, float], float] = lambda _, high: high,
        start_ms: int = 1_800_000_000_000,
    ) -> None:
        self.clock = ManualClock(start_ms=start_ms)
        self.script = Script(ack=ack, connection_type=connection_type)
        session = Session(topics=[TOPIC], connection_type=connection_type)
        if resume is not None:
            session.resume(resume)
        self.engine = Engine(
            session=session,
            host=Host(clock=self.clock, random=Dice(uniform)),
            login=login,
        )
        self.engine.exchange = self.script.exchange
        self._stack = stack

    def start(self) -> "World":
        task = asyncio.create_task(self._run(), name="engine under test")

        async def end() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        self._stack.push_async_callback(end)
        return self

    async def _run(self) -> None:
        await self.engine.handshake()
        while True:
            await self.engine.step()

    async def fact(self, kind: type[F], **expected: Any) -> F:
        """The next fact, which is of this kind and says this."""
        async with asyncio.timeout(5):
            found = await self.engine.next_fact()
        assert isinstance(found, kind), found
        assert {name: getattr(found, name) for name in expected} == expected
        return found

    async def certain(self, **expected: Any) -> Subscribed:
        """The next two facts: certainty, and the empty poll that brought it."""
        found = await self.fact(Subscribed, **expected)
        await self.fact(Polled)
        return found

    async def batch(self, *numbers: int) -> Batch:
        found = await self.fact(Batch)
        assert [json.loads(bytes(payload))["n"] for payload in found.payloads] == list(numbers)
        return found

    async def pass_time(self, seconds: float) -> None:
        """Let the engine come to rest, and the clock go on in steps of a quarter of a second."""
        for _ in range(int(seconds * 4)):
            for _ in range(20):
                await asyncio.sleep(0)
            self.clock.advance(0.25)

    async def wait_and_advance(self, seconds: float) -> None:
        """Once the engine sleeps, advance the clock."""
        async with asyncio.timeout(5):
            await self.clock.wait_for_sleepers()
        self.clock.advance(seconds)

    def nothing_more(self) -> bool:
        return not self.engine.pending()


Make = Callable[..., World]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:
        yield lambda **options: World(stack, **options)


# --- the first way ----------------------------------------------------------------------------------------------------


async def test_a_session_begins_with_handshake_subscription_and_a_connect_at_once(make: Make):
    world = make().start()
    fact = await world.certain(restored_by=RestoredBy.HANDSHAKE, cause=Cause.RESTART, since=None, ack=False)
    assert fact.resume == Resume(client_id="c1", connection_type="long-polling", ack=None)
    await world.script.asked(4)
    assert world.script.steps == [Step.HANDSHAKE, Step.SUBSCRIBE, Step.CONNECT, Step.CONNECT]
    assert [connect.get("advice") for connect in world.script.connects] == [{"timeout": 0}, None]
    assert world.clock.sleepers == 0


async def test_one_connect_is_in_flight_at_a_time(make: Make):
    world = make().start()
    await world.certain()
    for n in range(20):
        await world.script.asked(4 + n)
        world.script.publish(n)
        (await world.batch(n)).confirm()
    assert world.script.most_held == 1


async def test_the_very_first_connect_may_carry_events(make: Make):
    world = make()
    world.script.then(reply(event(1)), step=Step.CONNECT)
    world.start()
    await world.fact(Subscribed)
    (await world.batch(1)).confirm()
    await world.script.asked(4)


async def test_events_on_the_answer_to_a_subscription_are_handed_out_but_make_nothing_certain(make: Make):
    world = make()
    world.script.then(reply(event(1)), step=Step.SUBSCRIBE)
    world.start()
    batch = await world.batch(1)
    assert batch.resume is None
    batch.confirm()
    await world.certain(restored_by=RestoredBy.HANDSHAKE)


async def test_cancelling_a_wait_for_a_fact_loses_none(make: Make):
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    for n in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.engine.next_fact(), 0.005)
        world.script.publish(n)
        (await world.batch(n)).confirm()
        await world.script.asked(5 + n)


# --- acknowledgements -------------------------------------------------------------------------------------------------


async def test_a_batch_is_acknowledged_by_the_connect_after_its_confirmation(make: Make):
    world = make(ack=True).start()
    await world.certain(ack=True)
    await world.script.asked(4)
    world.script.publish(1, 2)
    batch = await world.batch(1, 2)
    assert (batch.number, batch.client_id) == (2, "c1")
    assert batch.resume == Resume(client_id="c1", connection_type="long-polling", ack=2)
    assert len(world.script.requests) == 4, "the next connect waits for the confirmation"
    batch.confirm()
    await world.script.asked(5)
    assert [connect["ext"]["ack"] for connect in world.script.connects] == [-1, 1, 2]


async def test_empty_replies_are_acknowledged_at_once(make: Make):
    world = make(ack=True).start()
    await world.certain()
    for n in range(3):
        await world.script.asked(4 + n)
        world.script.end_hold()
        assert (await world.fact(Polled)).resume.ack == n + 2
    await world.script.asked(7)
    assert [connect["ext"]["ack"] for connect in world.script.connects] == [-1, 1, 2, 3, 4]


async def test_while_a_batch_is_not_durable_the_session_is_kept_alive_and_nothing_is_lost_or_doubled(make: Make):
    world = make(ack=True)
    world.engine.session.advise({"maxInterval": 300})
    world.start()
    await world.certain()
    await world.script.asked(4)
    world.script.publish(1)
    batch = await world.batch(1)
    world.script.publish(2)
    await world.script.asked(7)
    kept = world.script.connects[2:5]
    assert {connect["ext"]["ack"] for connect in kept} == {1}, "nothing new is acknowledged"
    assert all(connect["advice"] == {"timeout": 0} for connect in kept)
    assert world.nothing_more()
    batch.confirm()
    (await world.batch(2)).confirm()
    await world.script.asked(len(world.script.requests) + 1)
    assert world.nothing_more()


async def test_without_acknowledgements_polls_go_on_while_little_is_not_durable(make: Make):
    """A session that fell silent would be swept, with all that waits for it."""
    world = make()
    world.start()
    await world.certain()
    await world.script.asked(4)
    world.script.publish(1)
    first = await world.batch(1)
    await world.script.asked(5)
    world.script.publish(2)
    second = await world.batch(2)
    await world.script.asked(6)
    first.confirm()
    second.confirm()


async def test_without_acknowledgements_no_connect_is_sent_while_much_is_not_durable(make: Make):
    """What it brought could not be left to come again, and memory has an end."""
    world = make()
    world.start()
    await world.certain()
    await world.script.asked(4)
    large = {"channel": TOPIC, "data": {"n": 1, "filler": "x" * MAX_BYTES_IN_FLIGHT}}
    world.script.then(reply(large), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    batch = await world.fact(Batch)
    await asyncio.sleep(0.3)
    assert len(world.script.requests) == 5
    batch.confirm()
    await world.script.asked(6)


async def test_a_login_that_runs_out_while_a_batch_is_not_durable_is_renewed_once(make: Make):
    logins = 0

    async def login() -> None:
        nonlocal logins
        logins += 1
        if logins > 1:
            raise LoginRefused("no more")

    world = make(ack=True, login=login)
    world.engine.session.advise({"maxInterval": 300})
    world.start()
    await world.certain()
    await world.script.asked(4)
    world.script.publish(1)
    batch = await world.batch(1)
    world.script.always(Step.CONNECT, ExchangeFailed("HTTP 403", http_status=403))
    await world.script.asked(8)
    assert logins == 2
    world.script.always(Step.CONNECT, None)
    batch.confirm()


async def test_a_session_that_dies_while_a_batch_is_not_durable_leaves_a_gap(make: Make):
    world = make(ack=True)
    world.engine.session.advise({"maxInterval": 300})
    world.start()
    await world.certain()
    await world.script.asked(4)
    world.script.publish(1)
    batch = await world.batch(1)
    world.script.then(reply(**UNKNOWN), step=Step.CONNECT)
    await world.script.asked(5)
    await asyncio.sleep(0.15)
    batch.confirm()
    await world.certain(restored_by=RestoredBy.HANDSHAKE, cause=Cause.SESSION_EXPIRED)
    assert world.script.connects[-1]["ext"]["ack"] != 2, "the number of a session that is over means nothing"


async def test_a_repeated_batch_is_told_and_not_handed_out(make: Make):
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.publish(1)
    batch = await world.batch(1)
    world.script.then(reply(event(1), ext={"ack": 2}), step=Step.CONNECT)
    batch.confirm()
    await world.fact(Polled, repeated=1)


# --- answers that come in slices --------------------------------------------------------------------------------------


async def test_of_a_large_answer_each_slice_is_stored_and_its_number_is_told_once_all_are(make: Make):
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.then((piece(large(1)), piece(large(2)), reply(event(3), ext={"ack": 3})), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    first = await world.batch(1)
    assert first.resume is not None
    assert (first.resume.ack, len(first.resume.taken)) == (2, 1)
    assert world.nothing_more(), "the next slice is not read before this one is durable"
    first.confirm()
    (await world.batch(2)).confirm()
    last = await world.batch(3)
    assert last.resume is not None
    assert (last.resume.ack, last.resume.taken) == (3, ())
    last.confirm()
    await world.script.asked(6)
    assert world.script.connects[-1]["ext"]["ack"] == 3


async def test_the_number_may_stand_ahead_of_the_events(make: Make):
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    ahead = lambda request: [*reply(ext={"ack": 3})(request), large(1)]  # noqa: E731 - as short as the other answers
    world.script.then((more(ahead), piece(large(2)), b"[]"), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    for n in (1, 2):
        (await world.batch(n)).confirm()
    await world.fact(Polled)
    await world.script.asked(6)
    assert world.script.connects[-1]["ext"]["ack"] == 3


async def test_an_answer_that_is_cut_half_way_and_sent_again_is_exact_even_if_its_events_are_alike(make: Make):
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.then(
        (piece(large(1)), piece(large(1)), BROKEN),
        (piece(large(1)), BROKEN),
        (piece(large(1), large(1), large(1)), piece(large(1)), reply(event(2), ext={"ack": 5})),
        step=Step.CONNECT,
    )
    world.script.end_hold()
    await world.fact(Polled)
    for _ in range(2):
        (await world.batch(1)).confirm()
    await world.fact(SessionProblem, reason="network")
    await world.wait_and_advance(1)
    await world.fact(SessionProblem, reason="network")
    await world.wait_and_advance(1)
    for n in (1, 1, 2):  # the third and the fourth that look the same, and what is new
        (await world.batch(n)).confirm()
    await world.script.asked(8)
    assert [connect["ext"]["ack"] for connect in world.script.connects[2:]] == [2, 2, 2, 5]
    assert world.nothing_more()


async def test_what_comes_again_in_other_words_is_taken_again(make: Make):
    """A digest that does not fit tells nothing about what it belongs to: twice is better than never."""
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.then((piece(large(1)), BROKEN), (piece(event(7)), reply(large(1), ext={"ack": 5})), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    (await world.batch(1)).confirm()
    await world.fact(SessionProblem)
    await world.wait_and_advance(1)
    await world.batch(7, 1)


async def test_what_an_earlier_process_took_of_an_answer_is_not_taken_again(make: Make):
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.then((piece(large(1)), piece(large(2)), piece(large(3))), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    (await world.batch(1)).confirm()
    resume = (await world.batch(2)).resume
    later = make(ack=True, resume=resume)
    later.script.then((piece(large(1)), piece(large(2)), piece(large(3)), reply(ext={"ack": 3})), step=Step.CONNECT)
    later.start()
    await later.batch(3)


async def test_a_session_that_is_new_is_not_stored_before_the_gap_that_it_ends(make: Make):
    world = make(ack=True)
    world.script.then((piece(large(1)), reply(ext={"ack": 1})), step=Step.CONNECT)
    world.start()
    batch = await world.batch(1)
    assert batch.resume is None
    batch.confirm()
    await world.fact(Subscribed, restored_by=RestoredBy.HANDSHAKE)


async def test_without_acknowledgements_slices_are_taken_as_they_come_and_a_cut_loses_only_the_rest(make: Make):
    world = make()
    rest = Payload(json.dumps([event(3), event(4)]).encode()[:-5], whole=False)
    world.script.then(reply(), (piece(large(1)), piece(large(2)), rest), step=Step.CONNECT)
    world.start()
    await world.certain()
    for n in (1, 2, 3):
        batch = await world.batch(n)
        assert batch.resume is None
        batch.confirm()
    await world.fact(SessionProblem, reason="network")
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT)


async def test_many_small_events_are_stored_in_parts(make: Make):
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.publish(*range(2 * PART_EVENTS + 1))
    for first in (0, PART_EVENTS):
        (await world.batch(*range(first, first + PART_EVENTS))).confirm()
    last = await world.batch(2 * PART_EVENTS)
    assert last.resume is not None
    assert (last.resume.ack, last.resume.taken) == (2, ())


async def test_while_a_slice_is_not_durable_the_session_is_kept_alive_and_the_answer_goes_on(make: Make):
    world = make(ack=True)
    world.engine.session.advise({"maxInterval": 300})
    world.start()
    await world.certain()
    await world.script.asked(4)
    world.script.then((piece(large(1)), reply(event(2), ext={"ack": 3})), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    first = await world.batch(1)
    world.script.then(
        (piece(large(1)), reply(ext={"ack": 4})), reply(large(1), event(2), ext={"ack": 5}), step=Step.CONNECT
    )
    await world.script.asked(8)
    assert {connect["ext"]["ack"] for connect in world.script.connects[2:]} == {2}
    first.confirm()
    (await world.batch(2)).confirm()
    await world.script.asked(len(world.script.requests) + 1)
    assert world.script.connects[-1]["ext"]["ack"] == 3
    assert world.nothing_more()


async def test_polling_ends_between_two_slices_and_the_next_process_goes_on_there(make: Make):
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.then((*[piece(large(n)) for n in range(50)], reply(ext={"ack": 3})), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    batch = await world.batch(0)
    rest = asyncio.create_task(world.engine.end_polling())
    await asyncio.sleep(0)
    batch.confirm()
    await rest
    resume = (await world.fact(PollingEnded)).resume
    assert resume is not None
    assert (resume.ack, len(resume.taken)) == (2, 1)
    assert world.nothing_more()


async def test_an_endless_answer_of_replies_is_held_by_nobody(make: Make):
    world = make()
    stranger = [{"channel": "/meta/connect", "id": "x", "successful": True}] * 400
    world.script.then(reply(), (*[Payload(json.dumps(stranger).encode(), more=True)] * 50, reply()), step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.fact(Polled)


# --- what fails -------------------------------------------------------------------------------------------------------


async def test_an_unknown_session_is_begun_anew_and_the_gap_goes_back_to_the_last_connect(make: Make):
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    sent_at = Moment.of(world.clock)
    world.clock.advance(7)
    world.script.then(reply(**UNKNOWN), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    await world.fact(SessionProblem, reason="expired", text="402::Unknown client")
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.HANDSHAKE, cause=Cause.SESSION_EXPIRED, since=sent_at)
    assert [s.value for s in world.script.steps[-4:]] == ["handshake", "subscribe", "connect", "connect"]


async def test_a_subscription_that_is_refused_after_a_handshake_is_tried_until_it_is_granted(make: Make):
    world = make()
    world.script.then(*[REFUSED] * 5, step=Step.SUBSCRIBE)
    world.start()
    await world.pass_time(60)
    reasons = [(await world.fact(SessionProblem)).reason for _ in range(5)]
    assert reasons == ["subscribe_refused"] * 5
    await world.certain()
    assert world.script.sessions == 1


async def test_a_denied_handshake_is_tried_again_with_growing_pauses(make: Make):
    world = make()
    world.script.always(Step.HANDSHAKE, DENIED)
    world.start()
    await world.pass_time(300)
    pauses = [(await world.fact(SessionProblem, reason="handshake_refused")).retry_in_s for _ in range(6)]
    assert pauses == [1, 2, 4, 8, 16, 30]
    world.script.always(Step.HANDSHAKE, None)
    await world.pass_time(31)
    while not isinstance(await world.engine.next_fact(), Subscribed):
        pass


async def test_reconnect_none_ends_the_session_and_a_fresh_handshake_follows(make: Make):
    world = make()
    world.script.then(reply(), reply(event(1), advice={"reconnect": "none"}), step=Step.CONNECT)
    world.start()
    await world.certain()
    (await world.batch(1)).confirm()
    await world.fact(SessionProblem, reason="ended")
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.HANDSHAKE, cause=Cause.SESSION_EXPIRED)


async def test_a_failed_exchange_is_tried_again_on_the_same_session(make: Make):
    world = make()
    world.script.then(reply(), UNREACHED, UNREACHED, step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.fact(SessionProblem, reason="network", retry_in_s=1.0)
    await world.wait_and_advance(1)
    await world.fact(SessionProblem, reason="network", retry_in_s=1.0)
    await world.wait_and_advance(1)
    await world.fact(Polled)
    assert world.script.sessions == 1
    assert [connect.get("advice") for connect in world.script.connects[2:4]] == [{"timeout": 0}] * 2
    assert world.nothing_more(), "nothing was in flight: the session is as certain as before"


@pytest.mark.parametrize(
    "answer",
    [BROKEN, b"<html>maintenance</html>", b'[{"channel":"/meta/connect"', b"", b"null"],
    ids=["reset", "html", "truncated", "empty", "null"],
)
async def test_without_acknowledgements_an_answer_that_never_came_whole_is_a_cut(make: Make, answer: Any):
    world = make()
    world.script.then(reply(), answer, step=Step.CONNECT)
    world.start()
    first = await world.certain()
    await world.fact(SessionProblem, reason="network")
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT, since=first.subscribed)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 408, 429, 500, 502, 503])
async def test_without_acknowledgements_another_status_is_a_cut_and_the_session_goes_on(make: Make, status: int):
    """Whoever sends it may have had the answer of the server, with events in it."""

    async def login() -> None:
        pass

    world = make(login=login)
    world.script.then(reply(), ExchangeFailed(f"HTTP {status}", http_status=status), step=Step.CONNECT)
    world.start()
    first = await world.certain()
    if status not in (401, 403):
        await world.fact(SessionProblem, reason=f"http_{status}")
        await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT, since=first.subscribed)
    assert world.script.sessions == 1


@pytest.mark.parametrize("status", [302, 401, 404, 503])
async def test_with_acknowledgements_another_status_costs_nothing(make: Make, status: int):
    world = make(ack=True)
    world.script.then(reply(), ExchangeFailed(f"HTTP {status}", http_status=status), step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.fact(SessionProblem)
    await world.wait_and_advance(1)
    await world.fact(Polled)
    assert world.nothing_more()


async def test_with_acknowledgements_a_cut_answer_costs_nothing(make: Make):
    world = make(ack=True)
    world.start()
    await world.certain()
    await world.script.asked(4)
    world.script.then(BROKEN, step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    await world.fact(SessionProblem)
    world.script.publish(1)
    await world.wait_and_advance(1)
    (await world.batch(1)).confirm()
    await world.script.asked(7)
    assert world.nothing_more()


async def test_the_whole_messages_of_a_cut_answer_are_kept(make: Make):
    world = make()
    cut = json.dumps([event(1), event(2), event(3)]).encode()[:-12]
    world.script.then(reply(), Payload(cut, whole=False), step=Step.CONNECT)
    world.start()
    await world.certain()
    batch = await world.batch(1, 2)
    assert batch.resume is None, "a process that ends here has still to tell of the cut"
    batch.confirm()
    await world.fact(SessionProblem, reason="network")
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
async def test_events_of_another_channel_are_told_and_not_handed_out(make: Make, whole: bool):
    world = make()
    foreign = {"channel": "/v2/other", "data": {"n": 9}}
    body = json.dumps([foreign, event(1), foreign]).encode()
    world.script.then(reply(), Payload(body, whole=whole), step=Step.CONNECT)
    world.start()
    await world.certain()
    assert (await world.batch(1)).refused == {"not_subscribed": 2}


async def test_with_acknowledgements_the_messages_of_a_cut_answer_are_left_to_come_again(make: Make):
    world = make(ack=True)
    cut = json.dumps([event(1), event(2)]).encode()[:-3]
    world.start()
    await world.certain()
    await world.script.asked(4)
    world.script.then(Payload(cut, whole=False), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    await world.fact(SessionProblem)
    world.script.publish(1, 2)
    await world.wait_and_advance(1)
    (await world.batch(1, 2)).confirm()


async def test_a_bad_element_is_told_with_its_batch(make: Make):
    world = make()
    body = lambda request: [event(1), 17, {"data": 1}, *reply()(request)]  # noqa: E731 - as short as the other answers
    world.script.then(body, step=Step.CONNECT)
    world.start()
    await world.fact(Subscribed)
    batch = await world.batch(1)
    assert batch.refused == {"not_a_message": 2}
    batch.confirm()
    await world.script.asked(4)


async def test_a_cut_is_not_forgotten_over_a_login_that_fails(make: Make):
    """The same session answers again; without the cut in between nothing would have been missed."""
    refusals = iter([None, LoginRefused("no"), None])

    async def login() -> None:
        if (refusal := next(refusals)) is not None:
            raise refusal

    world = make(login=login)
    world.script.then(reply(), ExchangeFailed("HTTP 403", http_status=403), BROKEN, step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.fact(SessionProblem, reason="login_refused")
    await world.wait_and_advance(1)
    await world.fact(SessionProblem, reason="network")
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT)


async def test_retry_after_is_obeyed_as_far_as_the_session_outlives_it_and_then_up_to_a_minute(make: Make):
    world = make()
    busy = ExchangeFailed("HTTP 503", http_status=503, retry_after_s=3600)
    world.script.then(reply(), *[busy] * 7, step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.pass_time(150)
    pauses = [(await world.fact(SessionProblem, reason="http_503")).retry_in_s for _ in range(7)]
    assert pauses == pytest.approx([2.2] * 5 + [66.0] * 2)
    await world.certain(restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT)
    assert world.script.sessions == 1


@pytest.mark.parametrize(
    "failure",
    [
        UNREACHED,
        BROKEN,
        ExchangeFailed("HTTP 502", http_status=502),
        ExchangeFailed("HTTP 403", http_status=403),
        ExchangeFailed("HTTP 429", http_status=429, retry_after_s=3600),
        REFUSED,
        AUTHENTICATION,
        reply(successful=False, advice={"interval": 1e18, "reconnect": "retry"}),
    ],
    ids=["refused", "reset", "502", "403", "retry-after", "in bayeux", "401 in bayeux", "interval"],
)
@pytest.mark.parametrize("logs_in", [True, False])
async def test_while_a_session_can_live_it_is_tried_again_within_a_quarter_of_its_lifetime(
    make: Make, failure: Any, *, logs_in: bool
):
    """Whatever fails: whoever waits for longer loses the session, and all that the server holds for it."""
    logins = 0

    async def login() -> None:
        nonlocal logins
        logins += 1
        if logins > 1:
            raise LoginRefused("not now")

    world = make(login=login if logs_in else None)
    world.start()
    await world.certain()
    await world.script.asked(4)
    world.script.always(Step.CONNECT, failure)
    world.script.end_hold()
    tried = [world.clock.monotonic_s()]
    while world.clock.monotonic_s() < 9.9:
        before = len(world.script.requests)
        await world.pass_time(0.25)
        if len(world.script.requests) > before:
            tried.append(world.clock.monotonic_s())
    assert max(after - before for before, after in itertools.pairwise(tried)) <= 2.5
    assert {request.step for request in world.script.requests[3:]} == {Step.CONNECT}
    assert world.script.sessions == 1


async def test_an_advised_interval_is_waited_for_in_milliseconds(make: Make):
    world = make()
    world.script.then(reply(advice={"interval": 1500}), step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.wait_and_advance(1.4)
    assert len(world.script.requests) == 3
    world.clock.advance(0.1)
    await world.script.asked(4)


async def test_an_advised_interval_that_no_session_outlives_is_cut_short_and_told_once(make: Make):
    world = make()
    absurd = reply(advice={"interval": 1e18})
    world.script.then(reply(), *[absurd] * 3, step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.fact(Polled)
    told = await world.fact(SessionProblem, reason="interval_too_long", retry_in_s=0.0)
    assert told.text == "advice.interval is 86400 s, maxInterval 10 s: a poll every 5 s"
    for _ in range(2):
        await world.wait_and_advance(5)
        await world.fact(Polled)
    assert world.nothing_more()


@pytest.mark.parametrize(("advised_ms", "obeyed_s"), [(20_000, 22.0), (1e18, 66.0)])
async def test_an_advised_interval_holds_for_a_handshake_too(make: Make, advised_ms: float, obeyed_s: float):
    world = make()
    world.script.then(
        reply(successful=False, advice={"interval": advised_ms, "reconnect": "handshake"}), step=Step.HANDSHAKE
    )
    world.start()
    trouble = await world.fact(SessionProblem, reason="handshake_refused")
    assert trouble.retry_in_s == pytest.approx(obeyed_s)


async def test_several_clients_in_one_jar_are_reported_once_a_session(make: Make):
    world = make()
    advice = {"multiple-clients": True, "interval": 2000, "reconnect": "retry"}
    world.script.then(*[reply(advice=advice)] * 3, reply(**UNKNOWN), reply(advice=advice), step=Step.CONNECT)
    world.start()
    await world.pass_time(20)
    facts = [await world.engine.next_fact() for _ in range(9)]
    told = [fact for fact in facts if isinstance(fact, SessionProblem) and fact.reason == "multiple_clients"]
    assert len(told) == 2
    assert told[0].retry_in_s == 0


# --- logins -----------------------------------------------------------------------------------------------------------


async def test_the_login_comes_first_and_is_tried_until_it_is_granted(make: Make):
    troubles: list[ListenerError] = [LoginRefused("wrong password"), Unreachable("no route")]
    logins = 0

    async def login() -> None:
        nonlocal logins
        logins += 1
        if troubles:
            raise troubles.pop(0)

    world = make(login=login).start()
    await world.fact(SessionProblem, reason="login_refused", text="wrong password")
    await world.wait_and_advance(60)
    await world.fact(SessionProblem, reason="login_failed", text="no route")
    assert world.script.requests == []
    await world.wait_and_advance(7)
    await world.certain(cause=Cause.RESTART)
    assert logins == 3


@pytest.mark.parametrize("status", [401, 403])
async def test_an_http_refusal_logs_in_and_goes_on_with_the_same_session(make: Make, status: int):
    logins = 0

    async def login() -> None:
        nonlocal logins
        logins += 1

    world = make(login=login, ack=True)
    world.script.then(reply(), ExchangeFailed("HTTP", http_status=status), step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.fact(Polled)
    assert (logins, world.script.sessions, world.clock.sleepers) == (2, 1, 0)
    assert world.nothing_more()


@pytest.mark.parametrize("step", [Step.HANDSHAKE, Step.SUBSCRIBE, Step.CONNECT])
async def test_a_login_that_ran_out_and_is_refused_in_bayeux_is_renewed(make: Make, step: Step):
    logins = 0

    async def login() -> None:
        nonlocal logins
        logins += 1

    world = make(login=login)
    world.script.then(AUTHENTICATION, step=step)
    world.start()
    await world.certain()
    assert (logins, world.script.sessions, world.clock.sleepers) == (2, 1, 0)
    assert world.nothing_more()


@pytest.mark.parametrize("page", [ExchangeFailed("HTTP 302", http_status=302), NoBayeux("18 bytes")], ids=str)
async def test_a_login_that_ran_out_and_is_answered_with_a_page_is_renewed_in_the_same_session(
    make: Make, page: ExchangeFailed
):
    """The first page may be anything; a login that changes nothing is not repeated with each."""
    moments: list[float] = []

    async def login() -> None:
        moments.append(world.clock.monotonic_s())

    world = make(login=login, ack=True)
    world.script.then(reply(), *[page] * 4, step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.fact(SessionProblem, reason=page.reason)
    await world.pass_time(4)
    assert len(moments) == 2
    assert world.script.sessions == 1
    while not isinstance(await world.engine.next_fact(), Polled | Subscribed):
        pass


async def test_logins_that_change_nothing_become_rarer_while_the_session_is_tried_on(make: Make):
    moments: list[float] = []

    async def login() -> None:
        moments.append(world.clock.monotonic_s())

    world = make(login=login)
    world.script.then(reply(), *[ExchangeFailed("HTTP 403", http_status=403)] * 11, step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.pass_time(12)
    assert moments == [0.0, 0.0, 4.0]
    assert world.script.sessions == 1
    while not isinstance(await world.engine.next_fact(), Polled | Subscribed):
        pass


async def test_a_session_that_is_refused_for_longer_than_it_can_live_is_given_up(make: Make):
    async def login() -> None:
        pass

    world = make(login=login)
    world.script.then(reply(), *[ExchangeFailed("HTTP 403", http_status=403)] * 14, step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.pass_time(14)
    assert world.clock.monotonic_s() > 10
    while not isinstance(fact := await world.engine.next_fact(), Subscribed):
        assert isinstance(fact, SessionProblem)
        assert fact.reason == "unauthorized"
        assert fact.text.startswith("HTTP 403, right after a login was granted: the login cookie is not honoured")
    assert (fact.restored_by, fact.cause) == (RestoredBy.HANDSHAKE, Cause.SESSION_EXPIRED), "each login was granted"


@pytest.mark.parametrize(
    ("failure", "cause"),
    [(Unreachable("no route"), Cause.NETWORK), (LoginRefused("wrong password"), Cause.LOGIN)],
    ids=["unreachable", "refused"],
)
async def test_a_gap_is_laid_to_the_login_only_where_the_server_refused_one(
    make: Make, failure: ListenerError, cause: Cause
):
    failures = [failure]

    async def login() -> None:
        if world.script.sessions and failures:
            raise failures.pop()

    world = make(login=login)
    world.script.then(reply(), *[ExchangeFailed("HTTP 403", http_status=403)] * 24, step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.pass_time(24)
    while not isinstance(fact := await world.engine.next_fact(), Subscribed):
        pass
    assert (fact.restored_by, fact.cause) == (RestoredBy.HANDSHAKE, cause)


async def test_a_server_that_knows_no_login_after_it_was_away_has_refused_none(make: Make):
    async def login() -> None:
        pass

    world = make(login=login)
    refused = ExchangeFailed("HTTP 403", http_status=403)
    unknown = reply(successful=False, error="402::Unknown client")
    world.script.then(reply(), *[UNREACHED] * 14, refused, unknown, step=Step.CONNECT)
    world.start()
    await world.certain()
    await world.pass_time(60)
    facts = [await world.engine.next_fact()]
    while not isinstance(facts[-1], Subscribed):
        facts.append(await world.engine.next_fact())
    assert [one.reason for one in facts if isinstance(one, SessionProblem)] == ["network"] * 14 + ["expired"]
    assert (facts[-1].restored_by, facts[-1].cause) == (RestoredBy.HANDSHAKE, Cause.NETWORK)


async def test_a_session_whose_first_poll_is_refused_is_told_so_that_a_later_process_goes_on_with_it(make: Make):
    world = make(ack=True)
    world.script.then(REFUSED, step=Step.CONNECT)
    world.start()
    fact = await world.fact(Subscribed, restored_by=RestoredBy.HANDSHAKE, cause=Cause.RESTART)
    assert fact.resume == Resume(client_id="c1", connection_type="long-polling", ack=-1)
    await world.fact(SessionProblem, reason="connect_refused")
    await world.wait_and_advance(1)
    await world.fact(Polled)
    await world.script.asked(5)
    assert world.nothing_more(), "that it began is told once"


async def test_a_first_poll_that_is_lost_without_acknowledgements_is_a_gap_of_its_own(make: Make):
    world = make()
    world.script.then(BROKEN, step=Step.CONNECT)
    world.start()
    first = await world.fact(Subscribed, restored_by=RestoredBy.HANDSHAKE)
    await world.fact(SessionProblem, reason="network")
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT, since=first.subscribed)


# --- no storm ---------------------------------------------------------------------------------------------------------

MINUTES = 10
DICE = random.Random(7)  # noqa: S311 - dice of a test, nothing secret
AT_MOST = 100  # requests in ten minutes; with pauses that grow to 30 s on average 15 s apart, and a start in between


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        (Step.CONNECT, reply(**UNKNOWN)),
        (Step.SUBSCRIBE, reply(successful=False, error="402::Unknown client")),
        (Step.HANDSHAKE, reply(**UNKNOWN)),
        (Step.HANDSHAKE, DENIED),
        (Step.CONNECT, REFUSED),
        (Step.CONNECT, reply(successful=False)),
        (Step.CONNECT, reply(advice={"reconnect": "handshake", "interval": 0})),
        (Step.CONNECT, reply(advice={"reconnect": "none"})),
        (Step.CONNECT, reply(advice={"interval": -1})),
        (Step.CONNECT, b"[]"),
        (Step.CONNECT, b"<html>"),
        (Step.CONNECT, UNREACHED),
        (Step.CONNECT, ExchangeFailed("HTTP 502", http_status=502)),
        (Step.CONNECT, ExchangeFailed("HTTP 403", http_status=403)),
        (Step.HANDSHAKE, reply(clientId="c", supportedConnectionTypes=["callback-polling"])),
    ],
    ids=lambda value: "" if callable(value) else str(value)[:24],
)
async def test_no_answer_makes_a_storm(make: Make, step: Step, answer: Any):
    world = make(uniform=DICE.uniform)
    world.script.always(step, answer)
    world.start()
    await world.pass_time(60 * MINUTES)
    assert MINUTES < len(world.script.requests) < AT_MOST * (3 if step is Step.CONNECT else 1)
    assert isinstance(await world.engine.next_fact(), SessionProblem | Subscribed)


async def test_sessions_that_last_for_one_connect_each_make_no_storm(make: Make):
    world = make(uniform=DICE.uniform)
    for _ in range(1000):
        world.script.then(reply(), reply(**UNKNOWN), step=Step.CONNECT)
    world.start()
    await world.pass_time(60 * MINUTES)
    assert world.script.sessions < AT_MOST


async def test_a_server_without_the_configured_transport_is_named(make: Make):
    world = make()
    world.script.always(Step.HANDSHAKE, reply(clientId="c", supportedConnectionTypes=["websocket", "x"]))
    world.start()
    trouble = await world.fact(SessionProblem)
    assert trouble.text == "server.transport: the server does not offer 'long-polling', only 'websocket', 'x'"


# --- from one process to the next -------------------------------------------------------------------------------------

SAVED = Resume(client_id="old", connection_type="long-polling", ack=None, max_interval_ms=10_000)


async def test_a_saved_session_goes_on_without_a_handshake(make: Make):
    world = make(resume=SAVED).start()
    await world.certain(restored_by=RestoredBy.RESUME, cause=Cause.RESTART, since=None)
    assert Step.HANDSHAKE not in world.script.steps
    assert {m["clientId"] for request in world.script.requests for m in request.payload} == {"old"}


async def test_a_saved_session_that_is_unknown_becomes_a_new_one(make: Make):
    world = make(resume=SAVED)
    world.script.then(reply(successful=False, error="402::Unknown client"), step=Step.CONNECT)
    world.start()
    await world.fact(SessionProblem, reason="expired")
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.HANDSHAKE, cause=Cause.RESTART)


async def test_a_saved_session_whose_first_answer_is_cut_has_lost_something(make: Make):
    world = make(resume=SAVED)
    world.script.then(BROKEN, step=Step.CONNECT)
    world.start()
    await world.fact(SessionProblem)
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.RESUME, cause=Cause.NO_ACK_CUT)


async def test_batches_of_a_continued_session_have_numbers_that_were_not_there_before(make: Make):
    """Without numbers of the server's, the number is what tells alike notifications of one session apart."""

    async def first_number(world: World) -> int:
        await world.certain()
        world.script.publish(1)
        return (await world.batch(1)).number

    before, after = make().start(), make(resume=SAVED, start_ms=1_800_000_001_000).start()
    assert await first_number(before) < await first_number(after)


async def test_a_server_that_does_not_hold_polls_is_not_stormed(make: Make):
    world = make()
    world.script.then(*[reply()] * 40, step=Step.CONNECT)
    world.start()
    await world.certain()
    while not isinstance(fact := await world.engine.next_fact(), SessionProblem):
        pass
    assert (fact.reason, fact.retry_in_s) == ("not_held", 0.0)
    before = len(world.script.requests)
    assert before < 15
    for _ in range(4):
        await world.wait_and_advance(0.5)
    assert len(world.script.requests) - before <= 5


@pytest.mark.parametrize("ack", [True, False])
async def test_a_server_that_answers_each_poll_at_once_with_something_useless_is_not_stormed(make: Make, *, ack: bool):
    world = make(ack=ack)
    useless = (reply(event(n), ext={"ack": n + 2} if ack else None) for n in itertools.count())
    world.script.then(reply(), *itertools.islice(useless, 60), step=Step.CONNECT)

    async def over_a_network(request: Request) -> Payload | Payloads:
        for _ in range(5):
            await asyncio.sleep(0)
        return await world.script.exchange(request)

    world.engine.exchange = over_a_network
    world.start()
    await world.certain()

    async def take() -> None:
        while True:
            if isinstance(fact := await world.engine.next_fact(), Batch):
                fact.confirm(useful=False)

    taking = asyncio.create_task(take())
    for _ in range(20):
        await world.wait_and_advance(0.5)
    taking.cancel()
    assert 20 < len(world.script.connects) < 40, "ten at once, and then two a second"


# --- rest and distrust ------------------------------------------------------------------------------------------------


async def rested(world: World) -> PollingEnded:
    await world.engine.end_polling()
    return await world.fact(PollingEnded)


async def test_at_rest_no_connect_is_held_and_what_was_queued_is_handed_out(make: Make):
    world = make().start()
    await world.certain()
    held = await world.script.asked(4)
    rest = asyncio.create_task(world.engine.end_polling())
    world.script.then(reply(event(1), event(2)), step=Step.CONNECT)
    called_back = await world.script.asked(5)
    assert (held.hold_ms, called_back.hold_ms) == (30_000, 0)
    world.script.then(ExchangeFailed("HTTP 500", http_status=500), step=Step.CONNECT)
    world.script.end_hold()
    await world.fact(Polled)
    (await world.batch(1, 2)).confirm()
    await rest
    ended = await world.fact(PollingEnded)
    assert ended.resume == Resume(client_id="c1", connection_type="long-polling", ack=None)
    await world.pass_time(60)
    assert (world.script.held, len(world.script.requests)) == (0, 5)
    assert world.nothing_more()


async def test_a_session_of_an_earlier_process_that_nothing_was_asked_of_is_at_rest(make: Make):
    left = Resume(client_id="c0", connection_type="long-polling", ack=None)
    logging_in = asyncio.Event()
    world = make(resume=left, login=logging_in.wait).start()
    rest = await rested(world)
    assert (rest.resume, rest.subscribed) == (left, None)
    logging_in.set()
    await world.pass_time(60)
    assert world.script.requests == []


async def test_once_something_was_asked_it_is_at_rest_with_its_answer_alone(make: Make):
    world = make(resume=Resume(client_id="c0", connection_type="long-polling", ack=None))
    asked = asyncio.Event()

    async def exchange(_: Request) -> Payload | Payloads:
        asked.set()
        return await asyncio.Future[Payload]()

    world.engine.exchange = exchange
    world.start()
    await asked.wait()
    assert (await rested(world)).resume is None


async def test_what_the_held_connect_brings_last_comes_before_rest(make: Make):
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    rest = asyncio.create_task(world.engine.end_polling())
    await world.script.asked(5)
    assert world.nothing_more(), "the held connect has not ended yet"
    world.script.publish(1)
    batch = await world.batch(1)
    batch.confirm()
    await world.fact(Polled)
    await rest
    assert (await world.fact(PollingEnded)).resume is not None


async def test_what_the_second_connect_brings_is_younger_than_what_the_held_one_does(make: Make):
    """On a slow network it may come first."""
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    rest = asyncio.create_task(world.engine.end_polling())
    world.script.then(reply(event(2)), step=Step.CONNECT)
    await world.script.asked(5)
    await asyncio.sleep(0.05)
    assert world.nothing_more()
    world.script.publish(1)
    for number in (1, 2):
        (await world.batch(number)).confirm()
    await rest
    assert (await world.fact(PollingEnded)).resume is not None


async def test_a_connection_that_breaks_on_the_way_to_rest_leaves_nothing_certain(make: Make):
    world = make()
    world.start()
    await world.certain()
    await world.script.asked(4)
    world.script.then(BROKEN, step=Step.CONNECT)
    assert (await rested(world)).resume is None


async def test_a_held_connect_that_was_cut_on_the_way_to_rest_leaves_nothing_certain(make: Make):
    world = make()
    release = asyncio.Event()

    async def exchange(request):
        if len(world.script.requests) == 3:
            world.script.requests.append(request)
            await release.wait()
            raise BROKEN
        return await world.script.exchange(request)

    world.engine.exchange = exchange
    world.start()
    await world.certain()
    await world.script.asked(4)
    rest = asyncio.create_task(world.engine.end_polling())
    await world.script.asked(5)
    release.set()
    await rest
    await world.fact(Polled)
    assert (await world.fact(PollingEnded)).resume is None


async def test_a_session_that_is_found_dead_on_the_way_to_rest_does_not_delay_it(make: Make):
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    world.script.then(reply(**UNKNOWN), step=Step.CONNECT)
    async with asyncio.timeout(1):
        rest = asyncio.create_task(world.engine.end_polling())
        await world.script.asked(5)
        world.script.end_hold()
        await rest
    await world.fact(Polled)
    assert (await world.fact(PollingEnded)).resume is None


async def test_with_acknowledgements_rest_waits_for_the_batch_that_is_not_durable_and_has_its_number(make: Make):
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.publish(1)
    batch = await world.batch(1)
    rest = asyncio.create_task(world.engine.end_polling())
    await asyncio.sleep(0.01)
    assert world.nothing_more()
    batch.confirm()
    await rest
    resume = (await world.fact(PollingEnded)).resume
    assert resume is not None
    assert resume.ack == 2, "an older number would bring the batch again"


async def test_a_session_that_rests_right_behind_a_confirmation_is_left_with_its_number(make: Make):
    """Before the cycle has run on: an older number would bring the batch again to the next process."""
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.publish(1)
    batch = await world.batch(1)
    batch.confirm()
    await world.engine.end_polling()
    resume = (await world.fact(PollingEnded)).resume
    assert resume is not None
    assert resume.ack == 2


@pytest.mark.parametrize("subscribed", [True, False])
async def test_without_a_session_rest_is_immediate(make: Make, subscribed: bool):
    world = make()
    if subscribed:
        world.script.then(reply(), UNREACHED, step=Step.CONNECT)
        world.start()
        await world.certain()
        await world.fact(SessionProblem)
    assert (await rested(world)).resume is None


async def test_a_websocket_without_acknowledgements_is_never_at_rest(make: Make):
    world = make(connection_type="websocket").start()
    await world.certain()
    await world.script.asked(4)
    assert (await rested(world)).resume is None
    assert len(world.script.requests) == 4


async def test_a_subscription_that_is_distrusted_is_made_anew_after_the_poll_under_way(make: Make):
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    world.engine.rehandshake()
    world.script.publish(1)
    (await world.batch(1)).confirm()
    await world.certain(restored_by=RestoredBy.HANDSHAKE, cause=Cause.SUBSCRIPTION_LOST)
    await world.script.asked(8)
    assert [step.value for step in world.script.steps[4:7]] == ["handshake", "subscribe", "connect"]


# --- what lies between ------------------------------------------------------------------------------------------------


def through_a_proxy(world: World, *, cuts_after_s: float, with_: ExchangeFailed) -> None:
    """Let a proxy with this read timeout stand before the server, which holds a poll for as long as it is asked to."""
    exchange = world.script.exchange

    async def cut(request: Request) -> Payload | Payloads:
        advice = request.payload[0].get("advice", {})
        held_s = advice.get("timeout", request.hold_ms) / 1000
        if request.step is Step.CONNECT and held_s:
            await world.clock.sleep(min(held_s, cuts_after_s))
            if held_s > cuts_after_s:
                raise with_
            world.script.always(Step.CONNECT, reply())
        answer = await exchange(request)
        world.script.always(Step.CONNECT, None)
        return answer

    world.engine.exchange = cut


GATEWAY_TIMEOUT = ExchangeFailed("HTTP 504 Gateway Timeout", http_status=504)


@pytest.mark.parametrize("cut", [GATEWAY_TIMEOUT, BROKEN], ids=["504", "reset"])
@pytest.mark.parametrize("ack", [True, False], ids=["ack", "no ack"])
async def test_polls_that_a_proxy_cuts_ask_for_a_shorter_hold(make: Make, cut: ExchangeFailed, ack: bool):
    world = make(ack=ack)
    through_a_proxy(world, cuts_after_s=20.0, with_=cut)
    world.start()
    facts: list[Fact] = []
    await world.pass_time(4 * 60)
    while world.engine.pending():
        facts.append(await world.engine.next_fact())
    told = [fact for fact in facts if isinstance(fact, SessionProblem) and fact.reason == "hold_shortened"]
    assert [(fact.retry_in_s, "within 15.0 s" in fact.text) for fact in told] == [(0.0, True)]
    assert sum(isinstance(fact, Subscribed) for fact in facts) == (1 if ack else 3)
    assert sum(isinstance(fact, SessionProblem) for fact in facts) == 3, "two cuts, and what was learned from them"
    assert world.script.connects[-1]["advice"] == {"timeout": 15_000}
    assert world.script.sessions == 1


# --- beside the cycle -------------------------------------------------------------------------------------------------


async def test_a_request_beside_the_cycle_is_answered_while_a_connect_is_held(make: Make):
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    answer = await world.engine.single(world.engine.session.request("/meta/subscribe", subscription="/other"))
    assert answer == {"channel": "/meta/subscribe", "successful": True}
    world.script.then(reply(successful=False, error="403::Denied"), step=Step.OTHER)
    answer = await world.engine.single(world.engine.session.request("/chat", data={}))
    assert answer == {"channel": "/chat", "successful": False, "error": "403::Denied"}
    assert world.script.held == 1


async def test_without_acknowledgements_an_answer_beside_the_cycle_that_was_cut_is_a_cut(make: Make):
    """Events ride on any answer."""
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    world.script.then(BROKEN, step=Step.OTHER)
    with pytest.raises(ExchangeFailed):
        await world.engine.single(world.engine.session.request("/meta/subscribe", subscription=TOPIC))
    world.script.end_hold()
    await world.certain(restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT)


async def test_a_session_that_is_found_dead_beside_the_cycle_leaves_a_gap(make: Make):
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    world.script.then(reply(successful=False, error="402::Unknown client"), step=Step.OTHER)
    await world.engine.single(world.engine.session.request("/meta/subscribe", subscription="/other"))
    assert world.engine.session.phase is Phase.UNCONNECTED
    world.script.end_hold()
    await world.fact(SessionProblem, reason="expired")
    await world.wait_and_advance(1)
    await world.certain(restored_by=RestoredBy.HANDSHAKE, cause=Cause.SESSION_EXPIRED)


async def test_a_living_session_is_subscribed_again_beside_its_poll(make: Make):
    world = make(ack=True).start()
    assert await world.engine.subscribe_again() is None, "there is no session yet"
    await world.certain()
    await world.script.asked(4)
    assert await world.engine.subscribe_again() == Moment.of(world.clock)
    assert world.script.requests[-1].payload[0]["channel"] == "/meta/subscribe"
    assert world.script.requests[-1].payload[0]["subscription"] == TOPIC
    assert world.script.held == 1
    assert world.nothing_more()


async def test_without_acknowledgements_it_is_subscribed_again_between_two_polls(make: Make):
    world = make().start()
    await world.certain()
    await world.script.asked(4)
    first, second = (asyncio.create_task(world.engine.subscribe_again()) for _ in range(2))
    await asyncio.sleep(0.01)
    assert len(world.script.requests) == 4, "its answer might overtake that of the poll, and hold what is younger"
    second.cancel()
    world.clock.advance(1.0)
    world.script.end_hold()
    assert await first == Moment.of(world.clock)
    await world.script.asked(6)
    assert [one.step for one in world.script.requests[4:]] == [Step.OTHER, Step.CONNECT]
    late = asyncio.create_task(world.engine.subscribe_again())
    await asyncio.sleep(0)
    ending = asyncio.create_task(world.engine.end_polling())
    await world.script.asked(7)
    world.script.end_hold()
    await ending
    assert (await late, len(world.script.requests)) == (None, 7), "polling ends"


async def test_a_subscription_that_is_refused_beside_the_cycle_is_told_and_ends_nothing(make: Make):
    world = make(ack=True).start()
    await world.certain()
    await world.script.asked(4)
    world.script.then(reply(successful=False, error="403::Denied"), step=Step.OTHER)
    assert await world.engine.subscribe_again() is None
    await world.fact(SessionProblem, reason="subscribe_refused", text="403::Denied", retry_in_s=0.0)
    assert (world.script.held, world.engine.session.phase) == (1, Phase.CONNECTED)


@pytest.mark.parametrize("ack", [False, True])
async def test_an_answer_beside_the_cycle_that_was_cut_may_have_carried_events(make: Make, ack: bool):
    world = make(ack=ack).start()
    first = await world.certain()
    await world.script.asked(4)
    world.script.then(BROKEN, step=Step.OTHER)
    asking = asyncio.create_task(world.engine.subscribe_again())
    if not ack:
        await asyncio.sleep(0)
        world.script.end_hold()
        first = await world.fact(Polled)
    assert await asking is None
    await world.fact(SessionProblem, reason="subscribe_failed")
    await world.script.asked(5 if ack else 6)
    world.script.end_hold()
    if ack:
        await world.fact(Polled)
    else:
        await world.certain(restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT, since=first.subscribed)

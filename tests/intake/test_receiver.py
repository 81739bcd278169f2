"""One account: what the session reports becomes entries, and only what is on record is confirmed."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from listener.cometd.facts import (
    Batch,
    Cause,
    Fact,
    Polled,
    PollingEnded,
    RestoredBy,
    Resume,
    SessionProblem,
    Subscribed,
)
from listener.errors import JournalError, ListenerError, LoginRefused, Unreachable
from listener.intake.receiver import Receiver, ReceiverOptions
from listener.intake.reconciliation import Reconciler
from listener.intake.recorder import Recorder
from listener.intake.topics import Identity
from listener.model.event import Entry, Gap, Origin, SessionState
from listener.runtime.clock import Moment
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics
from listener.testing import MemoryJournal
from listener.webservices.notifications import NotificationDecoder
from support.eventually import eventually
from support.notifications import CHAT, notification, with_data

pytestmark = pytest.mark.virtual

NOW_MS = 1_800_000_000_000
BOOT = "this-start"
RESUME = Resume(client_id="c1", connection_type="long-polling", ack=None)
IDENTITY = Identity(account="agent1", url="http://127.0.0.1/api/v2/notifications", topics={"chat": "/v2/me/chats"})
COOKIES = (("BAYEUX_BROWSER", "x", "127.0.0.1", "/"),)


def moment(at_ms: int) -> Moment:
    """When the clock showed this, as long as nobody sets it."""
    return Moment(at_ms, (at_ms - NOW_MS) / 1000 + 100_000)


class Time:
    """Both clocks, for stamps; the test moves them."""

    def __init__(self) -> None:
        self.ms = NOW_MS
        self.set_by_ms = 0

    def now_ms(self) -> int:
        return self.ms + self.set_by_ms

    def monotonic_s(self) -> float:
        return moment(self.ms).monotonic_s or 0.0

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class Session:
    """Stands for the CometD client: reports what the test says, and rests when it is told to."""

    def __init__(self) -> None:
        self.ended_with: bool | None = None
        self.distrusted = 0
        self.subscribed_again = 0
        self.granted: Moment | None = moment(NOW_MS)
        self.rested: Fact = PollingEnded(at=moment(NOW_MS), resume=RESUME, subscribed=moment(NOW_MS))
        self.behind: Fact | None = None
        self.farewell: tuple[Batch, asyncio.Event] | None = None
        self._facts: asyncio.Queue[Fact] = asyncio.Queue()
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def report(self, *facts: Fact) -> None:
        for fact in facts:
            self._facts.put_nowait(fact)

    async def run(self, *, disconnect: bool = False) -> None:
        try:
            await self.died
        finally:
            self.ended_with = disconnect
            if self.farewell is not None:
                last, confirmed = self.farewell
                self.report(last)
                await confirmed.wait()

    async def facts(self, take: Callable[[Any], bool]) -> AsyncGenerator[Fact, None]:
        self.take = take
        while True:
            yield await self._facts.get()

    def pending(self) -> bool:
        return not self._facts.empty()

    async def end_polling(self) -> None:
        self.report(self.rested)
        if self.behind is not None:
            self.report(self.behind)

    def rehandshake(self) -> None:
        self.distrusted += 1

    async def subscribe_again(self) -> Moment | None:
        self.subscribed_again += 1
        return self.granted

    def pause_s(self) -> float:
        return 0.0

    def max_silence_s(self) -> float:
        return 100.0


class Rest:
    """Stands for the REST API; counts."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.asked = 0
        self.kept_alive = 0
        self.error: ListenerError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def chats(self, media_type: str = "chat") -> Sequence[Raw]:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [Raw(json.dumps(chat).encode()) for chat in self.answers]

    async def keepalive(self) -> None:
        self.kept_alive += 1
        if self.error is not None:
            raise self.error


class World:
    """A receiver on a real recorder with a journal in memory."""

    def __init__(
        self, *, saved: SessionState | None = None, rest: bool = True, interval_s: float = 0.0, **options: Any
    ) -> None:
        self.session = Session()
        self.time = Time()
        self.rest = Rest() if rest else None
        self.metrics = Metrics()
        self.journal = MemoryJournal()
        self.entries: list[Entry] = []
        self.recorder = Recorder(journal=self.journal, metrics=self.metrics, source="s", type_prefix="p")
        self.gate = asyncio.Event()
        self.gate.set()
        decoder = NotificationDecoder(keys=("DispositionCode",))
        reconciler = self.rest and Reconciler(
            account="agent1",
            rest=self.rest,
            decoder=decoder,
            record=self._record,
            differences=self.recorder.differences,
            metrics=self.metrics,
            clock=self.time,
            interval_s=interval_s,
        )
        self.receiver = Receiver(
            identity=IDENTITY,
            client=self.session,
            decoder=decoder,
            record=self._record,
            submit=self._submit,
            rest=self.rest,
            reconciler=reconciler,
            cookies=lambda: COOKIES,
            saved=saved,
            metrics=self.metrics,
            options=ReceiverOptions(**options),
            host=Host(clock=self.time, boot_id=BOOT),
        )
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> "World":
        await self.journal.open()
        self.tasks = [asyncio.create_task(self.recorder.run()), asyncio.create_task(self.receiver.run())]
        return self

    async def _record(self, entry: Entry) -> None:
        self.entries.append(entry)
        await self.gate.wait()
        await self.recorder.record(entry)

    def _submit(self, entry: Entry, durable: Callable[[], None]) -> None:
        self.entries.append(entry)
        if self.gate.is_set():
            self.recorder.submit(entry, durable)
        else:
            self.tasks.append(asyncio.create_task(self._submit_later(entry, durable)))

    async def _submit_later(self, entry: Entry, durable: Callable[[], None]) -> None:
        await self.gate.wait()
        self.recorder.submit(entry, durable)

    async def settle(self) -> None:
        """Until everything that was reported is dealt with."""
        await eventually(lambda: not self.session.pending() and not self.receiver.turn.locked(), interval_s=0.001)

    async def report(self, *facts: Fact) -> None:
        self.session.report(*facts)
        await self.settle()

    async def end(self) -> None:
        self.receiver.stop()
        async with asyncio.timeout(5):
            await self.receiver.rested.wait()
            self.tasks[1].cancel()
            await asyncio.wait(self.tasks[1:])

    async def data(self) -> list[dict[str, Any]]:
        return [json.loads(event.data) for event in await self.journal.read(0, 1000)]

    def count(self, name: str, *labels: str) -> float:
        return self.metrics.value(name, *labels)


Make = Callable[..., Any]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        async def new(**options: Any) -> World:
            world = await World(**options).start()

            async def end() -> None:
                for task in world.tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError, BaseExceptionGroup):
                        await task

            stack.push_async_callback(end)
            return world

        yield new


def moments(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a fact, with moments in place of milliseconds; it happens now unless they say otherwise."""
    return {
        name.removesuffix("_ms"): moment(value) if name.endswith("_ms") and value is not None else value
        for name, value in {"at_ms": NOW_MS, **fields}.items()
    }


def batch(*payloads: Any, confirm: Callable[[], None] = lambda: None, **more: Any) -> Batch:
    fields = {"refused": {}, "number": 1, "client_id": "c1", "resume": RESUME, **moments(more)}
    encoded = [Raw(payload if isinstance(payload, bytes) else json.dumps(payload).encode()) for payload in payloads]

    def confirmed(*, useful: bool = True) -> None:
        confirm()

    return Batch(payloads=encoded, confirm=confirmed, **fields)


def certain(restored_by: RestoredBy = RestoredBy.HANDSHAKE, cause: Cause = Cause.RESTART, **more: Any) -> Subscribed:
    fields = {"since": None, "ack": False, "resume": RESUME, **moments(more)}
    return Subscribed(restored_by=restored_by, cause=cause, **fields)


def polled(**more: Any) -> Polled:
    return Polled(**{"resume": RESUME, **moments(more)})


def saved(
    *, clean: bool = False, seen_ms: int = NOW_MS - 60_000, ack: int | None = None, boot: str = BOOT
) -> SessionState:
    return SessionState(
        account="agent1",
        url=IDENTITY.url,
        topic="/v2/me/chats",
        client_id="old",
        connection_type="long-polling",
        ack=ack,
        seen_ms=seen_ms,
        clean=clean,
        seen_monotonic_ms=100_000_000 + seen_ms - NOW_MS,
        boot=boot,
    )


def chat(chat_id: str, code: str | None) -> dict[str, Any]:
    return {**CHAT, "id": chat_id, "userData": {} if code is None else {"DispositionCode": code}}


# --- batches ----------------------------------------------------------------------------------------------------------


async def test_a_batch_is_confirmed_only_after_it_is_on_record(make: Make):
    world = await make()
    confirmed = asyncio.Event()
    world.gate.clear()
    world.session.report(batch(with_data(DispositionCode="A"), confirm=confirmed.set))
    await eventually(lambda: world.entries)
    await asyncio.sleep(0.02)
    assert not confirmed.is_set()
    world.gate.set()
    await asyncio.wait_for(confirmed.wait(), 5)
    assert [one["disposition"] for one in await world.data()] == ["A"]


async def test_an_answer_that_nothing_is_before_is_taken_in_the_step_in_which_it_came(make: Make):
    world = await make()
    await asyncio.sleep(0.01)  # it has begun to listen
    confirmed = asyncio.Event()
    assert world.session.take(batch(with_data(DispositionCode="A"), confirm=confirmed.set))
    assert len(world.entries) == 1
    assert not confirmed.is_set()
    assert not world.session.take(polled())  # before the commit it is nobody else's turn
    await asyncio.wait_for(confirmed.wait(), 5)
    assert [one["disposition"] for one in await world.data()] == ["A"]
    assert world.session.take(polled())
    assert not world.receiver.turn.locked()


async def test_what_waits_goes_before_what_comes(make: Make):
    world = await make()
    await asyncio.sleep(0.01)
    world.gate.clear()
    assert world.session.take(batch(with_data(DispositionCode="A")))
    world.session.report(batch(with_data(DispositionCode="B")))
    await asyncio.sleep(0.01)
    assert not world.session.take(batch(with_data(DispositionCode="C")))
    world.gate.set()
    await world.settle()
    assert [one["disposition"] for one in await world.data()] == ["A", "B"]


async def test_a_batch_that_the_journal_cannot_take_is_not_confirmed(make: Make):
    world = await make()
    confirmed = asyncio.Event()
    world.journal.fail_appends(JournalError("disk full"))
    world.session.report(batch(with_data(DispositionCode="A"), confirm=confirmed.set))
    await eventually(lambda: world.recorder.failing)
    assert not confirmed.is_set()
    world.journal.heal()
    await asyncio.wait_for(confirmed.wait(), 5)


async def test_all_of_a_batch_and_where_the_session_stands_are_one_entry(make: Make):
    world = await make()
    resume = Resume(client_id="c1", connection_type="long-polling", ack=9, max_interval_ms=8000)
    payloads = [with_data(DispositionCode=str(n)) for n in range(3)]
    await world.report(batch(*payloads, number=9, resume=resume, subscribed_ms=NOW_MS - 700))
    (entry,) = world.entries
    assert [one.value for one in entry.observations] == ["0", "1", "2"]
    assert entry.origin_id == "c1:9"
    assert entry.session == SessionState(
        account="agent1",
        url=IDENTITY.url,
        topic="/v2/me/chats",
        client_id="c1",
        connection_type="long-polling",
        ack=9,
        seen_ms=NOW_MS - 700,
        seen_monotonic_ms=100_000_000 - 700,
        boot=BOOT,
        max_interval_ms=8000,
        cookies=COOKIES,
    )


async def test_a_batch_with_nothing_of_ours_is_confirmed_without_an_entry(make: Make):
    world = await make()
    await world.report(polled())
    confirmed = asyncio.Event()
    await world.report(batch(notification(notificationType="ParticipantsUpdated"), confirm=confirmed.set))
    assert confirmed.is_set()
    assert len(world.entries) == 1, "only that of the poll before"


async def test_a_batch_that_no_poll_brought_says_nothing_of_the_session(make: Make):
    world = await make()
    await world.report(batch(with_data(DispositionCode="A"), resume=None))
    assert [entry.session for entry in world.entries] == [None]
    assert not world.receiver.status.subscribed


async def test_where_the_session_stands_is_stored_now_and_then_though_nothing_of_ours_comes(make: Make):
    world = await make()
    other = notification(notificationType="ParticipantsUpdated")
    for second in range(0, 35, 5):
        await world.report(batch(other, at_ms=NOW_MS + second * 1000))
        await world.report(polled(at_ms=NOW_MS + second * 1000 + 1))
    stored = [entry.session.seen_ms - NOW_MS for entry in world.entries if entry.session]
    assert stored == [0, 10_000, 20_000, 30_000]


# --- figures ----------------------------------------------------------------------------------------------------------

PAYLOADS = st.lists(
    st.sampled_from(
        [
            with_data(DispositionCode="A"),
            with_data(DispositionCode={"no": "text"}),
            with_data(Other="x"),
            notification(notificationType="StatusChange"),
            notification(messageType="MessageLogUpdated"),
            notification(chat={"id": 5}),
            {"messageType": "ChatStateChangeMessage", "notificationType": "PropertiesUpdated"},
            [],
            17,
            None,
            b'{"cut',
            b"\xff",
        ]
    ),
    max_size=6,
)


@given(
    st.lists(st.tuples(PAYLOADS, st.dictionaries(st.sampled_from(["malformed_json", "too_deep"]), st.integers(1, 3))))
)
def test_what_was_received_is_what_was_forwarded_filtered_and_refused_at_every_step(script: list[Any]):
    async def play() -> None:
        world = await World().start()
        total = 0
        for payloads, refused in script:
            await world.report(batch(*payloads, refused=refused))
            total += len(payloads) + sum(refused.values())
            sums = {
                name: sum(
                    sample.value
                    for metric in world.metrics.registry.collect()
                    for sample in metric.samples
                    if sample.name == f"disposition_listener_notifications_{name}_total"
                )
                for name in ("received", "forwarded", "filtered", "refused")
            }
            assert sums["received"] == total
            assert sums["received"] == sums["forwarded"] + sums["filtered"] + sums["refused"]
        for task in world.tasks:
            task.cancel()
        await asyncio.wait(world.tasks)

    asyncio.run(play())


async def test_each_reason_is_counted_under_its_name(make: Make):
    world = await make()
    await world.report(
        batch(
            notification(notificationType="StatusChange"),
            {"messageType": "MessageLogUpdated"},
            with_data(Other="x"),
            with_data(DispositionCode=["x"]),
            notification(chat={"state": 5}),
            refused={"malformed_json": 2},
            repeated=1,
        )
    )
    assert world.count("notifications_filtered_total", "notification_type") == 1
    assert world.count("notifications_filtered_total", "message_type") == 1
    assert world.count("notifications_filtered_total", "no_key") == 1
    assert world.count("notifications_refused_total", "value_not_scalar") == 1
    assert world.count("notifications_refused_total", "malformed_json") == 2
    assert world.count("fields_malformed_total", "state") == 1
    assert (world.count("batches_total"), world.count("batches_repeated_total")) == (1, 1)


async def test_what_was_repeated_is_counted_by_the_poll_too(make: Make):
    world = await make()
    await world.report(polled(repeated=3))
    assert world.count("batches_repeated_total") == 1


# --- gaps -------------------------------------------------------------------------------------------------------------

BEFORE = NOW_MS - 20_000
NONE, CLEAN, UNCLEAN = None, saved(clean=True), saved()


@pytest.mark.parametrize(
    ("before", "fact", "expected"),
    [
        # the very first start has missed nothing, whatever made it certain
        (NONE, certain(), None),
        (NONE, certain(RestoredBy.HANDSHAKE, ack=True), None),
        # a session of an earlier process that is gone
        (UNCLEAN, certain(RestoredBy.HANDSHAKE), "restart"),
        (CLEAN, certain(RestoredBy.HANDSHAKE), "restart"),
        (CLEAN, certain(RestoredBy.HANDSHAKE, ack=True), "restart"),
        # one that goes on: its queue was kept, but for what was on the way to a process that died
        (UNCLEAN, certain(RestoredBy.RESUME), "restart"),
        (CLEAN, certain(RestoredBy.RESUME), None),
        (UNCLEAN, certain(RestoredBy.RESUME, ack=True), None),
        (CLEAN, certain(RestoredBy.RESUME, ack=True), None),
        (CLEAN, certain(RestoredBy.RESUME, Cause.NO_ACK_CUT), "no_ack_cut"),
        # within this process
        (NONE, certain(RestoredBy.HANDSHAKE, Cause.SESSION_EXPIRED, since_ms=BEFORE), "session_expired"),
        (NONE, certain(RestoredBy.HANDSHAKE, Cause.NETWORK, since_ms=BEFORE), "network"),
        (NONE, certain(RestoredBy.HANDSHAKE, Cause.LOGIN, since_ms=BEFORE, ack=True), "login"),
        (NONE, certain(RestoredBy.POLL, Cause.NO_ACK_CUT, since_ms=BEFORE), "no_ack_cut"),
        (NONE, certain(RestoredBy.POLL, Cause.LOGIN, since_ms=BEFORE), None),
        (NONE, certain(RestoredBy.POLL, Cause.NETWORK, since_ms=BEFORE), None),
    ],
)
async def test_a_stretch_in_which_something_could_be_missed_is_on_record(
    make: Make, before: SessionState | None, fact: Subscribed, expected: str | None
):
    world = await make(saved=before)
    await world.report(fact)
    *_, entry = world.entries
    assert (entry.gap and entry.gap.reason) == expected
    assert entry.session is not None
    assert entry.session.client_id == "c1"
    assert world.receiver.status.gaps.count == bool(expected)


async def test_a_clean_session_is_clean_once(make: Make):
    """Whoever dies from now on may leave an answer under way: the next start must not take the session for clean."""
    world = await make(saved=CLEAN)
    await eventually(lambda: world.entries)
    (entry,) = world.entries
    assert entry.session == msgspec.structs.replace(CLEAN, clean=False)


async def test_what_a_crash_left_undone_is_re_read_with_acknowledgements_too(make: Make):
    world = await make(saved=UNCLEAN)
    world.rest.answers = [chat("missed", "M")]
    await world.report(certain(RestoredBy.RESUME, ack=True))
    assert not world.rest.asked, "what the session still holds comes first"
    await world.report(polled())
    await eventually(lambda: any(entry.observations for entry in world.entries))
    assert world.entries[0].gap is None


async def test_a_clock_that_was_set_back_does_not_outdate_what_is_re_read(make: Make):
    world = await make(saved=UNCLEAN)
    await world.report(batch(with_data(DispositionCode="A")))
    world.time.ms += 10
    world.time.set_by_ms -= 3_600_000
    world.rest.answers = [chat(CHAT["id"], "B")]
    await world.report(certain(at_ms=NOW_MS + 10))
    await eventually(lambda: len(world.entries) == 3)
    await world.settle()
    assert [one["disposition"] for one in await world.data() if "disposition" in one] == ["A", "B"]


@pytest.mark.usefixtures("quick")
async def test_a_clock_that_is_set_back_during_a_look_does_not_make_it_newer(make: Make):
    world = await make(saved=UNCLEAN)
    world.rest.answers = [chat(CHAT["id"], "A")]
    world.rest.gate.clear()
    await world.report(certain())
    await eventually(lambda: world.rest.asked)
    late = batch(with_data(DispositionCode="B"), at_ms=NOW_MS + 10)
    late.at = Moment(NOW_MS - 3_600_000, late.at.monotonic_s)
    await world.report(late)
    world.rest.answers = [chat(CHAT["id"], "B")]
    world.rest.gate.set()
    await eventually(lambda: world.count("reconciliations_total", "done"))
    assert [one["disposition"] for one in await world.data() if "disposition" in one] == ["B"]


async def test_a_gap_reaches_from_the_last_certain_moment_to_the_next(make: Make):
    world = await make(saved=saved(seen_ms=NOW_MS - 61_500))
    await world.report(certain())
    assert world.entries[0].gap == Gap(
        account="agent1",
        from_="2027-01-15T07:58:58.500Z",
        to="2027-01-15T08:00:00.000Z",
        reason="restart",
        closed_by="handshake",
        seconds=61.5,
    )
    assert (world.count("gaps_total", "restart"), world.count("gap_seconds_total")) == (1, 61.5)


async def test_a_gap_within_the_process_begins_where_this_process_was_certain(make: Make):
    world = await make(saved=saved(seen_ms=NOW_MS - 500_000))
    await world.report(certain(RestoredBy.POLL, Cause.NO_ACK_CUT, since_ms=BEFORE))
    gap = world.entries[0].gap
    assert gap is not None
    assert (gap.from_, gap.closed_by) == ("2027-01-15T07:59:40.000Z", "poll")


@pytest.mark.parametrize("step_s", [-3600, 3600])
async def test_a_gap_has_its_true_length_whatever_was_done_to_the_clock(make: Make, step_s: int):
    world = await make()
    await world.report(certain())
    until = Moment(moment(NOW_MS + 60_000).wall_ms + step_s * 1000, moment(NOW_MS + 60_000).monotonic_s)
    lost = certain(cause=Cause.NETWORK, since_ms=NOW_MS)
    await world.report(msgspec.structs.replace(lost, at=until))
    (gap,) = [entry.gap for entry in world.entries if entry.gap]
    assert (gap.seconds, gap.clock_step_seconds) == (60.0, float(step_s))
    assert (world.count("gap_seconds_total"), world.receiver.status.gaps.seconds) == (60, 60)


async def test_a_gap_over_a_restart_has_its_true_length_as_long_as_the_machine_runs(make: Make):
    world = await make(saved=saved(seen_ms=NOW_MS - 60_000))
    now = Moment(NOW_MS - 3_600_000, moment(NOW_MS).monotonic_s)
    await world.report(msgspec.structs.replace(certain(), at=now))
    gap = world.entries[0].gap
    assert gap is not None
    assert (gap.seconds, gap.clock_step_seconds) == (60.0, -3600.0)
    assert (gap.from_, gap.to) == ("2027-01-15T06:59:00.000Z", "2027-01-15T08:00:00.000Z")


async def test_after_a_start_of_the_machine_the_wall_clock_is_all_there_is(make: Make):
    world = await make(saved=saved(seen_ms=NOW_MS - 60_000, boot="another-start"))
    await world.report(certain())
    gap = world.entries[0].gap
    assert gap is not None
    assert (gap.from_, gap.to, gap.seconds) == ("2027-01-15T07:59:00.000Z", "2027-01-15T08:00:00.000Z", None)


# --- subscriptions that die in silence --------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that wait for next to nothing."""
    for name in ("_SETTLE_S", "_CONFIRM_S", "_QUIET_S"):
        monkeypatch.setattr(f"listener.intake.reconciliation.{name}", 0.001)


def since_of(world: World) -> tuple[str, str, str]:
    (gap,) = [entry.gap for entry in world.entries if entry.gap]
    return gap.from_, gap.reason, gap.closed_by


@pytest.mark.usefixtures("quick")
async def test_a_dead_subscription_is_a_gap_since_it_was_last_certain_and_no_end_of_the_session(make: Make):
    world = await make(interval_s=0.01)
    await world.report(certain(at_ms=NOW_MS - 90_000))
    await world.report(polled(subscribed_ms=NOW_MS - 50_000), polled(subscribed_ms=NOW_MS - 40_000))
    heard = batch(with_data(DispositionCode="A"), at_ms=NOW_MS - 30_000, subscribed_ms=NOW_MS - 35_000)
    await world.report(heard, polled(subscribed_ms=NOW_MS - 20_000))
    world.rest.answers = [chat(CHAT["id"], "B")]
    await eventually(lambda: world.count("gaps_total", "subscription_lost"))
    await eventually(lambda: any(entry.gap for entry in world.entries))
    assert since_of(world) == ("2027-01-15T07:59:20.000Z", "subscription_lost", "subscribe")
    assert world.session.distrusted == 0
    await eventually(lambda: world.count("reconciled_total"))


async def test_a_gap_before_a_look_is_explained_begins_where_the_subscription_was_last_alive(make: Make):
    """What the look found was not lost in the gap: a poll was answered in between."""
    world = await make()
    await world.report(certain(at_ms=NOW_MS - 90_000))
    await world.report(polled(subscribed_ms=NOW_MS - 50_000))
    asked_at = world.receiver.polled_at()
    await world.report(polled(subscribed_ms=NOW_MS - 40_000))
    world.receiver.suspect(asked_at)
    await world.report(certain(RestoredBy.POLL, Cause.NO_ACK_CUT, since_ms=NOW_MS - 40_000))
    assert since_of(world) == ("2027-01-15T07:58:30.000Z", "no_ack_cut", "poll")
    await world.report(certain(RestoredBy.POLL, Cause.NO_ACK_CUT, since_ms=NOW_MS - 20_000))
    assert [entry.gap.from_ for entry in world.entries if entry.gap][1:] == ["2027-01-15T07:59:40.000Z"]


@pytest.mark.usefixtures("quick")
async def test_a_session_that_stays_dead_though_it_subscribed_again_begins_anew(make: Make):
    world = await make(interval_s=0.01)
    await world.report(certain(at_ms=NOW_MS - 90_000))
    await eventually(lambda: world.count("reconciliations_total", "done"))  # what the first look finds tells nothing
    world.rest.answers = [chat("one", "A")]
    await eventually(lambda: world.count("gaps_total", "subscription_lost"))
    world.rest.answers = [chat("one", "A"), chat("two", "B")]
    await eventually(lambda: world.session.distrusted)
    assert not world.receiver.is_healthy()
    await world.report(certain(cause=Cause.SUBSCRIPTION_LOST, since_ms=NOW_MS, at_ms=NOW_MS + 1000))
    assert world.receiver.is_connected()
    assert world.count("gaps_total", "subscription_lost") == 2


@pytest.mark.usefixtures("quick")
async def test_a_death_that_a_restart_hid_reaches_into_the_time_before_it(make: Make):
    """To resume a session subscribes it again, and so revives what was dead."""
    world = await make(saved=CLEAN, interval_s=0.01, resubscribe_s=300.0)
    world.rest.answers = [chat("one", "A")]
    await world.report(certain(RestoredBy.RESUME))
    await eventually(lambda: any(entry.gap for entry in world.entries))
    assert since_of(world) == ("2027-01-15T07:54:00.000Z", "subscription_lost", "subscribe")


@pytest.mark.usefixtures("quick")
async def test_a_value_that_came_along_with_its_chat_is_no_sign_of_death(make: Make):
    """Another agent, deaf for the moment, had missed the change; this one joined and was told how the chat stands."""
    world = await make(interval_s=0.01)
    await world.report(certain(), batch(with_data(DispositionCode="A")))
    told = notification(notificationType="ParticipantsUpdated", chat=chat(CHAT["id"], "B"))
    await world.report(batch(told, at_ms=NOW_MS + 10))
    world.time.ms += 1000
    world.rest.answers = [chat(CHAT["id"], "B")]
    await eventually(lambda: world.count("reconciled_total"))
    assert (world.count("unreported_changes_total"), [entry.gap for entry in world.entries if entry.gap]) == (0, [])


async def test_without_the_rest_api_the_session_is_subscribed_again_now_and_then(make: Make):
    world = await make(rest=False, resubscribe_s=0.01)
    await world.report(certain())
    world.session.granted = None
    await eventually(lambda: world.session.subscribed_again >= 3)
    assert world.session.distrusted == 0


# --- re-reading -------------------------------------------------------------------------------------------------------


async def test_what_was_missed_in_a_gap_is_found_by_re_reading_the_chats(make: Make):
    world = await make()
    await world.report(certain(), batch(with_data(DispositionCode="A")))
    world.rest.answers = [CHAT | {"userData": {"DispositionCode": "B"}}, chat("missed", "C"), chat("none", None)]
    world.time.ms += 1000
    await world.report(certain(cause=Cause.SESSION_EXPIRED, since_ms=NOW_MS, at_ms=NOW_MS + 900))
    await eventually(lambda: len(world.entries) == 4)
    await world.settle()
    found = (await world.data())[1:]
    assert [one.get("reason") for one in found] == ["session_expired", None, None]
    assert [
        (one["chatId"], one["change"], one["previous"], one["disposition"], one["origin"]) for one in found[1:]
    ] == [
        (CHAT["id"], "changed", "A", "B", Origin.RECONCILED),
        ("missed", "set", None, "C", Origin.RECONCILED),
    ]
    assert world.count("reconciled_total") == 2


async def test_the_chats_are_re_read_after_a_gap_only(make: Make):
    world = await make(saved=CLEAN)
    await world.report(certain(RestoredBy.RESUME), polled(), certain(RestoredBy.POLL, Cause.NETWORK, since_ms=BEFORE))
    await asyncio.sleep(0.02)
    assert world.rest.asked == 0


@pytest.mark.parametrize(("more", "asked"), [(False, 1), (True, 0)])
async def test_what_an_earlier_process_owed_is_read_behind_the_first_answer_that_is_whole(
    make: Make, monkeypatch: pytest.MonkeyPatch, more: bool, asked: int
):
    """A session that always has something to tell would put it off for ever, if only an empty answer counted."""
    monkeypatch.setattr("listener.intake.reconciliation._SETTLE_S", 0.001)
    world = await make(saved=saved(ack=3))
    told = batch(with_data(DispositionCode="A"), more=more)
    await world.report(certain(RestoredBy.RESUME, ack=True), told)
    await asyncio.sleep(0.05)
    assert world.rest.asked == asked


async def test_a_notification_that_came_while_the_chats_were_re_read_is_the_newer_one(make: Make):
    world = await make(saved=UNCLEAN)
    await world.report(batch(with_data(DispositionCode="A")))
    world.time.ms += 10
    world.rest.answers = [chat(CHAT["id"], "A"), chat("missed", "M")]
    world.rest.gate.clear()
    await world.report(certain(at_ms=NOW_MS + 10))
    await eventually(lambda: world.rest.asked)
    await world.report(batch(with_data(DispositionCode="B"), at_ms=NOW_MS + 20))
    world.time.ms += 20
    world.rest.gate.set()
    await eventually(lambda: len(world.entries) == 4)
    await world.settle()
    dispositions = [one["disposition"] for one in await world.data() if "disposition" in one]
    assert dispositions == ["A", "B", "M"]
    assert [value.value for value in await world.journal.last_values([CHAT["id"]])] == ["B"]


async def test_what_is_on_its_way_to_the_journal_goes_before_what_was_re_read(make: Make):
    world = await make(saved=UNCLEAN)
    world.rest.answers = [chat(CHAT["id"], "B")]
    world.time.ms += 100
    world.rest.gate.clear()
    await world.report(certain())
    await eventually(lambda: world.rest.asked)
    world.gate.clear()
    world.session.report(batch(with_data(DispositionCode="A")), batch(with_data(DispositionCode="B")))
    world.rest.gate.set()
    await asyncio.sleep(0.03)
    world.gate.set()
    await eventually(lambda: len(world.entries) == 4)
    await world.settle()
    changes = [(one["change"], one["disposition"]) for one in await world.data() if "disposition" in one]
    assert changes == [("set", "A"), ("changed", "B")]


async def test_re_reading_is_tried_until_it_succeeds(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("listener.intake.reconciliation._AGAIN_S", 0.001)
    world = await make(saved=UNCLEAN)
    world.rest.error = Unreachable("down")
    world.rest.answers = [chat("missed", "M")]
    await world.report(certain())
    await eventually(lambda: world.rest.asked >= 3)
    world.rest.error = None
    await eventually(lambda: world.count("reconciled_total") == 1)


async def test_without_the_rest_api_a_gap_is_on_record_and_that_is_all(make: Make):
    world = await make(saved=UNCLEAN, rest=False)
    await world.report(certain())
    await world.end()
    assert world.entries[0].gap is not None
    assert world.entries[-1].session.clean


async def test_the_first_look_at_the_chats_makes_no_event(make: Make):
    world = await make()
    world.rest.answers = [chat(CHAT["id"], "A")]
    await world.receiver.learn_chats()
    assert await world.data() == []
    await world.report(batch(with_data(DispositionCode="B")))
    assert [(one["change"], one["previous"]) for one in await world.data()] == [("changed", "A")]


async def test_a_first_look_that_fails_keeps_nobody_from_listening(make: Make):
    world = await make()
    world.rest.error = Unreachable("down")
    await world.receiver.learn_chats()
    assert world.entries == []


# --- status -----------------------------------------------------------------------------------------------------------


async def test_the_status_follows_the_session(make: Make):
    world = await make()

    def status():
        return world.receiver.status

    assert (status().subscribed, status().epoch, status().since_ms) == (False, 0, None)
    await world.report(SessionProblem(reason="login_refused", text="wrong", retry_in_s=1.0))
    assert status().last_error == "login_refused: wrong"
    await world.report(certain(ack=True))
    assert (status().subscribed, status().epoch, status().ack, status().since_ms) == (True, 1, True, NOW_MS)
    assert status().last_error is None
    assert (world.count("sessions_subscribed"), world.count("handshakes_total")) == (1, 1)
    await world.report(*[SessionProblem(reason="network", text="reset", retry_in_s=0.5)] * 2)
    assert (status().subscribed, world.count("sessions_subscribed")) == (False, 0)
    assert world.count("exchanges_failed_total", "network") == 2
    await world.report(polled(at_ms=NOW_MS + 5))
    assert (status().subscribed, status().since_ms, status().last_error) == (True, NOW_MS + 5, None)


async def test_while_there_is_no_subscription_the_status_tells_since_when_a_gap_may_be_open(make: Make):
    """Since the last certain moment: of the process before, then of the last poll that was answered."""
    assert (await make()).receiver.status.certain_ms is None, "there never was one"
    world = await make(saved=saved(seen_ms=NOW_MS - 61_500))
    trouble = SessionProblem(reason="network", text="reset", retry_in_s=0.5)

    def since() -> int | None:
        return world.receiver.status.certain_ms

    assert since() == NOW_MS - 61_500
    await world.report(trouble)
    assert since() == NOW_MS - 61_500
    await world.report(certain())
    assert since() is None
    await world.report(polled(at_ms=NOW_MS + 30_000, subscribed_ms=NOW_MS + 10_000))
    await world.report(SessionProblem(reason="multiple_clients", text="jar", retry_in_s=0.0))
    assert since() is None
    await world.report(trouble)
    assert since() == NOW_MS + 10_000
    await world.report(trouble)
    assert since() == NOW_MS + 10_000
    await world.report(certain(RestoredBy.POLL, Cause.NETWORK, at_ms=NOW_MS + 40_000, since_ms=NOW_MS + 10_000))
    assert since() is None


async def test_a_busy_session_that_answers_again_with_events_is_subscribed(make: Make):
    world = await make()
    await world.report(certain(), SessionProblem(reason="network", text="reset", retry_in_s=0.5))
    await world.report(batch(with_data(DispositionCode="A")))
    assert (world.receiver.status.subscribed, world.count("sessions_subscribed")) == (True, 1)


async def test_a_trouble_without_a_pause_is_a_note_and_no_outage(make: Make):
    world = await make()
    await world.report(certain(), SessionProblem(reason="multiple_clients", text="jar", retry_in_s=0.0))
    assert world.receiver.status.subscribed
    assert world.receiver.status.last_error == "multiple_clients: jar"


async def test_a_resumed_session_counts_as_such(make: Make):
    world = await make(saved=CLEAN)
    await world.report(certain(RestoredBy.RESUME))
    assert (world.count("resumes_total"), world.count("handshakes_total")) == (1, 0)


async def test_the_login_is_kept_alive_and_its_failure_is_no_end(make: Make):
    world = await make(keepalive_s=0.01)
    world.rest.error = LoginRefused("no")
    await eventually(lambda: world.rest.kept_alive >= 3)
    assert not world.tasks[1].done()


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_stopping_leaves_a_clean_state_behind_everything_that_was_heard(make: Make):
    world = await make()
    await world.report(certain())
    world.session.report(batch(with_data(DispositionCode="A")))
    resume = Resume(client_id="c1", connection_type="long-polling", ack=3)
    world.session.rested = PollingEnded(**moments({"at_ms": NOW_MS + 5, "resume": resume, "subscribed_ms": NOW_MS + 4}))
    await world.end()
    stored = (await world.journal.sessions())["agent1"]
    assert (stored.clean, stored.ack, stored.seen_ms) == (True, 3, NOW_MS + 4)
    assert [one["disposition"] for one in await world.data()] == ["A"]
    assert world.session.ended_with is False


async def test_the_end_waits_for_what_is_on_its_way_to_the_journal(make: Make):
    world = await make()
    await world.report(certain())
    world.gate.clear()
    world.session.report(batch(with_data(DispositionCode="A")))
    world.receiver.stop()
    await eventually(lambda: len(world.entries) == 2)
    await asyncio.sleep(0.02)
    assert not world.tasks[1].done()
    assert world.session.ended_with is None
    world.gate.set()
    await world.end()
    assert (await world.journal.sessions())["agent1"].clean
    assert len(await world.data()) == 1


async def test_with_acknowledgements_the_poll_is_left_open_and_what_it_brings_is_left_to_the_next_process(make: Make):
    world = await make()
    await world.report(certain())
    confirmed = asyncio.Event()
    resume = Resume(client_id="c1", connection_type="long-polling", ack=3)
    world.session.rested = PollingEnded(at=moment(NOW_MS), resume=resume, subscribed=moment(NOW_MS))
    world.session.behind = batch(with_data(DispositionCode="late"), confirm=confirmed.set)
    world.receiver.stop()
    await world.receiver.rested.wait()
    stored = len(world.entries)
    world.session.report(batch(with_data(DispositionCode="later"), confirm=confirmed.set))
    await asyncio.sleep(0.02)
    assert world.session.ended_with is None, "the poll is open"
    assert not world.tasks[1].done()
    assert (confirmed.is_set(), len(world.entries), await world.data()) == (False, stored, [])
    await world.end()
    assert world.session.ended_with is False
    last = (await world.journal.sessions())["agent1"]
    assert (last.clean, last.ack) == (True, 3)


async def test_without_acknowledgements_no_poll_is_left_open(make: Make):
    world = await make()
    await world.report(certain())
    resume = Resume(client_id="c1", connection_type="long-polling", ack=None)
    world.session.rested = PollingEnded(at=moment(NOW_MS), resume=resume, subscribed=moment(NOW_MS))
    world.receiver.stop()
    await world.receiver.rested.wait()
    await asyncio.wait(world.tasks[1:], timeout=5)
    assert world.session.ended_with is False
    assert (await world.journal.sessions())["agent1"].clean


@pytest.mark.parametrize("found", [CLEAN, UNCLEAN])
async def test_a_session_of_which_nothing_was_asked_is_left_as_it_was_found(make: Make, found: SessionState):
    world = await make(saved=found)
    world.session.rested = PollingEnded(at=moment(NOW_MS), resume=RESUME)
    await world.end()
    assert (await world.journal.sessions())["agent1"] == found


async def test_a_session_that_did_not_come_to_rest_leaves_no_clean_state(make: Make):
    world = await make()
    await world.report(certain())
    world.session.rested = PollingEnded(at=moment(NOW_MS), resume=None)
    await world.end()
    assert not (await world.journal.sessions())["agent1"].clean


async def test_a_stop_before_the_chats_were_re_read_leaves_no_clean_state(make: Make):
    """The next start then records the stretch again, and re-reads them."""
    world = await make(saved=UNCLEAN)
    world.rest.gate.clear()
    await world.report(certain())
    await eventually(lambda: world.rest.asked)
    await world.end()
    assert not (await world.journal.sessions())["agent1"].clean


async def test_what_comes_on_the_way_out_is_recorded(make: Make):
    world = await make(disconnect_on_stop=True)
    await world.report(certain())
    confirmed = asyncio.Event()
    last = batch(with_data(DispositionCode="last"), confirm=confirmed.set, resume=None)
    world.session.farewell = (last, confirmed)
    await world.end()
    assert world.session.ended_with is True
    assert confirmed.is_set()
    assert [one["disposition"] for one in await world.data()] == ["last"]


async def test_a_session_that_is_disconnected_is_not_left_to_be_continued(make: Make):
    world = await make(disconnect_on_stop=True)
    await world.report(certain())
    await world.end()
    assert not (await world.journal.sessions())["agent1"].clean


async def test_a_bug_in_the_session_ends_the_receiver_loudly(make: Make):
    world = await make()
    world.session.died.set_exception(ZeroDivisionError())
    with pytest.raises(ExceptionGroup) as caught:
        await world.tasks[1]
    assert caught.value.subgroup(ZeroDivisionError) is not None


async def test_nothing_of_a_receiver_is_left_when_it_has_ended(make: Make):
    world = await make()
    before = asyncio.all_tasks()
    await world.report(certain())
    await world.end()
    assert not any("agent1" in task.get_name() for task in asyncio.all_tasks())
    assert asyncio.all_tasks() <= before

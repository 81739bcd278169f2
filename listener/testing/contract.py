"""The contract suite of sinks: what `ports.Sink` promises, to be run by every kind against its real destination.

Subclass `SinkContract` as `Test…` in a test file, and give it a fixture `place`; pytest and pytest-asyncio are needed.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest
from msgspec.structs import replace

from listener.errors import Outcome, Park, Reject, Retry, StartError
from listener.model.event import Event
from listener.ports import Sink
from listener.testing.events import sample_event, sample_gap, sample_test

_MANY = 10_000
_BATCH = 500
_OUTAGE_BEFORE = 8  # any batch in between
_LOOKS = 5  # a tenth of a second
_PATIENCE_S = 60.0
_ODD = 'a\nb\r\u2028\x00"\\é\U0001f600'

CloudEvent = dict[str, Any]


class Place(Protocol):
    """A real destination, up and empty.

    Attributes:
        exactly_once: whether an event that is brought again is there once.
        largest: bytes of a text that an event may hold and still be taken.
        of_the_host: whether it is a part of the host, whose refusal at `open` is a StartError.
    """

    exactly_once: bool
    largest: int
    of_the_host: bool

    def sink(self) -> Sink:
        """A new sink that leads there, not yet opened."""

    async def events(self) -> Sequence[CloudEvent]:
        """Every event that is durable there, in the order of a reader, in CloudEvents JSON; `data` is decoded."""

    def outage(self) -> AbstractAsyncContextManager[None]:
        """While in it the destination is gone, best by kill -9; behind it it is back, with what it had made durable."""

    def stall(self) -> AbstractAsyncContextManager[None]:
        """While in it the destination takes connections and answers nothing. Skip the test where that cannot be."""

    def denied(self) -> Sink:
        """A sink that the destination will not take anything from until a person acts. Skip where there is none."""

    def poison(self, event: Event) -> Event:
        """The event, made into one that the destination can never take. Skip where it takes everything."""


class SinkContract:
    """The suite. Order is per chat; what "arrives" is asked of the destination itself.

    Attributes:
        deaths: before which of the twenty batches the destination dies; before the ninth it does so between two
            batches, before others with the batch in flight. Fewer where each start of it takes many seconds.
    """

    pytestmark = pytest.mark.asyncio
    deaths: Sequence[int] = (5, 8, 12)

    async def test_a_batch_is_durable_when_deliver_returns(self, place: Place) -> None:
        batch = [*_events(20, chats=3), sample_gap(21, sequence=21)]
        await _deliver(place, batch)
        _assert_arrived(await place.events(), batch)

    async def test_a_single_event_is_a_batch(self, place: Place) -> None:
        await _deliver(place, _events(1))
        _assert_arrived(await place.events(), _events(1))

    async def test_a_test_event_arrives_marked_as_one(self, place: Place) -> None:
        event = sample_test("sink")
        await _deliver(place, [event])
        (arrived,) = await place.events()
        assert arrived["type"].endswith(".test")
        assert arrived["id"] == event.id

    async def test_events_of_one_chat_arrive_in_order_over_batches(self, place: Place) -> None:
        batches = [_events(15, chats=4, first=1 + 15 * number) for number in range(4)]
        await _deliver(place, *batches)
        everything = [event for batch in batches for event in batch]
        arrived = await place.events()
        _assert_arrived(arrived, everything)
        _assert_in_order(arrived)

    async def test_what_is_delivered_again_keeps_its_id_and_its_content(self, place: Place) -> None:
        await _deliver(place, _events(3), _events(3))
        arrived = await place.events()
        _assert_all_there(arrived, _events(3))
        times = 1 if place.exactly_once else 2
        assert Counter(event["id"] for event in arrived) == dict.fromkeys((e.id for e in _events(3)), times)

    async def test_a_large_event_arrives_whole(self, place: Place) -> None:
        batch = [_event(1, value="x" * place.largest), _event(2)]
        await _deliver(place, batch)
        _assert_arrived(await place.events(), batch)

    async def test_line_ends_and_odd_characters_stay_within_their_event(self, place: Place) -> None:
        batch = [_event(1, value=_ODD, chat="chät \u2603"), _event(2)]
        await _deliver(place, batch)
        _assert_arrived(await place.events(), batch)

    async def test_a_sink_made_anew_goes_on_behind_what_is_there(self, place: Place) -> None:
        for number in (1, 2):
            await _deliver(place, [_event(number)])
        _assert_arrived(await place.events(), _events(2))

    async def test_a_closed_sink_can_be_opened_again(self, place: Place) -> None:
        sink = place.sink()
        for number in (1, 2):
            async with _open(sink):
                await sink.deliver([_event(number)])
        _assert_arrived(await place.events(), _events(2))

    async def test_closing_is_idempotent_and_fine_without_opening(self, place: Place) -> None:
        sink = place.sink()
        await sink.close()
        await sink.open()
        await sink.close()
        await sink.close()
        assert await place.events() == []

    async def test_the_probe_sends_nothing_whether_the_sink_is_open_or_not(self, place: Place) -> None:
        probe = place.sink()
        await probe.check()
        await probe.close()
        async with _open(place.sink()) as sink:
            await sink.check()
            assert await place.events() == []
            await sink.deliver([_event(1)])
        assert len(await place.events()) == 1

    @pytest.mark.parametrize("turns", [0, 1, 3, 20])
    async def test_after_a_cancelled_delivery_the_batch_can_be_brought_again(self, place: Place, turns: int) -> None:
        batch = _events(30, chats=3)
        async with _open(place.sink()) as sink:
            delivery = asyncio.ensure_future(sink.deliver(batch))
            for _ in range(turns):
                await asyncio.sleep(0)
            delivery.cancel()
            await asyncio.wait([delivery])
            await _bring(sink, batch)
        arrived = await place.events()
        _assert_all_there(arrived, batch)
        _assert_in_order(arrived)

    async def test_closing_ends_a_delivery_that_is_in_flight_and_loses_nothing(self, place: Place) -> None:
        batch = _events(200, chats=3)
        sink = place.sink()
        await sink.open()
        delivery = asyncio.ensure_future(sink.deliver(batch))
        await asyncio.sleep(0)
        async with asyncio.timeout(_PATIENCE_S):
            await sink.close()
            await asyncio.wait([delivery])
        assert delivery.exception() is None or isinstance(delivery.exception(), Retry)
        async with _open(sink):
            await _bring(sink, batch)
        arrived = await place.events()
        _assert_all_there(arrived, batch)
        _assert_in_order(arrived)

    async def test_a_destination_that_is_away_is_waited_for(self, place: Place) -> None:
        """At the probe, at the start, and between two batches of one open sink."""
        async with _open(place.sink()) as sink:
            await sink.deliver([_event(1)])
            async with place.outage():
                other = place.sink()
                with pytest.raises(Retry):
                    await other.check()
                with pytest.raises((Retry, StartError) if place.of_the_host else Retry):
                    await other.open()
                    await other.deliver([_event(2)])  # where it finds out with its first event only
                await other.close()
                with pytest.raises(Retry):
                    await sink.deliver([_event(2)])
            await _bring(sink, [_event(2)])
        _assert_all_there(await place.events(), _events(2))

    async def test_nothing_is_missing_when_the_destination_dies_amid_ten_thousand_events(self, place: Place) -> None:
        everything = _events(_MANY, chats=50)
        batches = [everything[start : start + _BATCH] for start in range(0, _MANY, _BATCH)]
        async with _open(place.sink()) as sink:
            for number, batch in enumerate(batches):
                left: Sequence[Event] = batch
                if number in self.deaths and number != _OUTAGE_BEFORE:
                    delivery = asyncio.ensure_future(_attempt(sink, batch))
                    await asyncio.sleep(0.002 * number)
                    async with place.outage():
                        left = await delivery
                elif number in self.deaths:
                    async with place.outage():
                        pass
                await _bring(sink, left)
        arrived = await place.events()
        _assert_all_there(arrived, everything)
        _assert_in_order(arrived)
        if place.exactly_once:
            assert len(arrived) == _MANY

    async def test_a_destination_that_stalls_holds_neither_the_loop_nor_the_end(self, place: Place) -> None:
        async with _open(place.sink()) as sink:
            await sink.deliver([_event(1)])
            async with place.stall():
                delivery = asyncio.ensure_future(sink.deliver([_event(2)]))
                finished, _ = await asyncio.wait([delivery], timeout=0.3)
                assert not finished, "nobody has made it durable"
                delivery.cancel()
                async with asyncio.timeout(_PATIENCE_S):
                    await asyncio.wait([delivery])
                    await sink.close()
            await sink.open()
            await _bring(sink, [_event(2)])
        _assert_all_there(await place.events(), _events(2))

    async def test_a_destination_that_needs_a_person_parks_the_lane(self, place: Place) -> None:
        sink = place.denied()
        try:
            with pytest.raises(Park) as caught:
                await sink.open()
                await sink.deliver(_events(3))
            assert caught.value.reason
            assert not caught.value.delivered
            with pytest.raises(Park):
                await sink.check()
        finally:
            await sink.close()

    async def test_an_event_that_can_never_be_taken_is_named_and_the_others_arrive(self, place: Place) -> None:
        batch = _events(7, chats=3)
        batch[3] = place.poison(batch[3])
        others = [event for event in batch if event is not batch[3]]
        async with _open(place.sink()) as sink:
            left, rejected = await _deliver_judged(sink, batch)
        assert left == []
        assert [event.id for event in rejected] == [batch[3].id]
        arrived = await place.events()
        _assert_all_there(arrived, others)
        assert batch[3].id not in {event["id"] for event in arrived}
        _assert_in_order(arrived)

    async def test_nothing_is_left_open_after_closing(self, place: Place) -> None:
        def held() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        sink = place.sink()
        async with _open(sink):
            await sink.deliver([_event(1)])
        before = await _settled(held)
        for number in range(2, 5):
            async with _open(sink):
                await sink.deliver([_event(number)])
        assert await _settled(held) <= before


@contextlib.asynccontextmanager
async def _open(sink: Sink) -> Any:
    try:
        await sink.open()
        yield sink
    finally:
        await sink.close()


async def _deliver(place: Place, *batches: Sequence[Event]) -> None:
    async with _open(place.sink()) as sink:
        for batch in batches:
            await sink.deliver(batch)


async def _attempt(sink: Sink, events: Sequence[Event]) -> Sequence[Event]:
    """One delivery; what is left of it."""
    try:
        await sink.deliver(events)
    except Retry as outcome:
        return _left(events, outcome)
    return []


async def _bring(sink: Sink, events: Sequence[Event]) -> None:
    """As a lane does: what is left is brought again until nothing is."""
    async with asyncio.timeout(_PATIENCE_S):
        while events:
            events = await _attempt(sink, events)
            if events:
                await asyncio.sleep(0.05)


async def _deliver_judged(sink: Sink, events: Sequence[Event]) -> tuple[Sequence[Event], list[Event]]:
    """The same, where some are rejected; what is left at the end, and what was rejected."""
    rejected: list[Event] = []
    for _ in range(2 * len(events)):
        try:
            await sink.deliver(events)
        except Reject as outcome:
            rejected += [events[index] for index in outcome.letters]
            events = _left(events, outcome)
        except Retry as outcome:
            events = _left(events, outcome)
            await asyncio.sleep(0.05)
        else:
            return [], rejected
        if not events:
            break
    return events, rejected


def _left(events: Sequence[Event], outcome: Outcome) -> list[Event]:
    done = outcome.delivered | (outcome.letters.keys() if isinstance(outcome, Reject) else set())
    return [event for index, event in enumerate(events) if index not in done]


async def _settled(measure: Callable[[], int]) -> int:
    """The figure once it has not changed for a while: sockets close behind their close()."""
    last, same = measure(), 0
    while same < _LOOKS:
        await asyncio.sleep(0.02)
        now = measure()
        last, same = now, same + 1 if now == last else 0
    return last


def _event(sequence: int, *, value: str = "IssueResolved", chat: str = "chat-0") -> Event:
    return replace(sample_event(sequence, chat=chat, disposition=value), sequence=sequence)


def _events(count: int, *, chats: int = 1, first: int = 1) -> list[Event]:
    """`count` events in journal order that go round `chats` chats."""
    return [_event(number, chat=f"chat-{number % chats}") for number in range(first, first + count)]


def _assert_arrived(arrived: Sequence[CloudEvent], expected: Sequence[Event]) -> None:
    """Each once, and nothing else."""
    assert Counter(event["id"] for event in arrived) == Counter(event.id for event in expected)
    _assert_all_there(arrived, expected)


def _assert_all_there(arrived: Sequence[CloudEvent], expected: Sequence[Event]) -> None:
    """Each at least once, and never with another content; attributes that the kind adds are its own matter."""
    wanted = {event.id: json.loads(event.to_json()) for event in expected}
    missing = wanted.keys() - {event["id"] for event in arrived}
    assert not missing, f"{len(missing)} of {len(wanted)} are missing"
    for event in arrived:
        if (whole := wanted.get(event["id"])) is not None:
            assert {name: event.get(name) for name in whole} == whole


def _assert_in_order(arrived: Sequence[CloudEvent]) -> None:
    """Within each chat the first appearances rise; what is repeated was there before."""
    newest: dict[str, int] = {}
    seen: set[str] = set()
    for event in arrived:
        if event["id"] not in seen:
            seen.add(event["id"])
            sequence = int(event["sequence"])
            assert sequence > newest.get(event["subject"], 0), f"{event['subject']} is out of order at {sequence}"
            newest[event["subject"]] = sequence

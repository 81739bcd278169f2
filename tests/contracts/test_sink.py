"""What `ports.Sink` promises, for every kind that there is and for the double that ships."""

import asyncio
import importlib.util
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from listener.errors import Outcome, Reject, Retry, StartError
from listener.lane_settings import LaneSettings
from listener.model import Event
from listener.ports import Sink
from listener.sinks import registry
from listener.sinks.registry import SinkContext
from listener.sinks.stdout import StdoutSink
from support.events import disposition_event, events_of, gap_event
from support.eventually import eventually
from support.receiver import Answer, Receiver

KINDS = sorted(registry.kinds())
DOUBLES = ["RecordingSink"] if importlib.util.find_spec("listener.testing") else []


class Place(NamedTuple):
    """A destination: makes sinks that lead there, and tells the lines that are durable there."""

    make: Callable[[], Sink]
    lines: Callable[[], list[bytes]]


@pytest.fixture
def file_place(tmp_path):
    path = tmp_path / "events.jsonl"
    lane = LaneSettings(type="file", path=path.name)
    return Place(
        make=lambda: registry.build("sink", lane, base=tmp_path),
        lines=lambda: path.read_bytes().splitlines() if path.exists() else [],
    )


@pytest.fixture
def stdout_place(tmp_path):
    with (tmp_path / "out").open("wb", buffering=0) as out:
        context = SinkContext(name="sink", base=tmp_path)
        yield Place(
            make=lambda: StdoutSink(context=context, fd=out.fileno()),
            lines=lambda: Path(out.name).read_bytes().splitlines(),
        )


@pytest.fixture
def webhook_place(receiver: Receiver):
    lane = LaneSettings(type="webhook", url=receiver.url)
    return Place(
        make=lambda: registry.build("sink", lane, base=Path()),
        lines=lambda: [post.body for post in receiver.posts if post.status < 300],
    )


@pytest.fixture
def recording_sink_place():
    from listener.testing import RecordingSink  # noqa: PLC0415 - optional while the contract runs without it

    sink = RecordingSink()
    return Place(make=lambda: sink, lines=lambda: [event.to_json() for event in sink.events])


@pytest.fixture(params=[*KINDS, *DOUBLES])
def place(request) -> Place:
    """Every kind, and the double."""
    name = "recording_sink" if request.param == "RecordingSink" else request.param
    return request.getfixturevalue(f"{name}_place")


@pytest.fixture
async def sink(place, owned):
    """An open sink."""
    made = place.make()
    owned.push_async_callback(made.close)
    await made.open()
    return made


def of_chat(lines: list[bytes], chat: str) -> list[bytes]:
    return [line for line in lines if f'"subject":"{chat}"'.encode() in line]


async def outcome_of(sink: Sink, events: list[Event]) -> Outcome | None:
    try:
        await sink.deliver(events)
    except Outcome as outcome:
        return outcome
    return None


async def test_a_batch_is_durable_when_deliver_returns(place, sink):
    batch = [*events_of(20, chats=3), gap_event(21)]
    await sink.deliver(batch)
    assert Counter(place.lines()) == Counter(event.to_json() for event in batch)


async def test_a_single_event_is_a_batch(place, sink):
    await sink.deliver([disposition_event(1)])
    assert place.lines() == [disposition_event(1).to_json()]


async def test_events_of_one_chat_arrive_in_order_over_batches(place, sink):
    batches = [events_of(15, chats=4, first=1 + 15 * number) for number in range(4)]
    for batch in batches:
        await sink.deliver(batch)
    for chat in ("chat-0", "chat-1", "chat-2", "chat-3"):
        expected = [event.to_json() for batch in batches for event in batch if event.subject == chat]
        assert of_chat(place.lines(), chat) == expected


async def test_what_is_delivered_again_arrives_again_unchanged(place, sink):
    await sink.deliver(events_of(2))
    await sink.deliver(events_of(2))
    assert Counter(place.lines()) == Counter({event.to_json(): 2 for event in events_of(2)})


async def test_a_large_event_arrives_whole(place, sink):
    event = disposition_event(1, value="x" * 500_000)
    await sink.deliver([event, disposition_event(2)])
    assert place.lines() == [event.to_json(), disposition_event(2).to_json()]


async def test_line_ends_and_odd_characters_stay_within_their_event(place, sink):
    event = disposition_event(1, value='a\nb\r\u2028\x00"\\é\U0001f600')
    await sink.deliver([event, disposition_event(2)])
    assert b"\n".join(place.lines()).split(b"\n") == [
        event.to_json(),
        disposition_event(2).to_json(),
    ]


async def test_a_sink_made_anew_goes_on_behind_what_is_there(place, sink):
    await sink.deliver([disposition_event(1)])
    await sink.close()
    second = place.make()
    await second.open()
    await second.deliver([disposition_event(2)])
    await second.close()
    assert place.lines() == [disposition_event(1).to_json(), disposition_event(2).to_json()]


async def test_a_closed_sink_can_be_opened_again(place, sink):
    await sink.deliver([disposition_event(1)])
    await sink.close()
    await sink.open()
    await sink.deliver([disposition_event(2)])
    assert len(place.lines()) == 2


async def test_closing_is_idempotent_and_fine_without_opening(place):
    made = place.make()
    await made.close()
    await made.open()
    await made.close()
    await made.close()
    assert place.lines() == []


async def test_the_probe_sends_nothing_whether_the_sink_is_open_or_not(place, sink):
    await place.make().check()
    await sink.check()
    assert place.lines() == []
    await sink.deliver([disposition_event(1)])
    assert len(place.lines()) == 1


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 20])
async def test_after_a_cancelled_delivery_the_batch_can_be_brought_again(place, sink, turns):
    batch = events_of(30, chats=3)
    delivery = asyncio.ensure_future(sink.deliver(batch))
    for _ in range(turns):
        await asyncio.sleep(0)
    delivery.cancel()
    await asyncio.wait([delivery])
    await sink.deliver(batch)
    lines = place.lines()
    assert set(lines) == {event.to_json() for event in batch}
    for chat in ("chat-0", "chat-1", "chat-2"):
        expected = [event.to_json() for event in batch if event.subject == chat]
        assert of_chat(lines, chat)[-len(expected) :] == expected


async def test_a_batch_that_fails_in_the_middle_arrives_by_bringing_the_rest(place, sink, receiver):
    """The lane's part of the contract: what `delivered` names is there, the rest is brought again."""
    receiver.script(Answer(status=503), Answer(), Answer(status=500), Answer(abort=True, status=502))
    batch = left = events_of(12, chats=3)

    for _ in range(10):
        outcome = await outcome_of(sink, left)
        if outcome is None:
            break
        assert not isinstance(outcome, Reject)
        assert {left[index].to_json() for index in outcome.delivered} <= set(place.lines())
        left = [event for index, event in enumerate(left) if index not in outcome.delivered]
    assert outcome is None
    assert set(place.lines()) == {event.to_json() for event in batch}


async def test_every_event_that_is_rejected_is_named_in_one_outcome_and_the_others_are_delivered(place, sink, receiver):
    """What is neither delivered nor named would be brought again, and refused again."""
    receiver.script(*(Answer(status=422 if number % 2 else 200) for number in range(12)))
    batch = events_of(12, chats=3)
    outcome = await outcome_of(sink, batch)
    rejected = outcome.letters if isinstance(outcome, Reject) else {}
    delivered = outcome.delivered if outcome is not None else frozenset(range(12))
    assert rejected.keys() | delivered == set(range(12))
    assert not rejected.keys() & delivered
    assert Counter(place.lines()) == Counter(batch[index].to_json() for index in delivered)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("file", {"path": "gone/events.jsonl"}), ("webhook", {"url": "https://127.0.0.1:1", "ca_file": "broken.pem"})],
)
async def test_closing_after_a_failed_open_is_fine(kind, options, tmp_path):
    (tmp_path / "broken.pem").write_text("broken", encoding="utf-8")
    made = registry.build("sink", LaneSettings(type=kind, **options), base=tmp_path)
    with pytest.raises((StartError, Retry)):
        await made.open()
    await made.close()
    await made.close()


async def test_nothing_is_left_open_after_closing(place):
    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    made = place.make()
    await made.open()
    await made.deliver([disposition_event(1)])
    await made.close()
    before = held()
    for number in range(2, 7):
        await made.open()
        await made.deliver([disposition_event(number)])
        await made.close()
    await eventually(lambda: held() <= before, what=lambda: f"{held()} descriptors, {before} before")

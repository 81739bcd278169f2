"""What is appended to a stream when, by the real script on a real server."""

import pytest
from msgspec.structs import replace

from listener.testing.events import SAMPLE_MS, sample_event


def an_event(number, *, sequence=None, later_ms=0, **changes):
    event = sample_event(number, received_ms=SAMPLE_MS + later_ms, sequence=number if sequence is None else sequence)
    return replace(event, **changes)


async def numbers(server):
    """The events of the stream, by their numbers."""
    return [int(fields["id"].removeprefix("event-")) for _, fields in await server.entries()]


async def test_an_entry_has_the_time_and_place_of_its_event_as_id_and_what_readers_route_by_as_fields(server, sink_to):
    event = an_event(7, later_ms=5)
    await sink_to(server).deliver([event])
    ((entry, fields),) = await server.entries()
    assert entry == f"{SAMPLE_MS + 5}-7"
    assert fields == {
        "id": "event-7",
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "sequence": "7",
        "content-type": "application/cloudevents+json; charset=utf-8",
        "body": event.to_json().decode(),
    }


async def test_another_form_is_written_as_it_is_with_the_same_fields_beside_it(server, sink_to):
    await sink_to(server, format="template", template="$chatId: $disposition").deliver([an_event(1)])
    ((_, fields),) = await server.entries()
    assert (fields["id"], fields["content-type"]) == ("event-1", "text/plain; charset=utf-8")
    assert fields["body"] == "0000Na9B26EF003M: IssueResolved"


LATE = {
    "of a replayed letter": an_event(2),
    "of a journal that was begun anew": an_event(50, sequence=1),
    "of a clock that was set back": an_event(50, later_ms=-60_000),
    "at the place of another journal's": an_event(50, sequence=3),
    "with a known id of another source": an_event(50, sequence=3, id="event-3", source="http://other.example.com"),
}


@pytest.mark.parametrize("window", [10_000, 3])
@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
async def test_an_event_that_comes_late_is_written_once_behind_the_others(server, sink_to, late, window):
    sink = sink_to(server, dedup_window=window)
    for batch in ([an_event(1), an_event(3), an_event(9)], [late], [late, an_event(10)], [late]):
        await sink.deliver(batch)
    fields = [fields for _, fields in await server.entries()]
    assert [(one["id"], one["source"]) for one in fields] == [
        (one.id, one.source) for one in (an_event(1), an_event(3), an_event(9), late, an_event(10))
    ]


async def test_the_events_after_a_late_one_keep_the_ids_that_they_should_have(server, sink_to):
    sink = sink_to(server)
    await sink.deliver([an_event(5)])
    await sink.deliver([an_event(2), an_event(6, later_ms=1)])
    assert [entry for entry, _ in await server.entries()] == [
        f"{SAMPLE_MS}-5",
        f"{SAMPLE_MS}-6",
        f"{SAMPLE_MS + 1}-6",
    ]


async def test_an_event_whose_mark_is_gone_is_known_by_its_entry(server, sink_to):
    """So a cursor that was lost, which brings the whole journal again, doubles nothing either."""
    sink = sink_to(server, dedup_window=2)
    events = [an_event(number) for number in range(1, 21)]
    for batch in (events, events[:10], events):
        await sink.deliver(batch)
    assert await numbers(server) == list(range(1, 21))


async def test_an_event_whose_entry_is_gone_is_known_by_its_mark(server, sink_to):
    """As after a reader that deletes what it has taken."""
    sink = sink_to(server)
    await sink.deliver([an_event(1), an_event(2)])
    async with server.client() as client:
        await client.xdel("dispositions", f"{SAMPLE_MS}-1", f"{SAMPLE_MS}-2")
    await sink.deliver([an_event(1), an_event(2), an_event(3)])
    assert await numbers(server) == [3]


async def test_what_others_write_to_the_stream_is_no_hindrance(server, sink_to):
    async with server.client() as client:
        await client.xadd("dispositions", {"note": "of a clock far ahead"}, id=f"{SAMPLE_MS + 10**9}-5")
    for _ in range(2):
        await sink_to(server).deliver([an_event(1), an_event(2)])
    entries = await server.entries()
    assert [fields.get("id") for _, fields in entries] == [None, "event-1", "event-2"]


async def test_no_more_marks_are_kept_than_asked_for(server, sink_to):
    await sink_to(server, dedup_window=7).deliver([an_event(number) for number in range(1, 30)])
    async with server.client() as client:
        assert await client.zcard("{dispositions}:ids") == 7
        await sink_to(server, dedup_window=0).deliver([an_event(30)])
        assert await client.exists("{dispositions}:ids") == 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"maxlen": 0}, range(3000, 3001)),
        ({"maxlen": 100, "maxlen_exact": True}, range(100, 101)),
        ({"maxlen": 100}, range(100, 250)),  # whole nodes of the stream
    ],
)
async def test_the_stream_is_kept_as_long_as_asked_for(server, sink_to, options, kept):
    events = [an_event(number) for number in range(1, 3001)]
    sink = sink_to(server, **options)
    for start in range(0, 3000, 500):
        await sink.deliver(events[start : start + 500])
    assert len(found := await numbers(server)) in kept
    assert found == list(range(3001 - len(found), 3001))


async def test_a_batch_of_many_bytes_goes_in_several_calls_and_keeps_its_order(server, sink_to):
    events = [sample_event(number, sequence=number, data_bytes=900_000) for number in range(1, 13)]
    async with server.client() as client:
        await client.config_resetstat()
        await sink_to(server).deliver(events)
        calls = (await client.info("commandstats"))["cmdstat_eval"]["calls"]
    assert await numbers(server) == list(range(1, 13))
    assert calls == 1 + 3, "the probe, and at most 4 MiB each"

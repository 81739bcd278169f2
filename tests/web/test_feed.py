"""The stream of events over real HTTP: where it begins, what comes, and what becomes of clients that mean harm."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from listener.errors import JournalFenced
from listener.journal.sqlite import SqliteJournal
from listener.model.event import Event, JournalBatch
from listener.model.forms import CLOUD_EVENT
from listener.testing import SAMPLE_MS, MemoryJournal, sample_event, sample_gap
from listener.web.feed import BATCH
from listener.web.limits import STREAMS
from listener.web.server import HttpServer
from support.eventually import eventually
from support.pages import TOKEN, Pages, bearer, raw, running
from support.stream import Stream, stream

PAUSE_S = 0.05
HEAD = b"HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
async def server(pages: Pages) -> AsyncIterator[HttpServer]:
    pages.paces = {"pause_s": PAUSE_S, "comment_s": 0.2, "write_s": 0.3}
    async with running(pages.server(connection_limit_s=0.5)) as server:
        yield server


@pytest.fixture
async def http(server: HttpServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        yield http


async def append(pages: Pages, *numbers: int, data_bytes: int = 0) -> None:
    await pages.journal.append(JournalBatch(events=tuple(sample_event(n, data_bytes=data_bytes) for n in numbers)))


def sequences(events: Sequence[dict[str, Any]]) -> list[int]:
    return [int(event["sequence"]) for event in events]


async def begin(port: int, path: str = "/events") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream whose client reads what the test reads, through a small window."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
    writer.write(f"GET {path} ".encode() + HEAD + b"\r\n")
    return reader, writer


async def rest_of(feed: Stream) -> None:
    """Returns when the stream is over."""
    with contextlib.suppress(EOFError):
        while True:
            await feed.message()


# --- where it begins --------------------------------------------------------------------------------------------------


async def test_it_greets_and_begins_500_events_before_the_newest(http: aiohttp.ClientSession, pages: Pages):
    await append(pages, *range(1, 701))
    feed, hello = await stream(http)
    assert feed.retry == "2000"
    assert len(hello.pop("journal")) >= 16
    assert hello == {"lastSequence": 700, "firstSequence": 1, "reset": False}
    assert sequences(await feed.events(500)) == list(range(201, 701))


async def test_events_come_as_a_sink_gets_them(http: aiohttp.ClientSession, pages: Pages):
    odd = sample_event(1, chat="a\r\n\u2028\x00\N{GRINNING FACE}", disposition="x\n\nevent: hello\ndata: {}")
    await pages.journal.append(JournalBatch(events=(odd, sample_gap(2))))
    feed, _ = await stream(http)
    stored = await pages.journal.read(0, 10)
    assert await feed.events(2) == [json.loads(CLOUD_EVENT.body(event)) for event in stored]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("?after=8", [9, 10]), ("?recent=3", [8, 9, 10]), ("?after=8&recent=3", [9, 10]), ("?recent=10000", range(1, 11))],
)
async def test_it_begins_where_it_is_asked_to(
    http: aiohttp.ClientSession, pages: Pages, query: str, expected: Sequence[int]
):
    await append(pages, *range(1, 11))
    feed, hello = await stream(http, query)
    assert not hello["reset"]
    assert sequences(await feed.events(len(expected))) == list(expected)


@pytest.mark.parametrize("query", ["?recent=0", "?after=10"])
async def test_it_may_begin_with_what_is_to_come(http: aiohttp.ClientSession, pages: Pages, query: str):
    await append(pages, *range(1, 11))
    feed, _ = await stream(http, query)
    assert (await feed.message()).event == ""
    await append(pages, 11)
    assert sequences(await feed.events(1)) == [11]


async def test_what_a_client_has_heard_last_wins(http: aiohttp.ClientSession, pages: Pages):
    await append(pages, *range(1, 11))
    feed, _ = await stream(http, "?after=2", Last_Event_ID="7")
    assert sequences(await feed.events(3)) == [8, 9, 10]


@pytest.mark.parametrize(
    ("query", "expected"), [("?after=11", range(1, 11)), ("?after=9007199254740991&recent=2", (9, 10))]
)
async def test_who_heard_another_journal_begins_anew(
    http: aiohttp.ClientSession, pages: Pages, query: str, expected: Sequence[int]
):
    """As after a restart with an older copy of the journal, or a new one."""
    await append(pages, *range(1, 11))
    feed, hello = await stream(http, query)
    assert (hello["reset"], hello["lastSequence"]) == (True, 10)
    assert sequences(await feed.events(len(expected))) == list(expected)
    feed, hello = await stream(http, Last_Event_ID="11")
    assert hello["reset"]


async def test_an_empty_journal_has_a_stream(http: aiohttp.ClientSession, pages: Pages):
    feed, hello = await stream(http)
    assert (hello["lastSequence"], hello["firstSequence"], hello["reset"]) == (0, 1, False)
    await append(pages, 1)
    assert sequences(await feed.events(1)) == [1]


async def test_each_start_of_the_process_is_told_apart(pages: Pages):
    seen = set()
    for _ in range(2):
        async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
            seen |= {(await stream(http))[1]["journal"] for _ in range(2)}
    assert len(seen) == 2


@pytest.fixture
async def on_file(pages: Pages, tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """The journal on a file in place of the one in memory."""
    memory = pages.journal
    journal = pages.journal = SqliteJournal(path=tmp_path / "journal.db")
    await journal.open()
    yield journal
    await journal.close()
    pages.journal = memory


async def test_ten_thousand_recent_ones_come_from_the_file_in_bounded_messages(pages: Pages, on_file: SqliteJournal):
    for start in range(1, 12_001, 1000):
        await append(pages, *range(start, start + 1000))
    pages.paces = {"pause_s": 0.0}
    async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        feed, _ = await stream(http, "?recent=10000")
        messages = [await feed.message() for _ in range(20)]
        assert [len(message.data) for message in messages] == [BATCH] * 20
        assert [number for message in messages for number in sequences(message.data)] == list(range(2001, 12_001))


async def test_a_hole_in_the_sequences_takes_none_of_the_recent_ones(pages: Pages, on_file: SqliteJournal):
    """Where damage was repaired, sequences go on a million further."""
    await append(pages, *range(1, 11))
    await on_file.advance("crm", 1_000_000)
    await on_file.close()
    await on_file.open()
    await append(pages, 11)
    async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        feed, _ = await stream(http, "?recent=4")
        assert sequences(await feed.events(4)) == [8, 9, 10, 1_000_001]


# --- how it goes on ---------------------------------------------------------------------------------------------------


async def test_the_first_event_after_a_silence_goes_at_once_and_what_follows_gathers(pages: Pages):
    pages.paces = {"pause_s": 1.0}
    async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        feed, _ = await stream(http)
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        await append(pages, 1)
        first = await feed.message()
        assert now_s() - began_s < 1.0
        for number in range(2, 8):
            await append(pages, number)
        second = await feed.message()
        assert (sequences(first.data), sequences(second.data)) == ([1], [2, 3, 4, 5, 6, 7])
        assert now_s() - began_s >= 1.0


async def test_silence_is_broken_by_comments_for_longer_than_a_connection_may_last(
    http: aiohttp.ClientSession, pages: Pages
):
    feed, _ = await stream(http)
    for _ in range(4):
        message = await feed.message()
        assert (message.event, message.data) == ("", None)
    await append(pages, 1)
    assert sequences(await feed.events(1)) == [1]


async def test_retention_meanwhile_leaves_out_what_it_took(http: aiohttp.ClientSession, pages: Pages):
    await append(pages, *range(1, 2001))
    feed, _ = await stream(http, "?after=0")
    assert sequences(await feed.events(BATCH)) == list(range(1, BATCH + 1))
    await pages.journal.retain(before_ms=SAMPLE_MS + 1, keep_for=())
    await append(pages, 2001)
    rest = sequences(await feed.events(1))
    while rest[-1] != 2001:
        rest += sequences(await feed.events(1))
    assert rest == sorted(set(rest))
    feed, hello = await stream(http, "?after=5")
    assert (hello["firstSequence"], hello["reset"]) == (2001, False)
    assert sequences(await feed.events(1)) == [2001]


async def test_a_journal_that_retention_emptied_is_gone_on_from(http: aiohttp.ClientSession, pages: Pages):
    await append(pages, *range(1, 11))
    await pages.journal.retain(before_ms=SAMPLE_MS + 1, keep_for=())
    feed, hello = await stream(http, "?after=3")
    assert (hello["firstSequence"], hello["lastSequence"]) == (11, 10)
    assert (await feed.message()).event == "", "it waits, and asks no more"
    await append(pages, 11)
    assert sequences(await feed.events(1)) == [11]


async def test_no_event_costs_a_task_or_a_line_of_log(http: aiohttp.ClientSession, pages: Pages):
    feed, _ = await stream(http)
    before = asyncio.all_tasks()
    with capture_logs() as logs:
        for start in range(0, 2000, 100):
            await append(pages, *range(start, start + 100))
            assert asyncio.all_tasks() <= before
        await feed.events(2000)
    assert logs == []
    assert asyncio.all_tasks() <= before
    assert pages.metrics.value("http_requests_total", "200") == 1


# --- who is answered, and how it ends ---------------------------------------------------------------------------------


async def test_head_is_answered_without_a_stream(http: aiohttp.ClientSession, pages: Pages):
    for _ in range(STREAMS + 2):
        response = await http.head("/events?recent=3")
        assert (response.status, response.headers["Content-Type"], await response.read()) == (
            200,
            "text/event-stream",
            b"",
        )
    assert pages.metrics.value("http_streams") == 0
    assert (await http.head("/events?recent=x")).status == 400


@pytest.mark.parametrize(
    "query", ["?recent=10001", "?recent=-1", "?after=-1", "?after=x", "?after=1&after=1", "?before=1"]
)
async def test_a_query_that_is_not_understood_is_refused(http: aiohttp.ClientSession, pages: Pages, query: str):
    response = await http.get(f"/events{query}")
    assert (response.status, list(await response.json())) == (400, ["error"])
    assert pages.metrics.value("http_streams") == 0


@pytest.mark.parametrize("shown", [b"x", b"-1", b"1.5", b"", b"9" * 400, b"\xff\xfe", b"null", b"1, 2"])
async def test_a_last_event_id_that_was_none_of_ours_is_refused(server: HttpServer, shown: bytes):
    answer = await raw(server.port, b"GET /events " + HEAD + b"Last-Event-ID: " + shown + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_two_last_event_ids_are_refused(server: HttpServer):
    answer = await raw(server.port, b"GET /events " + HEAD + b"Last-Event-ID: 1\r\nLast-Event-ID: 2\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_the_token_is_asked_for_in_the_header_only(pages: Pages):
    async with running(pages.server(token=lambda: TOKEN)) as server:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
            for path in ("/events", f"/events?token={TOKEN}", f"/events?access_token={TOKEN}"):
                assert (await http.get(path)).status == 401
            assert (await http.get("/events", headers=bearer("wrong"))).status == 401
            _, hello = await stream(http, Authorization=f"Bearer {TOKEN}")
            assert hello["lastSequence"] == 0
        assert pages.metrics.value("http_refused_total", "no_token") == 3


async def test_one_stream_more_is_refused_until_another_ends(http: aiohttp.ClientSession, pages: Pages):
    streams = [(await stream(http))[0] for _ in range(STREAMS)]
    assert pages.metrics.value("http_streams") == STREAMS
    refused = await http.get("/events")
    assert (refused.status, await refused.json()) == (503, {"error": f"{STREAMS} streams are open already"})
    assert (await http.get("/livez")).status == 200
    streams.pop().response.close()
    await eventually(lambda: pages.metrics.value("http_streams") == STREAMS - 1)
    feed, _ = await stream(http)
    await append(pages, 1)
    assert sequences(await feed.events(1)) == [1]


async def test_what_a_client_that_has_gone_leaves_is_taken_away_at_once(pages: Pages):
    """Not with the next comment: who comes and goes again and again would leave a task for each time."""
    pages.paces = {"comment_s": 3600.0}
    async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        before = len(asyncio.all_tasks())
        for _ in range(50):
            feed, _ = await stream(http)
            feed.response.close()
        await eventually(lambda: pages.metrics.value("http_streams") == 0)
        await eventually(lambda: len(asyncio.all_tasks()) <= before)


class Watched(MemoryJournal):
    """Counts how often it is read."""

    reads = 0

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        self.reads += 1
        return await super().read(after, limit)


async def test_a_client_that_does_not_read_is_cut_off_and_read_no_further_for(pages: Pages):
    journal = pages.journal = Watched()
    await journal.open()
    await append(pages, *range(2000), data_bytes=20_000)
    pages.paces = {"pause_s": 0.0, "write_s": 0.3}
    async with running(pages.server()) as server:
        with capture_logs() as logs:
            clients = [await begin(server.port, "/events?after=0") for _ in range(3)]
            await eventually(lambda: pages.metrics.value("http_refused_total", "too_slow") == 3)
        assert journal.reads <= 3 * 3, "the greeting, and what the sockets' buffers took"
        assert [line["reason"] for line in logs if line["event"] == "http_refused"] == ["too_slow"]
        await eventually(lambda: pages.metrics.value("http_streams") == 0)
        for _, writer in clients:
            writer.transport.abort()


async def test_a_client_that_reads_slowly_but_reads_is_kept(
    http: aiohttp.ClientSession, server: HttpServer, pages: Pages
):
    await append(pages, *range(100), data_bytes=10_000)
    reader, writer = await begin(server.port)
    size = 0
    while size < 1_000_000:
        size += len(await reader.read(50_000))
        await asyncio.sleep(0.01)
    assert pages.metrics.value("http_refused_total", "too_slow") == 0
    writer.transport.abort()


async def test_what_a_client_sends_after_its_request_is_dropped(server: HttpServer, pages: Pages):
    reader, writer = await begin(server.port)
    assert b"200 OK" in await reader.readline()
    flood = b"GET /livez " + HEAD + b"\r\n"
    async with asyncio.timeout(20):
        for _ in range(200):
            writer.write(flood * 1000)
            await writer.drain()
    assert pages.metrics.value("http_requests_total", "200") == 1
    assert pages.metrics.value("http_streams") == 1
    writer.transport.abort()
    await eventually(lambda: pages.metrics.value("http_streams") == 0)


async def test_a_body_is_not_taken(server: HttpServer):
    answer = await raw(server.port, b"GET /events " + HEAD + b"Content-Length: 2\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_an_old_client_is_answered_until_the_connection_ends(server: HttpServer, pages: Pages):
    await append(pages, 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /events HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    async with asyncio.timeout(5):
        text = await reader.readuntil(b"\n: \n")
    assert b"Transfer-Encoding" not in text
    assert b'\n\nid: 1\nevent: events\ndata: [{"specversion"' in text
    writer.close()


async def test_streams_end_with_the_server_at_once(pages: Pages):
    server = pages.server()
    await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        streams = [(await stream(http))[0] for _ in range(STREAMS)]
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        await server.stop()
        assert now_s() - began_s < 1.0, "aiohttp alone waits a second for its handlers"
        for feed in streams:
            with pytest.raises(EOFError):
                await feed.message(timeout_s=1.0)


class Fenced(MemoryJournal):
    """Others have the duties of this process as soon as somebody waits."""

    async def wait_beyond(self, sequence: int) -> None:
        raise JournalFenced("replica node-a: incarnation 1 is over")


async def test_a_stream_ends_where_other_replicas_have_the_duties_of_this_process(pages: Pages):
    """The client finds the one that takes its place, or the same process once it has joined anew."""
    journal = pages.journal = Fenced()
    await journal.open()
    async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        with capture_logs() as logs:
            feed, _ = await stream(http)
            await rest_of(feed)
            await eventually(lambda: pages.metrics.value("http_streams") == 0)
    assert [line["reason"] for line in logs if line["event"] == "http_refused"] == ["journal"]
    assert [line for line in logs if line["log_level"] == "error"] == []


async def test_a_stream_ends_with_the_journal_and_says_why_once(http: aiohttp.ClientSession, pages: Pages):
    streams = [(await stream(http))[0] for _ in range(3)]
    with capture_logs() as logs:
        await pages.journal.close()
        for feed in streams:
            await rest_of(feed)
        await eventually(lambda: pages.metrics.value("http_streams") == 0)
    assert [line["reason"] for line in logs] == ["journal"]
    response = await http.get("/events")
    assert (response.status, "not open" in await response.text()) == (503, True)
    await eventually(lambda: pages.metrics.value("http_streams") == 0)

"""cometd-nodejs-server: what the acknowledgement extension is worth, and what is on record where it is missing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from support.bayeux import BayeuxServer
from support.listening import NUMBERED, Listening
from support.sockets import WebsocketFront


@asynccontextmanager
async def listening_to(server: BayeuxServer, folder: Path) -> AsyncIterator[Listening]:
    async with Listening(folder, server=server.settings) as listening:
        await listening.start()
        yield listening


async def test_with_ack_a_dropped_response_loses_nothing(cometd: BayeuxServer, tmp_path: Path):
    """Each drop is of a response with events; the session asks again with the old number and gets them again."""
    async with listening_to(cometd, tmp_path) as listening:
        for n in range(1, 6):
            await cometd.drop(only="messages")
            await cometd.publish(NUMBERED, first=n)
            await listening.heard([n])
        assert (await cometd.state())["dropped"] == 5
        await cometd.publish(NUMBERED, first=6)
        await listening.heard([6])
        assert listening.numbers == [1, 2, 3, 4, 5, 6]
        assert listening.gaps == []
        assert (await cometd.state())["handshakes"] == 1


async def test_with_ack_a_stream_over_a_bad_line_is_complete_and_in_order(cometd: BayeuxServer, tmp_path: Path):
    async with listening_to(cometd, tmp_path) as listening:
        for first in range(1, 101, 10):
            await cometd.drop()
            await cometd.publish(NUMBERED, count=10, first=first)
        await listening.heard(range(1, 101))
        assert listening.numbers == list(range(1, 101))
        assert len({event["id"] for event in listening.events}) == 100
        assert listening.gaps == []


async def test_without_ack_what_a_dropped_response_held_lies_in_a_gap(cometd_no_ack: BayeuxServer, tmp_path: Path):
    async with listening_to(cometd_no_ack, tmp_path) as listening:
        await cometd_no_ack.publish(NUMBERED)
        await listening.heard([1])
        await cometd_no_ack.drop(only="messages")
        lost = datetime.now(UTC)
        await cometd_no_ack.publish(NUMBERED, first=2)
        await listening.daemon.logged("subscribed", by="poll")
        await cometd_no_ack.publish(NUMBERED, first=3)
        await listening.heard([3])
        assert listening.numbers == [1, 3]
        (gap,) = listening.gaps
        assert (gap["reason"], gap["closedBy"]) == ("no_ack_cut", "poll")
        assert listening.lies_in_a_gap(lost)
        assert (await cometd_no_ack.state())["handshakes"] == 1


async def test_a_batch_that_is_too_large_for_a_frame_is_taken_by_long_polling(cometd: BayeuxServer, tmp_path: Path):
    """The server's own acknowledgements, behind websockets: what no frame can bring would come again for ever."""
    async with WebsocketFront(cometd.port) as front:
        server = {**cometd.settings, "url": front.url, "transport": "websocket", "max_message_bytes": 2**16}
        async with Listening(tmp_path, server=server) as listening:
            await listening.start()
            await cometd.publish(NUMBERED)
            await listening.heard([1])
            assert front.polls == []
            await cometd.publish(NUMBERED, count=2000, first=2, batch=2000)
            await listening.heard(range(1, 2002))
            told = [line["error"] for line in listening.daemon.log if line["event"] == "session_problem"]
            (said,) = told
            assert said.endswith("(server.max_message_bytes): what it held is asked for by long-polling")
            polls, frames = len(front.polls), front.frames
            await cometd.publish(NUMBERED, first=2002)
            await listening.heard([2002])
            assert listening.numbers == list(range(1, 2003))
            assert listening.gaps == []
            assert (await cometd.state())["handshakes"] == 1
            assert polls == len(front.polls) == 1, "and back to the websocket"
            assert front.frames > frames


async def test_a_session_that_the_server_ends_is_begun_anew(cometd: BayeuxServer, tmp_path: Path):
    """A disconnect by the server advises no reconnect: a daemon does not give up for good."""
    async with listening_to(cometd, tmp_path) as listening:
        await cometd.publish(NUMBERED)
        await listening.heard([1])
        await cometd.disconnect()
        await cometd.subscribed()
        await cometd.publish(NUMBERED, first=2)
        await listening.heard([2])
        assert [gap["closedBy"] for gap in listening.gaps] == ["handshake"]


async def test_a_login_that_lapses_for_a_moment_keeps_the_session(cometd: BayeuxServer, tmp_path: Path):
    """HTTP 401 and 403 say nothing of the CometD session: a fresh one would throw its queue away."""
    async with listening_to(cometd, tmp_path) as listening:
        await cometd.publish(NUMBERED)
        await listening.heard([1])
        await cometd.fail(403)
        await cometd.publish(NUMBERED, count=2, first=2)
        await listening.heard([2, 3])
        assert listening.numbers == [1, 2, 3]
        assert listening.gaps == []
        assert (await cometd.state())["handshakes"] == 1

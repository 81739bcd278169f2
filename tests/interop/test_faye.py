"""The daemon against faye, which has websockets and no acknowledgements: what breaks is on record."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.bayeux import BayeuxServer
from support.eventually import eventually
from support.listening import NUMBERED, Listening


@pytest.fixture
async def faye(start_bayeux: Callable[..., Awaitable[BayeuxServer]]) -> BayeuxServer:
    """A second connect does not end the first there, so that a stop takes as long as polls are held."""
    return await start_bayeux("faye", "--timeout-ms", "500")


@asynccontextmanager
async def listening_to(server: BayeuxServer, folder: Path, transport: str) -> AsyncIterator[Listening]:
    async with Listening(folder, server={**server.settings, "transport": transport}) as listening:
        await listening.start()
        yield listening


async def test_a_websocket_is_what_the_session_runs_over(faye: BayeuxServer, tmp_path: Path):
    async with listening_to(faye, tmp_path, "websocket") as listening:
        for n in range(1, 11):
            await faye.publish(NUMBERED, first=n)
            await listening.heard([n])
        state = await faye.state()
        assert state["web_sockets"] == 1
        assert state["requests"] == 2, "the negotiation over HTTP, and the upgrade"


async def test_a_websocket_that_breaks_is_replaced_within_the_session(faye: BayeuxServer, tmp_path: Path):
    async with listening_to(faye, tmp_path, "websocket") as listening:
        await faye.publish(NUMBERED)
        await listening.heard([1])
        broken = datetime.now(UTC)
        assert await faye.cut_websockets() == 1
        await listening.daemon.logged("subscribed", by="poll")
        await faye.publish(NUMBERED, first=2)
        await listening.heard([2])
        (gap,) = listening.gaps
        assert (gap["reason"], gap["closedBy"]) == ("no_ack_cut", "poll")
        assert listening.lies_in_a_gap(broken)
        assert (await faye.state())["handshakes"] == 1


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
async def test_what_a_broken_connection_took_along_lies_in_a_gap(faye: BayeuxServer, tmp_path: Path, transport: str):
    async with listening_to(faye, tmp_path, transport) as listening:
        await faye.publish(NUMBERED)
        await listening.heard([1])
        await faye.drop(only="messages")
        lost = datetime.now(UTC)
        await faye.publish(NUMBERED, first=2)
        await listening.daemon.logged("subscribed", by="poll")
        await faye.publish(NUMBERED, first=3)
        await listening.heard([3])
        assert (await faye.state())["dropped"] == 1
        assert [number for number in listening.numbers if number != 2] == [1, 3]
        assert listening.lies_in_a_gap(lost)


async def test_a_stopped_websocket_session_leaves_no_socket_and_a_gap(faye: BayeuxServer, tmp_path: Path):
    """On a websocket without acknowledgements nobody can tell what the server wrote last: the next start says so."""
    async with listening_to(faye, tmp_path, "websocket") as listening:
        await faye.publish(NUMBERED)
        await listening.heard([1])
        assert await listening.stop() == 0, listening.daemon.output()
        await eventually(lambda: no_socket(faye))
        down = datetime.now(UTC)
        await listening.start()
        await faye.publish(NUMBERED, first=2)
        await listening.heard([2])
        assert [gap["reason"] for gap in listening.gaps] == ["restart"]
        assert listening.lies_in_a_gap(down)


async def no_socket(faye: BayeuxServer) -> bool:
    return (await faye.state())["web_sockets"] == 0

"""SIGTERM, SIGINT and a second signal, sent to the real process."""

import asyncio
import signal

import pytest

from listener.simulator import Simulator
from listener.simulator.state import FIRST_CHAT
from support.config import write_config
from support.receiver import Answer, Receiver

ACCOUNTS = [{"username": "agent1", "password": "secret"}]
ENDING = [signal.SIGTERM, signal.SIGINT]
DRAIN_S = 60.0  # the sink does not answer sooner
LESS_S = 30.0


@pytest.fixture
async def sim():
    async with Simulator() as running:
        yield running


@pytest.mark.parametrize("number", ENDING)
async def test_the_first_signal_ends_it_in_order_with_0(start_daemon, tmp_path, sim, number):
    daemon = await start_daemon(write_config(tmp_path, server={"url": sim.url}, accounts=ACCOUNTS))
    await daemon.logged("subscribed")
    daemon.send_signal(number)
    assert await daemon.wait() == 0
    # A sink may still be opening, and tell so in between.
    ending = [entry for entry in daemon.log if entry["event"] in ("stop_requested", "stopping", "stopped")]
    assert [entry["event"] for entry in ending] == ["stop_requested", "stopping", "stopped"]
    assert (ending[0]["signal"], daemon.log[-1]["event"]) == (number.name, "stopped")
    assert len(sim.state()["sessions"]) == 1, "left standing for the next start"


@pytest.mark.parametrize("second", ENDING)
async def test_a_second_signal_leaves_at_once_with_its_own_status(
    start_daemon, tmp_path, sim, receiver: Receiver, second
):
    receiver.answers = Answer(delay_s=DRAIN_S)
    config = write_config(
        tmp_path, server={"url": sim.url}, accounts=ACCOUNTS, webhook=receiver.url, shutdown_timeout_s=DRAIN_S
    )
    daemon = await start_daemon(config)
    await daemon.logged("subscribed")
    sim.set_disposition("agent1", FIRST_CHAT, "Callback")
    await receiver.received(1)
    daemon.send_signal(signal.SIGTERM)
    await daemon.logged("stopping")
    assert daemon.exit_status is None, "it waits for the sink"
    daemon.send_signal(second)
    assert await daemon.wait(timeout_s=LESS_S) == 128 + second
    assert daemon.log[-1]["event"] == "forced_exit"


async def test_a_drain_takes_no_longer_than_it_may(start_daemon, tmp_path, sim, receiver: Receiver):
    receiver.answers = Answer(delay_s=DRAIN_S)
    config = write_config(
        tmp_path, server={"url": sim.url}, accounts=ACCOUNTS, webhook=receiver.url, shutdown_timeout_s=0.2
    )
    daemon = await start_daemon(config)
    await daemon.logged("subscribed")
    sim.set_disposition("agent1", FIRST_CHAT, "Callback")
    await receiver.received(1)
    daemon.send_signal(signal.SIGTERM)
    assert await daemon.wait(timeout_s=LESS_S) == 0
    assert (await daemon.logged("not_drained"))["left_in_the_journal"] == {"crm": 1}


async def test_it_ends_while_it_still_waits_for_its_server(start_daemon, tmp_path):
    """A server that takes the connection and never answers."""
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        config = write_config(tmp_path, server={"url": f"http://127.0.0.1:{port}"}, accounts=ACCOUNTS)
        daemon = await start_daemon(config)
        await asyncio.wait_for(reached.wait(), 10.0)
        daemon.send_signal(signal.SIGTERM)
        assert await daemon.wait() == 0
    finally:
        server.close()

"""Five thousand agents in a file or a mounted folder: one more is heard within seconds, and nobody else notices."""

import asyncio
import os
import resource
import time

import pytest

from listener.simulator import Simulator, SimulatorOptions
from support.config import write_config
from support.eventually import eventually
from support.mounted import write_volume

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

AGENTS = 5000
NEW = f"agent{AGENTS + 1}"
CHECKED_WITHIN_S = 2.0
names = [f"agent{number}" for number in range(1, AGENTS + 1)]


@pytest.fixture(autouse=True)
def _files():
    """A socket for each session, here and there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def sim():
    options = SimulatorOptions(agents=AGENTS + 1, ack=True, timeout_ms=600_000, max_interval_ms=120_000)
    async with Simulator(options) as running:
        running.add_chat("chat-new", agents=[NEW])
        yield running


def sessions(sim):
    return {one["agent"]: one["clientId"] for one in sim.state()["sessions"]}


def said(daemon, event):
    return sum(f'"event": "{event}"' in line for line in daemon.lines)


@pytest.fixture
async def listening(sim, tmp_path, start_daemon, start_command):
    """Start the daemon on accounts that are written already; returns it once all are heard."""

    async def start(accounts_file):
        config = write_config(tmp_path, server={"url": sim.url}, accounts_file=accounts_file)
        began_s, spent = time.perf_counter(), os.times()
        checked = await start_command("check", "--config", config)
        assert await checked.wait() == 0, checked.output
        took_s, ended = time.perf_counter() - began_s, os.times()
        cpu_s = sum(ended[2:4]) - sum(spent[2:4])  # of children that have ended: others may keep this machine busy
        print(f"check of {AGENTS} accounts: {took_s:.2f} s, {cpu_s:.2f} s of CPU")
        assert 0 < cpu_s < CHECKED_WITHIN_S
        daemon = await start_daemon(config)
        await eventually(lambda: all(map(sim.subscribed, names)), timeout_s=180, interval_s=0.5)
        await eventually(lambda: said(daemon, "subscribed") == AGENTS, timeout_s=60, interval_s=0.5)
        return daemon

    return start


async def assert_that_one_more_is_heard(sim, daemon, add):
    """By what the server saw, and by what the daemon says."""
    before, state = sessions(sim), sim.state()
    seen = len(daemon.log)
    began_s = time.perf_counter()
    await asyncio.to_thread(add)
    await eventually(lambda: sim.subscribed(NEW), interval_s=0.05)
    took_s = time.perf_counter() - began_s
    print(f"one account more of {AGENTS}: subscribed after {took_s:.2f} s")
    sim.set_disposition(NEW, "chat-new", "Sold")
    after, states = sessions(sim), sim.state()
    assert after.pop(NEW)
    assert after == before
    assert (states["handshakes"], states["logins"]) == (state["handshakes"] + 1, state["logins"] + 1)
    reloaded = await daemon.logged("reloaded")
    assert {key: value for key, value in reloaded.items() if "accounts" in key} == {"accounts_added": [NEW]}
    assert {line["account"] for line in daemon.log[seen:] if "account" in line} == {NEW}


async def test_an_agent_that_the_file_gains_is_heard_and_nobody_else_is_touched(sim, listening, tmp_path):
    def write(agents):
        """As who writes with care does: another file takes the place."""
        path = tmp_path / "agents.csv.new"
        path.write_text("username,password\n" + "".join(f"{name},secret\n" for name in agents), encoding="utf-8")
        path.chmod(0o600)
        path.replace(tmp_path / "agents.csv")

    write(names)
    daemon = await listening("agents.csv")
    await assert_that_one_more_is_heard(sim, daemon, lambda: write([*names, NEW]))


async def test_an_agent_that_a_mounted_secret_gains_is_heard_and_nobody_else_is_touched(sim, listening, tmp_path):
    def write(agents, version):
        write_volume(tmp_path / "agents", dict.fromkeys(agents, "secret\n"), version=version)

    await asyncio.to_thread(write, names, 1)
    daemon = await listening("agents")
    await assert_that_one_more_is_heard(sim, daemon, lambda: write([*names, NEW], 2))

import asyncio

import pytest
from structlog.testing import capture_logs

from listener.daemon.supervision import Supervision
from listener.runtime.notify import Notifier
from support.eventually import eventually
from support.notified import Notified


class World:
    """A supervision that systemd listens to, of a daemon that gets on or not."""

    def __init__(self, systemd, *, watchdog_us=300_000):
        self.reasons = ["account agent1 has no subscription: connecting"]
        self.hangs = False
        notifier = Notifier({"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": str(watchdog_us)})
        self.supervision = Supervision(
            notifier=notifier, progress=self._progress, not_ready=lambda: self.reasons, summary=lambda: "running"
        )

    async def _progress(self):
        if self.hangs:
            await asyncio.sleep(3600)


@pytest.fixture
def systemd(tmp_path):
    with Notified(tmp_path / "notify") as receiving:
        yield receiving


@pytest.fixture
async def world(systemd):
    world = World(systemd)
    task = asyncio.create_task(world.supervision.run(), name="supervision under test")
    yield world
    task.cancel()
    await asyncio.wait((task,))


async def test_ready_is_told_once_and_only_when_everything_is(world, systemd):
    await eventually(lambda: len(systemd.told("EXTEND_TIMEOUT_USEC")) > 1)
    assert systemd.told("READY") == []
    assert systemd.told("STATUS")[0] == "starting: account agent1 has no subscription: connecting"
    world.reasons = []
    await eventually(lambda: systemd.told("READY"))
    await eventually(lambda: systemd.told("STATUS")[-3:] == ["running"] * 3)
    assert systemd.told("READY") == ["1"]


async def test_what_is_missing_later_is_in_the_status_and_the_watchdog_is_fed_all_the_same(world, systemd):
    world.reasons = []
    await eventually(lambda: systemd.told("READY"))
    world.reasons = ["a", "b", "c", "d", "e"]
    await eventually(lambda: systemd.told("STATUS")[-1] == "not ready: a; b; c and 2 more")
    fed = len(systemd.told("WATCHDOG"))
    await eventually(lambda: len(systemd.told("WATCHDOG")) > fed)


async def test_who_hangs_is_not_fed(world, systemd):
    world.reasons = []
    await eventually(lambda: systemd.told("READY"))
    with capture_logs() as logs:
        world.hangs = True
        await eventually(lambda: any(line["event"] == "no_progress" for line in logs))
        fed = len(systemd.told("WATCHDOG"))
        await asyncio.sleep(0.4)
    assert len(systemd.told("WATCHDOG")) == fed
    world.hangs = False
    await eventually(lambda: len(systemd.told("WATCHDOG")) > fed)


async def test_where_nobody_listens_there_is_nothing_to_do():
    supervision = Supervision(notifier=Notifier({}), progress=lambda: None, not_ready=list, summary=str)
    await asyncio.wait_for(supervision.run(), 1.0)

import asyncio
import os
from functools import partial

import pytest
from structlog.testing import capture_logs

from listener.config.settings import Settings
from listener.daemon import connections
from listener.daemon.passwords import REFUSED, Passwords, PasswordWatch, written_since
from listener.runtime.host import Host
from listener.simulator import Simulator
from listener.testing import ManualClock
from support.eventually import eventually


def settings(base, url="http://127.0.0.1:1", **passwords):
    """Accounts by their passwords, or by a file where it is a path."""
    keys = {name: "password" if isinstance(one, str) else "password_file" for name, one in passwords.items()}
    accounts = [{"username": name, keys[name]: one} for name, one in passwords.items()]
    sinks = {"out": {"type": "file", "path": "out"}}
    return Settings.model_validate({"server": {"url": url}, "accounts": accounts, "sinks": sinks, "base": base})


def test_a_password_in_the_configuration_that_differs_has_changed(tmp_path):
    watch = PasswordWatch()
    assert watch.look(settings(tmp_path, a="1", b="1")) == set()
    assert watch.look(settings(tmp_path, a="1", b="2", c="1")) == {"b"}
    assert watch.look(settings(tmp_path, b="2", a="1")) == set()
    assert watch.look(settings(tmp_path, c="9", b="2")) == set(), "c was away, and begins anew"


@pytest.mark.parametrize(("text", "changed"), [("1\n", set()), ("2\n", {"a"}), ("", set()), (None, set())])
def test_a_password_file_that_is_replaced_has_changed_with_what_it_holds(tmp_path, text, changed):
    (tmp_path / "a").write_text("1\n")
    watch, one = PasswordWatch(), settings(tmp_path, a=tmp_path / "a", b="1")
    assert watch.look(one) == set()
    (tmp_path / "a").unlink()
    if text is not None:
        (tmp_path / "a").write_text(text)
    assert watch.look(one) == changed
    (tmp_path / "a").write_text("3\n")
    assert watch.look(one) == {"a"}
    assert watch.look(one) == set()


def test_a_password_that_moves_to_a_file_has_changed(tmp_path):
    (tmp_path / "a").write_text("1")
    watch = PasswordWatch()
    watch.look(settings(tmp_path, a="1"))
    assert watch.look(settings(tmp_path, a=tmp_path / "a")) == {"a"}


@pytest.mark.parametrize(("older", "written"), [(-60.0, set()), (60.0, {"a"})])
def test_a_password_was_written_with_its_file_or_with_the_configuration(tmp_path, older, written):
    """Whoever copies a file may take its time along: so its place in the folder counts too."""
    (tmp_path / "a").write_text("x")
    now_ms = int((tmp_path / "a").stat().st_ctime * 1000)
    os.utime(tmp_path / "a", (1.0, 1.0))
    heard_ms = now_ms - int(older * 1000)
    assert written_since(settings(tmp_path, a=tmp_path / "a"), {"a": heard_ms, "gone": 0}) == written
    inline = settings(tmp_path, a="x").read_as(renamed=(), places={}, files=[tmp_path / "a"])
    assert written_since(inline, {"a": heard_ms}) == written
    assert written_since(settings(tmp_path, a=tmp_path / "missing"), {"a": 0}) == set()


class QuickClock(ManualClock):
    """Whoever sleeps wakes at once, later."""

    async def sleep(self, delay_s):
        self.advance(delay_s)
        await super().sleep(0)


class World:
    """Accounts whose passwords change, and what is said of them."""

    def __init__(self, base, sim, connector):
        self.base, self.sim, self.clock = base, sim, QuickClock()
        self.doubts, self.living = {}, {"agent1", "agent2"}
        self.settings = self.of(agent1="secret", agent2="secret")
        self.passwords = Passwords(
            settings=lambda: self.settings,
            connector=connector,
            lives=lambda name: name in self.living,
            doubt=self.note,
            host=Host(clock=self.clock),
        )
        self.tried = []
        self.passwords._ask = partial(self.ask, ask=self.passwords._ask)

    def of(self, **passwords):
        return settings(self.base, self.sim.url, **passwords)

    def note(self, account, text):
        if text is None:
            self.doubts.pop(account, None)
        else:
            self.doubts[account] = text

    async def looked(self):
        """Return once it has looked and tried, and waits."""
        self.passwords.look()
        await eventually(lambda: not self.passwords._wanted.is_set())
        await eventually(lambda: len(self.passwords._wanted._waiters) == 1)

    async def change(self, **passwords):
        self.settings = self.of(**passwords)
        await self.looked()

    async def later(self, seconds):
        self.clock.advance(seconds)
        await self.looked()

    async def ask(self, account, settings, ask):
        self.tried.append(account.username)
        await ask(account, settings)


@pytest.fixture
async def sim():
    async with Simulator() as running:
        yield running


@pytest.fixture
async def world(tmp_path, sim, owned):
    connector = connections.new_connector(settings(tmp_path, sim.url, agent1="").server)
    owned.push_async_callback(connector.close)
    world = World(tmp_path, sim, connector)
    running = asyncio.get_running_loop().create_task(world.passwords.run())
    await world.looked()
    with capture_logs() as world.logs:
        yield world
    assert not running.done() or running.result()
    running.cancel()
    await asyncio.wait([running])


def told(world):
    return [(line["event"], line["account"]) for line in world.logs if line["event"].startswith("new_password")]


async def test_a_refused_password_is_told_once_of_each_until_it_changes(world):
    await world.change(agent1="wrong", agent2="wrong")
    refusal = f"{REFUSED}: GET /api/v2/me: HTTP 403, statusCode 20: Access denied"
    assert world.doubts == {"agent1": refusal, "agent2": refusal}
    await world.later(3600.0)
    assert len(world.tried) == 4
    assert told(world) == [("new_password_refused", "agent1"), ("new_password_refused", "agent2")]
    await world.change(agent1="secret", agent2="wrong")
    assert world.doubts == {"agent2": refusal}
    assert told(world)[2:] == [("new_password_accepted", "agent1")]
    await world.change(agent1="secret")
    assert world.doubts == {}


async def test_what_is_refused_is_tried_ever_less_often_and_believed_at_last(world, sim):
    sim.control("invalidate-logins", seconds=3600.0)
    await world.change(agent1="secret", agent2="new")
    assert list(world.doubts) == ["agent2"]
    await world.later(299.0)
    assert world.tried == ["agent2"]
    for _ in range(24 * 6):
        await world.later(600.0)
    assert 24 <= len(world.tried) <= 24 * 3
    await world.change(agent1="secret", agent2="secret")
    assert list(world.doubts) == ["agent2"]
    sim.control("invalidate-logins", seconds=0.0)
    await world.later(3600.0)
    assert world.doubts == {}
    tried = len(world.tried)
    await world.later(36_000.0)
    assert len(world.tried) == tried


async def test_a_password_that_changed_while_nobody_listened_is_tried_and_each_once(world, tmp_path):
    (tmp_path / "file").write_text("wrong")
    await world.change(agent1=tmp_path / "file", agent2="secret")
    world.passwords.logged_in("agent1")
    world.tried.clear()
    written_ms = int((tmp_path / "file").stat().st_ctime * 1000)
    world.passwords.continued("agent1", written_ms + 1000)
    await world.looked()
    assert world.tried == []
    world.passwords.continued("agent1", written_ms - 1000)
    await world.looked()
    assert [world.tried, list(world.doubts)] == [["agent1"], ["agent1"]]
    await world.looked()
    assert world.tried == ["agent1"]


async def test_a_session_that_does_not_live_is_left_to_its_own_login(world):
    world.living.discard("agent1")
    await world.change(agent1="wrong", agent2="secret")
    assert world.doubts == {}
    world.living.add("agent1")
    await world.looked()
    assert list(world.doubts) == ["agent1"]
    world.passwords.logged_in("agent1")
    assert world.doubts == {}
    await world.later(7200.0)
    assert world.doubts == {}


async def test_a_server_that_does_not_answer_has_refused_nothing(world, sim):
    await sim.stop()
    await world.change(agent1="wrong", agent2="wrong")
    assert [world.doubts, *told(world)] == [{}, ("new_password_not_tried", "agent1")]
    await world.later(3600.0)
    assert world.tried == ["agent1", "agent1"], "it is not asked for each of them"

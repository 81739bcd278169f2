"""Changed files of a configuration take effect by themselves, once they have come to rest."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from listener.daemon import daemon as composition
from listener.daemon.assembly import load_checked
from listener.daemon.daemon import Daemon
from listener.daemon.watching import ConfigurationWatch
from listener.errors import ConfigError, JournalError, JournalFull
from listener.simulator import Simulator, SimulatorOptions
from support.config import AUDIT, write_config
from support.eventually import eventually
from support.mounted import write_volume

SERVER = {"url": "http://127.0.0.1:9"}


def replace(path: Path, text: str) -> None:
    """Put another file into its place, as who writes with care does."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def watching(config: Path | None, environ: dict[str, str]) -> ConfigurationWatch:
    """A watch that has taken what is there."""
    watch = ConfigurationWatch(config, environ)
    watch.take()
    return watch


def looks(watch: ConfigurationWatch, *, refused: bool = False) -> list[bool]:
    """What two looks say."""
    return [watch.look(named_too=refused) for _ in range(2)]


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A configuration with one of everything that can change."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "log.toml").write_text('[log]\nlevel = "error"\n')
    (tmp_path / "agents.csv").write_text("username,password,password_file\na,x\nb,,b.secret\n")
    return write_config(tmp_path, server=SERVER, include=["conf.d/*.toml"], accounts_file="agents.csv")


CHANGES: dict[str, Callable[[Path], object]] = {
    "the main file": lambda folder: replace(folder / "listener.toml", (folder / "listener.toml").read_text()),
    "an included file": lambda folder: replace(folder / "conf.d" / "log.toml", '[log]\nlevel = "info"\n'),
    "another included file": lambda folder: (folder / "conf.d" / "more.toml").write_text(""),
    "an included file less": lambda folder: (folder / "conf.d" / "log.toml").unlink(),
    "the accounts": lambda folder: (folder / "agents.csv").write_text("username,password\na,y\n"),
    "the accounts are gone": lambda folder: (folder / "agents.csv").unlink(),
    "the main file is gone": lambda folder: (folder / "listener.toml").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_counts_once_it_is_at_rest_and_until_it_is_taken(configured: Path, change: str):
    watch = watching(configured, {})
    assert looks(watch) == [False, False]
    CHANGES[change](configured.parent)
    assert looks(watch) == [False, True]
    watch.take()
    assert looks(watch) == [False, False]


def test_nothing_counts_while_it_still_changes(configured: Path):
    watch = watching(configured, {})
    for size in range(3):
        (configured.parent / "agents.csv").write_text("username,password\n" + "a,x\n" * size)
        assert not watch.look(named_too=False)
    assert watch.look(named_too=False)


def test_what_is_as_it_was_before_has_not_changed(configured: Path):
    watch = watching(configured, {})
    (configured.parent / "agents.csv").rename(configured.parent / "away")
    assert not watch.look(named_too=False)
    (configured.parent / "away").rename(configured.parent / "agents.csv")
    assert looks(watch) == [False, False]


def test_a_folder_of_secrets_changes_with_its_names(tmp_path: Path):
    folder = tmp_path / "agents"
    write_volume(folder, {"a": "x"}, version=1)
    watch = watching(write_config(tmp_path, server=SERVER, accounts_file="agents"), {})
    write_volume(folder, {"a": "x", "b": "y"}, version=2)
    assert looks(watch) == [False, True]


def test_a_configuration_that_kubernetes_mounts_changes_with_the_link_to_its_data(tmp_path: Path):
    text = write_config(tmp_path, server=SERVER, accounts=[{"username": "a", "password": "x"}]).read_text()
    write_volume(tmp_path / "mounted", {"listener.toml": text}, version=1)
    watch = watching(tmp_path / "mounted" / "listener.toml", {})
    write_volume(tmp_path / "mounted", {"listener.toml": text}, version=2)
    assert looks(watch) == [False, True]


def test_a_file_that_only_a_refused_configuration_waits_for_counts_when_it_comes(configured: Path):
    watch = watching(configured, {})
    (configured.parent / "b.secret").write_text("y")
    assert looks(watch) == [False, False], "a password is read at each login"
    assert looks(watch, refused=True) == [True, True]
    watch.take()
    assert looks(watch, refused=True) == [False, False]


def test_a_folder_that_only_a_refused_configuration_waits_for_counts_when_it_comes(tmp_path: Path):
    sinks = {"second": {"type": "file", "path": "later/audit.jsonl"}, "odd": {"type": "file", "path": "\0/x"}}
    watch = watching(write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, include=["*.conf"], sinks=sinks), {})
    (tmp_path / "later").mkdir()
    assert looks(watch) == [False, False], "a sink that is there waits for its folder itself"
    assert looks(watch, refused=True) == [True, True]
    watch.take()
    (tmp_path / "later" / "x").touch()
    assert looks(watch, refused=True) == [False, False]


def test_what_a_broken_file_included_is_watched_until_it_can_be_read(configured: Path):
    watch = watching(configured, {})
    sound = configured.read_text()
    replace(configured, "[broken")
    (configured.parent / "conf.d" / "log.toml").write_text("[broken too")
    watch.take()
    (configured.parent / "conf.d" / "log.toml").write_text("")
    assert looks(watch) == [False, True]
    watch.take()
    replace(configured, sound)
    assert looks(watch) == [False, True]


def test_a_configuration_without_a_main_file_has_its_accounts_watched(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("agents.csv").write_text("username,password\na,x\n")
    watch = watching(None, {"LISTENER_ACCOUNTS_FILE": "agents.csv"})
    os.utime("agents.csv", ns=(1, 1))
    assert looks(watch) == [False, True]


def test_nothing_is_read_before_it_is_asked_to_and_the_main_file_is_watched_all_the_same(configured: Path):
    watch = ConfigurationWatch(configured, {})
    (configured.parent / "agents.csv").unlink()
    assert looks(watch) == [False, False]
    replace(configured, "")
    assert looks(watch) == [False, True]


HOSTILE = ['include = ["a\\u0000b*", "loop/*"]', 'accounts_file = "a\\u0000b"', f"x = {'[' * 5000}", "x = 1\n\ufffd"]


@pytest.mark.parametrize("text", HOSTILE, ids=["names", "accounts", "depth", "text"])
def test_whatever_a_file_holds_a_look_at_it_raises_nothing(tmp_path: Path, text: str):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "listener.toml").write_text(text, encoding="utf-16" if "\ufffd" in text else "utf-8")
    watch = watching(tmp_path / "listener.toml", {})
    with pytest.raises(ConfigError):
        load_checked(tmp_path / "listener.toml", environ={})
    assert looks(watch, refused=True) == [False, False]


@pytest.fixture
async def sim(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
    """Its parameter, if any, is whether it acknowledges."""
    async with Simulator(SimulatorOptions(agents=4, ack=getattr(request, "param", False))) as running:
        yield running


@pytest.fixture
async def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a daemon on a configuration, that looks at it often."""
    monkeypatch.setattr(composition, "_LOOK_AT_CONFIGURATION_S", 0.02)
    running: list[tuple[Daemon, asyncio.Task[None]]] = []

    async def start(config: Path) -> Daemon:
        watch = watching(config, {})
        load = partial(load_checked, config, environ={})
        daemon = Daemon(load(), load=load, watch=watch)
        running.append((daemon, asyncio.create_task(daemon.run(), name="daemon under test")))
        await eventually(lambda: not daemon.not_ready())
        return daemon

    yield start
    for daemon, task in running:
        daemon.stop()
        await asyncio.wait_for(task, 15)


def codes(folder: Path) -> list[str]:
    """The dispositions in the audit file."""
    lines = (folder / AUDIT).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["data"]["disposition"] for line in lines]


def sessions(sim: Simulator) -> dict[str, str]:
    return {one["agent"]: one["clientId"] for one in sim.state()["sessions"]}


async def test_an_agent_that_a_file_gains_is_heard_and_nobody_else_is_touched(tmp_path, sim, listening):
    accounts = tmp_path / "agents.csv"
    accounts.write_text("username,password\nagent1,secret\nagent2,secret\n")
    daemon = await listening(write_config(tmp_path, server={"url": sim.url}, accounts_file="agents.csv"))
    before = sessions(sim)
    with capture_logs() as log:
        replace(accounts, "username,password\nagent2,secret\nagent3,secret\nagent1,secret\n")
        await eventually(lambda: sessions(sim).keys() == before.keys() | {"agent3"} and not daemon.not_ready())
    assert [(line["event"], line.get("accounts_added")) for line in log if "accounts_" in str(line)] == [
        ("reloaded", ("agent3",))
    ]
    assert {line["account"] for line in log if "account" in line} == {"agent3"}
    assert sessions(sim).items() >= before.items()


async def test_a_secret_that_a_mounted_folder_gains_is_an_agent_more_and_one_that_it_loses_one_less(
    tmp_path, sim, listening
):
    folder = tmp_path / "agents"
    write_volume(folder, {"agent1": "secret", "agent2": "secret"}, version=1)
    daemon = await listening(write_config(tmp_path, server={"url": sim.url}, accounts_file="agents"))
    before = sessions(sim)
    with capture_logs() as log:
        write_volume(folder, {"agent1": "secret", "agent3": "secret"}, version=2)
        await eventually(lambda: "agent3" in sessions(sim) and not daemon.not_ready())
    (line,) = [line for line in log if line["event"] == "reloaded"]
    assert (line["accounts_added"], line["accounts_removed"]) == (("agent3",), ("agent2",))
    assert sessions(sim)["agent1"] == before["agent1"]


async def test_a_broken_file_changes_nothing_and_says_so_until_it_is_mended(tmp_path, sim, listening):
    accounts = tmp_path / "agents.csv"
    accounts.write_text("username,password\nagent1,secret\n")
    daemon = await listening(write_config(tmp_path, server={"url": sim.url}, accounts_file="agents.csv"))
    before = sessions(sim)
    with capture_logs() as log:
        replace(accounts, "username,password,password_file\nagent1,secret\nagent2,,agent2.secret\n")
        await eventually(lambda: daemon.reloads.is_refused)
        await asyncio.sleep(0.2)
        assert [line["event"] for line in log if "reload" in line["event"]] == ["reload_refused"], "told once"
        assert sessions(sim) == before
        (tmp_path / "agent2.secret").write_text("secret")
        await eventually(lambda: not daemon.reloads.is_refused and "agent2" in sessions(sim))
    assert sessions(sim).items() >= before.items()


async def test_a_sink_that_a_start_would_refuse_is_refused_by_a_reload_too(tmp_path, sim, listening):
    accounts = [{"username": "agent1", "password": "secret"}]
    daemon = await listening(write_config(tmp_path, server={"url": sim.url}, accounts=accounts))
    for path in ("nowhere/audit.jsonl", "audit.jsonl"):
        sinks = {"second": {"type": "file", "path": path}}
        write_config(tmp_path, server={"url": sim.url}, accounts=accounts, sinks=sinks)
        with capture_logs() as log:
            daemon.reload()
            await eventually(lambda: any("reload" in line["event"] for line in log))
        if path == "nowhere/audit.jsonl":
            assert daemon.reloads.status().problems == (f"sinks.second.path: there is no folder {tmp_path}/nowhere",)
    assert not daemon.reloads.is_refused


async def test_a_new_sink_is_known_while_an_account_that_changes_too_takes_its_time(
    tmp_path, sim, listening, monkeypatch
):
    monkeypatch.setattr(composition, "_LOOK_S", 0.01)  # at the files that its sinks name
    table = {"server": {"url": sim.url}, "shutdown_timeout_s": 0.5}
    daemon = await listening(write_config(tmp_path, **table, accounts=[{"username": "agent1", "password": "secret"}]))
    sim.control("delay", ms=60_000)
    more = {"second": {"type": "file", "path": "second.jsonl"}}
    accounts = [{"username": "agent1", "password": "secret", "keys": ["Outcome"]}]
    write_config(tmp_path, **table, accounts=accounts, sinks=more)
    with capture_logs() as log:
        daemon.reload()
        await eventually(lambda: any(line["event"] == "reloaded" for line in log))
    assert [line["event"] for line in log if line["event"] in ("account_not_stopped_in_time", "reloaded")] == [
        *("account_not_stopped_in_time", "reloaded")
    ]


@pytest.mark.parametrize("sim", [True], indirect=True, ids=["acknowledges"])
async def test_what_waits_for_the_journal_is_on_record_once_although_its_account_begins_anew(
    tmp_path, sim, listening, monkeypatch
):
    """The server sends again what was not acknowledged."""
    table = {"server": {"url": sim.url}, "shutdown_timeout_s": 0.3}
    account = {"username": "agent1", "password": "secret"}
    daemon = await listening(write_config(tmp_path, **table, accounts=[account]))
    append, is_full = daemon._journal.append, True

    async def refuse(batch):
        if is_full:
            raise JournalFull("no room")
        return await append(batch)

    monkeypatch.setattr(daemon._journal, "append", refuse)
    sim.set_disposition("agent1", "0000Na9B26EF003M", "A")
    await eventually(lambda: daemon._recorder.failing)
    write_config(tmp_path, **table, accounts=[{**account, "keys": ["DispositionCode", "Outcome"]}])
    with capture_logs() as log:
        daemon.reload()
        await eventually(lambda: any(line["event"] == "reloaded" for line in log))
    is_full = False
    await eventually(lambda: not daemon.not_ready())
    sim.set_disposition("agent1", "0000Na9B26EF003M", "B")
    await eventually(lambda: "B" in codes(tmp_path))
    assert codes(tmp_path) == ["A", "B"]


async def test_who_comes_back_while_the_journal_cannot_commit_is_at_work_again(tmp_path, sim, listening, monkeypatch):
    """Nothing of theirs can be stored yet when they are configured again."""
    accounts = [{"username": name, "password": "secret"} for name in ("agent1", "agent2")]
    table = {"server": {"url": sim.url}, "shutdown_timeout_s": 0.3}
    both = {"second": {"type": "file", "path": "second.jsonl"}}
    daemon = await listening(write_config(tmp_path, **table, accounts=accounts, sinks=both))
    await eventually(lambda: set(sessions(sim)) == {"agent1", "agent2"})
    journal, append, is_full = daemon._journal, daemon._journal.append, True

    async def refuse(batch):
        if is_full:
            raise JournalFull("no room")
        return await append(batch)

    monkeypatch.setattr(journal, "append", refuse)
    sim.set_disposition("agent1", "0000Na9B26EF003M", "A")
    for has, these in ((accounts[:1], {}), (accounts, both)):
        with capture_logs() as log:
            write_config(tmp_path, **table, accounts=has, sinks=these)
            daemon.reload()
            await eventually(lambda: any(line["event"] == "reloaded" for line in log))
    is_full = False
    await eventually(lambda: len(daemon._roll) == 2 and not daemon.not_ready())
    assert sorted(daemon._lanes.running) == ["audit", "second"]


async def test_a_reload_waits_for_a_journal_that_cannot_be_asked_and_the_daemon_is_not_ready(
    tmp_path, sim, listening, monkeypatch
):
    one, two = ({"username": name, "password": "secret"} for name in ("agent1", "agent2"))
    daemon = await listening(write_config(tmp_path, server={"url": sim.url}, accounts=[one]))
    sessions_of, is_away = daemon._journal.sessions, True

    async def refuse(accounts=None):
        if is_away:
            raise JournalError("disk I/O error")
        return await sessions_of(accounts)

    monkeypatch.setattr(daemon._journal, "sessions", refuse)
    write_config(tmp_path, server={"url": sim.url}, accounts=[{**one, "keys": ["Outcome"]}, two])
    daemon.reload()
    await eventually(lambda: daemon.not_ready() == ["the journal could not be asked: disk I/O error"])
    is_away = False
    await eventually(lambda: {"agent1", "agent2"} == set(sessions(sim)) and not daemon.not_ready())


async def test_a_sink_whose_folder_was_missing_is_taken_once_the_folder_is_there(tmp_path, sim, listening):
    table = {"server": {"url": sim.url}, "accounts": [{"username": "agent1", "password": "secret"}], "watch": True}
    daemon = await listening(write_config(tmp_path, **table))
    write_config(tmp_path, **table, sinks={"second": {"type": "file", "path": "later/audit.jsonl"}})
    await eventually(lambda: daemon.reloads.is_refused)
    (tmp_path / "later").mkdir()
    await eventually(lambda: not daemon.reloads.is_refused and (tmp_path / "later" / "audit.jsonl").exists())


async def test_who_has_neither_several_files_nor_asked_for_it_is_not_watched(tmp_path, sim, listening):
    one, two, three = ({"username": name, "password": "secret"} for name in ("agent1", "agent2", "agent3"))
    daemon = await listening(write_config(tmp_path, server={"url": sim.url}, accounts=[one]))
    write_config(tmp_path, server={"url": sim.url}, accounts=[one, two], watch=True)
    await asyncio.sleep(0.2)
    assert set(sessions(sim)) == {"agent1"}
    daemon.reload()
    await eventually(lambda: "agent2" in sessions(sim))
    write_config(tmp_path, server={"url": sim.url}, accounts=[one, two, three], watch=True)
    await eventually(lambda: "agent3" in sessions(sim))

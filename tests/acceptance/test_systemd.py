"""The unit under a real systemd: what it promises to the host, and what the host may do to it without a loss."""

import json
import re

import pytest
import pytest_asyncio

from support.config import AUDIT
from support.eventually import eventually
from support.service import (
    CHAT,
    CLONE,
    COMMAND,
    DEPLOY,
    ETC,
    HOME,
    SITE,
    Service,
    Site,
    put_clone_into,
    put_python_into,
    readme_blocks,
    readme_commands,
)
from support.systemdbox import SystemdBox
from support.tools import need

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

AGENTS = ("agent1", "agent2")
# A sink of somebody else's that blocks the event loop, once, when its file tells it to.
STUCK_SINK = """
import time
from pathlib import Path

from listener.config.schema import Section
from listener.sinks.registry import SinkKind


class Settings(Section):
    trigger: Path


class StuckSink:
    def __init__(self, trigger):
        self._trigger = trigger

    async def open(self):
        pass

    async def check(self):
        pass

    async def deliver(self, events):
        if self._trigger.exists():
            self._trigger.unlink()
            time.sleep(3600)

    async def close(self):
        pass


KIND = SinkKind(name="stuck", settings=Settings, build=lambda context, settings: StuckSink(settings.trigger))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box(tmp_path_factory):
    async with SystemdBox(tmp_path_factory.mktemp("box")) as up:
        yield up


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(box):
    put_python_into(box)
    running = Site(box)
    await running.start()
    await running.control("add-chat", chat="second", agents=["agent2"])
    return running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed(box, site):
    """What the README's commands lead to."""
    put_clone_into(box, agents=AGENTS)
    await box.run("bash", "-euc", "\n".join([f"cd {CLONE}", *readme_commands()]))
    for agent in AGENTS[1:]:
        await box.run("install", "-m", "600", f"{CLONE}/{agent}.secret", f"{ETC}/credentials/")
    return Service(box)


@pytest_asyncio.fixture(loop_scope="module")
async def service(installed):
    """The service, with its plain configuration and nothing of a site's own in its unit, running."""
    configured, dropped_in = installed.configure(), installed.drop_in("")
    if dropped_in:
        await installed.box.run("systemctl", "daemon-reload")
    await installed.systemctl("restart" if configured or dropped_in else "start")
    return installed


async def test_the_readmes_commands_lead_to_a_service_that_scores_well_and_hears(installed, site):
    shown = await installed.show("ActiveState", "StatusText", "UnitFileState", "Type", "DynamicUser")
    assert shown == {
        "ActiveState": "active",
        "StatusText": "running",
        "UnitFileState": "enabled",
        "Type": "notify",
        "DynamicUser": "yes",
    }
    await site.dispose("Installed")
    await installed.heard("Installed")
    await installed.box.run("systemd-analyze", "security", "--threshold=11", installed.unit)


async def test_it_is_ready_only_once_it_is_subscribed(service, site):
    await service.systemctl("stop")
    await site.control("expire")
    await site.control("deny-handshake", count=1_000_000)
    await service.systemctl("start", "--no-block")
    await service.becomes(ActiveState="activating", StatusText="starting: .*agent1.*")
    assert await service.log("http_listening"), "it has come as far as it can without the server"
    await site.control("clear")
    await service.becomes(ActiveState="active", StatusText="running")


async def test_it_runs_without_rights_and_writes_to_its_own_state_only(service):
    box, pid = service.box, await service.main_pid()
    status = dict(line.split(":\t", 1) for line in box.path(f"/proc/{pid}/status").read_text().splitlines())
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    user = status["Uid"].split()[0]
    assert 61184 <= int(user) <= 65519, "of the range of dynamic users"
    as_itself = ("nsenter", "-t", str(pid), "-m", "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    mounts = [line.split()[4:6] for line in box.path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    state = "/var/lib/private/disposition-listener"
    places = {place for place, options in mounts if "rw" in options.split(",") and place != "/proc"}
    assert state in places
    _, writable = await box.attempt(
        *as_itself, "sh", "-c", 'find "$@" -xdev -type d -writable 2>/dev/null', "sh", *places
    )
    assert set(writable.split()) == {state}
    for place in ("/etc", HOME, "/tmp", "/var/tmp", "/var/lib", ETC):  # noqa: S108 - read-only
        _, answer = await box.attempt("nsenter", "-t", str(pid), "-m", "touch", f"{place}/written")
        assert "Read-only file system" in answer, f"even for root in its place: {place}"


async def test_a_sink_outside_of_its_state_is_refused_by_name(service, site):
    sinks = {"elsewhere": {"type": "file", "path": "/var/tmp/lost.jsonl"}}  # noqa: S108 - what is refused
    service.configure(sinks=sinks)
    await service.systemctl("restart", "--no-block")

    async def refused():
        lines = await service.box.run("journalctl", "--quiet", "--output=cat", f"--unit={service.unit}")
        return "sinks.elsewhere.path: " in lines and "Read-only file system" in lines

    await eventually(refused, interval_s=0.2)
    service.configure()
    await service.becomes(ActiveState="active")
    await site.dispose("AfterARefusal")
    await service.heard("AfterARefusal")


async def test_passwords_come_as_credentials_that_nobody_else_can_read(service, site):
    folder = service.box.path(f"/run/credentials/{service.unit}")
    assert {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()} == {
        f"secrets_{agent}.secret": 0o400 for agent in AGENTS
    }
    assert folder.stat().st_mode & 0o777 == 0o500
    assert service.box.path(f"{ETC}/credentials").stat().st_mode & 0o777 == 0o700
    password = service.box.path(f"{ETC}/credentials/agent1.secret")
    password.write_text("wrong\n", encoding="utf-8")
    try:
        await service.systemctl("stop")
        await site.control("expire")
        await site.control("expire-http")
        await service.systemctl("start", "--no-block")
        await service.becomes(ActiveState="activating", StatusText="starting: .*agent1.*")
        troubles = await eventually(lambda: service.log("session_problem"), interval_s=0.2)
        assert "wrong" not in str(troubles), "no password in the log"
    finally:
        password.write_text("secret\n", encoding="utf-8")
    await service.systemctl("restart")
    await service.becomes(ActiveState="active", StatusText="running")


async def stop_it_where_it_stands(service, trigger):
    await service.box.run("kill", "-STOP", str(await service.main_pid()))


async def block_its_loop(service, trigger):
    service.box.path(trigger).touch()
    service.box.path(trigger).chmod(0o666)


async def kill_it(service, trigger):
    await service.box.run("kill", "-KILL", str(await service.main_pid()))


@pytest.mark.parametrize(
    ("strike", "result"),
    [
        pytest.param(stop_it_where_it_stands, "watchdog", marks=pytest.mark.long),
        (block_its_loop, "watchdog"),
        (kill_it, "signal"),
    ],
)
async def test_what_hangs_or_is_killed_is_started_anew_and_nothing_is_lost(service, site, strike, result):
    (packages,) = service.box.path(HOME).glob("lib/python3.*/site-packages")
    (packages / "stuck_sink.py").write_text(STUCK_SINK, encoding="utf-8")
    (packages / "stuck_sink-1.dist-info").mkdir(exist_ok=True)
    (packages / "stuck_sink-1.dist-info" / "METADATA").write_text("Name: stuck-sink\nVersion: 1\n", encoding="utf-8")
    points = "[listener.sinks]\nstuck = stuck_sink:KIND\n"
    (packages / "stuck_sink-1.dist-info" / "entry_points.txt").write_text(points, encoding="utf-8")
    trigger = f"{service.state}/trigger"
    service.configure(sinks={"foreign": {"type": "stuck", "trigger": trigger}})
    service.drop_in("WatchdogSec=3s\nRestartSec=500ms")
    await service.box.run("systemctl", "daemon-reload")
    await service.systemctl("restart")
    before, pid = len(service.events()), await service.main_pid()
    name = strike.__name__
    await site.dispose(f"{name} before")
    await service.heard(f"{name} before")
    await strike(service, trigger)
    for number in range(5):
        await site.dispose(f"{name} {number}")

    await service.becomes(NRestarts="[1-9].*", ActiveState="active", StatusText="running")
    assert await service.main_pid() != pid
    ended = await service.box.run("journalctl", "--quiet", "--output=cat", f"--unit={service.unit}")
    assert re.findall(r"Failed with result '(\w+)'", ended)[-1] == result
    await site.dispose(f"{name} after")
    await service.heard(f"{name} after")
    wanted = [f"{name} before", *(f"{name} {number}" for number in range(5)), f"{name} after"]
    assert service.codes()[before:] == wanted, "each once, in their order, and no gap between them"


async def test_a_reload_takes_a_good_configuration_and_refuses_a_bad_one(service, site):
    pid = await service.main_pid()
    grown = Service(service.box, agents=AGENTS)
    grown.configure()
    await service.systemctl("reload")
    await eventually(lambda: service.log("reloaded"), interval_s=0.2)
    await site.dispose("Second agent", agent="agent2", chat="second")
    await service.heard("Second agent")
    service.write("[server]\nurl = 12\n")
    await service.systemctl("reload")
    await service.becomes(ActiveState="active", StatusText="running; the new configuration was refused: .*server.url.*")
    await site.dispose("All the same", agent="agent2", chat="second")
    await service.heard("All the same")
    grown.configure()
    await service.systemctl("reload")
    await service.becomes(ActiveState="active", StatusText="running")
    assert await service.main_pid() == pid


@pytest.mark.long
async def test_a_team_gains_an_agent_without_a_restart(installed, site):
    """By the README's commands; what `init` would ask is given."""
    box = installed.box
    team = f"{CLONE}/agents.csv"
    box.path(team).write_text("username,password\nagent1,secret\n", encoding="utf-8")
    commands = readme_blocks("sh")[1].replace(" --force ", f" --force --yes --server {SITE} ")
    await box.run("bash", "-euc", f"cd {CLONE}\n{commands}")
    try:
        await installed.becomes(ActiveState="active", StatusText="running")
        assert box.path(f"{ETC}/agents.csv").stat().st_mode & 0o777 == 0o640
        pid, reloads = await installed.main_pid(), len(await installed.log("reloaded"))
        with box.path(team).open("a", encoding="utf-8") as file:
            file.write("agent2,secret\n")
        await box.run("bash", "-euc", f"cd {CLONE}\n{commands.splitlines()[1]}")

        async def reloaded():
            return len(await installed.log("reloaded")) > reloads

        await eventually(reloaded, interval_s=0.2)
        await site.dispose("In the team", agent="agent2", chat="second")
        await installed.heard("In the team")
        assert await installed.main_pid() == pid
        assert (await installed.log("reloaded"))[-1]["accounts_added"] == ["agent2"]
    finally:
        box.path(f"/etc/systemd/system/{installed.unit}.d/agents.conf").unlink()
        await box.run("systemctl", "daemon-reload")


async def test_a_broken_configuration_is_not_started_again_and_again(service):
    service.write("[server]\nurl = 12\n")
    await service.box.attempt("systemctl", "restart", service.unit)
    shown = await service.show("ActiveState", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}


async def test_it_stops_in_time_with_a_sink_that_is_away_and_keeps_what_that_has_not_got(service, site):
    sinks = {"away": {"type": "webhook", "url": "http://127.0.0.1:9/"}}
    service.configure(sinks=sinks, shutdown_timeout_s=1.0)
    await service.systemctl("restart")
    await site.dispose("Undelivered")
    await service.heard("Undelivered")
    await service.systemctl("stop")
    shown = await service.show("ActiveState", "Result", "ExecMainStatus", "ExecMainCode")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", "ExecMainCode": "1"}
    left = (await service.log("not_drained"))[-1]
    assert left["left_in_the_journal"]["away"] >= 1
    await site.dispose("While it was away")
    await service.systemctl("start")
    await service.heard("While it was away")
    assert None not in service.codes()[service.codes().index("Undelivered") :], "no gap"


async def test_root_gives_orders_to_it_and_in_its_place_and_leaves_it_its_files(service, site):
    journal = f"{service.state}/journal.db"
    lanes = await service.box.run(COMMAND, "sinks", "list", "--json", "--path", journal)
    assert '"sink":"audit"' in lanes.replace(" ", "")
    command = ("env", f"CREDENTIALS_DIRECTORY=/run/credentials/{service.unit}", COMMAND)
    await service.box.run(*command, "check", "--config", service.config)
    await service.box.run(*command, "set-disposition", CHAT, "By the command", "--config", service.config)
    await service.heard("By the command")
    await service.systemctl("stop")
    await service.box.run(COMMAND, "sinks", "resume", "audit", "--path", journal)
    await service.systemctl("start")
    await site.dispose("After an order of root's")
    await service.heard("After an order of root's")


async def test_logrotate_rotates_and_the_chain_goes_on(service, site):
    need("logrotate", package="logrotate")
    folder = service.box.path(f"{service.state}/")

    async def rotated():
        return (await service.box.attempt("logrotate", "--force", "/etc/logrotate.d/disposition-listener"))[0] == 0

    for turn, code in enumerate(("Before the first turn", "Before the second"), start=1):
        await site.dispose(code)
        await service.heard(code)
        # Files are named after the second of their rotation: logrotate refuses to do it twice in one.
        await eventually(rotated, interval_s=0.5)
        await eventually(service.box.path(f"{service.state}/{AUDIT}").exists)
        assert len(list(folder.glob(f"{AUDIT}-*"))) == turn
    await site.dispose("In the third file")
    await service.heard("In the third file")
    assert service.codes() == ["In the third file"]
    await service.systemctl("stop")
    files = [f"{service.state}/{file.name}" for file in folder.glob(f"{AUDIT}-*")]
    assert sorted(file.endswith(".gz") for file in files) == [False, True], "one is compressed a turn later"
    trail = f"{service.state}/{AUDIT}"
    answer = await service.box.run(COMMAND, "audit", "verify", "--json", trail, *files, "--pubkey", f"{trail}.pub")
    verdict = json.loads(answer)
    assert (verdict["proven"], verdict["findings"]) == (True, [])


@pytest.mark.long
async def test_a_backup_by_root_is_restored_on_an_empty_disk_and_becomes_the_services_own(service, site):
    """docs/backup.md; the folder is made as it says."""
    need("sqlite3", package="sqlite3")
    page = (DEPLOY.parents[1] / "docs/backup.md").read_text(encoding="utf-8")
    backup, restore = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[:2]
    path = f"export PATH=$PATH:{HOME}/bin"
    await site.dispose("Before the backup")
    await service.heard("Before the backup")
    await service.systemctl("restart")  # signs the trail: without a checkpoint nothing of it is proven
    await service.box.run("bash", "-euc", f"mkdir -m 700 /backup; {path}\n{backup}")
    await service.systemctl("stop")
    private = "/var/lib/private/disposition-listener"
    await service.box.run("bash", "-euc", f"rm -r {private} {service.state}")
    await service.box.run(
        "bash", "-euc", f"install -d -m 700 {private}; {path}\n{restore.replace(service.state, private)}"
    )
    await service.systemctl("start")
    await site.dispose("After the restore")
    await service.heard("After the restore")
    assert "Before the backup" in service.codes()
    assert {event["data"].get("reason") for event in service.events()} >= {"journal_lost"}
    assert (await service.show("ActiveState", "StatusText")) == {"ActiveState": "active", "StatusText": "running"}


async def test_instances_of_the_template_are_strangers_to_each_other(installed, site):
    box = installed.box
    await installed.systemctl("stop")
    names = dict(zip(("north", "south"), AGENTS, strict=True))
    pair = [Service(box, instance=name, agents=(agent,)) for name, agent in names.items()]
    for number, (name, one) in enumerate(zip(names, pair, strict=True)):
        folder = box.path(f"{ETC}/credentials-{name}")
        folder.mkdir(mode=0o700)
        (folder / f"{one.agents[0]}.secret").write_text("secret\n", encoding="utf-8")
        one.configure(http={"listen": f"127.0.0.1:{9464 + number}"})
        await one.systemctl("start")
    await site.dispose("North")
    await site.dispose("South", agent="agent2", chat="second")
    for one, code in zip(pair, ("North", "South"), strict=True):
        await one.heard(code)
        assert {event["data"]["account"] for event in one.events()} == {one.agents[0]}
        assert (await one.show("ActiveState", "StatusText")) == {"ActiveState": "active", "StatusText": "running"}
        await box.run("systemd-analyze", "security", "--threshold=11", one.unit)
        await one.systemctl("stop")
    users = {box.path(f"/var/lib/private/disposition-listener-{name}").stat().st_uid for name in names}
    assert len(users) == 2


@pytest.mark.long
async def test_an_uninstall_leaves_a_proven_trail_and_nothing_else(service, site):
    """docs/upgrading.md, what remains; the last test of this file: it ends the service for good."""
    box, kept = service.box, "/srv/kept"
    page = (DEPLOY.parents[1] / "docs/upgrading.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| systemd \|.*\|$", page, re.MULTILINE)
    stop, *remains = re.findall(r"`([^`]+)`", row.rpartition(" | ")[2])
    await site.dispose("The last one")
    await service.heard("The last one")
    await box.run("bash", "-euc", stop)
    await box.run("bash", "-euc", f"mkdir {kept}; cp -p {service.state}/{AUDIT}* {kept}; rm {kept}/*.key")
    await box.run("bash", "-euc", f"{COMMAND} audit verify {kept}/{AUDIT}* --pubkey {kept}/{AUDIT}.pub")
    await box.run("bash", "-euc", f"rm -rf {' '.join(remains)}; systemctl daemon-reload")
    found = await box.run("find", "/etc", "/opt", "/run", "/var/lib", "/var/cache", "-iname", "*disposition*listener*")
    assert found.split() == []

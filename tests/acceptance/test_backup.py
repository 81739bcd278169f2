"""docs/backup.md: a backup of a running daemon, restored on a fresh disk by the commands that stand there."""

import asyncio
import itertools
import json
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.journal.sqlite import views
from listener.simulator import Simulator, SimulatorOptions
from support.config import AUDIT
from support.eventually import eventually
from support.listening import CODE, Listening, numbers, without_repeats
from support.params import some_of
from support.postgresserver import PostgresServer
from support.process import Process, command_environment
from support.publishing import SimulatedSite
from support.receiver import Receiver
from support.tools import need

PAGE = (Path(__file__).parents[2] / "docs/backup.md").read_text(encoding="utf-8")
MILLISECOND = timedelta(milliseconds=1)  # what is on record is cut off there
LAST = 99_999

Follow = Callable[..., Awaitable[None]]
Verify = Callable[[Path], Awaitable[tuple[int, dict[str, Any]]]]


@pytest.fixture
async def site(owned: AsyncExitStack) -> SimulatedSite:
    options = SimulatorOptions(agents=1, ack=True, timeout_ms=500, max_interval_ms=20_000)
    return SimulatedSite(await owned.enter_async_context(Simulator(options)))


@pytest.fixture
def follow(owned: AsyncExitStack, tmp_path: Path) -> Follow:
    """Run commands of a section of the page on the installation in a folder; /backup is a folder, too."""

    async def run(section: str, state: Path, *, block: int = 0, **variables: str) -> None:
        need("sqlite3", package="sqlite3")
        part = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
        text = re.findall(r"```sh\n(.*?)```", part, re.DOTALL)[block]
        text = text.replace("/var/lib/disposition-listener", str(state)).replace("/backup", str(tmp_path / "backup"))
        text = text.replace("disposition-listener ", f"{shlex.quote(sys.executable)} -m listener ")
        shell = Process(["bash", "-ec", text], env=command_environment(tmp_path, variables), cwd=tmp_path)
        await owned.enter_async_context(shell)
        assert await shell.wait(timeout_s=60.0) == 0, shell.output()

    return run


@asynccontextmanager
async def publishing(site: SimulatedSite) -> AsyncIterator[dict[int, datetime]]:
    """Publish one number after the other until the end; when each was."""
    published: dict[int, datetime] = {}

    async def publish() -> None:
        for number in itertools.count(1):
            published[number] = datetime.now(UTC)
            await site.publish(number)
            await asyncio.sleep(0.005)

    task = asyncio.create_task(publish(), name="publish")
    try:
        yield published
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def trail_of(folder: Path) -> list[Path]:
    """The audit file and what stands beside it."""
    return sorted(folder.glob(f"{AUDIT}*"))


@pytest.fixture
def verify(start_command) -> Verify:
    """`audit verify` of the trail in a folder: its exit status, and the verdict."""

    async def verify(folder: Path) -> tuple[int, dict[str, Any]]:
        trail = [folder / f"{AUDIT}.pub", *trail_of(folder)]
        command = await start_command("audit", "verify", "--json", "--pubkey", *trail)
        status = await command.wait()
        return status, json.loads(next(line for line in command.lines if line.startswith("{")))

    return verify


@pytest.mark.parametrize("trail", some_of(("of the backup", "newest"), "newest"))
async def test_a_backup_of_a_running_daemon_goes_on_with_the_loss_on_record_and_sequences_above(
    site: SimulatedSite,
    receiver: Receiver,
    follow: Follow,
    owned: AsyncExitStack,
    tmp_path: Path,
    trail: str,
    verify: Verify,
):
    """Its disk is lost; of the audit trail a younger copy may be elsewhere."""
    folders = [tmp_path / name for name in ("old", "new", "backup")]
    for folder in folders:
        folder.mkdir()
    options = site.settings | {"webhook": receiver.url, "sinks": {"audit": {"checkpoint_lines": 20}}}
    old, new = [await owned.enter_async_context(Listening(folder, **options)) for folder in folders[:2]]
    await old.start()
    async with publishing(site) as published:
        await old.heard(range(1, 60))
        await follow("Backup", old.folder)
        await old.heard([max(published)])
        await old.daemon.kill()
    killed_ms = int(datetime.now(UTC).timestamp() * 1000)
    if trail == "newest":
        for file in trail_of(old.folder):
            shutil.copy2(file, folders[2])
    kept = [json.loads(line) for line in views.export(folders[2] / "journal.db", on_damage=pytest.fail)]
    seen = max(int(event["sequence"]) for event in receiver.accepted())
    assert 59 <= len(kept) < seen
    _, before = await verify(folders[2])
    site.expire()
    restoring = datetime.now(UTC)
    await follow("Restore", new.folder)
    restored = datetime.now(UTC)
    await new.start()
    await site.publish(LAST)
    await eventually(
        lambda: receiver.accepted()[-1]["data"].get("disposition") == f"{CODE}{LAST}" and LAST in new.numbers
    )
    assert await new.stop() == 0

    events = [json.loads(line) for line in views.export(new.folder / "journal.db", on_damage=pytest.fail)]
    assert events[: len(kept)] == kept
    assert all(int(event["sequence"]) > max(seen, killed_ms) for event in events[len(kept) :])
    without_repeats(receiver.accepted())  # what came again is what it was
    lost, restart = (event["data"] for event in events[len(kept) :][:2])
    assert (lost["reason"], lost["from"], restart["reason"]) == (
        "journal_lost",
        kept[-1]["data"]["receivedAt"],
        "restart",
    )
    assert restoring - MILLISECOND <= datetime.fromisoformat(lost["to"]) <= restored
    missing = set(published) - set(numbers([event for event in events if event["type"].endswith(".disposition")]))
    assert missing
    assert [number for number in missing if not new.lies_in_a_gap(published[number])] == []

    status, verdict = await verify(new.folder)
    younger = [each["lines"] for each in verdict["stretches"] if each["proof"] != "signed"]
    assert (verdict["findings"], sum(younger), status) == ([], verdict["unsigned"], bool(younger))
    assert verdict["unsigned"] == (0 if trail == "of the backup" else before["unsigned"])


@pytest.mark.long
async def test_a_dump_of_a_database_is_restored_with_sequences_above(
    site: SimulatedSite, receiver: Receiver, follow: Follow, owned: AsyncExitStack, tmp_path: Path
):
    (tmp_path / "backup").mkdir()
    server = owned.enter_context(PostgresServer(fsync="off"))
    journal = {"path": None, "url": server.address, "username": "admin", "tls": False, "replica": "one"}
    options = site.settings | {"webhook": receiver.url, "sinks": {"audit": {"on": "one"}}, "journal": journal}
    listening = await owned.enter_async_context(Listening(tmp_path, **options))
    at = {"block": 0, "JOURNAL": server.address.replace("//", "//admin@")}
    await listening.start()
    async with publishing(site) as published:
        await listening.heard(range(1, 60))
        await follow("PostgreSQL", tmp_path, **at)
        await listening.heard([max(published)])
        await listening.daemon.kill()
    killed_ms = int(datetime.now(UTC).timestamp() * 1000)
    site.expire()
    await follow("PostgreSQL", tmp_path, **at | {"block": 1})
    before = len(receiver.accepted())
    await listening.start()
    await site.publish(LAST)
    await eventually(lambda: receiver.accepted()[-1]["data"].get("disposition") == f"{CODE}{LAST}")
    assert await listening.stop() == 0
    again = [event for event in receiver.accepted()[before:] if int(event["sequence"]) < killed_ms]
    fresh = [event for event in receiver.accepted()[before:] if event not in again]
    without_repeats(receiver.accepted())
    assert all(event in receiver.accepted()[:before] for event in again)
    assert [event["data"]["reason"] for event in fresh if event["type"].endswith(".gap")] == ["restart"]
    rows = await server.fetch("SELECT sequence FROM disposition_listener.event ORDER BY sequence")
    kept = sum(row["sequence"] < killed_ms for row in rows)
    missing = [number for number in published if number > kept]
    assert missing
    assert [number for number in missing if not listening.lies_in_a_gap(published[number])] == []

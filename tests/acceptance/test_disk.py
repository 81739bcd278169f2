"""Disks that are full, fail, or turn read-only under a running stream: the session waits, and it goes on by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from support.config import AUDIT
from support.disks import Disk, MountedListening, Mounts, failing
from support.eventually import eventually
from support.receiver import Receiver
from support.stage import Stage, doubled, values

SHORT_MS = 4500  # a connect every 3 s keeps a session whose server does not tell this
LONG_MS = 300_000  # what is down for a moment finds its session again, however slow the machine
FAILS_S = 5.5  # for longer than the server keeps a session that does not poll
PAUSE_S = 0.02
SINKS = ("audit", "crm")


@pytest.fixture
async def mounts(owned) -> Mounts:
    return await owned.enter_async_context(Mounts())


@pytest.fixture
async def disk(mounts: Mounts, tmp_path: Path) -> Disk:
    return await mounts.disk(tmp_path / "disk", mib=32)


@pytest.fixture
async def stage(owned, request: pytest.FixtureRequest) -> Stage:
    """Its server keeps a session that does not poll for so long."""
    return await owned.enter_async_context(Stage(max_interval_ms=getattr(request, "param", SHORT_MS)))


@pytest.fixture
def install(owned, mounts: Mounts, disk: Disk, tmp_path: Path, stage: Stage, receiver: Receiver):
    """An installation with its journal on the disk, the audit file there or elsewhere, and a webhook."""

    async def at(audit: Path) -> MountedListening:
        return await owned.enter_async_context(
            MountedListening(
                tmp_path,
                mounts=mounts,
                audit=audit,
                webhook=receiver.url,
                journal={"path": disk.place / "journal.db"},
                sinks={"audit": {"path": audit / AUDIT, "retry_limit_s": 0.5}},
                **stage.settings,
            )
        )

    return at


async def readiness(listening: MountedListening) -> tuple[int, str]:
    """Status and text of `/readyz`."""
    port = (await listening.daemon.logged("http_listening"))["port"]
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as response:
        return response.status, await response.text()


@contextlib.asynccontextmanager
async def journal_fails(listening: MountedListening, stage: Stage, *, because: str) -> AsyncIterator[None]:
    """Wait until the journal cannot commit, stay there, and look at what may not happen meanwhile."""
    await listening.daemon.logged("journal_cannot_commit")
    published, held = len(stage.ledger), stage.unacknowledged
    await asyncio.sleep(FAILS_S)
    assert stage.unacknowledged - held == len(stage.ledger) - published, "nothing is acknowledged meanwhile"
    assert stage.handshakes == 1, "the session lives on"
    status, reasons = await readiness(listening)
    assert status == 503
    assert "the journal cannot commit" in reasons
    assert because in reasons
    yield
    await listening.daemon.logged("journal_commits_again")


async def went_well(listening: MountedListening, stage: Stage, receiver: Receiver) -> None:
    """Everything is at both sinks once, the session never ended, and the log told of the failure once."""
    await stage.all_written(listening)
    await stage.arrived(receiver.accepted, what=listening.daemon.output)
    assert stage.problems(listening.events) == ()
    assert doubled(listening.events) == 0
    assert doubled(receiver.accepted()) == 0
    await eventually(lambda: ready(listening), what=listening.daemon.output)
    told = [entry["event"] for entry in listening.daemon.log]
    assert max(map(told.count, told)) <= len(SINKS), listening.daemon.output()
    assert told.count("journal_cannot_commit") == 1, listening.daemon.output()
    assert told.count("journal_commits_again") == 1
    assert await listening.stop() == 0


async def ready(listening: MountedListening) -> bool:
    return (await readiness(listening))[0] == 200


async def test_a_full_disk_holds_the_stream_up_until_there_is_room(install, tmp_path, disk, stage, receiver):
    listening = await install(tmp_path)
    await listening.start()
    async with stage.publisher.streaming(pause_s=PAUSE_S):
        await stage.all_written(listening)
        with disk.full():
            leaving = journal_fails(listening, stage, because="full")
            await leaving.__aenter__()
        await leaving.__aexit__(None, None, None)
    await went_well(listening, stage, receiver)


@pytest.mark.parametrize(
    ("calls", "error"), [("fsync,fdatasync", "EIO"), pytest.param("pwrite64", "EROFS", marks=pytest.mark.long)]
)
async def test_a_log_that_cannot_be_written_holds_the_stream_up_until_it_can(
    install, tmp_path, disk, stage, receiver, calls, error
):
    """EROFS is what a disk says that the kernel has turned read-only."""
    listening = await install(tmp_path)
    daemon = await listening.start()
    async with stage.publisher.streaming(pause_s=PAUSE_S):
        await stage.all_written(listening)
        async with failing(daemon.pid, disk.place / "journal.db-wal", calls=calls, error=error):
            leaving = journal_fails(listening, stage, because="I/O")
            await leaving.__aenter__()
        await leaving.__aexit__(None, None, None)
    await went_well(listening, stage, receiver)


@pytest.mark.parametrize("stage", [LONG_MS], indirect=True)
async def test_a_disk_that_the_kernel_turned_read_only_costs_nothing_once_it_is_repaired(
    install, disk, stage, receiver
):
    """Such a disk comes back only when nobody has a file open: what was not taken stays with the server.

    For as long as that keeps the session of a daemon that is down: later, the stretch is on record as a gap.
    """
    listening = await install(disk.place)
    await listening.start()
    async with stage.publisher.streaming(pause_s=PAUSE_S):
        await stage.all_written(listening)
        await disk.abort()
        leaving = journal_fails(listening, stage, because="")
        await leaving.__aenter__()
        assert await listening.stop() == 0, listening.daemon.output()
        await disk.mount_again()
        await listening.start()
    await stage.all_written(listening)
    await stage.arrived(receiver.accepted, what=listening.daemon.output)
    assert stage.problems(listening.events) == ()
    assert await listening.stop() == 0


async def test_an_audit_file_without_room_waits_while_the_webhook_goes_on(install, mounts, tmp_path, stage, receiver):
    other = await mounts.disk(tmp_path / "other", mib=16)
    listening = await install(other.place)
    await listening.start()
    async with stage.publisher.streaming(pause_s=PAUSE_S):
        await stage.all_written(listening)
        with other.full():
            await listening.daemon.logged("delivery_failed", sink="audit")
            written = len(listening.events)
            await asyncio.sleep(FAILS_S)
            assert len(listening.events) - written < 10, "what fitted into the last block"
            await stage.arrived(receiver.accepted, what=listening.daemon.output)
            assert stage.unacknowledged < 50, "the journal goes on"
        await listening.daemon.logged("delivery_recovered", sink="audit")
    await stage.all_written(listening)
    await stage.arrived(receiver.accepted, what=listening.daemon.output)
    assert stage.problems(listening.events) == ()
    assert doubled(listening.events) == 0
    assert values(listening.events) == values(receiver.accepted())
    assert await listening.stop() == 0

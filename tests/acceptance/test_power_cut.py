"""The power goes, at random moments of a stream: what was acknowledged is on the disk, and nothing is missing."""

import asyncio
import json
import random
import time
from pathlib import Path

from listener.audit.verify import gather, verify
from support.config import AUDIT
from support.disks import MountedListening, Mounts
from support.eventually import eventually
from support.stage import Stage

CUTS = 6


async def test_every_event_is_in_the_file_after_many_power_cuts(owned, tmp_path: Path):
    """Journal and audit file are on the disk; the daemon dies with it, in its start and in the stream."""
    seed = time.time_ns()
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311 - dice for a test
    mounts = await owned.enter_async_context(Mounts())
    disk = await mounts.disk(tmp_path / "disk", mib=64)
    stage = await owned.enter_async_context(Stage())
    places = {
        "journal": {"path": disk.place / "journal.db"},
        "sinks": {"audit": {"path": disk.place / AUDIT, "checkpoint_lines": 5}},
    }
    listening = await owned.enter_async_context(
        MountedListening(tmp_path, mounts=mounts, audit=disk.place, **stage.settings, **places)
    )
    await listening.start()
    async with stage.publisher.streaming(pause_s=0.01, at_once=3):
        for cut in range(CUTS):
            if cut % 3 != 2:
                before = len(listening.events)
                await eventually(lambda before=before: len(listening.events) > before, interval_s=0.005)
            await asyncio.sleep(dice.uniform(0.0, 0.7))
            disk.cut_power()
            await listening.daemon.kill()
            await disk.mount_again()
            await listening.start(subscribed=False)
    await stage.all_written(listening)
    assert await listening.stop() == 0
    lines = (disk.outside / AUDIT).read_bytes().split(b"\n")
    assert lines.pop() == b"", "the last line is whole"
    assert stage.problems([json.loads(line) for line in lines]) == ()
    audit = disk.outside / AUDIT
    verdict = verify([audit], gather([audit], pubkeys=[f"{audit}.pub"]))
    assert (verdict.findings, verdict.records) == ([], len(lines)), "no cut has left anything that is not proven"
    assert len({json.loads(line)["id"] for line in lines}) == len(lines), "each event once"

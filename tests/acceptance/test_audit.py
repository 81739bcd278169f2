"""The audit trail of the real daemon: killed, rotated by itself and by others, and proven by the real command."""

import asyncio
import contextlib
import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from listener.audit.chain import chained, head_of
from listener.audit.files import in_order, of_the_trail
from listener.audit.reading import lines_of
from support.checkpoints import checkpoints
from support.config import AUDIT
from support.eventually import eventually
from support.listening import Listening, numbers
from support.process import Command
from support.publishing import Site
from support.receiver import Receiver
from support.tools import need

pytestmark = pytest.mark.parametrize("site", ["simulator with ack"], indirect=True)
KILLS = 8


def sizes_signed(folder: Path) -> list[int]:
    """The sizes in the checkpoints beside the audit file, each verified."""
    path = folder / f"{AUDIT}.checkpoints"
    return [size for _, size, _ in checkpoints(path, (folder / f"{AUDIT}.pub").read_text())] if path.exists() else []


def files(folder: Path) -> list[Path]:
    """The audit file and what it was before."""
    return of_the_trail(folder.glob(f"{AUDIT}*"))


def trail(folder: Path) -> list[Path]:
    """The same, in order. One that is being compressed may be missed."""
    return in_order(files(folder))


def written(folder: Path) -> list[int]:
    """The numbers in the whole trail, each as often as it stands there."""
    events = [json.loads(line) for path in trail(folder) for line in lines_of(path) if line.endswith(b"\n")]
    return numbers([event for event in events if event["type"].endswith(".disposition")])


def quarantined(folder: Path) -> list[bytes]:
    """What was moved aside, file by file."""
    return [place.read_bytes() for place in folder.glob(f"{AUDIT}.quarantined-*")]


def arrived(folder: Path, number: int) -> bool:
    """Whether it stands there; a file that is being compressed may be missed at first."""
    with contextlib.suppress(FileNotFoundError):
        return number in written(folder)
    return False


async def proof(folder: Path, *arguments: str | Path) -> dict:
    """What `audit verify --json` says of the whole trail."""
    command = Command("audit", "verify", "--json", *arguments, *trail(folder), folder=folder)
    async with command:
        await command.wait()
    return json.loads(next(line for line in command.lines if line.startswith("{")))


async def test_many_kills_and_rotations_leave_each_event_once_and_a_trail_that_is_proven(
    site: Site, install: Callable, tmp_path: Path, receiver: Receiver
):
    seed = time.time_ns()
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311 - dice for a test
    rotation = {"rotate_bytes": 20_000, "compress": True, "checkpoint_lines": 25, "checkpoint_s": 0.2}
    audit = {**rotation, "checkpoint_url": f"{receiver.url}/checkpoints"}
    listening: Listening = await install(site, sinks={"audit": audit})
    await listening.start()
    number = 0
    for _ in range(KILLS):
        until = time.monotonic() + dice.uniform(0.1, 0.7)
        while time.monotonic() < until:
            number += 1
            await site.publish(number)
            await asyncio.sleep(0.003)
        await listening.daemon.kill()
        await listening.start(subscribed=False)
    await listening.daemon.logged("subscribed")
    await eventually(lambda: arrived(tmp_path, number), what=listening.daemon.output)
    while len(files(tmp_path)) <= 3:  # a slow machine has published little so far
        number += 1
        await site.publish(number)
        await eventually(lambda: arrived(tmp_path, number), what=listening.daemon.output)  # noqa: B023 - asked now
    assert await listening.stop() == 0
    assert written(tmp_path) == list(range(1, number + 1)), "each once, in order"
    assert len(trail(tmp_path)) > 2, "several files"
    verdict = await proof(tmp_path, "--pubkey", tmp_path / f"{AUDIT}.pub")
    assert (verdict["findings"], verdict["records"], verdict["proven"]) == ([], number, True)
    assert verdict["signed"] == number, "the end is signed at the stop"
    heads = checkpoints(tmp_path / f"{AUDIT}.checkpoints", (tmp_path / f"{AUDIT}.pub").read_text())
    assert heads[-1][1:] == (number, bytes.fromhex(verdict["hash"]))
    posted = receiver.posts[-1].body.decode()
    assert posted.split("\n")[1] == str(number), "the last checkpoint got there before the process ended"


async def test_logrotate_with_a_hangup_is_followed_at_once(site: Site, install: Callable, tmp_path: Path):
    logrotate = need("logrotate", package="logrotate")
    listening: Listening = await install(site)
    await listening.start()
    config = tmp_path / "rotate.conf"
    for turn in (1, 2):
        await site.publish(5 * turn - 4, 5)
        await listening.heard(range(5 * turn - 4, 5 * turn + 1))
        hangup = f"postrotate\n kill -HUP {listening.daemon.pid}\n endscript"
        config.write_text(
            f"{tmp_path / AUDIT} {{\n rotate 9\n nocreate\n compress\n delaycompress\n {hangup}\n}}\n", encoding="utf-8"
        )
        config.chmod(0o600)
        done = await asyncio.create_subprocess_exec(logrotate, "--force", "--state", tmp_path / "state", config)
        assert await done.wait() == 0
        await eventually((tmp_path / AUDIT).exists)
        signed = [5, 10][:turn]  # the end of a file that is left is signed, a moment after it was left
        await eventually(lambda signed=signed: sizes_signed(tmp_path) == signed, what="the checkpoints")
    await listening.stop()
    await listening.start()
    await site.publish(11)
    await listening.heard([11])
    listening.daemon.send_signal(signal.SIGTERM)
    await listening.daemon.wait()
    assert written(tmp_path) == list(range(1, 12))
    verdict = await proof(tmp_path, "--pubkey", tmp_path / f"{AUDIT}.pub")
    assert (verdict["findings"], verdict["records"], verdict["signed"]) == ([], 11, 11)


async def test_a_trail_that_somebody_changed_while_the_daemon_was_down_is_not_proven_by_going_on(
    site: Site, install: Callable, tmp_path: Path
):
    listening: Listening = await install(site)
    await listening.start()
    await site.publish(1, 10)
    await listening.heard(range(1, 11))
    await listening.stop()
    audit = tmp_path / AUDIT
    lines = audit.read_bytes().splitlines(keepends=True)
    audit.write_bytes(b"".join(lines[:8]))
    await listening.start()
    assert (await listening.daemon.logged("audit_records_missing"))["signed"] == 10
    await site.publish(11, 3)
    await listening.heard([11, 12, 13])
    await listening.stop()
    verdict = await proof(tmp_path)
    assert [(one["kind"], one["line"]) for one in verdict["findings"]] == [("deleted", 9)]


async def test_a_line_that_somebody_appended_while_the_daemon_was_down_is_never_signed(
    site: Site, install: Callable, tmp_path: Path
):
    """Also after a kill, which leaves true lines unsigned before it."""
    listening: Listening = await install(site)
    await listening.start()
    await site.publish(1, 5)
    await listening.heard(range(1, 6))
    await listening.daemon.kill()
    audit = tmp_path / AUDIT
    lines = audit.read_bytes().splitlines(keepends=True)
    event = json.loads(lines[-1])
    event["sequence"] = str(int(event["sequence"]) + 1)
    for name in ("chainindex", "chainprevious"):
        del event[name]
    body = json.dumps(event, separators=(",", ":")).encode().replace(b"code-5", b"forged")
    data = body[body.index(b',"data":') + len(b',"data":') : -1]
    forged, _ = chained(body, len(data), head_of(lines[-1][:-1]))
    with audit.open("ab") as file:
        file.write(forged + b"\n")
    await listening.start()
    assert (await listening.daemon.logged("audit_lines_quarantined"))["lines"] == 1
    await site.publish(6, 3)
    await listening.heard(range(1, 9))
    assert await listening.stop() == 0
    assert written(tmp_path) == list(range(1, 9)), "nothing is lost, and the forged line is gone"
    assert quarantined(tmp_path) == [forged + b"\n"]
    verdict = await proof(tmp_path, "--pubkey", tmp_path / f"{AUDIT}.pub")
    told = 2  # the notice, and a gap: the journal could be an older one than the line shows
    assert (verdict["proven"], verdict["signed"]) == (True, 8 + told)


@pytest.mark.long
async def test_a_new_key_takes_over_at_a_hangup_and_the_old_one_vouches_for_it(
    site: Site, install: Callable, tmp_path: Path
):
    listening: Listening = await install(site)
    await listening.start()
    await site.publish(1, 3)
    await listening.heard([1, 2, 3])
    old = (tmp_path / f"{AUDIT}.pub").read_text().strip()
    async with Command("audit", "key", "--rotate", AUDIT, folder=tmp_path) as command:
        assert await command.wait() == 0
    new = command.lines[-1]
    listening.daemon.send_signal(signal.SIGHUP)
    assert (await listening.daemon.logged("audit_key_rotated"))["public_key"] == new
    await site.publish(4, 2)
    await listening.heard(range(1, 6))
    assert await listening.stop() == 0
    for key in (old, new):
        verdict = await proof(tmp_path, "--pubkey", key)
        assert (verdict["proven"], verdict["signed"]) == (True, 6)

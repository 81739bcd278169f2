"""The file sink against real files, full disks and rotations."""

import asyncio
import hashlib
import json
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from listener.audit.chain import chained, head_of
from listener.audit.verdict import Kind
from listener.audit.verify import gather, verify
from listener.errors import JournalError, Retry, StartError
from listener.sinks.file import FileSettings, FileSink
from listener.sinks.registry import Recalled, SinkContext
from support.checkpoints import checkpoints
from support.events import disposition_event, events_of, sequences
from support.eventually import eventually
from support.receiver import Answer, Receiver
from support.trail import trail


@pytest.fixture
async def make_sink(tmp_path):
    """Sinks on `tmp_path/events.jsonl`, or another path; closed at the end."""
    made = []

    def make(path="events.jsonl", *, recall=None, count=lambda _metric, _amount: None, **options):
        context = SinkContext(name="audit", base=tmp_path, recall=recall, count=count)
        sink = FileSink(context=context, settings=FileSettings(path=Path(path), **options))
        made.append(sink)
        return sink

    yield make
    for sink in made:
        await sink.close()


@pytest.fixture
async def sink(make_sink):
    opened = make_sink()
    await opened.open()
    return opened


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def held(*paths: Path) -> list[int]:
    """The sequences in these files, every line of which is whole."""
    content = b"".join(path.read_bytes() for path in paths)
    assert content.endswith(b"\n") or not content
    return sequences(content.splitlines())


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """A real error of write(2) after a short write: the limit of this process, put back at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_line_is_the_event_as_json(make_sink, path):
    event = disposition_event(1)
    sink = make_sink(chain=False)
    await sink.open()
    await sink.deliver([event])
    assert path.read_bytes() == event.to_json() + b"\n"
    assert not list(path.parent.glob("*.key")), "without a chain nothing is signed"


async def test_a_chained_line_is_the_event_with_its_place_and_the_hash_of_the_line_before(sink, path):
    events = events_of(2)
    await sink.deliver(events)
    first, second = path.read_bytes().splitlines()
    record = json.loads(second)
    assert record.pop("chainindex") == "1"
    assert record.pop("chainprevious") == hashlib.sha256(first).hexdigest()
    assert record == json.loads(events[1].to_json())
    assert json.loads(first)["chainprevious"] == "0" * 64


async def test_a_new_file_has_the_configured_mode_whatever_the_umask(make_sink, path):
    before = os.umask(0o077)
    try:
        await make_sink(mode="0644").open()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


async def test_an_existing_file_keeps_its_mode_and_its_lines(make_sink, path):
    path.write_bytes(b"{}\n")
    path.chmod(0o600)
    sink = make_sink(mode="0644")
    await sink.open()
    await sink.deliver([disposition_event(1)])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().startswith(b"{}\n")


async def test_a_missing_folder_is_told_at_the_start_by_the_name_of_the_setting(make_sink, tmp_path):
    with pytest.raises(StartError, match=rf"^sinks\.audit\.path: there is no folder {tmp_path}/gone$"):
        await make_sink("gone/events.jsonl").open()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
async def test_what_is_no_regular_file_is_refused_at_the_start(make_sink, path, kind):
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(StartError, match=r"sinks\.audit\.path: cannot write"):
        await make_sink().open()


async def test_a_second_writer_is_refused_at_the_start(sink, make_sink):
    with pytest.raises(StartError, match="another sink or process writes to it"):
        await make_sink().open()


async def test_a_folder_that_cannot_be_written_is_told_by_the_probe(make_sink, path):
    with pytest.raises(Retry, match="there is no folder"):
        await make_sink("gone/events.jsonl").check()
    await make_sink().check()
    assert not path.exists()


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
@pytest.mark.parametrize("how", ["create", "copytruncate", "nocreate"])
async def test_the_real_logrotate_loses_nothing(sink, path, tmp_path, how):
    config = tmp_path / "rotate.conf"
    config.write_text(f"{path} {{\n rotate 9\n {how}\n}}\n", encoding="utf-8")
    config.chmod(0o600)
    for number in range(1, 4):
        await sink.deliver([disposition_event(number)])
        command = ("logrotate", "--force", "--state", tmp_path / "state", config)
        assert (await (await asyncio.create_subprocess_exec(*command)).wait()) == 0
    await sink.deliver([disposition_event(4)])
    assert held(*(tmp_path / f"events.jsonl.{age}" for age in (3, 2, 1)), path) == [1, 2, 3, 4]


@pytest.mark.parametrize("created", [True, False])
async def test_a_renamed_file_is_left_and_the_path_written_anew(sink, path, created):
    await sink.deliver([disposition_event(1)])
    rotated = path.rename(path.with_suffix(".1"))
    if created:
        path.touch(0o600)
    await sink.deliver([disposition_event(2)])
    assert (held(rotated), held(path)) == ([1], [2])


async def test_a_file_truncated_in_place_goes_on_from_its_start(sink, path):
    await sink.deliver([disposition_event(1)])
    shutil.copy(path, path.with_suffix(".1"))
    os.truncate(path, 0)
    await sink.deliver([disposition_event(2)])
    assert (held(path.with_suffix(".1")), held(path)) == ([1], [2])


async def test_a_removed_file_is_made_again(sink, path):
    await sink.deliver([disposition_event(1)])
    path.unlink()
    await sink.deliver([disposition_event(2)])
    assert held(path) == [2]


async def test_a_removed_folder_is_a_retry_and_needs_no_restart_once_it_is_back(make_sink, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = make_sink("logs/events.jsonl")
    await sink.open()
    shutil.rmtree(folder)
    with pytest.raises(Retry, match=r"^sinks\.audit\.path: there is no folder"):
        await sink.deliver([disposition_event(1)])
    folder.mkdir()
    await sink.deliver([disposition_event(1)])
    assert held(folder / "events.jsonl") == [1]


@pytest.mark.skipif(shutil.which("tail") is None, reason="tail is not installed")
async def test_tail_sees_every_line_over_a_rename(sink, path):
    tail = await asyncio.create_subprocess_exec(
        "tail", "-n", "+1", "-s", "0.05", "-F", path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert tail.stdout is not None
    try:
        seen = []
        for number in range(1, 7):
            await sink.deliver([disposition_event(number)])
            seen.append(await asyncio.wait_for(tail.stdout.readline(), 10))
            if number % 2 == 0:
                path.rename(path.with_suffix(f".{number}"))
        assert sequences(seen) == [1, 2, 3, 4, 5, 6]
    finally:
        tail.kill()
        await tail.wait()


async def test_a_full_disk_is_a_retry_and_the_line_it_cut_is_completed_later(sink, path):
    batch = events_of(5)
    size = len(trail(5)[0][0])
    with file_size_limit(size * 2 + 30), pytest.raises(Retry) as caught:
        await sink.deliver(batch)
    assert caught.value.delivered == {0, 1}
    assert caught.value.reason.startswith("sinks.audit.path: cannot write")
    assert path.stat().st_size == size * 2 + 30
    with file_size_limit(size * 2 + 30), pytest.raises(Retry) as caught:
        await sink.deliver(batch[2:])
    assert caught.value.delivered == frozenset()
    with file_size_limit(size * 3 + 30), pytest.raises(Retry) as caught:
        await sink.deliver(batch[2:])
    assert caught.value.delivered == {0}
    await sink.deliver(batch[3:])
    assert held(path) == [1, 2, 3, 4, 5]


async def test_another_batch_after_a_cut_line_completes_the_line_first(sink, path):
    first, second = events_of(2)
    with file_size_limit(50), pytest.raises(Retry):
        await sink.deliver([first])
    with file_size_limit(len(trail(1)[0][0]) + 50), pytest.raises(Retry) as caught:
        await sink.deliver([second])
    assert caught.value.delivered == frozenset()
    await sink.deliver([second])
    assert held(path) == [1, 2]


async def test_a_cut_line_is_not_continued_in_a_file_that_was_truncated(sink, path):
    with file_size_limit(50), pytest.raises(Retry):
        await sink.deliver([disposition_event(1)])
    os.truncate(path, 20)
    await sink.deliver([disposition_event(1)])
    assert held(path) == [1]


async def test_a_cut_line_is_not_continued_in_the_next_file(sink, path):
    with file_size_limit(50), pytest.raises(Retry):
        await sink.deliver([disposition_event(1)])
    path.rename(path.with_suffix(".1"))
    await sink.deliver([disposition_event(1)])
    assert held(path) == [1]


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 64 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ("mount", "-t", "tmpfs", "-o", "size=64k", "none", mount)
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this user cannot mount a tmpfs")
    yield mount
    subprocess.run(("umount", "--lazy", mount), check=True)


async def test_a_full_filesystem_is_a_retry_and_goes_on_when_there_is_room(small_disk, make_sink):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(36 * 1024))
    sink = make_sink("small/events.jsonl")
    await sink.open()
    batch = events_of(40)
    with pytest.raises(Retry, match="No space left on device") as caught:
        await sink.deliver(batch)
    left = [event for index, event in enumerate(batch) if index not in caught.value.delivered]
    assert 0 < len(left) < 40
    ballast.unlink()
    await sink.deliver(left)
    assert held(small_disk / "events.jsonl") == list(range(1, 41))


class ShortWrites:
    """Stands for `os` where write(2) takes at most 7 bytes at a time."""

    def __getattr__(self, name):
        return getattr(os, name)

    @staticmethod
    def write(fd, data):
        return os.write(fd, data[:7])


async def test_short_writes_make_whole_lines(sink, path, monkeypatch):
    monkeypatch.setattr("listener.audit.linefile.os", ShortWrites())
    await sink.deliver(events_of(3))
    assert held(path) == [1, 2, 3]


async def test_a_cancelled_delivery_leaves_whole_lines_in_order(sink, path):
    deliveries = [asyncio.ensure_future(sink.deliver(events_of(200, first=1)))]
    await asyncio.sleep(0)
    deliveries[0].cancel()
    await asyncio.gather(*deliveries, return_exceptions=True)
    await sink.deliver(events_of(200, first=1))
    assert held(path)[-200:] == list(range(1, 201))


class SlowDisk(ShortWrites):
    """A disk that takes nothing until it is released."""

    def __init__(self):
        self.asked, self.released = threading.Event(), threading.Event()

    def write(self, fd, data):
        self.asked.set()
        self.released.wait(10)
        return os.write(fd, data)


@pytest.fixture
def disk(monkeypatch):
    slow = SlowDisk()
    monkeypatch.setattr("listener.audit.linefile.os", slow)
    return slow


async def begun(sink, disk) -> asyncio.Future[None]:
    """A delivery that waits for the disk."""
    delivery = asyncio.ensure_future(sink.deliver([disposition_event(1)]))
    await eventually(disk.asked.is_set)
    assert not delivery.done()
    return delivery


async def test_the_loop_goes_on_while_the_disk_is_slow(sink, path, disk):
    delivery = await begun(sink, disk)
    disk.released.set()
    await delivery
    assert held(path) == [1]


async def test_a_file_is_free_once_the_disk_is_although_nobody_waited_for_its_end(sink, make_sink, path, disk):
    delivery = await begun(sink, disk)
    delivery.cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sink.close(), 0.01)
    disk.released.set()
    following = make_sink()

    async def is_open() -> bool:
        try:
            await following.open()
        except StartError:
            return False
        return True

    await eventually(is_open)
    await following.deliver([disposition_event(2)])
    assert held(path) == [1, 2]


async def test_a_key_that_is_none_is_told_at_the_start_by_the_name_of_the_setting(make_sink, tmp_path):
    (tmp_path / "own.key").write_text("secret of somebody")
    with pytest.raises(StartError, match=r"^sinks\.audit\.key_file: .*own\.key contains no unencrypted") as caught:
        await make_sink(key_file=Path("own.key")).open()
    assert "secret of somebody" not in str(caught.value)


async def test_a_checkpoint_comes_by_its_time_though_no_event_does_and_is_posted_elsewhere(
    make_sink, receiver: Receiver, tmp_path
):
    sink = make_sink(checkpoint_s=0.05, checkpoint_url=f"{receiver.url}/keep")
    await sink.open()
    await sink.deliver(events_of(3))
    (post,) = await receiver.received(1)
    kept = tmp_path / "kept"
    kept.write_bytes(post.body + b"\n")
    ((_, size, _),) = checkpoints(kept, (tmp_path / "events.jsonl.pub").read_text())
    assert size == 3
    await sink.deliver(events_of(1, first=4))
    assert (await receiver.received(2))[1].body.split(b"\n")[1] == b"4", "the timer is set anew"


async def test_a_witness_that_does_not_answer_delays_no_delivery(make_sink, receiver: Receiver):
    receiver.answers = Answer(delay_s=60.0)
    sink = make_sink(checkpoint_lines=1, checkpoint_url=receiver.url)
    await sink.open()
    async with asyncio.timeout(10):
        for number in range(1, 20):
            await sink.deliver([disposition_event(number)])
        await sink.close()
    assert len(receiver.posts) == 1


async def test_a_cut_tail_shows_against_a_checkpoint_that_was_posted(make_sink, receiver: Receiver, path, tmp_path):
    sink = make_sink(checkpoint_url=receiver.url)
    await sink.open()
    await sink.deliver(events_of(10))
    await sink.close()
    (post,) = await receiver.received(1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]))
    for trace in ("checkpoints", "key"):
        (tmp_path / f"events.jsonl.{trace}").unlink()
    (tmp_path / "kept").write_bytes(post.body + b"\n")
    public = [str(tmp_path / "events.jsonl.pub")]
    alone = verify([path], gather([path], pubkeys=public))
    assert (alone.findings, alone.is_proven()) == ([], False), "in the files alone it does not show"
    (finding,) = verify([path], gather([path], pubkeys=public, checkpoints=[tmp_path / "kept"])).findings
    assert (finding.kind, finding.place.line) == (Kind.CUT, 6)


async def test_closed_files_are_compressed_beside_the_stream_and_the_whole_is_proven(make_sink, path, tmp_path):
    sink = make_sink(rotate_bytes=20_000, compress=True, keep_files=50)
    await sink.open()
    for first in range(1, 400, 20):
        await sink.deliver(events_of(20, first=first))
    await eventually(lambda: len(list(tmp_path.glob("*Z*.gz"))) >= 8)
    await eventually(lambda: not list(tmp_path.glob("*Z")) and not list(tmp_path.glob("*Z-*[0-9]")))
    await sink.close()
    files = [path, *tmp_path.glob("*.gz")]
    verdict = verify(files, gather(files, pubkeys=[str(tmp_path / "events.jsonl.pub")]))
    assert (verdict.findings, verdict.records, verdict.signed) == ([], 400, 400)


async def test_reopening_needs_no_event_and_is_fine_at_any_time(make_sink, path):
    sink = make_sink()
    sink.reopen()
    await sink.open()
    await sink.deliver(events_of(2))
    rotated = path.rename(path.with_suffix(".1"))
    sink.reopen()
    await eventually(path.exists)
    await sink.deliver(events_of(1, first=3))
    await sink.close()
    sink.reopen()
    assert (held(rotated), held(path)) == ([1, 2], [3])


async def test_reopening_that_fails_is_told_and_made_good_with_the_next_event(make_sink, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = make_sink("logs/events.jsonl")
    await sink.open()
    shutil.rmtree(folder)
    with capture_logs() as logs:
        sink.reopen()
        # What tidies up beside it may find the folder gone as well.
        await eventually(lambda: [e["event"] for e in logs].count("audit_file_maintenance_failed") == 1)
    folder.mkdir()
    await sink.deliver([disposition_event(1)])
    assert held(folder / "events.jsonl") == [1]


def forge(path, number):
    """Append a line of one's own with a link that fits."""
    event = disposition_event(number, value="Forged")
    with path.open("ab") as file:
        file.write(chained(event.to_json(), len(event.data), head_of(path.read_bytes().splitlines()[-1]))[0] + b"\n")


def journal_of(*events):
    """What a lane lets its sink ask."""

    async def recall(sequences):
        return Recalled([event for event in events if event.sequence in sequences], len(events))

    return recall


def proof(path):
    verdict = verify([path], gather([path], pubkeys=[f"{path}.pub"]))
    return [(str(one.proof), one.lines) for one in verdict.stretches]


async def test_without_a_journal_to_ask_what_is_unsigned_stays_so(make_sink, path):
    """As `sinks test` does while no daemon runs."""
    sink = make_sink()
    await sink.open()
    await sink.deliver(events_of(3))
    await sink.close()
    forge(path, 4)
    await sink.open()
    await sink.deliver([disposition_event(5)])
    await sink.close()
    assert proof(path) == [("signed", 3), ("chained", 2)]


async def test_with_a_journal_nothing_is_signed_but_what_it_delivered(make_sink, path):
    counted = []
    sink = make_sink(recall=journal_of(*events_of(3)), count=lambda *told: counted.append(told))
    await sink.open()
    await sink.deliver(events_of(3))
    await sink.close()
    forge(path, 4)
    await sink.open()
    await sink.close()
    assert counted == [("sink_quarantined_total", 1)]
    assert proof(path) == [("signed", 4)]
    assert b"Forged" not in path.read_bytes()


async def test_a_journal_that_does_not_answer_is_waited_for(make_sink, path):
    async def recall(_sequences):
        raise JournalError("the journal is closed")

    sink = make_sink(recall=recall)
    await sink.open()
    await sink.deliver(events_of(3))
    await sink.close()
    forge(path, 4)
    with pytest.raises(Retry, match=r"cannot be compared with .*events\.jsonl: the journal is closed"):
        await sink.open()
    await sink.close()
    assert proof(path) == [("signed", 3), ("chained", 1)]

"""The file sink against real files, full disks and rotations."""

import asyncio
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import Retry, StartError
from listener.sinks.file import FileSettings, FileSink, LineFile
from listener.sinks.registry import SinkContext
from support.events import disposition_event, events_of, sequences


@pytest.fixture
async def make_sink(tmp_path):
    """Sinks on `tmp_path/events.jsonl`, or another path; closed at the end."""
    made = []

    def make(path="events.jsonl", **options):
        sink = FileSink(
            context=SinkContext(name="audit", base=tmp_path), settings=FileSettings(path=Path(path), **options)
        )
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


async def test_a_line_is_the_event_as_json(sink, path):
    event = disposition_event(1)
    await sink.deliver([event])
    assert path.read_bytes() == event.to_json() + b"\n"


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


class MovedBetweenWriteAndLook(LineFile):
    """A rotation at the worst moment: after the write, before the second look at the path."""

    def __init__(self, *, moves: int, **options):
        super().__init__(**options)
        self.moves = moves

    def _sync(self, fd):
        super()._sync(fd)
        if self.moves:
            self.moves -= 1
            self._path.rename(self._path.with_suffix(f".{self.moves}"))


def test_a_batch_that_met_a_rotation_is_in_the_new_file_too(path):
    file = MovedBetweenWriteAndLook(moves=1, path=path, mode=0o600, fsync=True)
    file.append([disposition_event(1).to_json()])
    file.close()
    assert (held(path.with_suffix(".0")), held(path)) == ([1], [1])


def test_endless_rotations_end_in_an_error(path):
    file = MovedBetweenWriteAndLook(moves=99, path=path, mode=0o600, fsync=True)
    with pytest.raises(OSError, match="moved away again and again"):
        file.append([disposition_event(1).to_json()])
    file.close()


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
    size = len(batch[0].to_json()) + 1
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
    with file_size_limit(len(first.to_json()) + 50), pytest.raises(Retry) as caught:
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
    ballast.write_bytes(bytes(56 * 1024))
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


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_after_a_failed_fsync_the_file_is_closed_and_opened_anew(tmp_path):
    """The kernel reports a lost write once: a second fsync on the same descriptor would lie."""
    trace = tmp_path / "trace"
    inject = ("-e", "trace=openat,close,fdatasync", "-e", "inject=fdatasync:error=EIO:when=1")
    code = (
        "import sys; from pathlib import Path; from listener.sinks.file import LineFile\n"
        "file = LineFile(path=Path(sys.argv[1]), mode=0o600, fsync=True)\n"
        "try: file.append([b'{}'])\nexcept OSError as exc: assert exc.errno == 5\nelse: sys.exit('no error')\n"
        "file.append([b'{}'])\n"
    )
    events = tmp_path / "events.jsonl"
    command = (
        "strace",
        "-f",
        "-o",
        trace,
        "-P",
        events,
        *inject,
        sys.executable,
        "-c",
        code,
        events,
    )
    subprocess.run(command, check=True, timeout=60)
    calls = [line.split(" ", 1)[1].strip().split("(")[0] for line in trace.read_text().splitlines() if "(" in line]
    first = calls.index("fdatasync")
    assert calls[first + 1] == "close"
    assert calls[first + 2 :].index("openat") < calls[first + 2 :].index("fdatasync")
    assert events.read_bytes() == b"{}\n{}\n"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_folder_of_a_new_file_is_synced_too(tmp_path):
    """Otherwise a power cut may take the file's name, and the lines with it."""
    trace, folder = tmp_path / "trace", tmp_path / "folder"
    folder.mkdir()
    code = (
        "import sys; from pathlib import Path; from listener.sinks.file import LineFile\n"
        "LineFile(path=Path(sys.argv[1]), mode=0o600, fsync=True).append([b'{}'])\n"
    )
    strace = ("strace", "-f", "-y", "-o", trace, "-e", "trace=fsync")
    subprocess.run((*strace, sys.executable, "-c", code, folder / "events.jsonl"), check=True, timeout=60)
    assert re.search(rf"fsync\(\d+<{folder}>\)\s+= 0", trace.read_text())


class ShortWrites:
    """Stands for `os` where write(2) takes at most 7 bytes at a time."""

    def __getattr__(self, name):
        return getattr(os, name)

    @staticmethod
    def write(fd, data):
        return os.write(fd, data[:7])


async def test_short_writes_make_whole_lines(sink, path, monkeypatch):
    monkeypatch.setattr("listener.sinks.file.os", ShortWrites())
    await sink.deliver(events_of(3))
    assert held(path) == [1, 2, 3]


def mended(content: bytes, **options: bytes) -> bytes:
    """What is in a file before one more line, once it was opened and that line appended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(content)
        file = LineFile(path=path, mode=0o600, fsync=False, **options)
        file.append([b'{"next":1}'])
        file.close()
        left = path.read_bytes()
    assert left.endswith(b'{"next":1}\n')
    return left.removesuffix(b'{"next":1}\n')


WHOLE = b"".join(event.to_json() + b"\n" for event in events_of(2))
LINE = disposition_event(3).to_json()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(LINE) - 1), st.binary(max_size=3).map(lambda tail: bytes(len(tail))))
def test_a_line_of_ours_that_a_crash_cut_is_removed(length, zeros):
    assert mended(WHOLE + LINE[:length] + zeros) == WHOLE


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200).filter(lambda tail: b"\n" not in tail))
def test_no_whole_line_is_lost_and_nothing_is_glued_to_a_torn_one(tail):
    left = mended(WHOLE + tail)
    assert left.startswith(WHOLE)
    assert left.endswith(b"\n")
    assert left[len(WHOLE) :] in (b"", tail + b"\n", tail.rstrip(b"\0") + b"\n")


@pytest.mark.parametrize(
    ("opening", "torn", "kept"),
    [(b"{", b'{"change":"s', b""), (b"at ", b"at 09:3", b""), (b"at ", b"a", b""), (b"", b"09:3", b"09:3\n")],
)
def test_in_another_form_a_torn_line_is_known_by_how_lines_begin(opening: bytes, torn: bytes, kept: bytes):
    assert mended(b"whole\n" + torn, opening=opening) == b"whole\n" + kept


def test_a_whole_event_that_only_lacks_its_line_end_is_kept():
    assert mended(WHOLE + LINE) == WHOLE + LINE + b"\n"


def test_a_whole_event_is_kept_without_the_zeros_that_a_power_cut_left_behind_it():
    assert mended(WHOLE + LINE + bytes(4096)) == WHOLE + LINE + b"\n"


def test_a_foreign_last_line_is_ended_and_kept():
    assert mended(b"written by hand") == b"written by hand\n"


@pytest.mark.parametrize("size", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 300_000])
def test_long_torn_lines_are_found_whole(size):
    torn = LINE[:60] + b"x" * (size - 60)
    assert mended(WHOLE + torn) == WHOLE
    assert mended(torn) == b""


async def test_a_cancelled_delivery_leaves_whole_lines_in_order(sink, path):
    deliveries = [asyncio.ensure_future(sink.deliver(events_of(200, first=1)))]
    await asyncio.sleep(0)
    deliveries[0].cancel()
    await asyncio.gather(*deliveries, return_exceptions=True)
    await sink.deliver(events_of(200, first=1))
    assert held(path)[-200:] == list(range(1, 201))


async def test_the_loop_goes_on_while_the_disk_is_slow(sink, path, monkeypatch):
    class SlowDisk(ShortWrites):
        @staticmethod
        def write(fd, data):
            released.wait(10)
            return os.write(fd, data)

    released = threading.Event()
    monkeypatch.setattr("listener.sinks.file.os", SlowDisk())
    delivery = asyncio.ensure_future(sink.deliver([disposition_event(1)]))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not delivery.done()
    released.set()
    await delivery
    assert held(path) == [1]

"""The file of lines against real files: rotations at the worst moment, failing disks, torn ends."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audit.linefile import LineFile
from listener.model.forms import CLOUD_EVENT
from support.events import disposition_event, events_of, sequences


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def line_file(path, *, kind=LineFile, fsync=True, opening=CLOUD_EVENT.opening, **options):
    return kind(path=path, mode=0o600, fsync=fsync, opening=opening, **options)


def line(number: int) -> bytes:
    return disposition_event(number).to_json() + b"\n"


def held(path: Path) -> list[int]:
    """The sequences in this file, every line of which is whole."""
    content = path.read_bytes()
    assert content.endswith(b"\n") or not content
    return sequences(content.splitlines())


class MovedBeforeTheLook(LineFile):
    """A rotation at the worst moment: after the write, before the second look at the path."""

    def __init__(self, *, moves: int, delete: bool, **options):
        super().__init__(**options)
        self.moves, self.delete = moves, delete

    def _sync(self, fd):
        super()._sync(fd)
        if self.moves:
            self.moves -= 1
            self._path.unlink() if self.delete else self._path.rename(self._path.with_suffix(f".{self.moves}"))


def test_a_batch_whose_file_was_renamed_meanwhile_stands_there_and_only_there(path):
    file = line_file(path, kind=MovedBeforeTheLook, moves=1, delete=False)
    file.append([line(1)])
    file.append([line(2)])
    assert (held(path.with_suffix(".0")), held(path)) == ([1], [2])
    assert file.generation == 1
    file.close()


def test_a_batch_whose_file_was_deleted_meanwhile_is_written_again(path):
    file = line_file(path, kind=MovedBeforeTheLook, moves=1, delete=True)
    file.append([line(1)])
    assert held(path) == [1]
    file.close()


def test_what_follows_a_look_goes_to_the_file_that_it_saw_and_never_to_one_without_a_name(path):
    file, aside = line_file(path), path.with_suffix(".0")
    file.append([line(1)])
    file.current()
    path.rename(aside)
    file.append([line(2)], has_looked=True)
    file.append([line(3)])
    assert (held(aside), held(path)) == ([1, 2], [3])
    path.unlink()
    file.append([line(4)], has_looked=True)
    assert held(path) == [4]
    file.close()


def test_endless_deletions_end_in_an_error(path):
    file = line_file(path, kind=MovedBeforeTheLook, moves=99, delete=True)
    with pytest.raises(OSError, match="deleted again and again"):
        file.append([line(1)])
    file.close()


def test_whoever_is_left_is_told_before_and_a_new_beginning_is_counted(path):
    left = []
    file = line_file(path, on_leave=lambda fd: left.append(os.pread(fd, 10_000, 0)))
    file.append([line(1)])
    path.rename(path.with_suffix(".1"))
    file.append([line(2)])
    assert left == [line(1)]
    os.truncate(path, 0)
    file.append([line(3)])
    assert (held(path), file.generation) == ([3], 2)
    file.close()


MAKE = (
    "import sys; from pathlib import Path; from listener.audit.linefile import LineFile\n"
    "file = LineFile(path=Path(sys.argv[1]), mode=0o600, fsync=True, opening=b'{')\n"
)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_after_a_failed_fsync_the_file_is_closed_and_opened_anew(tmp_path):
    """The kernel reports a lost write once: a second fsync on the same descriptor would lie."""
    trace = tmp_path / "trace"
    inject = ("-e", "trace=openat,close,ftruncate,fdatasync", "-e", "inject=fdatasync:error=EIO:when=2")
    code = (
        f"{MAKE}"
        "file.append([b'{}\\n'])\n"
        "try: file.append([b'[]\\n'])\nexcept OSError as exc: assert exc.errno == 5\nelse: sys.exit('no error')\n"
        "file.append([b'[]\\n'])\n"
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
    failed = [number for number, call in enumerate(calls) if call == "fdatasync"][1]
    assert calls[failed + 1] == "close"
    after = [call for call in calls[failed + 2 :] if call != "close"]
    assert after[-2:] == ["ftruncate", "fdatasync"], "what may not be on the disk is taken back before it comes again"
    assert events.read_bytes() == b"{}\n[]\n"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_folder_of_a_new_file_is_synced_too(tmp_path):
    """Otherwise a power cut may take the file's name, and the lines with it."""
    trace, folder = tmp_path / "trace", tmp_path / "folder"
    folder.mkdir()
    code = f"{MAKE}file.append([b'{{}}\\n'])\n"
    strace = ("strace", "-f", "-y", "-o", trace, "-e", "trace=fsync")
    subprocess.run((*strace, sys.executable, "-c", code, folder / "events.jsonl"), check=True, timeout=60)
    assert re.search(rf"fsync\(\d+<{folder}>\)\s+= 0", trace.read_text())


def mended(content: bytes, **options: bytes) -> bytes:
    """What is in a file before one more line, once it was opened and that line appended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(content)
        file = line_file(path, fsync=False, **options)
        file.append([b'{"next":1}\n'])
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
